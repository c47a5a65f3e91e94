//! What a restore could not give, collected from all threads and bounded in memory.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::Shortfall;
use crate::entry::TreePath;

/// Listed one by one; a restore of a million foreign owners as non-root must not fill the memory.
const LISTED: usize = 10_000;

/// A bounded list and the full count.
#[derive(Debug, Default)]
pub(super) struct Shortfalls {
    collected: Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    listed: Vec<Shortfall>,
    count: u64,
}

impl Shortfalls {
    pub(super) fn add(&self, path: &TreePath, what: impl Into<String>, detail: impl Display) {
        let mut collected = self.lock();
        collected.count += 1;
        if collected.listed.len() < LISTED {
            let shortfall =
                Shortfall { path: path.clone(), what: what.into(), detail: detail.to_string() };
            collected.listed.push(shortfall);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The list; where it was cut off, its last item says how many more there are.
    pub(super) fn take(&self) -> Vec<Shortfall> {
        let mut collected = self.lock();
        let mut listed = std::mem::take(&mut collected.listed);
        let listed_count = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        let more = collected.count.saturating_sub(listed_count);
        if more > 0 {
            listed.push(Shortfall {
                path: TreePath::root(),
                what: "more".to_owned(),
                detail: format!("{more} further shortfalls are not listed"),
            });
        }
        listed
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let shortfalls = Shortfalls::default();
        for _ in 0..LISTED + 7 {
            shortfalls.add(&TreePath::root(), "owner", "not permitted");
        }
        assert_eq!(shortfalls.count(), 10_007);
        let list = shortfalls.take();
        assert_eq!(list.len(), LISTED + 1);
        assert_eq!(list.last().unwrap().detail, "7 further shortfalls are not listed");
    }
}
