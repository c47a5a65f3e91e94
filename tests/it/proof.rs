//! Proofs of the engine: what Backstay promises, shown on real trees, with every interruption, every
//! damage and every race that we can think of made to happen each time.

mod crash;
mod damage;
mod edit;
mod engine;
mod forged;
mod later_segments;
mod lines;
mod links;
mod lives;
mod oddities;
mod out_of_reach;
mod races;
mod refusals;
mod removal;
mod requests;
mod resume;
mod round_trip;
mod scene;
mod stolen_key;
mod together;
mod volumes;
mod wal;
