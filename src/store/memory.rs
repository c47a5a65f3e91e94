//! A store that is gone with its process: for tests and simulations.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::{Error, Key, Object, Store};

/// Objects in memory. Answers at once and never fails by itself.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<Key, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Result<Bytes, Error> {
        Error::check_key("get", key)?;
        let found = self.objects().get(key).cloned();
        found.ok_or_else(|| Error::Missing { key: key.clone() })
    }

    /// The objects of a prefix as they are at this moment.
    fn rows(&self, prefix: &str) -> Vec<Object> {
        let objects = self.objects();
        let from_prefix = objects.range(Key::new(prefix)..);
        from_prefix
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, content)| Object { key: key.clone(), size_bytes: content.len() as u64 })
            .collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        Error::check_key("create", key)?;
        let content: Bytes = parts.concat().into();
        match self.objects().entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(content);
                Ok(())
            }
            Entry::Occupied(found) if *found.get() == content => Ok(()),
            Entry::Occupied(_) => Err(Error::Exists { key: key.clone() }),
        }
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        let content = self.find(key)?;
        if content.len() as u64 > limit_bytes {
            return Err(Error::too_long(key, content.len() as u64, limit_bytes));
        }
        Ok(content)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let length = Error::check_range(key, &range)?;
        let content = self.find(key)?;
        if range.end > content.len() as u64 {
            return Err(Error::too_short(key, content.len() as u64, range.end));
        }
        let start = usize::try_from(range.start).unwrap_or(content.len());
        Ok(content.slice(start..start + length))
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let content = self.find(key)?;
        let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
        let start = content.len().saturating_sub(length);
        Ok((content.slice(start..), content.len() as u64))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let prefix = prefix.to_owned();
        // Looked up when first polled, as a request to a server would be.
        let rows = stream::once(async move { stream::iter(self.rows(&prefix)) });
        rows.flatten().map(Ok).boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        let objects = self.objects();
        let next = objects.range(Key::new(prefix)..).next();
        Ok(next
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, content)| Object { key: key.clone(), size_bytes: content.len() as u64 }))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        Error::check_key("delete", key)?;
        self.objects().remove(key);
        Ok(())
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        Error::check_probe_key(key)?;
        self.objects().insert(key.clone(), content);
        Ok(true)
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}
