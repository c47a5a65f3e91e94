//! A limit on bytes per second, shared by all that passes one way.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::attempt::Attempt;
use crate::world::Stopwatch;

/// What may be sent at once after a pause, in seconds of the limit.
const BURST: Duration = Duration::from_millis(100);

/// Lets bytes through at a limited speed; without a limit, all at once.
#[derive(Debug)]
pub(in crate::store) struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    watch: Stopwatch,
    /// When all that was let through so far will have passed, on the watch.
    free_at: Mutex<Duration>,
}

impl Pace {
    /// At most so many bytes per second.
    pub(in crate::store) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, watch: Stopwatch::start(), free_at: Mutex::default() }
    }

    /// Returns when `count` bytes may pass. Who asks first goes first. An attempt that waits here is not
    /// held to be silent.
    pub(in crate::store) async fn pass(&self, count: usize) {
        let Some(wait) = self.book(count) else {
            return;
        };
        let _held = Attempt::current().hold_back();
        tokio::time::sleep(wait).await;
    }

    fn book(&self, count: usize) -> Option<Duration> {
        let bytes_per_second = self.bytes_per_second?.get();
        let takes = Duration::from_secs_f64(count as f64 / bytes_per_second as f64);
        let now = self.watch.elapsed();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = (*free_at).max(now.saturating_sub(BURST)) + takes;
        free_at.checked_sub(now).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_the_speed_whoever_asks() {
        let pace = Pace::new(NonZeroU64::new(1_000_000));
        let started = Stopwatch::start();
        let one = async {
            for _ in 0..50 {
                pace.pass(50_000).await;
            }
        };
        let other = async {
            for _ in 0..250 {
                pace.pass(10_000).await;
            }
        };
        tokio::join!(one, other);
        let seconds = started.elapsed().as_secs_f64();
        assert!((4.8..5.1).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_does_not_save_up() {
        let pace = Pace::new(NonZeroU64::new(1_000));
        tokio::time::sleep(Duration::from_mins(10)).await;
        let started = Stopwatch::start();
        pace.pass(10_000).await;
        assert!(started.elapsed() > Duration::from_secs(9));
    }

    /// With a low limit and many who wait, the last one's turn comes after more than a minute.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_limit_is_not_silent() {
        let pace = Pace::new(NonZeroU64::new(32 << 10));
        let waiting = async {
            pace.pass(4 << 20).await;
            Ok(())
        };
        super::super::attempt::watched(&std::sync::Arc::default(), waiting).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        Pace::new(None).pass(usize::MAX).await;
    }
}
