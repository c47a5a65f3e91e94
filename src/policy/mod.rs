//! What was asked for: policy documents.
