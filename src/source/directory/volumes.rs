//! The file systems of a source, as a walk comes to them.
//!
//! A device number is given to another file system at the next mount, so that it names nothing
//! beyond a run. A file system is named by the path where the walk first meets it, and told from
//! another one in the same place by what it says of itself.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use rustix::fs::{Statx, syncfs};

use crate::entry::TreePath;
use crate::source::Volume;
use crate::source::file::{Identity, Magic};

/// File systems that were met, and what the last snapshot says of its own.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    /// Numbers by device.
    numbers: HashMap<u64, u64>,
    /// Number and identity of those in the last snapshot.
    before: Vec<(u64, u64)>,
    /// Met since someone last asked.
    news: Vec<Volume>,
    /// Directories that others were mounted on at the last snapshot.
    bared: Vec<TreePath>,
}

impl Volumes {
    pub(super) fn new(before: Vec<(u64, u64)>) -> Self {
        Self { before, ..Self::default() }
    }

    /// The number of the file system that `stat` is on, if it was met before.
    pub(super) fn number(&self, stat: &Statx) -> Option<u64> {
        self.numbers.get(&Identity::of_stat(stat).device()).copied()
    }

    /// The number of the file system of an open file or directory at `path`. What writes of mappings to a
    /// new one are still in memory goes to disk first: later ones move the file's time then, so that a
    /// change after the copy shows.
    pub(super) fn meet(&mut self, fd: BorrowedFd<'_>, path: &TreePath, stat: &Statx) -> u64 {
        if let Some(number) = self.number(stat) {
            self.look_for_bared(path);
            return number;
        }
        let number = if self.numbers.is_empty() { 0 } else { number_of(path) };
        let magic = Magic::of(fd);
        if magic.is_local_disk() {
            // One that cannot be written, or not wholly, has no more to say than this.
            let _ = syncfs(fd);
        }
        let identity = magic.identity(fd);
        let was = self.before.iter().find(|(was, _)| *was == number).map(|(_, was)| *was);
        let is_other = was.is_none_or(|was| was != 0 && identity != 0 && was != identity);
        self.numbers.insert(Identity::of_stat(stat).device(), number);
        self.news.push(Volume {
            number,
            identity,
            has_local_clock: magic.has_local_clock(),
            is_believed: magic.has_telling_times() && !is_other,
        });
        number
    }

    /// Notes a directory that something was mounted on at the last snapshot and is not any more: what
    /// shows there now was never compared.
    fn look_for_bared(&mut self, path: &TreePath) {
        let has_others = self.before.iter().any(|(number, _)| *number != 0);
        if has_others && !path.is_root() {
            let number = number_of(path);
            let was_mounted = self.before.iter().any(|(was, _)| *was == number);
            if was_mounted && !self.numbers.values().any(|met| *met == number) {
                self.bared.push(path.clone());
            }
        }
    }

    /// What was met since the last call.
    pub(super) fn take_news(&mut self) -> (Vec<Volume>, Vec<TreePath>) {
        (std::mem::take(&mut self.news), std::mem::take(&mut self.bared))
    }
}

/// The number of a file system that is first met at `path`; never 0.
pub(super) fn number_of(path: &TreePath) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    let number = hash.as_bytes().first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes));
    number.max(1)
}
