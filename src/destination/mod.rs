//! Where a restore writes. A [`Destination`] makes entries in a place of its own and never outside
//! it, whatever names the repository holds.
//!
//! Writing blocks, so all of this is called on the CPU pool, never on an async thread.

pub mod directory;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::class::Class;
use crate::entry::{Entry, TreePath};

/// A place that a restore fills.
///
/// The order of calls: `begin`; then per entry `directory`, `special`, `link` or `create` with
/// writes and `finish`, in path order but for files' contents, which end in any order; then
/// `seal_directory` for every directory, children before parents; then `finish`.
pub trait Destination: Send + Sync {
    /// Checks the place, makes it if it is missing, and puts the in-progress marker into it.
    fn begin(&self) -> Result<(), Error>;

    /// The names in a directory as it is now, none where it does not exist. May be asked before `begin`.
    fn names(&self, directory: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
        let _ = directory;
        Ok(Vec::new())
    }

    /// Whether files that are there stay as they are, whatever they hold.
    fn keeps_files(&self) -> bool {
        false
    }

    /// Makes a directory that the restore can write into; its final attributes come with
    /// `seal_directory`. The root's entry has the empty path.
    fn directory(&self, entry: &Entry) -> Result<(), Error>;

    /// Makes a symbolic link, fifo, socket or device with all its attributes.
    fn special(&self, entry: &Entry) -> Result<(), Error>;

    /// Makes another name for the file restored at `first`.
    fn link(&self, entry: &Entry, first: &TreePath) -> Result<(), Error>;

    /// What is there already at the entry's path, opened for reading, if it is a regular file
    /// and the mode of overwriting lets its bytes be used.
    fn existing(&self, entry: &Entry) -> Result<Option<Box<dyn Existing>>, Error>;

    /// Whether files may have been there when the restore began; else nobody needs to ask.
    fn may_hold_files(&self) -> bool {
        true
    }

    /// Takes a file away that was begun but cannot be finished. One that is not there is no error.
    fn discard(&self, entry: &Entry) -> Result<(), Error>;

    /// Whether the entry must be left alone because of what is there (mode `never`, or
    /// `if-changed` with equal size and time).
    fn skip(&self, entry: &Entry) -> Result<bool, Error>;

    /// Opens the file of `entry` for writing: made if missing, set to the entry's size, with
    /// bytes kept that are there already. Attributes come with [`Output::finish`].
    fn create(&self, entry: &Entry) -> Result<Box<dyn Output>, Error>;

    /// Removes the names in a directory that are not in `keep`, with all that is below them, where
    /// deleting was asked for; returns how many went. To be called right after `directory`, before
    /// anything in it is made: on a file system that takes `A` and `a` for one name, what was just
    /// restored would go otherwise.
    fn remove_extraneous(
        &self,
        directory: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<u64, Error> {
        let _ = (directory, keep);
        Ok(0)
    }

    /// Brings to disk what was written so far, where that shortens [`Destination::finish`]. Called beside
    /// other calls, by one caller at a time.
    fn write_back(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives a directory its final owner, mode, xattrs and times.
    fn seal_directory(&self, entry: &Entry) -> Result<(), Error>;

    /// Makes everything durable, then removes the marker. Returns what could not be restored
    /// (owners as non-root, devices …).
    fn finish(&self) -> Result<Vec<Shortfall>, Error>;
}

/// A file that is there already. Blocks.
pub trait Existing: Send {
    /// Fills `buffer` from `offset_bytes` on; returns less only at the end of the file.
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Error>;
}

/// A file being restored; shared by all who write its pieces. Blocks.
pub trait Output: Send + Sync {
    /// Writes all of `bytes` at `offset_bytes`. Pieces come in any order and do not overlap. Bytes
    /// that fall into a hole of the entry's `extents` are zero and are not written.
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), Error>;

    /// Gives the file its owner, mode, xattrs and times and closes it. Called once, last.
    fn finish(&self) -> Result<(), Error>;
}

/// Something that a restore could not give an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The entry.
    pub path: TreePath,
    /// What it lacks: `owner`, `xattr security.selinux`, `device`.
    pub what: String,
    /// The operating system's word.
    pub detail: String,
}

/// What to do with what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Refuse a destination that holds anything (`lost+found` aside), unless it is our own
    /// unfinished restore.
    #[default]
    Refuse,
    /// Replace a file unless its size and modification time equal the entry's.
    IfChanged,
    /// Check every file's bytes and replace what differs.
    Always,
    /// Leave every file that is there as it is.
    Never,
}

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
            Self::NotEmpty { .. } | Self::InTheWay { .. } => Class::Refused,
            Self::Unusable { .. } => Class::Config,
            Self::Io { source, .. } => match Class::of_io(source) {
                Class::Full => Class::Full,
                Class::Denied => Class::Denied,
                _ => Class::Config,
            },
        }
    }
}
