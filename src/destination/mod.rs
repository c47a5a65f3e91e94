//! Where a restore writes. A [`Destination`] makes entries in a place of its own and never outside
//! it, whatever names the repository holds.
//!
//! Writing blocks, so all of this is called on the CPU pool, never on an async thread.

pub mod directory;
mod error;
mod shortfall;

use std::collections::BTreeSet;

use crate::entry::{Entry, TreePath};
use crate::patterns::{Exclude, Filter};

pub use error::Error;
pub use shortfall::{Shortfall, ShortfallKind, Shortfalls};

/// A place that a restore fills.
///
/// The order of calls: `begin`; then per entry `directory`, `special`, `link` or `create` with
/// writes and `finish`, in path order but for files' contents, which end in any order; then
/// `seal_directory` for every directory, children before parents; then `finish`, or `suspend` where
/// something is missing.
///
/// An error of one call is about that entry alone unless [`Error::ends_restore`] says otherwise.
pub trait Destination: Send + Sync {
    /// Checks the place, makes it if it is missing, and puts the in-progress marker into it.
    fn begin(&self) -> Result<(), Error>;

    /// Looks at the place as `begin` does and refuses what `begin` refuses, but changes nothing; nor
    /// does any later call. For a dry run: [`Destination::remove_extraneous`] then only counts.
    fn look(&self) -> Result<(), Error> {
        Ok(())
    }

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

    /// Makes another name for what was restored at `first`, which must be as `entry` says.
    fn link(&self, entry: &Entry, first: &TreePath) -> Result<Linked, Error>;

    /// Notes as a shortfall that a file is a copy and no link: another name of it was left alone.
    fn note_copy(&self, path: &TreePath) {
        let _ = path;
    }

    /// What is there already at the entry's path, made ready to be written over and opened for
    /// reading, if it is a regular file whose bytes may be used: the mode of overwriting must allow
    /// it, and nobody else may have kept a way to read or change the file. [`Destination::create`]
    /// then opens the same file.
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

    /// Opens the file of `entry` for writing: the one that [`Destination::existing`] returned, with
    /// its bytes, or a new one. Attributes come with [`Output::finish`].
    fn create(&self, entry: &Entry) -> Result<Box<dyn Output>, Error>;

    /// Says what the backup of the source looked at whose entries come next. Nothing else is ever
    /// removed.
    fn looked_at(&self, looked: Looked) {
        let _ = looked;
    }

    /// Removes the names in a directory that are not in `keep`, with all that is below them, where
    /// deleting was asked for. What the backup did not look at stays ([`Destination::looked_at`]), and
    /// so does every directory that holds such a thing.
    fn remove_extraneous(
        &self,
        directory: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<Removed, Error> {
        let _ = (directory, keep);
        Ok(Removed::default())
    }

    /// Brings to disk what was written so far, where that shortens [`Destination::finish`]. Called beside
    /// other calls, by one caller at a time.
    fn write_back(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives a directory its final owner, mode, xattrs and times.
    fn seal_directory(&self, entry: &Entry) -> Result<(), Error>;

    /// Gives an entry its inode flags. Called last of all, when everything else is done, and only where
    /// the restore is whole: an immutable file can neither be linked nor written over.
    fn protect(&self, entry: &Entry) -> Result<(), Error> {
        let _ = entry;
        Ok(())
    }

    /// Makes everything durable, then removes the marker. Returns what could not be restored
    /// (owners as non-root, devices …).
    fn finish(&self) -> Result<Shortfalls, Error>;

    /// Makes everything durable and leaves the marker, since the restore is not whole. Returns what
    /// could not be restored.
    fn suspend(&self) -> Result<Shortfalls, Error>;
}

/// What the backup of a source looked at.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Where the top of what is restored goes in the destination.
    pub top: TreePath,
    /// The path of that top in the source.
    pub source_path: TreePath,
    /// What was left out by pattern.
    pub exclude: Exclude,
    /// Whether directories with a `CACHEDIR.TAG` were reduced to it.
    pub exclude_caches: bool,
    /// What the restore is asked for: nothing else is removed either.
    pub filter: Filter,
}

impl Looked {
    /// The path in the source of what is at `place` in the destination.
    pub fn source_path(&self, place: &TreePath) -> TreePath {
        let below = place.components().skip(self.top.components().count());
        below.fold(self.source_path.clone(), |path, name| path.join(name))
    }
}

/// What a removal did.
#[derive(Debug, Default)]
pub struct Removed {
    /// Names that went, at all depths.
    pub names: u64,
    /// Names that stay because the backup did not look at them.
    pub kept: u64,
    /// Names that could not be removed, and why.
    pub refused: Vec<(TreePath, Error)>,
}

/// What became of a further name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Linked {
    /// It is there.
    Made,
    /// The destination cannot link the two: this is noted as a shortfall, and the caller restores
    /// the entry as a file of its own.
    NeedsCopy,
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
