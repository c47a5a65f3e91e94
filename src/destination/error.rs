//! What keeps a restore from writing: which errors cost one entry, and which end the restore.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::class::Class;

/// What keeps a restore from writing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination holds data.
    #[error(
        "{path} is not empty (it holds {example}): \
         choose an empty directory, or say --overwrite if-changed|always|never", path = path.display()
    )]
    NotEmpty {
        /// The destination.
        path: PathBuf,
        /// One name in it.
        example: String,
    },
    /// The destination cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Unusable {
        /// The destination.
        path: PathBuf,
        /// The cause and what to do about it.
        reason: String,
    },
    /// Restoring there could destroy something, or give it to someone else.
    #[error("{path}: {reason}", path = path.display())]
    Unsafe {
        /// The destination, or the marker in it.
        path: PathBuf,
        /// The cause and what to do about it.
        reason: String,
    },
    /// A stored entry would have been written through something that is in its way.
    #[error("{path} is in the way: {reason}", path = path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// The cause and what to do about it.
        reason: String,
    },
    /// The operating system refused.
    #[error("{action} {path}", path = path.display())]
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
            Self::NotEmpty { .. } | Self::InTheWay { .. } | Self::Unsafe { .. } => Class::Refused,
            Self::Unusable { .. } => Class::Config,
            Self::Io { source, .. } => match Class::of_io(source) {
                Class::Full => Class::Full,
                Class::Denied => Class::Denied,
                _ => Class::Config,
            },
        }
    }

    /// Whether the restore ends with this error. Any other error is about one entry: that entry is named,
    /// and everything else is restored.
    pub fn ends_restore(&self) -> bool {
        match self {
            Self::NotEmpty { .. } | Self::Unusable { .. } | Self::Unsafe { .. } => true,
            Self::InTheWay { .. } => false,
            Self::Io { source, .. } => Errno::from_io_error(source).is_some_and(is_of_the_disk),
        }
    }
}

/// Whether the disk, or this process, is at its end: the next entry would fail in the same way.
fn is_of_the_disk(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSPC
            | Errno::DQUOT
            | Errno::IO
            | Errno::ROFS
            | Errno::NOTCONN
            | Errno::STALE
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NODEV
            | Errno::TIMEDOUT
            | Errno::SHUTDOWN
            | Errno::REMOTEIO
            | Errno::UCLEAN
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> Error {
        Error::Io { action: "write", path: "f".into(), source: errno.into() }
    }

    #[test]
    fn only_the_disk_ends_a_restore() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::NOTCONN] {
            assert!(error(errno).ends_restore(), "{errno}");
        }
        for errno in [
            Errno::PERM,
            Errno::ACCESS,
            Errno::NAMETOOLONG,
            Errno::INVAL,
            Errno::ILSEQ,
            Errno::XDEV,
            Errno::MLINK,
            Errno::BUSY,
            Errno::FBIG,
            Errno::NOENT,
            Errno::LOOP,
        ] {
            assert!(!error(errno).ends_restore(), "{errno}");
        }
        assert_eq!(error(Errno::NOSPC).class(), Class::Full);
        assert_eq!(error(Errno::DQUOT).class(), Class::Full);
    }
}
