//! Stores across a network. Each kind says in [`Remote`] what it can do *once*; [`RemoteStore`] puts the
//! one failure policy around it: what is tried again, for how long, and what a lost answer means.

mod attempt;
mod create;
mod failure;
mod listing;
mod pace;
mod retry;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::count::{Meter, RequestKind};
use super::settings::Limits;
use super::{Error, Key, Object, Store};
use crate::class::Class;

pub(super) use attempt::Attempt;
pub(super) use failure::{Failure, Kind};
pub(super) use pace::Pace;
use retry::Retry;

/// Which bytes of an object are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it, if there are no more than so many.
    Whole(u64),
    /// These; never an empty range.
    Range(Range<u64>),
    /// The last so many, or all if there are fewer; never none.
    Tail(u64),
    /// None: only the length is asked for.
    Nothing,
}

impl Wanted {
    /// The most bytes that an answer may bring.
    fn limit_bytes(&self) -> u64 {
        match self {
            Self::Whole(limit_bytes) => *limit_bytes,
            Self::Range(range) => range.end - range.start,
            Self::Tail(length_bytes) => *length_bytes,
            Self::Nothing => 0,
        }
    }
}

impl Wanted {
    /// Refuses an answer that is not what was asked for: a server that knows no ranges must not pass for
    /// one whose object is short.
    fn check(&self, found: Found) -> Result<Found, Failure> {
        let size_bytes = found.size_bytes;
        let expected = match self {
            Self::Whole(limit_bytes) if size_bytes > *limit_bytes => 0,
            Self::Whole(_) => size_bytes,
            Self::Range(range) if size_bytes < range.end => 0,
            Self::Range(range) => range.end - range.start,
            Self::Tail(length_bytes) => size_bytes.min(*length_bytes),
            Self::Nothing => 0,
        };
        if found.content.len() as u64 == expected {
            return Ok(found);
        }
        let text = format!(
            "the server sent {} bytes where {expected} were asked for; it cannot hold a repository",
            found.content.len()
        );
        Err(Failure::answer(Kind::Object, Class::Config, text))
    }
}

/// What a read brought.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The bytes wanted; empty where the object is too long for [`Wanted::Whole`] or too short for
    /// [`Wanted::Range`].
    pub(super) content: Bytes,
    /// The object's length.
    pub(super) size_bytes: u64,
}

/// What one kind of store can do, each call being one attempt without patience. Whoever implements it
/// reports moving bytes to [`Attempt::current`], so that a slow line is told from a dead one.
#[async_trait]
pub(super) trait Remote: Send + Sync + Debug {
    /// Stores `parts` under `key` if nothing is there. Durable and whole, or not visible at all.
    ///
    /// # Errors
    /// [`Kind::Exists`] where something is there, whoever made it.
    async fn create(&self, key: &Key, parts: &[Bytes]) -> Result<(), Failure>;

    /// Reads.
    ///
    /// # Errors
    /// [`Kind::Missing`] where there is no object.
    async fn read(&self, key: &Key, wanted: &Wanted) -> Result<Found, Failure>;

    /// Removes an object. A missing one is [`Kind::Missing`] or success.
    async fn delete(&self, key: &Key) -> Result<(), Failure>;

    /// Replaces an object that a probe made. What fails with [`Class::Denied`] or [`Kind::Exists`] was not
    /// allowed to.
    async fn overwrite_probe(&self, key: &Key, content: &Bytes) -> Result<(), Failure>;

    /// The objects whose keys start with `prefix`.
    fn pages(&self, prefix: &str) -> Box<dyn Pages + '_>;

    /// The first of them in the order of keys.
    async fn first(&self, prefix: &str) -> Result<Option<Object>, Failure>;

    /// The repository's URL for people.
    fn place(&self) -> String;
}

/// A listing that is read page by page.
#[async_trait]
pub(super) trait Pages: Send {
    /// The next objects, in any order but all after those of earlier pages; `None` after the last
    /// page. After a failure the same page is asked for again.
    async fn next(&mut self) -> Result<Option<Vec<Object>>, Failure>;
}

/// A [`Remote`] with patience.
#[derive(Debug)]
pub(super) struct RemoteStore<R> {
    remote: R,
    retry: Retry,
}

impl<R: Remote> RemoteStore<R> {
    /// Puts the policy around `remote`; `meter` counts what is asked beyond what callers ask.
    pub(super) fn new(remote: R, limits: &Limits, connections: usize, meter: Arc<Meter>) -> Self {
        Self { remote, retry: Retry::new(limits, connections, meter) }
    }

    async fn read(&self, key: &Key, wanted: Wanted) -> Result<Found, Error> {
        Error::check_key("get", key)?;
        let attempt = || self.remote.read(key, &wanted);
        let outcome = self.retry.run(RequestKind::Get, wanted.limit_bytes(), attempt).await;
        let outcome = outcome.and_then(|found| wanted.check(found));
        outcome.map_err(|failure| failure.into_error("get", key, &self.remote.place()))
    }
}

#[async_trait]
impl<R: Remote> Store for RemoteStore<R> {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        Error::check_key("create", key)?;
        self.create_once(key, &parts).await
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        let found = self.read(key, Wanted::Whole(limit_bytes)).await?;
        if found.size_bytes > limit_bytes {
            return Err(Error::too_long(key, found.size_bytes, limit_bytes));
        }
        Ok(found.content)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let is_empty = Error::check_range(key, &range)? == 0;
        let wanted = if is_empty { Wanted::Nothing } else { Wanted::Range(range.clone()) };
        let found = self.read(key, wanted).await?;
        if found.size_bytes < range.end {
            return Err(Error::too_short(key, found.size_bytes, range.end));
        }
        Ok(found.content)
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let wanted = if length_bytes == 0 { Wanted::Nothing } else { Wanted::Tail(length_bytes) };
        let found = self.read(key, wanted).await?;
        Ok((found.content, found.size_bytes))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        listing::list(&self.remote, &self.retry, prefix)
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        let outcome = self.retry.run(RequestKind::List, 0, || self.remote.first(prefix)).await;
        let key = Key::new(prefix);
        outcome.map_err(|failure| failure.into_error("list", &key, &self.remote.place()))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        Error::check_key("delete", key)?;
        match self.retry.run(RequestKind::Delete, 0, || self.remote.delete(key)).await {
            Err(failure) if failure.kind == Kind::Missing => Ok(()),
            outcome => {
                outcome.map_err(|failure| failure.into_error("delete", key, &self.remote.place()))
            }
        }
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        Error::check_probe_key(key)?;
        let attempt = || self.remote.overwrite_probe(key, &content);
        match self.retry.run(RequestKind::Put, content.len() as u64, attempt).await {
            Err(failure) if failure.kind == Kind::Exists || failure.class == Class::Denied => {
                Ok(false)
            }
            outcome => outcome
                .map(|()| true)
                .map_err(|failure| failure.into_error("overwrite", key, &self.remote.place())),
        }
    }

    fn place(&self) -> String {
        self.remote.place()
    }
}
