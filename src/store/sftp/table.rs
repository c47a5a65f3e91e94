//! Who waits for which answer of one session. Answers come in the task that decrypts them; here they
//! find whoever asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};

use super::open_file::Orphan;
use super::wire::{Malformed, Receiver, Reply};
use crate::store::remote::Attempt;
use crate::world::Stopwatch;

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server said so: a code, and a text for people.
    Status(u32, String),
    /// The session ended: one line that says why.
    Lost(String),
    /// The server answered something else than was asked.
    Odd,
}

/// Bytes of a file on their way into a buffer.
#[derive(Debug)]
pub(super) struct Piece {
    /// What was there before, and behind it what came.
    pub(super) buffer: BytesMut,
    /// Why nothing came, if so.
    pub(super) trouble: Option<Trouble>,
}

type Sender<T> = oneshot::Sender<T>;

/// The number under which the greeting's answer is waited for.
const GREETING: u32 = 0;

/// Who waits for one answer.
enum Waiting {
    /// For anything but data.
    Reply(Sender<Result<Reply, Trouble>>),
    /// For up to so many bytes, which go into this buffer.
    Piece(BytesMut, usize, Sender<Piece>),
    /// Nobody, but this file is removed only once it comes.
    Removal(Orphan),
    /// Nobody: whatever it is, it is as good as any other.
    Nobody,
}

#[derive(Default)]
struct Inner {
    /// Why the session ended.
    ended: Option<String>,
    last_id: u32,
    waiting: HashMap<u32, Waiting>,
    /// Whoever runs requests in this session, and wants to know that the server is alive.
    attempts: Vec<Arc<Attempt>>,
    /// Handles that came when who had asked for them was gone.
    unwanted: Vec<Bytes>,
}

impl Inner {
    fn next_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            // After four thousand million requests, numbers come again; one may still be in use.
            if self.last_id != GREETING && !self.waiting.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// One session's.
pub(super) struct Table {
    inner: Mutex<Inner>,
    started: Stopwatch,
    /// When the server was last heard, in milliseconds from the start.
    heard_ms: AtomicU64,
    /// Tells that the session ended.
    end: Notify,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let mut text = f.debug_struct("Table");
        text.field("ended", &inner.ended).field("waiting", &inner.waiting.len());
        text.finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            started: Stopwatch::start(),
            heard_ms: AtomicU64::new(0),
            end: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to the greeting will come, which has no number.
    pub(super) fn expect_greeting(&self) -> oneshot::Receiver<Result<Reply, Trouble>> {
        let (sender, receiver) = oneshot::channel();
        self.insert(Some(GREETING), Waiting::Reply(sender));
        receiver
    }

    /// The number of a new request, and where its answer will come.
    pub(super) fn expect_reply(&self) -> (u32, oneshot::Receiver<Result<Reply, Trouble>>) {
        let (sender, receiver) = oneshot::channel();
        (self.insert(None, Waiting::Reply(sender)), receiver)
    }

    /// The same for data, at most `length` bytes of it, to be put behind what `buffer` holds.
    pub(super) fn expect_piece(
        &self,
        buffer: BytesMut,
        length: usize,
    ) -> (u32, oneshot::Receiver<Piece>) {
        let (sender, receiver) = oneshot::channel();
        (self.insert(None, Waiting::Piece(buffer, length, sender)), receiver)
    }

    /// The number of a request whose answer nobody waits for.
    pub(super) fn expect_nothing(&self) -> u32 {
        self.insert(None, Waiting::Nobody)
    }

    /// The same for the removal of a file; another session is to remove it if no answer comes.
    pub(super) fn expect_removal(&self, orphan: Orphan) -> u32 {
        self.insert(None, Waiting::Removal(orphan))
    }

    fn insert(&self, id: Option<u32>, waiting: Waiting) -> u32 {
        let mut inner = self.lock();
        if let Some(reason) = &inner.ended {
            waiting.lose(reason);
            return GREETING;
        }
        if inner.waiting.is_empty() {
            // Silence before anything was asked means nothing.
            self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        }
        let id = id.unwrap_or_else(|| inner.next_id());
        inner.waiting.insert(id, waiting);
        id
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends the session, if it has not ended: all who wait are told why.
    pub(super) fn end(&self, reason: &str) {
        let waiting = {
            let mut inner = self.lock();
            if inner.ended.is_some() {
                return;
            }
            inner.ended = Some(reason.to_owned());
            std::mem::take(&mut inner.waiting)
        };
        self.end.notify_waiters();
        for (_, waiting) in waiting {
            waiting.lose(reason);
        }
    }

    /// Why the session ended.
    pub(super) fn ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }

    /// Returns once the session has ended.
    pub(super) async fn until_end(&self) {
        let end = self.end.notified();
        tokio::pin!(end);
        // From here on nothing is missed, so look once more.
        end.as_mut().enable();
        if self.lock().ended.is_none() {
            end.await;
        }
    }

    /// The server gave a sign of life.
    pub(super) fn hear(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        for attempt in &self.lock().attempts {
            attempt.moved();
        }
    }

