//! A store with a hook before every call: where a test changes the world under a running backup, lets
//! other tasks go first, or makes a call hang, as a process that is killed there would.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use backstay::store::{Error, Key, Object, Store};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

/// What a call does after its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Goes on.
    Go,
    /// Lets other tasks run this often, then goes on.
    Yield(usize),
    /// Never comes back.
    Hang,
}

type Hook = dyn Fn(usize, &'static str, &str) -> Step + Send + Sync;

/// A store that asks its hook before every call: with the call's number from 0, method and key.
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Store>,
    calls: Arc<AtomicUsize>,
    hook: Arc<Hook>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Hooked {
    /// Asks `hook` before each call to `inner`.
    pub fn new(
        inner: Arc<dyn Store>,
        hook: impl Fn(usize, &'static str, &str) -> Step + Send + Sync + 'static,
    ) -> Self {
        Self { inner, calls: Arc::default(), hook: Arc::new(hook) }
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn before(&self, method: &'static str, key: &str) {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        match (self.hook)(number, method, key) {
            Step::Go => {}
            Step::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Step::Hang => std::future::pending().await,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Hooked {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.before("create", key.as_str()).await;
        self.inner.create(key, parts).await
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        self.before("get", key.as_str()).await;
        self.inner.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.before("get_range", key.as_str()).await;
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        self.before("get_tail", key.as_str()).await;
        self.inner.get_tail(key, length_bytes).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let prefix = prefix.to_owned();
        let rows = async move {
            self.before("list", &prefix).await;
            self.inner.list(&prefix)
        };
        stream::once(rows).flatten().boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        self.before("first", prefix).await;
        self.inner.first(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.before("delete", key.as_str()).await;
        self.inner.delete(key).await
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        self.before("overwrite_probe", key.as_str()).await;
        self.inner.overwrite_probe(key, content).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn directory(&self) -> Option<PathBuf> {
        self.inner.directory()
    }
}
