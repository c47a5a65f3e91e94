//! A store that fails as told: the Nth call fails before or after it was done, or every call from
//! the Nth on fails, as if the process had been killed there.
//!
//! ```text
//! for calls in 0.. {
//!     let store = FailAfter::kill(memory, calls);
//!     let outcome = backup_fixture(store.clone()).await;
//!     check(store.healed()).await;
//!     if outcome.is_ok() { break; }
//! }
//! ```

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backstay::class::Class;
use backstay::store::{Error, Key, Object, Store};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing was done.
    Before(Class),
    /// It is done, but the answer is lost.
    After(Class),
}

/// Which calls fail.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Calls, counted from 0, and what happens to each.
    pub faults: Vec<(usize, Fault)>,
    /// From this call on nothing is done any more.
    pub killed_from: Option<usize>,
}

/// One call as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method's name.
    pub method: &'static str,
    /// Its key or prefix.
    pub key: String,
}

/// A store that follows a script. Clones share the count and the record.
#[derive(Clone, Debug)]
pub struct FailAfter {
    inner: Arc<dyn Store>,
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl FailAfter {
    /// Fails as `script` says.
    pub fn scripted(inner: Arc<dyn Store>, script: Script) -> Self {
        Self { inner, script, calls: Arc::default() }
    }

    /// Does `calls` calls, then nothing any more.
    pub fn kill(inner: Arc<dyn Store>, calls: usize) -> Self {
        Self::scripted(inner, Script { faults: Vec::new(), killed_from: Some(calls) })
    }

    /// Fails one call, counted from 0.
    pub fn once(inner: Arc<dyn Store>, call: usize, fault: Fault) -> Self {
        Self::scripted(inner, Script { faults: vec![(call, fault)], killed_from: None })
    }

    /// The store underneath, which works.
    pub fn healed(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// Every call so far, those that failed included.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Records a call and looks up its fate.
    fn fate(&self, method: &'static str, key: &str) -> Option<Fault> {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.len();
        calls.push(Call { method, key: key.to_owned() });
        if self.script.killed_from.is_some_and(|from| number >= from) {
            return Some(Fault::Before(Class::Interrupted));
        }
        let fault = self.script.faults.iter().find(|(call, _)| *call == number);
        fault.map(|(_, fault)| *fault)
    }

    async fn with_fate<T: Send>(
        &self,
        method: &'static str,
        key: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        match self.fate(method, key) {
            None => call.await,
            Some(Fault::Before(class)) => Err(scripted(method, key, class)),
            Some(Fault::After(class)) => {
                call.await?;
                Err(scripted(method, key, class))
            }
        }
    }
}

fn scripted(action: &'static str, key: &str, class: Class) -> Error {
    Error::Failed { action, key: Key::new(key), class, source: "the test's script says so".into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FailAfter {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.with_fate("create", key.as_str(), self.inner.create(key, parts)).await
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        self.with_fate("get", key.as_str(), self.inner.get(key, limit_bytes)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.with_fate("get_range", key.as_str(), self.inner.get_range(key, range)).await
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let call = self.inner.get_tail(key, length_bytes);
        self.with_fate("get_tail", key.as_str(), call).await
    }

    /// Lost answers of a listing come at its end: the rows before are good.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let prefix = prefix.to_owned();
        let rows = async move {
            match self.fate("list", &prefix) {
                None => self.inner.list(&prefix),
                Some(Fault::Before(class)) => failing(&prefix, class),
                Some(Fault::After(class)) => {
                    let end = failing(&prefix, class);
                    self.inner.list(&prefix).chain(end).boxed()
                }
            }
        };
        stream::once(rows).flatten().boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        self.with_fate("first", prefix, self.inner.first(prefix)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.with_fate("delete", key.as_str(), self.inner.delete(key)).await
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        let call = self.inner.overwrite_probe(key, content);
        self.with_fate("overwrite_probe", key.as_str(), call).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn directory(&self) -> Option<PathBuf> {
        self.inner.directory()
    }
}

fn failing(prefix: &str, class: Class) -> BoxStream<'static, Result<Object, Error>> {
    let error = scripted("list", prefix, class);
    stream::once(async move { Err(error) }).boxed()
}
