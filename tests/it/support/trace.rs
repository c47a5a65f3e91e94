//! What the suite logs, kept in a file: `tests/run` looks for secrets in it when all is over. A secret in a
//! log is found there by whoever was not meant to have it.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, Once};

use tracing_subscriber::filter::LevelFilter;

/// Begins to keep what this process logs, its libraries included.
pub fn keep() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let name = format!("suite-{}.log", std::process::id());
        let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_writer(Mutex::new(file))
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}
