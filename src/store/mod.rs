//! Where objects live: a flat space of immutable objects under keys, created once, read by range,
//! listed by prefix. Everything above sees only [`Store`]; everything about S3 or a local disk
//! stays in this folder.

mod cache;
mod cloud;
mod count;
mod limits;
mod local;
mod memory;
mod open;
mod price;
mod promise;
mod remote;
mod settings;
pub mod sftp;

use std::fmt::{self, Debug};
use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::class::Class;

pub use cache::Cache;
pub use count::{Counted, Meter, RequestKind, Usage};
pub use limits::{LimitsGiven, Rate, parse_connections, parse_retry_for};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use open::{is_over_ssh, is_remote, local_directory, open};
pub use price::{Cost, Money, Prices};
pub use promise::StoreClass;
pub use settings::{Limits, Settings, SshFiles};

/// What the keys of a probe's objects begin with: the only ones that may ever be overwritten.
pub const PROBE_PREFIX: &str = "probe/";

/// The name of an object: components of `a-z 0-9 . _ -` joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Takes a name that we composed ourselves.
    ///
    /// Names that came from a listing are parsed by `repo/layout.rs`, never turned into keys
    /// unseen.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every component is one that any store can keep and none can be misled by.
    fn is_well_formed(&self) -> bool {
        self.0.split('/').all(is_component)
    }
}

/// Whether `name` may stand between two slashes of a key. Excludes `..` and the names of files that
/// the local store has not finished writing.
fn is_component(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !matches!(name, "" | "." | "..")
        && !name.starts_with(local::UNFINISHED)
        && name.bytes().all(allowed)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: Key,
    /// Its length.
    pub size_bytes: u64,
}

/// What went wrong with a store. Every variant names its key or place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is stored under the key.
    #[error("{key} does not exist")]
    Missing {
        /// The key asked for.
        key: Key,
    },
    /// Something is stored under the key already; it was left as it is.
    #[error("{key} exists already")]
    Exists {
        /// The key that was to be created.
        key: Key,
    },
    /// The object is shorter than what was asked of it, or longer than it may be.
    #[error("{key} has {found_bytes} bytes where {expected} expected")]
    Length {
        /// The object.
        key: Key,
        /// Its length as found.
        found_bytes: u64,
        /// What was expected, in words: `at least 64 were`.
        expected: String,
    },
    /// The place itself cannot be used as asked: a wrong URL, a missing bucket or directory.
    #[error("{place}: {reason}")]
    Place {
        /// The repository's URL, without secrets.
        place: String,
        /// The cause and what to do about it.
        reason: String,
        /// The kind of failure.
        class: Class,
    },
    /// The store refused or failed.
    #[error("{action} {key} failed")]
    Failed {
        /// What was tried: `create`, `get`, `list`, `delete`.
        action: &'static str,
        /// The key, or for a listing the prefix.
        key: Key,
        /// The kind of failure.
        class: Class,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// What a store says to a key or range that no correct caller composes.
    fn bug(action: &'static str, key: &Key, what: &str) -> Self {
        Self::Failed {
            action,
            key: key.clone(),
            class: Class::Bug,
            source: format!("{what}: a mistake in Backstay, please report it").into(),
        }
    }

    /// What every store checks before it touches anything: that the key is one.
    fn check_key(action: &'static str, key: &Key) -> Result<(), Self> {
        if key.is_well_formed() {
            Ok(())
        } else {
            Err(Self::bug(action, key, "this is not a well-formed key"))
        }
    }

    /// What every store checks before it overwrites: that a probe made the object.
    fn check_probe_key(key: &Key) -> Result<(), Self> {
        Self::check_key("overwrite", key)?;
        if key.as_str().starts_with(PROBE_PREFIX) {
            Ok(())
        } else {
            Err(Self::bug("overwrite", key, "objects are never overwritten"))
        }
    }

    /// The same for a range, and how many bytes it spans.
    fn check_range(key: &Key, range: &Range<u64>) -> Result<usize, Self> {
        Self::check_key("get", key)?;
        range
            .end
            .checked_sub(range.start)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| Self::bug("get", key, "the range ends before it starts"))
    }

    /// An object that ends before what was asked of it.
    fn too_short(key: &Key, found_bytes: u64, needed_bytes: u64) -> Self {
        Self::Length {
            key: key.clone(),
            found_bytes,
            expected: format!("at least {needed_bytes} were"),
        }
    }

    /// An object that is longer than its reader is ready for.
    fn too_long(key: &Key, found_bytes: u64, limit_bytes: u64) -> Self {
        Self::Length {
            key: key.clone(),
            found_bytes,
            expected: format!("at most {limit_bytes} were"),
        }
    }

    /// Decides retry, exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Missing { .. } => Class::Missing,
            Self::Exists { .. } => Class::Refused,
            Self::Length { .. } => Class::Damaged,
            Self::Place { class, .. } | Self::Failed { class, .. } => *class,
        }
    }
}

/// Whether `whole` is the concatenation of `parts`.
fn is_joined(whole: &[u8], parts: &[Bytes]) -> bool {
    let mut rest = whole;
    for part in parts {
        match rest.strip_prefix(part.as_ref()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// A space of immutable objects. Implementations may be shared by any number of tasks.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Stores `parts`, one after the other, under `key` if nothing is there yet. On success the
    /// object is durable and visible to every reader; on failure either nothing is visible or all
    /// of it. Costs one PUT. Where the same bytes are there already it succeeds, for one GET more: an
    /// answer may have been lost.
    ///
    /// # Errors
    /// [`Error::Exists`] where the key is taken by other bytes.
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error>;

    /// The whole object. Costs one GET.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Length`] if it is longer than `limit_bytes`, without reading it.
    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error>;

    /// Exactly the bytes of `range`. Costs one GET.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Length`] if the object ends before `range` does.
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error>;

    /// The last `length_bytes` bytes (the whole object if it is shorter) and the object's length.
    /// Costs one GET.
    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error>;

    /// All objects whose key starts with `prefix` (empty: all), in the order of their keys. Costs
    /// one LIST per 1,000 objects. Fresh: what was created before the call is in it.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>>;

    /// The first object, in the order of keys, whose key starts with `prefix`. Costs one LIST.
    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error>;

    /// Removes an object; one that is missing already counts as removed.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// Replaces an object that a probe made, to tell an operator what the credential could do. Nothing
    /// else calls this, and keys that are not below [`PROBE_PREFIX`] are refused as a bug. Answers whether
    /// the store let it happen. Costs one PUT.
    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error>;

    /// The repository's URL for people: never a secret in it.
    fn place(&self) -> String;

    /// The directory of this machine that holds the objects, if it is one.
    fn directory(&self) -> Option<PathBuf> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_parts_with_the_whole() {
        let parts = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        assert!(is_joined(b"abc", &parts));
        for other in [&b"ab"[..], b"abcd", b"abd", b""] {
            assert!(!is_joined(other, &parts));
        }
    }
}