    /// For how long something was waited for in vain; none while nothing is.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        if self.lock().waiting.is_empty() {
            return None;
        }
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.started.elapsed().checked_sub(heard)
    }

    /// Signs of life count for `attempt` from now on.
    pub(super) fn watch(&self, attempt: &Arc<Attempt>) {
        self.lock().attempts.push(Arc::clone(attempt));
    }

    /// And no more.
    pub(super) fn unwatch(&self, attempt: &Arc<Attempt>) {
        let mut inner = self.lock();
        if let Some(at) = inner.attempts.iter().position(|other| Arc::ptr_eq(other, attempt)) {
            inner.attempts.swap_remove(at);
        }
    }

    /// Handles to be given back.
    pub(super) fn take_unwanted(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.lock().unwanted)
    }
}

impl Waiting {
    fn lose(self, reason: &str) {
        // Who is gone need not be told.
        match self {
            Self::Reply(sender) => drop(sender.send(Err(Trouble::Lost(reason.to_owned())))),
            Self::Piece(buffer, _, sender) => {
                let trouble = Some(Trouble::Lost(reason.to_owned()));
                drop(sender.send(Piece { buffer, trouble }));
            }
            Self::Removal(orphan) => orphan.keep(),
            Self::Nobody => {}
        }
    }
}

impl Receiver for &Table {
    fn place_for(&mut self, id: u32, length: usize) -> Result<BytesMut, Malformed> {
        match self.lock().waiting.get_mut(&id) {
            Some(Waiting::Piece(buffer, most, _)) if length <= *most => Ok(std::mem::take(buffer)),
            _ => Err(Malformed("it sends data that nobody asked for")),
        }
    }

    fn filled(&mut self, id: u32, buffer: BytesMut) {
        let waiting = self.lock().waiting.remove(&id);
        if let Some(Waiting::Piece(_, _, sender)) = waiting {
            // Who is gone wants nothing.
            drop(sender.send(Piece { buffer, trouble: None }));
        }
    }

    fn reply(&mut self, id: u32, reply: Reply) -> Result<(), Malformed> {
        let waiting = self.lock().waiting.remove(&id);
        match waiting {
            None => return Err(Malformed("it answers what nobody asked")),
            // Where it could not be removed, trying once more helps nothing.
            Some(Waiting::Removal(_) | Waiting::Nobody) => {}
            Some(Waiting::Piece(buffer, _, sender)) => {
                let trouble = match reply {
                    Reply::Status(code, text) => Trouble::Status(code, text),
                    _ => Trouble::Odd,
                };
                drop(sender.send(Piece { buffer, trouble: Some(trouble) }));
            }
            Some(Waiting::Reply(sender)) => {
                if let Err(Ok(Reply::Handle(handle))) = sender.send(Ok(reply)) {
                    self.lock().unwanted.push(handle);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::status;
    use super::*;

    #[tokio::test]
    async fn answers_find_who_asked() {
        let table = Table::new();
        let (first, first_answer) = table.expect_reply();
        let (second, second_answer) = table.expect_piece(BytesMut::from("ab"), 3);
        assert!((&table).place_for(second, 4).is_err(), "more than was asked for");
        let mut buffer = (&table).place_for(second, 3).unwrap();
        buffer.extend_from_slice(b"cde");
        (&table).filled(second, buffer);
        assert_eq!(second_answer.await.unwrap().buffer, "abcde");
        (&table).reply(first, Reply::Status(status::OK, String::new())).unwrap();
        assert_eq!(first_answer.await.unwrap(), Ok(Reply::Status(status::OK, String::new())));
        assert!((&table).reply(first, Reply::Handle(Bytes::new())).is_err(), "asked once only");
    }

    #[tokio::test]
    async fn everybody_learns_of_the_end_once() {
        let table = Table::new();
        let (_, before) = table.expect_reply();
        table.end("gone");
        table.end("gone twice");
        let (_, after) = table.expect_piece(BytesMut::new(), 1);
        assert_eq!(before.await.unwrap(), Err(Trouble::Lost("gone".to_owned())));
        assert_eq!(after.await.unwrap().trouble, Some(Trouble::Lost("gone".to_owned())));
        table.until_end().await;
    }

    #[test]
    fn keeps_handles_that_nobody_wants() {
        let table = Table::new();
        let (id, answer) = table.expect_reply();
        drop(answer);
        (&table).reply(id, Reply::Handle(Bytes::from("h"))).unwrap();
        assert_eq!(table.take_unwanted(), ["h"]);
    }

    #[tokio::test(start_paused = true)]
    async fn knows_how_long_it_waited() {
        let table = Table::new();
        assert_eq!(table.silent_for(), None);
        tokio::time::sleep(Duration::from_mins(15)).await;
        let (_, _answer) = table.expect_reply();
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(table.silent_for(), Some(Duration::from_secs(40)));
        table.hear();
        assert_eq!(table.silent_for(), Some(Duration::ZERO));
    }
}
