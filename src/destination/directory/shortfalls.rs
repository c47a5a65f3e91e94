//! What a restore could not give, collected from all threads and bounded in memory.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{Shortfall, ShortfallKind, Shortfalls};
use crate::entry::TreePath;

/// Listed one by one; a restore of a million foreign owners as non-root must not fill the memory.
const LISTED: usize = 10_000;

/// A bounded list and the full counts.
#[derive(Debug, Default)]
pub(super) struct Collector {
    collected: Mutex<Shortfalls>,
}

impl Collector {
    /// Notes that an entry lacks something whose kind says all.
    pub(super) fn add(&self, path: &TreePath, kind: ShortfallKind, detail: impl Display) {
        self.add_named(path, kind, kind.as_str(), detail);
    }

    /// Notes that an entry lacks `what`.
    pub(super) fn add_named(
        &self,
        path: &TreePath,
        kind: ShortfallKind,
        what: impl Into<String>,
        detail: impl Display,
    ) {
        let mut collected = self.lock();
        *collected.counts.entry(kind).or_default() += 1;
        if collected.listed.len() < LISTED {
            let (path, what, detail) = (path.clone(), what.into(), detail.to_string());
            collected.listed.push(Shortfall { path, kind, what, detail });
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().count()
    }

    pub(super) fn take(&self) -> Shortfalls {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Shortfalls> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_counts_are_not() {
        let shortfalls = Collector::default();
        for _ in 0..LISTED + 7 {
            shortfalls.add(&TreePath::root(), ShortfallKind::Owner, "not permitted");
        }
        shortfalls.add(&TreePath::root(), ShortfallKind::Mode, "not permitted");
        assert_eq!(shortfalls.count(), 10_008);
        let all = shortfalls.take();
        assert_eq!(all.listed.len(), LISTED);
        assert_eq!(all.count_of(|kind| kind != ShortfallKind::Owner), 1);
        assert_eq!(shortfalls.count(), 0);
    }
}
