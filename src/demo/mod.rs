//! The quick start: a small engine that is backed up, lost, restored and proven.

pub mod engine;
