//! What every store promises, asked of each: memory, a local directory, and S3 at a real server.

mod conformance;
mod fault;
mod local;
mod lost_answer;

use std::sync::Arc;

use backstay::store::{LocalStore, MemoryStore, Store};

use crate::support::seaweed::seaweed;

/// The stores of one test, each empty; the directory goes with the last value.
struct Stores {
    _directory: tempfile::TempDir,
    all: Vec<(&'static str, Arc<dyn Store>)>,
}

/// `name` keeps tests apart on the shared server.
fn stores(name: &str) -> Stores {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<(_, Arc<dyn Store>)> = vec![
        ("memory", Arc::new(MemoryStore::new())),
        (
            "local",
            Arc::new(LocalStore::new(directory.path().join("repository"))),
        ),
        ("s3", seaweed().store(name)),
    ];
    Stores {
        _directory: directory,
        all,
    }
}
