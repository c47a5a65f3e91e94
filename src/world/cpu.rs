//! The one door from async code to work that keeps a core busy or blocks on a file.
//!
//! A fixed pool with one queue: `spawn_blocking` would start up to 512 threads and has no
//! back-pressure. A caller holds a permit from before its job is queued until the job is done, so
//! no more jobs exist than there are permits, and a cancelled caller does not free its slot early.
//! Beside it stands one thread, with a queue like it, for what only waits: a thread of the pool that
//! waits for a disk is a core that idles.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs waiting per thread, beyond the one that runs: enough to keep threads busy, few enough to
/// bound the buffers that jobs hold.
const QUEUED_PER_THREAD: usize = 2;

/// A handle to the pools; clones share it. The threads end with the last handle.
#[derive(Clone)]
pub struct Cpu {
    pools: Option<Arc<Pools>>,
}

struct Pools {
    busy: Pool,
    waiting: Pool,
}

struct Pool {
    jobs: Sender<Job>,
    slots: Arc<Semaphore>,
    threads: usize,
}

impl Pool {
    #[expect(clippy::expect_used, reason = "a process that cannot start a thread cannot go on")]
    fn start(name: &str, threads: usize) -> Self {
        let (jobs, queue) = unbounded::<Job>();
        for number in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || queue.into_iter().for_each(|job| job()))
                .expect("starting a thread of a pool");
        }
        let slots = Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD)));
        Self { jobs, slots, threads }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(permit);
            // The caller may have gone; then nobody wants the answer.
            drop(answer.send(outcome));
        });
        if let Err(refused) = self.jobs.send(job) {
            // No thread is left to take it: do it here rather than never.
            (refused.into_inner())();
        }
        match answered.await {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("a job always answers before it is dropped"),
        }
    }
}

impl Cpu {
    /// A pool of `threads` threads (at least one).
    pub fn threads(threads: usize) -> Self {
        let busy = Pool::start("cpu", threads.max(1));
        let waiting = Pool::start("wait", 1);
        Self { pools: Some(Arc::new(Pools { busy, waiting })) }
    }

    /// No threads: each job runs where it is asked for, at once. For simulations.
    pub fn inline() -> Self {
        Self { pools: None }
    }

    /// How many jobs can run at the same time.
    pub fn parallelism(&self) -> usize {
        self.pools.as_ref().map_or(1, |pools| pools.busy.threads)
    }

    /// Runs `work` on the pool and returns what it returns; a panic in it is passed on. Waits
    /// first while the queue is full.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match &self.pools {
            Some(pools) => pools.busy.run(work).await,
            None => work(),
        }
    }

    /// The same for `work` that takes no core but long: it waits for a disk, say. One at a time.
    pub async fn run_waiting<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match &self.pools {
            Some(pools) => pools.waiting.run(work).await,
            None => work(),
        }
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").field("threads", &self.parallelism()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_and_passes_panics_on() {
        for cpu in [Cpu::threads(2), Cpu::inline()] {
            assert_eq!(cpu.run(|| 6 * 7).await, 42);
            assert_eq!(cpu.run_waiting(|| 6 * 7).await, 42);
        }
        let cpu = Cpu::threads(1);
        let task = tokio::spawn(async move { cpu.run(|| panic!("on purpose")).await });
        assert!(task.await.unwrap_err().is_panic());
    }

    /// What waits takes none of the pool's threads.
    #[tokio::test]
    async fn waiting_keeps_no_core_from_its_work() {
        let cpu = Cpu::threads(1);
        let (release, released) = std::sync::mpsc::channel();
        let other = cpu.clone();
        let waiting = tokio::spawn(async move { other.run_waiting(move || released.recv()).await });
        tokio::task::yield_now().await;
        cpu.run(move || release.send(())).await.unwrap();
        waiting.await.unwrap().unwrap();
    }
}
