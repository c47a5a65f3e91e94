//! Probing a store: what it honours is seen, not believed. Writers race for one key, what was written is
//! read and listed at once, ranges are compared, more keys are listed than fit on a page, and what is
//! deleted must be gone.
//!
//! All objects are below `probe/`. Where deleting is allowed all of them are deleted at the end, also when
//! the probe fails. Where it is not, the many keys of the listing have fixed names: made once and found
//! again, so that each probe leaves only its few others.

mod listing;
mod look;
mod race;
mod speed;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use crate::class::Class;
use crate::repo::layout;
use crate::store::{self, Key, Store, StoreClass};
use crate::world::World;

pub use speed::{Speed, SpeedOptions, Transfer};

/// Requests under way at a time.
const CONCURRENCY: usize = 16;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The store breaks a promise that every repository rests on.
    #[error("{place} cannot hold a repository: {saw}")]
    Unusable {
        /// The repository's URL.
        place: String,
        /// What was seen.
        saw: String,
    },
}

impl Error {
    /// Decides exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::Unusable { .. } => Class::Config,
        }
    }
}

/// Whether this credential may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It may.
    Allowed,
    /// The store refused it.
    Denied,
    /// The store said that it did, and the object is still there.
    Ignored,
}

impl Deletion {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Ignored => "ignored",
        }
    }
}

/// What to look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leave out the listing of more keys than fit on a page, because another one was seen to be right.
    pub skip_listing: bool,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the store honours.
    pub class: StoreClass,
    /// What was seen, a sentence each. Where the class is B, why stands first.
    pub findings: Vec<String>,
    /// Whether this credential may delete.
    pub deletion: Deletion,
    /// Objects that this probe made and left.
    pub left_objects: u64,
}

/// What a test saw: the probe's report, and what an operator wants to know besides.
#[derive(Clone, Debug)]
pub struct Test {
    /// What the store honours.
    pub report: Report,
    /// Whether this credential may overwrite.
    pub may_overwrite: bool,
    /// How fast it is.
    pub speed: Speed,
}

/// Probes `store`. Costs some 90 PUTs, 20 GETs (across a network 75 more, by racers that look who was first)
/// and 4 LISTs, and with the listing of many keys 1,100 PUTs and 2 LISTs more; in the end a DELETE for each
/// object.
///
/// # Errors
/// [`Error::Unusable`] where no repository can be kept in it; that of the store where it refuses or fails.
pub async fn run(store: &dyn Store, world: &World, options: Options) -> Result<Report, Error> {
    let mut probe = Probe::new(store, world);
    let outcome = probe.look(options).await;
    let left_objects = probe.sweep().await;
    outcome.map(|seen| seen.into_report(left_objects))
}

/// Probes `store`, tries to overwrite an object of its own, and measures how fast the store is.
///
/// # Errors
/// As [`run`].
pub async fn test(store: &dyn Store, world: &World, options: SpeedOptions) -> Result<Test, Error> {
    let mut probe = Probe::new(store, world);
    let outcome = async {
        let seen = probe.look(Options::default()).await?;
        let may_overwrite = probe.overwrite().await?;
        let speed = probe.speed(options, seen.deletion).await?;
        Ok((seen, may_overwrite, speed))
    };
    let outcome = outcome.await;
    let left_objects = probe.sweep().await;
    outcome.map(|(seen, may_overwrite, speed)| Test {
        report: seen.into_report(left_objects),
        may_overwrite,
        speed,
    })
}

/// Bytes that nothing on the way can make smaller, the same each time.
fn noise(length_bytes: usize) -> Bytes {
    let mut bytes = vec![0; length_bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// What was seen before the probe tidied up.
struct Seen {
    broken: Vec<String>,
    findings: Vec<String>,
    deletion: Deletion,
}

impl Seen {
    fn into_report(self, left_objects: u64) -> Report {
        let Self { broken, findings, deletion } = self;
        let class = if broken.is_empty() { StoreClass::A } else { StoreClass::B };
        let findings = broken.into_iter().chain(findings).collect();
        Report { class, findings, deletion, left_objects }
    }
}

/// A probe under way.
struct Probe<'a> {
    store: &'a dyn Store,
    prefix: String,
    made: Vec<Key>,
    /// Objects with fixed names that were made now and are to stay.
    kept_objects: u64,
    deletion: Option<Deletion>,
}

impl<'a> Probe<'a> {
    fn new(store: &'a dyn Store, world: &World) -> Self {
        let prefix = layout::probes_of(world.random.array());
        Self { store, prefix, made: Vec::new(), kept_objects: 0, deletion: None }
    }

    /// A key of this probe alone. It is remembered before anything is stored under it, since an answer
    /// may be lost.
    fn key(&mut self, name: impl std::fmt::Display) -> Key {
        let key = Key::new(format!("{}{name}", self.prefix));
        self.made.push(key.clone());
        key
    }

    /// An object of this probe alone.
    async fn create(&mut self, name: impl std::fmt::Display, content: Bytes) -> Result<Key, Error> {
        let key = self.key(name);
        self.store.create(&key, vec![content]).await?;
        Ok(key)
    }

    fn unusable(&self, saw: impl Into<String>) -> Error {
        Error::Unusable { place: self.store.place(), saw: saw.into() }
    }

    /// Deletes what was made, as far as that goes. Answers how many objects stay.
    async fn sweep(&mut self) -> u64 {
        let made = std::mem::take(&mut self.made);
        if matches!(self.deletion, Some(Deletion::Denied | Deletion::Ignored)) {
            return made.len() as u64 + self.kept_objects;
        }
        let store = self.store;
        let deletes = made.iter().map(|key| async move {
            // The probe's own outcome says more than a failure here.
            let failed = store.delete(key).await.err();
            if let Some(error) = &failed {
                tracing::debug!(%error, "an object of the probe stays");
            }
            u64::from(failed.is_some())
        });
        let deletes = stream::iter(deletes).buffer_unordered(CONCURRENCY);
        deletes.fold(0, |left, failed| async move { left + failed }).await
    }
}
