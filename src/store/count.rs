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

/// The kinds of requests that providers bill apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Creates an object.
    Put,
    /// Reads of one.
    Get,
    /// Reads a page of a listing.
    List,
    /// Removes one.
    Delete,
}

/// What was asked of a store so far. Requests count whether they succeed or not, and each time that
/// they are sent: that is what is billed.
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
    /// How many of all these were sent again after a failure.
    pub retries: u64,
    /// Bytes of the objects created.
    pub uploaded_bytes: u64,
    /// Bytes that reads brought.
    pub downloaded_bytes: u64,
}

/// The counters of one store, shared by all its layers.
#[derive(Debug, Default)]
pub struct Meter {
    put_requests: AtomicU64,
    get_requests: AtomicU64,
    list_requests: AtomicU64,
    delete_requests: AtomicU64,
    retries: AtomicU64,
    uploaded_bytes: AtomicU64,
    downloaded_bytes: AtomicU64,
}

impl Meter {
    /// Counts a request.
    pub fn request(&self, kind: RequestKind) {
        let counter = match kind {
            RequestKind::Put => &self.put_requests,
            RequestKind::Get => &self.get_requests,
            RequestKind::List => &self.list_requests,
            RequestKind::Delete => &self.delete_requests,
        };
        add(counter, 1);
    }

    /// Counts a request that is sent again.
    pub fn retry(&self, kind: RequestKind) {
        self.request(kind);
        add(&self.retries, 1);
    }

    /// The counts up to now.
    pub fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            put_requests: read(&self.put_requests),
            get_requests: read(&self.get_requests),
            list_requests: read(&self.list_requests),
            delete_requests: read(&self.delete_requests),
            retries: read(&self.retries),
            uploaded_bytes: read(&self.uploaded_bytes),
            downloaded_bytes: read(&self.downloaded_bytes),
        }
    }
}

/// A store that counts what passes through it.
#[derive(Debug)]
pub struct Counted {
    store: Arc<dyn Store>,
    meter: Arc<Meter>,
}

impl Counted {
    /// Counts what is asked of `store` through this wrapper.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with_meter(store, Arc::default())
    }

    /// Counts on `meter`, where the layers below count what they ask beyond that.
    pub fn with_meter(store: Arc<dyn Store>, meter: Arc<Meter>) -> Self {
        Self { store, meter }
    }

    /// The counts up to now.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    fn downloaded(&self, content: &Bytes) {
        add(&self.meter.downloaded_bytes, content.len() as u64);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[async_trait]
impl Store for Counted {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.meter.request(RequestKind::Put);
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.store.create(key, parts).await?;
        add(&self.meter.uploaded_bytes, size_bytes);
        Ok(())
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        self.meter.request(RequestKind::Get);
        let content = self.store.get(key, limit_bytes).await?;
        self.downloaded(&content);
        Ok(content)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.meter.request(RequestKind::Get);
        let content = self.store.get_range(key, range).await?;
        self.downloaded(&content);
        Ok(content)
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        self.meter.request(RequestKind::Get);
        let (content, size_bytes) = self.store.get_tail(key, length_bytes).await?;
        self.downloaded(&content);
        Ok((content, size_bytes))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        self.meter.request(RequestKind::List);
        let mut seen = 0;
        let rows = self.store.list(prefix).inspect(move |_| {
            // The first object past a full page came with the next request.
            if seen > 0 && seen % OBJECTS_PER_LIST == 0 {
                self.meter.request(RequestKind::List);
            }
            seen += 1;
        });
        rows.boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        self.meter.request(RequestKind::List);
        self.store.first(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.meter.request(RequestKind::Delete);
        self.store.delete(key).await
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        let size_bytes = content.len() as u64;
        let is_done = self.store.overwrite_probe(key, content).await?;
        self.meter.request(RequestKind::Put);
        add(&self.meter.uploaded_bytes, if is_done { size_bytes } else { 0 });
        Ok(is_done)
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn directory(&self) -> Option<std::path::PathBuf> {
        self.store.directory()
    }
}
