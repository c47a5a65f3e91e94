//! The world around a run: clock, randomness and CPU, the three things besides the store that a
//! deterministic simulation must hold in its hand. The only home of "now" and of thread pools.

mod clock;
mod cpu;
mod random;

use std::sync::Arc;

pub use clock::{Clock, ManualClock, Stopwatch, SystemClock};
pub use cpu::Cpu;
pub use random::{Random, SeededRandom, SystemRandom};

/// Clock, randomness and CPU pool, handed down from `main` or from a test. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers and secrets come from.
    pub random: Arc<dyn Random>,
    /// Where work runs that keeps a core busy or waits for a disk.
    pub cpu: Cpu,
}

impl World {
    /// The real one: system clock, the operating system's randomness, a thread per core.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            cpu: Cpu::threads(std::thread::available_parallelism().map_or(2, Into::into)),
        }
    }

    /// A world in which nothing happens by itself: a clock that stands still, numbers from `seed`,
    /// and CPU work done where it is asked for.
    pub fn still(seed: u64) -> Self {
        Self {
            clock: Arc::new(ManualClock::default()),
            random: Arc::new(SeededRandom::new(seed)),
            cpu: Cpu::inline(),
        }
    }
}
