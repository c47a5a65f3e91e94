//! The loop around each attempt: what may pass is tried again, with jitter, not before the server wants
//! it, and not for ever.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Failure;
use super::attempt::{Attempt, watched};
use crate::store::count::{Meter, RequestKind};
use crate::store::settings::Limits;
use crate::world::{Random, Stopwatch, SystemRandom};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(15);
/// Attempts that are made however long each takes.
const LEAST_ATTEMPTS: u32 = 3;

/// Patience, shared by all requests to one store.
#[derive(Debug)]
pub(super) struct Retry {
    /// How long after its first failure an operation is still tried.
    patience: Duration,
    /// The same while nobody has ever answered.
    first_contact: Duration,
    /// Requests under way.
    connections: Semaphore,
    /// Whether the server has ever answered.
    reached: AtomicBool,
    /// What succeeded so far, whoever asked for it.
    successes: AtomicU64,
    meter: Arc<Meter>,
}

impl Retry {
    pub(super) fn new(limits: &Limits, connections: usize, meter: Arc<Meter>) -> Self {
        Self {
            patience: limits.retry_for,
            first_contact: limits.first_contact.min(limits.retry_for),
            connections: Semaphore::new(connections.max(1)),
            reached: AtomicBool::new(false),
            successes: AtomicU64::new(0),
            meter,
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has been tried for too long.
    pub(super) async fn run<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        kind: RequestKind,
        transfer_bytes: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let mut attempts = 0;
        let mut failing: Option<Stopwatch> = None;
        let mut waited = Duration::ZERO;
        let (mut pauses, mut seen) = (0, self.successes.load(Ordering::Relaxed));
        loop {
            let current = Arc::new(Attempt::default());
            let outcome = {
                let _connection = self.connections.acquire().await;
                watched(&current, attempt()).await
            };
            let mut failure = match outcome {
                Ok(value) => {
                    self.reached.store(true, Ordering::Relaxed);
                    self.successes.fetch_add(1, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            if failure.is_answer || current.has_answered() {
                self.reached.store(true, Ordering::Relaxed);
            }
            attempts += 1;
            if !failure.may_pass() {
                return Err(failure);
            }
            // A line that broke and carries others again needs no long pause.
            let successes = self.successes.load(Ordering::Relaxed);
            pauses = if failure.is_answer || successes == seen { pauses + 1 } else { 1 };
            seen = successes;
            let spent = failing.get_or_insert_with(Stopwatch::start).elapsed();
            let named = failure.retry_after.unwrap_or_default();
            let delay = delay_after(pauses).max(named);
            let is_enough = attempts >= self.least_attempts()
                && spent.saturating_add(delay) > self.current_patience();
            // The least attempts may take longer than the patience, yet not by waiting; and to ask
            // before the named time is to be refused once more.
            let is_too_late = !named.is_zero() && waited.saturating_add(named) > self.patience;
            if is_enough || is_too_late {
                let is_early = is_enough && self.current_patience() < self.patience;
                failure.text = given_up(&failure, attempts, spent, is_early);
                return Err(failure);
            }
            tracing::debug!(attempts, ?delay, transfer_bytes, %failure, "trying again");
            let pause = delay.min(self.patience);
            tokio::time::sleep(pause).await;
            waited += pause;
            self.meter.retry(kind);
        }
    }

    /// Counts a request that no caller asked for.
    pub(super) fn count(&self, kind: RequestKind) {
        self.meter.request(kind);
    }

    fn current_patience(&self) -> Duration {
        if self.reached.load(Ordering::Relaxed) { self.patience } else { self.first_contact }
    }

    fn least_attempts(&self) -> u32 {
        if self.reached.load(Ordering::Relaxed) { LEAST_ATTEMPTS } else { 1 }
    }
}

/// The text of a failure that is tried no more.
fn given_up(failure: &Failure, attempts: u32, spent: Duration, is_early: bool) -> String {
    let mut text = format!("{} (tried {attempts} times in {} s", failure.text, spent.as_secs());
    if let Some(named) = failure.retry_after {
        // Never fails: a text takes all.
        _ = write!(text, "; the server wants to be asked again in {} s", named.as_secs());
    } else if is_early {
        text.push_str("; a server that starts later is waited for with --retry-for 5m");
    }
    text + ")"
}

/// Doubles with each attempt; half of it is chance, so that many clients do not return together.
fn delay_after(pauses: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << pauses.saturating_sub(1).min(20));
    let [chance] = (&SystemRandom as &dyn Random).array();
    doubled.min(LONGEST_DELAY).mul_f64(0.5 + f64::from(chance) / 512.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::super::Kind;
    use super::*;
    use crate::class::Class;
    use crate::store::LimitsGiven;

    fn retry() -> Retry {
        Retry::new(&Limits::default(), 4, Arc::default())
    }

    fn busy(retry_after: Option<Duration>) -> Failure {
        let failure = Failure::answer(Kind::Object, Class::Transient, "busy");
        Failure { retry_after, ..failure }
    }

    #[test]
    fn waits_longer_each_time_but_never_too_long() {
        assert!(delay_after(1) <= FIRST_DELAY);
        assert!(delay_after(100) <= LONGEST_DELAY);
        assert!(delay_after(100) >= LONGEST_DELAY / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn outlives_a_restart_of_the_server_and_counts() {
        let (retry, calls) = (retry(), AtomicU32::new(0));
        let up_again = Stopwatch::start();
        let attempt = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            let is_up = calls.load(Ordering::Relaxed) > 1 && up_again.elapsed().as_secs() > 120;
            if is_up { Ok(()) } else { Err(busy(None)) }
        };
        retry.run(RequestKind::Put, 0, attempt).await.unwrap();
        let repeats = u64::from(calls.load(Ordering::Relaxed)) - 1;
        let usage = retry.meter.usage();
        assert_eq!((usage.retries, usage.put_requests), (repeats, repeats));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_in_the_end_and_says_how_long_it_tried() {
        let started = Stopwatch::start();
        let retry = retry();
        let failure = retry.run(RequestKind::Get, 0, || async { Err::<(), _>(busy(None)) });
        let failure = failure.await.unwrap_err();
        assert!(started.elapsed() <= Limits::default().retry_for);
        assert!(started.elapsed() + LONGEST_DELAY >= Limits::default().retry_for);
        assert!(failure.text.contains("times in"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_address_is_reported_soon() {
        let started = Stopwatch::start();
        let nobody = || async { Err::<(), _>(Failure::transient("cannot connect")) };
        let failure = retry().run(RequestKind::Get, 0, nobody).await.unwrap_err();
        assert!(started.elapsed() <= Limits::default().first_contact);
        assert!(failure.text.contains("--retry-for"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_how_long_waits_as_long_for_the_first_contact() {
        let given =
            LimitsGiven { retry_for: Some(Duration::from_mins(2)), ..LimitsGiven::default() };
        let retry = Retry::new(&given.limits(), 4, Arc::default());
        let started = Stopwatch::start();
        let nobody = || async { Err::<(), _>(Failure::transient("cannot connect")) };
        let failure = retry.run(RequestKind::Get, 0, nobody).await.unwrap_err();
        assert!(started.elapsed() + LONGEST_DELAY >= Duration::from_mins(2));
        assert!(!failure.text.contains("--retry-for"), "{failure}");
        let started = Stopwatch::start();
        let opens = || async {
            match started.elapsed().as_secs() {
                0..90 => Err(Failure::transient("cannot connect")),
                _ => Ok(()),
            }
        };
        retry.run(RequestKind::Get, 0, opens).await.unwrap();
    }

    /// A first upload over a line that breaks again and again: nobody answered it, yet the server is there.
    #[tokio::test(start_paused = true)]
    async fn whoever_let_us_in_is_no_wrong_address() {
        let (retry, calls) = (retry(), AtomicU32::new(0));
        let attempt = || async {
            Attempt::current().answered();
            match calls.fetch_add(1, Ordering::Relaxed) {
                0..10 => Err(Failure::transient("connection lost")),
                _ => Ok(()),
            }
        };
        let started = Stopwatch::start();
        retry.run(RequestKind::Put, 0, attempt).await.unwrap();
        assert!(started.elapsed() > Limits::default().first_contact);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_when() {
        let (retry, calls) = (retry(), AtomicU32::new(0));
        let started = Stopwatch::start();
        let attempt = || async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(busy(Some(Duration::from_secs(40)))),
                _ => Ok(()),
            }
        };
        retry.run(RequestKind::Get, 0, attempt).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 40);
    }

    /// Fails some minutes after each call; returns what is said in the end, the calls, and the seconds.
    async fn fails(named: Duration, minutes: u32) -> (String, u32, u64) {
        let (calls, started) = (AtomicU32::new(0), Stopwatch::start());
        let attempt = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            for _ in 0..2 * minutes {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Attempt::current().moved();
            }
            Err::<(), _>(busy(Some(named)))
        };
        let failure = retry().run(RequestKind::Get, 0, attempt).await.unwrap_err();
        (failure.text, calls.load(Ordering::Relaxed), started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_time_beyond_the_patience_is_neither_waited_for_nor_ignored() {
        for named in [Duration::from_hours(1), Duration::MAX] {
            let (text, calls, seconds) = fails(named, 0).await;
            assert_eq!((calls, seconds), (1, 0));
            let when = format!("wants to be asked again in {} s", named.as_secs());
            assert!(text.contains(&when), "{text}");
        }
        // Within the patience once, but not twice.
        let (_, calls, seconds) = fails(Duration::from_secs(200), 0).await;
        assert_eq!((calls, seconds), (2, 200));
    }

    /// An upload may take longer than the patience.
    #[tokio::test(start_paused = true)]
    async fn a_short_time_is_waited_for_however_long_attempts_take() {
        let (_, calls, _) = fails(Duration::from_secs(2), 10).await;
        assert_eq!(calls, LEAST_ATTEMPTS);
    }

    #[tokio::test]
    async fn what_will_not_pass_is_asked_once() {
        let calls = AtomicU32::new(0);
        let attempt = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure::answer(Kind::Object, Class::Denied, "no"))
        };
        retry().run(RequestKind::Get, 0, attempt).await.unwrap_err();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
