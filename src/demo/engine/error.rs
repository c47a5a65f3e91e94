//! What can keep the engine from opening, writing or vouching for its records.

use std::io;
use std::path::{Path, PathBuf};

use crate::class::Class;

/// Why the engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A restore into the directory has not ended.
    #[error(
        "{} is there: a restore into this directory has not ended; let it finish, or run it again",
        marker.display()
    )]
    Restoring {
        /// The marker.
        marker: PathBuf,
    },
    /// Another engine has the directory open.
    #[error("{}: another engine has this directory open; stop it first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at byte {offset_bytes}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset_bytes: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Records are missing between what is there.
    #[error("{}: record {found} follows where {expected} should; what lies between is lost", path.display())]
    Gap {
        /// The file in which the gap shows.
        path: PathBuf,
        /// The sequence that should come.
        expected: u64,
        /// The sequence that does.
        found: u64,
    },
    /// A record is sound, but it is not the one that the writer wrote.
    #[error("record {sequence} is not the one that was written: {reason}")]
    Unexpected {
        /// Its sequence.
        sequence: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key or value is longer than a record may be.
    #[error("a record of {length_bytes} bytes is too long; at most {limit_bytes} fit")]
    TooLong {
        /// How long it would be.
        length_bytes: usize,
        /// How long it may be.
        limit_bytes: usize,
    },
    /// A write failed before; what is on disk since is not known until the engine is opened anew.
    #[error("a write to the log failed before; open the engine again to go on")]
    Broken,
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Decides exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Restoring { .. } | Self::Locked { .. } => Class::Refused,
            Self::Damaged { .. } | Self::Gap { .. } | Self::Unexpected { .. } => Class::Damaged,
            Self::TooLong { .. } => Class::Config,
            Self::Broken => Class::Transient,
            Self::Io { source, .. } => Class::of_io(source),
        }
    }

    pub(super) fn damaged(path: &Path, offset_bytes: u64, reason: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), offset_bytes, reason }
    }

    /// Puts what was tried, and on what, to an error of the operating system.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
