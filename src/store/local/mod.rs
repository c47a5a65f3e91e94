//! Objects as files below a directory: a local disk, or a volume that is mounted here.
//!
//! A key is a relative path. Nothing is visible under a key before all of it is on the disk, see
//! `create.rs`. Everything here blocks; [`blocking`] is the one way in from async code.

mod create;
mod read;
mod walk;

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{Error, Key, Object, Store};
use crate::class::Class;

/// How the names of files start that are still being written, or whose writer was killed.
pub(super) const UNFINISHED: &str = ".tmp-";

/// Objects fetched per hop to a blocking thread: as many as one S3 LIST brings.
const LIST_BATCH: usize = 1_000;

/// A directory as a store.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: Arc<Root>,
}

/// What blocking jobs share.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Directories whose own entry this process has made sure is on the disk.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    /// The store in the directory `path`, which need not exist yet: the first `create` makes it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            root: Arc::new(Root {
                // Later changes of the working directory must not move the repository.
                path: std::path::absolute(&path).unwrap_or(path),
                durable: Mutex::default(),
            }),
        }
    }

    /// Runs `work` where it may block. Works on every kind of tokio runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let root = Arc::clone(&self.root);
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Place {
                place: self.place(),
                reason: "not done, because the process is shutting down".to_owned(),
                class: Class::Interrupted,
            }),
        }
    }
}

impl Root {
    /// Where the object `key` is.
    fn path_of(&self, action: &'static str, key: &Key) -> Result<PathBuf, Error> {
        Error::check_key(action, key)?;
        Ok(self.path.join(key.as_str()))
    }

    /// Says that nothing can be here, if the directory itself is not: a volume that is not mounted
    /// must never look like an empty repository.
    fn check_exists(&self) -> Result<(), Error> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(self.unusable("it is a file", Class::Config)),
            Err(error) if is_absent(&error) => Err(self.unusable(
                "it does not exist; check the path, mount its volume, or run `init`",
                Class::Missing,
            )),
            Err(error) => Err(self.unusable(&error.to_string(), Class::of_io(&error))),
        }
    }

    fn unusable(&self, reason: &str, class: Class) -> Error {
        Error::Place {
            place: self.path.display().to_string(),
            reason: format!("not a repository directory: {reason}"),
            class,
        }
    }
}

/// Whether an error means that there is no such file: also when a directory on the way is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Wraps an operating-system error, which does not know the file's name.
fn failed(action: &'static str, key: &Key, error: io::Error) -> Error {
    Error::Failed { action, key: key.clone(), class: Class::of_io(&error), source: Box::new(error) }
}

#[async_trait]
impl Store for LocalStore {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let key = key.clone();
        self.blocking(move |root| root.create(&key, &parts)).await
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        let key = key.clone();
        self.blocking(move |root| root.get(&key, limit_bytes)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let key = key.clone();
        self.blocking(move |root| root.get_range(&key, &range)).await
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let key = key.clone();
        self.blocking(move |root| root.get_tail(&key, length_bytes)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let prefix = prefix.to_owned();
        let start = self.blocking(move |root| root.walk(&prefix));
        let batches = stream::once(start).map_ok(|walk| {
            stream::try_unfold(Some(walk), |walk| async {
                let Some(walk) = walk else { return Ok(None) };
                let (batch, walk) = self.blocking(|_| walk.next_batch(LIST_BATCH)).await?;
                Ok(Some((stream::iter(batch).map(Ok), walk)))
            })
            .try_flatten()
        });
        batches.try_flatten().boxed()
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        let prefix = prefix.to_owned();
        self.blocking(move |root| root.walk(&prefix)?.next_object()).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let key = key.clone();
        self.blocking(move |root| root.delete(&key)).await
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, Error> {
        let key = key.clone();
        self.blocking(move |root| root.overwrite_probe(&key, &content)).await
    }

    fn place(&self) -> String {
        self.root.path.display().to_string()
    }

    fn directory(&self) -> Option<PathBuf> {
        Some(self.root.path.clone())
    }
}
