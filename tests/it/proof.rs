//! Proofs of the engine: what Backstay promises, shown on real trees with every interruption.
