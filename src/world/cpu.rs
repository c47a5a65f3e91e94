//! The one door from async code to work that keeps a core busy or blocks on a file.
//!
//! A fixed pool with one queue: `spawn_blocking` would start up to 512 threads and has no
//! back-pressure. A caller holds a permit from before its job is queued until the job is done, so
//! no more jobs exist than there are permits, and a cancelled caller does not free its slot early.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs waiting per thread, beyond the one that runs: enough to keep threads busy, few enough to
/// bound the buffers that jobs hold.
const QUEUED_PER_THREAD: usize = 2;

/// A handle to the pool; clones share it. The threads end with the last handle.
#[derive(Clone)]
pub struct Cpu {
    pool: Option<Arc<Pool>>,
}

struct Pool {
    jobs: Sender<Job>,
    slots: Arc<Semaphore>,
    threads: usize,
}

impl Cpu {
    /// A pool of `threads` threads (at least one).
    #[expect(clippy::expect_used, reason = "a process that cannot start a thread cannot go on")]
    pub fn threads(threads: usize) -> Self {
        let threads = threads.max(1);
        let (jobs, queue) = unbounded::<Job>();
        for number in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("cpu-{number}"))
                .spawn(move || queue.into_iter().for_each(|job| job()))
                .expect("starting a thread of the CPU pool");
        }
        let slots = Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD)));
        Self { pool: Some(Arc::new(Pool { jobs, slots, threads })) }
    }

    /// No threads: each job runs where it is asked for, at once. For simulations.
    pub fn inline() -> Self {
        Self { pool: None }
    }

    /// How many jobs can run at the same time.
    pub fn parallelism(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.threads)
    }

    /// Runs `work` on the pool and returns what it returns; a panic in it is passed on. Waits
    /// first while the queue is full.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(pool) = &self.pool else {
            return work();
        };
        let permit = Arc::clone(&pool.slots).acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(permit);
            // The caller may have gone; then nobody wants the answer.
            drop(answer.send(outcome));
        });
        if let Err(refused) = pool.jobs.send(job) {
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
        }
        let cpu = Cpu::threads(1);
        let task = tokio::spawn(async move { cpu.run(|| panic!("on purpose")).await });
        assert!(task.await.unwrap_err().is_panic());
    }
}
