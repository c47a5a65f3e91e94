//! What kind of failure an error is: the one bounded list that decides retry, exit code and metric
//! label, so that no caller ever has to read an error's text.

use std::fmt;

/// The kind of a failure. Every error enum has a `class()` that maps each variant to one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// May pass by itself: a timeout, a dropped connection, a busy server.
    Transient,
    /// What was asked for does not exist.
    Missing,
    /// Stored bytes are not what was written.
    Damaged,
    /// The command line, the policy or the environment is wrong.
    Config,
    /// The key, passphrase or credential does not open this.
    Denied,
    /// Doing it would destroy something.
    Refused,
    /// What should be backed up could not be read.
    Source,
    /// No room left where we write.
    Full,
    /// Written by a newer Backstay, or needs a feature that this one lacks.
    Newer,
    /// Someone asked us to stop.
    Interrupted,
    /// A mistake in Backstay itself.
    Bug,
}

impl Class {
    /// The word used in JSON output and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Config => "config",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Source => "source",
            Self::Full => "full",
            Self::Newer => "newer",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }

    /// The class of an operating-system error, as far as the error alone tells.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Denied,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full
            }
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Damaged,
            ErrorKind::InvalidInput => Self::Config,
            _ => Self::Transient,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
