//! Entries that the destination refused: an immutable file, a name that the file system cannot hold, a
//! directory that someone else owns. One of them does not end a restore. Each is named, what lies below a
//! refused directory is counted, and everything else is restored.

use std::collections::{BTreeSet, HashSet};
use std::error::Error as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::destination::Error;
use crate::entry::TreePath;

/// Named one by one; a destination that refuses a million files must not fill the memory.
const LISTED: usize = 10_000;

/// An entry that was not restored, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is, or would be, in the destination.
    pub path: TreePath,
    /// What was refused, where, and why.
    pub detail: String,
}

/// What a destination refused: the first of it by name, and all of it by number.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Refusals {
    /// The first ones.
    pub listed: Vec<Refusal>,
    /// How many entries there are, those below refused directories included.
    pub count: u64,
}

/// Collects refusals from all threads.
#[derive(Debug, Default)]
pub(super) struct Refused {
    collected: Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    refusals: Refusals,
    /// Directories that are not there, or not ours to work in. None lies below another.
    directories: BTreeSet<TreePath>,
    /// Files with further names that are not there: nothing can be linked to them.
    lost: HashSet<TreePath>,
}

impl Refused {
    /// Lets through what went well, and what ends the restore; takes note of a refusal.
    pub(super) fn take_in<T>(
        &self,
        path: &TreePath,
        outcome: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.ends_restore() => Err(error),
            Err(error) => {
                self.add(path, &error);
                Ok(None)
            }
        }
    }

    /// The same for the making of a directory: everything below it is refused with it.
    pub(super) fn take_in_directory(
        &self,
        path: &TreePath,
        outcome: Result<(), Error>,
    ) -> Result<(), Error> {
        if self.take_in(path, outcome)?.is_none() {
            self.lock().directories.insert(path.clone());
        }
        Ok(())
    }

    /// Takes note of a refusal.
    pub(super) fn add(&self, path: &TreePath, error: &Error) {
        let mut collected = self.lock();
        collected.refusals.count += 1;
        if collected.refusals.listed.len() < LISTED {
            let mut detail = error.to_string();
            if let Some(cause) = error.source() {
                detail = format!("{detail}: {cause}");
            }
            collected.refusals.listed.push(Refusal { path: path.clone(), detail });
        }
    }

    /// Counts an entry that is refused with the directory above it.
    pub(super) fn add_below(&self) {
        self.lock().refusals.count += 1;
    }

    /// Whether a path is a refused directory, or lies below one.
    pub(super) fn covers(&self, path: &TreePath) -> bool {
        // In path order, all that lies below a directory follows it at once.
        let collected = self.lock();
        let before = collected.directories.range(..=path).next_back();
        before.is_some_and(|directory| path.starts_with(directory))
    }

    /// Takes note that a file with further names is not there.
    pub(super) fn lose(&self, path: &TreePath) {
        self.lock().lost.insert(path.clone());
    }

    /// Whether a file with further names is not there.
    pub(super) fn has_lost(&self, path: &TreePath) -> bool {
        self.lock().lost.contains(path)
    }

    /// Whether nothing was refused.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().refusals.count == 0
    }

    /// All that was refused.
    pub(super) fn take(&self) -> Refusals {
        std::mem::take(&mut self.lock().refusals)
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text).unwrap()
    }

    fn refusal() -> Error {
        Error::InTheWay { path: "x".into(), reason: "it is".into() }
    }

    #[test]
    fn what_lies_below_a_refused_directory_is_covered() {
        let refused = Refused::default();
        for name in ["a/b", "c"] {
            refused.take_in_directory(&path(name), Err(refusal())).unwrap();
        }
        for (name, expected) in
            [("a/b", true), ("a/b/c/d", true), ("a/b.c", false), ("a", false), ("c/x", true)]
        {
            assert_eq!(refused.covers(&path(name)), expected, "{name}");
        }
        refused.add_below();
        assert_eq!(refused.take().count, 3);
    }

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let refused = Refused::default();
        for _ in 0..LISTED + 3 {
            refused.add(&path("f"), &refusal());
        }
        let all = refused.take();
        assert_eq!((all.listed.len(), all.count), (LISTED, 10_003));
    }
}
