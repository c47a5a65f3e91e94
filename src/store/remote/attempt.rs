//! One attempt as its watcher sees it: whether bytes still move. A pack may take many minutes on a slow
//! line, so no fixed time fits it; silence does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Failure;

/// Silence after which a peer is given up.
const SILENCE: Duration = Duration::from_mins(1);
/// How often it is looked for.
const TICK: Duration = Duration::from_secs(5);
/// What the kernel may still hold of an upload when the last byte was handed to it.
const SOCKET_BUFFER_BYTES: u64 = 4 << 20;
/// The slowest line that is waited for while the kernel sends that: four uploads at 1 Mbit/s.
const SLOWEST_BYTES_PER_SECOND: u64 = 30_000;

tokio::task_local! {
    static CURRENT: Arc<Attempt>;
}

/// The attempt under way.
#[derive(Debug, Default)]
pub(in crate::store) struct Attempt {
    moves: AtomicU64,
    drained_bytes: AtomicU64,
    /// Bodies that wait for a limit of our own.
    held_back: AtomicU32,
    has_answered: AtomicBool,
}

/// That a body waits for a limit of our own, until this is dropped.
#[derive(Debug)]
pub(in crate::store) struct HeldBack(Arc<Attempt>);

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.0.held_back.fetch_sub(1, Ordering::Relaxed);
        self.0.moved();
    }
}

impl Attempt {
    /// The one that the current task makes. Outside of any, one that nobody watches.
    pub(in crate::store) fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Bytes moved, in whichever direction, or the peer gave another sign of life.
    pub(in crate::store) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// The peer is there and let us in, whatever becomes of this attempt.
    pub(in crate::store) fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        self.moved();
    }

    /// Whether the peer has let us in.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// All of a body of `length_bytes` was handed to the kernel, where its end may wait for a slow line.
    pub(in crate::store) fn handed_over(&self, length_bytes: u64) {
        self.drained_bytes.store(length_bytes.min(SOCKET_BUFFER_BYTES), Ordering::Relaxed);
        self.moved();
    }

    /// From now on nothing moves because of a limit of our own, which is no silence of the peer.
    pub(in crate::store) fn hold_back(self: &Arc<Self>) -> HeldBack {
        self.held_back.fetch_add(1, Ordering::Relaxed);
        HeldBack(Arc::clone(self))
    }

    /// Whether a body waits for a limit of our own.
    pub(in crate::store) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed) > 0
    }

    fn patience(&self) -> Duration {
        let seconds = self.drained_bytes.load(Ordering::Relaxed) / SLOWEST_BYTES_PER_SECOND;
        SILENCE + Duration::from_secs(seconds)
    }

    /// Returns when nothing has moved for too long.
    async fn silence(&self) -> Duration {
        let (mut seen, mut silent) = (self.moves.load(Ordering::Relaxed), Duration::ZERO);
        loop {
            tokio::time::sleep(TICK).await;
            let now = self.moves.load(Ordering::Relaxed);
            let is_silent = now == seen && !self.is_held_back();
            silent = if is_silent { silent + TICK } else { Duration::ZERO };
            seen = now;
            if silent >= self.patience() {
                return silent;
            }
        }
    }
}

/// Does the work of one attempt, and gives it up where the peer falls silent.
pub(super) async fn watched<T>(
    attempt: &Arc<Attempt>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = CURRENT.scope(Arc::clone(attempt), work) => outcome,
        silent = attempt.silence() => Err(Failure::transient(format!(
            "nothing moved for {} s, so the connection was given up",
            silent.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_peer_is_noticed_in_a_minute() {
        let started = crate::world::Stopwatch::start();
        let failure =
            watched(&Arc::default(), std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(failure.class, crate::class::Class::Transient);
        assert_eq!(started.elapsed(), SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_is_not_dead() {
        // 32 MiB at 1 Mbit/s in pieces of 64 KiB.
        let work = async {
            let attempt = Attempt::current();
            for _ in 0..512 {
                tokio::time::sleep(Duration::from_millis(524)).await;
                attempt.moved();
            }
            Ok(())
        };
        watched(&Arc::default(), work).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_holds_is_waited_for() {
        let work = async {
            Attempt::current().handed_over(32 << 20);
            tokio::time::sleep(Duration::from_mins(3)).await;
            Ok(())
        };
        watched(&Arc::default(), work).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_our_own_is_no_silence() {
        let work = async {
            let held = Attempt::current().hold_back();
            tokio::time::sleep(Duration::from_mins(5)).await;
            drop(held);
            std::future::pending::<Result<(), _>>().await
        };
        let started = crate::world::Stopwatch::start();
        watched(&Arc::default(), work).await.unwrap_err();
        // From then on a peer is as dead as any.
        let seconds = started.elapsed().as_secs();
        assert!((360..370).contains(&seconds), "{seconds}");
    }
}
