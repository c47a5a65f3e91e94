//! Trying again while that may help, and giving up on a request that has stopped moving.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::failure::Failure;
use crate::world::{Random, SystemRandom};

/// Attempts against a server that has answered before: about 40 seconds of waiting in all.
const ATTEMPTS: u32 = 10;

/// Attempts while no answer has ever come: about 3 seconds, so that a wrong address is reported
/// soon, yet a Pod whose network policy is still being applied gets through.
const FIRST_CONTACT_ATTEMPTS: u32 = 6;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// How long any request may take before its bytes are counted.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// The slowest transfer we wait for: four at a time on a line of 1 Mbit/s.
const SLOWEST_BYTES_PER_SECOND: u64 = 30_000;

/// The loop around each request.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Whether the server has ever answered.
    reached: AtomicBool,
}

impl Retry {
    /// Runs `attempt` until it succeeds, fails for good, or has failed too often. Each attempt has
    /// the time that `transfer_bytes` take on a slow line.
    pub(super) async fn run<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        transfer_bytes: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let mut attempts = 0;
        loop {
            let outcome = tokio::time::timeout(allowance(transfer_bytes), attempt()).await;
            let failure = match outcome {
                Ok(Ok(value)) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::timed_out(allowance(transfer_bytes)),
            };
            if failure.is_answer() {
                self.reached.store(true, Ordering::Relaxed);
            }
            attempts += 1;
            let most = if self.reached.load(Ordering::Relaxed) {
                ATTEMPTS
            } else {
                FIRST_CONTACT_ATTEMPTS
            };
            if !failure.may_pass() || attempts >= most {
                return Err(failure);
            }
            let delay = delay_after(attempts);
            tracing::debug!(attempts, ?delay, %failure, "trying again");
            tokio::time::sleep(delay).await;
        }
    }
}

fn allowance(transfer_bytes: u64) -> Duration {
    // A limit of "whatever the size" must not become an endless wait.
    let seconds = transfer_bytes.min(1 << 30) / SLOWEST_BYTES_PER_SECOND;
    ANSWER_TIMEOUT + Duration::from_secs(seconds)
}

/// Doubles with each attempt; half of it is chance, so that many clients do not return together.
fn delay_after(attempts: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << (attempts - 1).min(20));
    let [chance] = (&SystemRandom as &dyn Random).array();
    doubled.min(LONGEST_DELAY).mul_f64(0.5 + f64::from(chance) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_pack_time_on_a_slow_line() {
        // 32 MiB at 1 Mbit/s take 268 s; four of them share the line.
        assert!(allowance(32 << 20) > Duration::from_secs(4 * 268));
        assert_eq!(allowance(0), ANSWER_TIMEOUT);
    }

    #[test]
    fn waits_longer_each_time_but_never_too_long() {
        assert!(delay_after(1) <= FIRST_DELAY);
        assert!(delay_after(100) <= LONGEST_DELAY);
        assert!(delay_after(100) >= LONGEST_DELAY / 2);
    }
}
