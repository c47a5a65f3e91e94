//! Writes that a server refuses without a reason though its disk has room. A disk that recovers lets
//! them pass soon; a quota that is used up never does, and nobody should wait for it as long as for a
//! server that restarts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::world::Stopwatch;

/// After fewer refusals it is too early to tell.
const LEAST_REFUSALS: u32 = 3;
/// Which part of all patience they may take.
const PART: u32 = 10;

/// Refusals since as much was last written.
#[derive(Debug)]
struct Row {
    since: Stopwatch,
    count: u32,
    /// The smallest of what was refused.
    size_bytes: u64,
}

/// The refusals of one store.
#[derive(Debug)]
pub(super) struct Refusals {
    row: Mutex<Option<Row>>,
    patience: Duration,
}

impl Refusals {
    /// None yet; whoever is refused tries again for `retry_for` otherwise.
    pub(super) fn new(retry_for: Duration) -> Self {
        Self { row: Mutex::default(), patience: retry_for / PART }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Row>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes were refused. Returns whether that will not pass.
    pub(super) fn add(&self, size_bytes: u64) -> bool {
        let mut row = self.lock();
        let row =
            row.get_or_insert_with(|| Row { since: Stopwatch::start(), count: 0, size_bytes });
        row.count = row.count.saturating_add(1);
        row.size_bytes = row.size_bytes.min(size_bytes);
        row.count >= LEAST_REFUSALS && row.since.elapsed() >= self.patience
    }

    /// So many bytes were written. Fewer than were refused prove nothing: each refused file is removed,
    /// which makes room for small ones.
    pub(super) fn forget(&self, size_bytes: u64) {
        self.lock().take_if(|row| size_bytes >= row.size_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_what_passes_from_what_does_not() {
        let refusals = Refusals::new(Duration::from_mins(5));
        // Many writers, refused at once.
        for _ in 0..16 {
            assert!(!refusals.add(100));
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        refusals.forget(99);
        assert!(refusals.add(100), "less was written meanwhile");
        refusals.forget(100);
        for _ in 1..LEAST_REFUSALS {
            assert!(!refusals.add(100), "as much was written meanwhile");
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        assert!(refusals.add(100));
    }
}
