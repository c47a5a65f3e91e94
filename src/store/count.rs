//! Counting what a store is asked for: requests are what providers bill, and what our budgets and
//! reports are made of.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use super::{Error, Key, Object, Store};

/// Objects that one LIST request brings.
const OBJECTS_PER_LIST: u64 = 1_000;

/// What was asked of a store so far. Requests count whether they succeed or not, and once each:
/// retries below the store are not seen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Objects that were to be created.
    pub put_requests: u64,
    /// Reads: whole, by range, or of the tail.
    pub get_requests: u64,
    /// Pages of listings.
    pub list_requests: u64,
    /// Objects that were to be removed.
    pub delete_requests: u64,
    /// Bytes of the objects created.
    pub uploaded_bytes: u64,
    /// Bytes that reads brought.
    pub downloaded_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    put_requests: AtomicU64,
    get_requests: AtomicU64,
    list_requests: AtomicU64,
    delete_requests: AtomicU64,
    uploaded_bytes: AtomicU64,
    downloaded_bytes: AtomicU64,
}

/// A store that counts what passes through it.
#[derive(Debug)]
pub struct Counted {
    store: Arc<dyn Store>,
    counters: Counters,
}

impl Counted {
    /// Counts what is asked of `store` through this wrapper.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, counters: Counters::default() }
    }

    /// The counts up to now.
    pub fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            put_requests: read(&self.counters.put_requests),
            get_requests: read(&self.counters.get_requests),
            list_requests: read(&self.counters.list_requests),
            delete_requests: read(&self.counters.delete_requests),
            uploaded_bytes: read(&self.counters.uploaded_bytes),
            downloaded_bytes: read(&self.counters.downloaded_bytes),
        }
    }

    fn downloaded(&self, content: &Bytes) {
        add(&self.counters.downloaded_bytes, content.len() as u64);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[async_trait]
impl Store for Counted {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        add(&self.counters.put_requests, 1);
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.store.create(key, parts).await?;
        add(&self.counters.uploaded_bytes, size_bytes);
        Ok(())
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        add(&self.counters.get_requests, 1);
        let content = self.store.get(key, limit_bytes).await?;
        self.downloaded(&content);
        Ok(content)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        add(&self.counters.get_requests, 1);
        let content = self.store.get_range(key, range).await?;
        self.downloaded(&content);
        Ok(content)
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        add(&self.counters.get_requests, 1);
        let (content, size_bytes) = self.store.get_tail(key, length_bytes).await?;
        self.downloaded(&content);
        Ok((content, size_bytes))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        add(&self.counters.list_requests, 1);
        let mut seen = 0;
        let rows = self.store.list(prefix).inspect(move |_| {
            // The first object past a full page came with the next request.
            if seen > 0 && seen % OBJECTS_PER_LIST == 0 {
                add(&self.counters.list_requests, 1);
            }
            seen += 1;
        });
        rows.boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        add(&self.counters.list_requests, 1);
        self.store.first(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        add(&self.counters.delete_requests, 1);
        self.store.delete(key).await
    }

    fn place(&self) -> String {
        self.store.place()
    }
}
