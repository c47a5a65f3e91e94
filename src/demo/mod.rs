//! The quick start: a small engine that is backed up while it writes, lost, restored and proven.
//!
//! Every command is printed as a person would type it and run as printed, by the same program. The
//! engine is a process of its own and is killed, not stopped.

pub mod engine;
mod scenario;
mod shell;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::class::Class;

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything goes; must not exist yet.
    pub directory: PathBuf,
    /// The program whose commands are run: this one.
    pub program: PathBuf,
    /// How many backups are taken while the engine writes.
    pub backups: u32,
    /// What the engine writes.
    pub records_per_second: u32,
}

/// What the demo showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Commands in order, and how long each took.
    pub commands: Vec<(String, Duration)>,
    /// The highest record that the engine had acknowledged when it was killed.
    pub acknowledged: u64,
    /// The last record in a closed segment when the last backup ended.
    pub promised: u64,
    /// The last record after the restore; all from 1 to it were compared.
    pub restored: u64,
    /// The last closed segment that came back.
    pub last_segment: u64,
}

/// What keeps the demo from its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A command failed.
    #[error("{command} ended with {outcome}: {message}")]
    Command {
        /// As printed.
        command: String,
        /// Its exit code or signal.
        outcome: String,
        /// The last line that it said.
        message: String,
    },
    /// The engine could not be opened, or is not what it was.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The operating system refused.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The proof failed.
    #[error("records up to {promised} were in closed segments, but only {restored} came back")]
    Lost {
        /// What a backup promised.
        promised: u64,
        /// What came back.
        restored: u64,
    },
    /// The engine ended by itself.
    #[error("the engine ended by itself: {0}")]
    EngineEnded(String),
}

impl Error {
    /// Decides the exit code.
    pub fn class(&self) -> Class {
        match self {
            Self::Command { .. } | Self::EngineEnded(_) => Class::Source,
            Self::Engine(error) => error.class(),
            Self::Io { source, .. } => Class::of_io(source),
            Self::Lost { .. } => Class::Damaged,
        }
    }
}

/// Runs the demo; `say` gets each line for people.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    scenario::run(options, say)
}

/// The engine's own process: writes into `directory` until it is killed.
pub fn run_engine(
    directory: &Path,
    acknowledged: &Path,
    records_per_second: u32,
) -> Result<(), Error> {
    let options = engine::WriterOptions {
        engine: engine::Options {
            // Small, so that segments close and tables come and go while one watches.
            segment_bytes: 256 << 10,
            memory_bytes: 512 << 10,
            sync: false,
            ..engine::Options::default()
        },
        records_per_second,
        acknowledged: acknowledged.to_owned(),
    };
    engine::run_writer(directory, &options, &AtomicBool::new(false))?;
    Ok(())
}
