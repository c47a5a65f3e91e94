//! The sessions of one store: one to begin with, more while much is to be moved. Servers let few in at a
//! time, and one connection moves no more than 2 MiB per round trip to OpenSSH.

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::connect::connect;
use super::session::Session;
use super::url::Location;
use crate::store::remote::{Attempt, Failure};
use crate::store::settings::Settings;
use crate::world::Stopwatch;

/// From so many bytes on, an operation rather waits for a session of its own than shares one.
const MUCH_BYTES: u64 = 1 << 20;
/// After how many operations at a time on one session another is opened for the small ones too.
const CROWD: usize = 4;
/// How long no further session is asked for after the server refused one.
const PAUSE: Duration = Duration::from_mins(1);
/// After so much silence, whoever gives up an operation gives up its session as well.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    sessions: Vec<Arc<Session>>,
    /// How many are being opened.
    opening: usize,
    /// When the last one failed to open while others were open.
    refused: Option<Stopwatch>,
    /// The failures to open a first one: how many, and the last.
    failures: u64,
    failure: Option<Failure>,
}

/// All sessions with one server.
pub(super) struct Pool {
    location: Arc<Location>,
    settings: Settings,
    most: usize,
    state: Mutex<State>,
    /// Tells that a session was opened, or not.
    changes: watch::Sender<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("sessions", &self.lock().sessions).finish_non_exhaustive()
    }
}

/// What to do for a session.
enum Choice {
    Use(Ticket),
    Open,
    /// Somebody opens the first one.
    Wait,
}

impl Pool {
    /// At most `most` sessions. Opens none yet.
    pub(super) fn new(location: Arc<Location>, settings: Settings, most: usize) -> Self {
        Self {
            location,
            settings,
            most,
            state: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for an operation that moves so many bytes, opened if need be.
    pub(super) async fn session(&self, transfer_bytes: u64) -> Result<Ticket, Failure> {
        let failures_before = self.lock().failures;
        loop {
            let mut changes = self.changes.subscribe();
            match self.choose(transfer_bytes) {
                Choice::Use(ticket) => return Ok(ticket),
                Choice::Open => {
                    if let Some(outcome) = self.open().await {
                        return outcome;
                    }
                }
                Choice::Wait => {
                    // Fails only without a sender, which is ours.
                    drop(changes.changed().await);
                    let state = self.lock();
                    // Whoever waited for the same server need not try it all over.
                    if state.failures > failures_before
                        && state.sessions.is_empty()
                        && let Some(failure) = &state.failure
                    {
                        return Err(failure.clone());
                    }
                }
            }
        }
    }

    fn choose(&self, transfer_bytes: u64) -> Choice {
        let mut state = self.lock();
        state.sessions.retain(|session| session.table().ended().is_none());
        let idlest = state.sessions.iter().min_by_key(|session| session.load());
        let Some(idlest) = idlest else {
            if state.opening > 0 {
                return Choice::Wait;
            }
            state.opening += 1;
            return Choice::Open;
        };
        let is_crowded = idlest.load() >= if transfer_bytes >= MUCH_BYTES { 1 } else { CROWD };
        let is_refused = state.refused.is_some_and(|since| since.elapsed() < PAUSE);
        if is_crowded && !is_refused && state.sessions.len() + state.opening < self.most {
            state.opening += 1;
            return Choice::Open;
        }
        Choice::Use(Ticket::new(Arc::clone(idlest)))
    }

    /// Opens a session. None if that failed, but there are others.
    async fn open(&self) -> Option<Result<Ticket, Failure>> {
        // Counts down and tells the others, also if this is given up in its midst.
        let opening = Opening(self);
        let outcome = connect(&self.location, &self.settings).await;
        let mut state = self.lock();
        let outcome = match outcome {
            Ok(session) => {
                let session = Arc::new(session);
                state.sessions.push(Arc::clone(&session));
                state.refused = None;
                Some(Ok(Ticket::new(session)))
            }
            Err(failure) if state.sessions.is_empty() => {
                state.failures += 1;
                state.failure = Some(failure.clone());
                Some(Err(failure))
            }
            Err(failure) => {
                tracing::debug!(%failure, open = state.sessions.len(), "no further connection");
                state.refused = Some(Stopwatch::start());
                None
            }
        };
        drop(state);
        drop(opening);
        outcome
    }
}

/// One session being opened.
struct Opening<'a>(&'a Pool);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.lock().opening -= 1;
        self.0.changes.send_replace(());
    }
}

/// The right to use a session for one operation.
#[derive(Debug)]
pub(super) struct Ticket {
    session: Arc<Session>,
    attempt: Arc<Attempt>,
}

impl Ticket {
    fn new(session: Arc<Session>) -> Self {
        let attempt = Attempt::current();
        session.load.fetch_add(1, Ordering::Relaxed);
        session.table().watch(&attempt);
        attempt.answered();
        Self { session, attempt }
    }

    /// The session, to say something in it when this operation is over.
    pub(super) fn shared(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }
}

impl Deref for Ticket {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session.table().unwatch(&self.attempt);
        self.session.load.fetch_sub(1, Ordering::Relaxed);
        if self.session.table().silent_for().is_some_and(|silent| silent >= SILENCE) {
            self.session.table().end("the server does not answer any more");
        }
    }
}
