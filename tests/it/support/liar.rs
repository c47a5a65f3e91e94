//! A store that breaks one promise: what the probe must find.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use backstay::class::Class;
use backstay::store::{Error, Key, MemoryStore, Object, Store};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

/// The promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// None.
    Honest,
    /// Every create overwrites and succeeds.
    IgnoresAbsent,
    /// Looks whether the key is free, and then lets others go before it writes.
    LooksFirst,
    /// Every create succeeds, and nothing but the first is kept.
    Flatters,
    /// A new object is listed only when the next one is made.
    ListsLate,
    /// The first page is all there is.
    ListsOnePage,
    /// Keys come last first.
    ListsBackwards,
    /// Whoever asked for a key before it was there is told so ever after.
    RemembersAbsence,
    /// Ranges begin a byte too early.
    ShiftsRanges,
    /// The beginning of an object passes for its end.
    WrongTail,
    /// Contents come back with a bit turned.
    TurnsABit,
    /// Deleting is not allowed.
    DeniesDelete,
    /// Deleting succeeds and does nothing.
    IgnoresDelete,
    /// Nothing is written.
    DeniesCreate,
}

/// A store that tells one lie.
#[derive(Debug)]
pub struct Liar {
    inner: MemoryStore,
    lie: Lie,
    newest: Mutex<Option<Key>>,
    absent: Mutex<BTreeSet<Key>>,
}

impl Liar {
    pub fn new(lie: Lie) -> Self {
        Self { inner: MemoryStore::new(), lie, newest: Mutex::default(), absent: Mutex::default() }
    }

    fn denied(action: &'static str, key: &Key) -> Error {
        let source = "the test denies it".into();
        Error::Failed { action, key: key.clone(), class: Class::Denied, source }
    }

    /// Whether the key is one that is said to be absent, whatever there is.
    async fn pretends_absence(&self, key: &Key) -> bool {
        if self.lie != Lie::RemembersAbsence {
            return false;
        }
        let is_there = self.inner.get_range(key, 0..0).await.is_ok();
        let mut absent = self.absent.lock().unwrap();
        if !is_there {
            absent.insert(key.clone());
        }
        absent.contains(key)
    }

    async fn overwrite(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.inner.overwrite_probe(key, parts.concat().into()).await.map(drop)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Liar {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        match self.lie {
            Lie::DeniesCreate => return Err(Self::denied("create", key)),
            Lie::IgnoresAbsent => return self.overwrite(key, parts).await,
            Lie::LooksFirst => {
                if self.inner.get_range(key, 0..0).await.is_ok() {
                    return Err(Error::Exists { key: key.clone() });
                }
                tokio::task::yield_now().await;
                return self.overwrite(key, parts).await;
            }
            Lie::Flatters => {
                drop(self.inner.create(key, parts).await);
                return Ok(());
            }
            _ => {}
        }
        self.inner.create(key, parts).await?;
        *self.newest.lock().unwrap() = Some(key.clone());
        Ok(())
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        if self.pretends_absence(key).await {
            return Err(Error::Missing { key: key.clone() });
        }
        let content = self.inner.get(key, limit_bytes).await?;
        if self.lie != Lie::TurnsABit || content.is_empty() {
            return Ok(content);
        }
        let mut content = content.to_vec();
        content[0] ^= 1;
        Ok(content.into())
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        if self.pretends_absence(key).await {
            return Err(Error::Missing { key: key.clone() });
        }
        let found = self.inner.get_range(key, range.clone()).await?;
        if self.lie == Lie::ShiftsRanges && range.start > 0 {
            return self.inner.get_range(key, range.start - 1..range.end - 1).await;
        }
        Ok(found)
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let (content, size_bytes) = self.inner.get_tail(key, length_bytes).await?;
        if self.lie == Lie::WrongTail {
            let start = self.inner.get_range(key, 0..content.len() as u64).await?;
            return Ok((start, size_bytes));
        }
        Ok((content, size_bytes))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let rows = self.inner.list(prefix);
        match self.lie {
            Lie::ListsLate => {
                let newest = self.newest.lock().unwrap().clone();
                let is_known = move |object: &Object| Some(&object.key) != newest.as_ref();
                rows.try_filter(move |object| std::future::ready(is_known(object))).boxed()
            }
            Lie::ListsOnePage => rows.take(1_000).boxed(),
            Lie::ListsBackwards => stream::once(async move {
                let mut rows: Vec<_> = rows.collect().await;
                rows.reverse();
                stream::iter(rows)
            })
            .flatten()
            .boxed(),
            _ => rows,
        }
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        self.inner.first(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.lie {
            Lie::DeniesDelete => Err(Self::denied("delete", key)),
            Lie::IgnoresDelete => Ok(()),
            _ => self.inner.delete(key).await,
        }
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        match self.lie {
            Lie::DeniesDelete => Ok(false),
            // Says so, and does not.
            Lie::Flatters => Ok(true),
            _ => self.inner.overwrite_probe(key, content).await,
        }
    }

    fn place(&self) -> String {
        "the liar".to_owned()
    }

    fn directory(&self) -> Option<PathBuf> {
        None
    }
}
