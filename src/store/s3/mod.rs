//! Objects in a bucket of Amazon S3 or a server that speaks its language.
//!
//! This folder is the only home of the `object_store` crate. Its own retries are off: whether a
//! PUT was sent more than once decides what "exists already" means, so the loop is ours
//! (`retry.rs`).

mod advice;
mod create;
mod failure;
mod list;
mod retry;
mod settings;

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};

use super::{Error, Key, Object, Store};
use advice::Reason;
use failure::Failure;
use retry::Retry;
use settings::Location;

/// A prefix of a bucket as a store.
#[derive(Debug)]
pub(super) struct S3Store {
    client: AmazonS3,
    location: Location,
    retry: Retry,
}

impl S3Store {
    /// The store that `s3://…` names, with credentials and settings from `environment`. Contacts
    /// nobody.
    pub(super) fn open(url: &str, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let location = Location::parse(url, environment)?;
        Ok(Self {
            client: settings::build(&location, environment)?,
            location,
            retry: Retry::default(),
        })
    }

    /// Where in the bucket the object is.
    fn path_of(&self, action: &'static str, key: &Key) -> Result<Path, Error> {
        Error::check_key(action, key)?;
        Path::parse(self.location.full_name(key.as_str()))
            .map_err(|_| Error::bug(action, key, "no object of a bucket can have this name"))
    }

    /// One GET, or one HEAD where `options` say so, repeated while that may help. Checks that the
    /// body is as long as was announced.
    async fn fetch(
        &self,
        key: &Key,
        allowance_bytes: u64,
        options: impl Fn() -> GetOptions + Send + Sync,
        limit_bytes: u64,
    ) -> Result<Fetched, Error> {
        let path = self.path_of("get", key)?;
        let outcome = self.retry.run(allowance_bytes, || async {
            let options = options();
            let wants_body = !options.head;
            let answer: GetResult = self.client.get_opts(&path, options).await?;
            let (size_bytes, range) = (answer.meta.size, answer.range.clone());
            let announced = range.end - range.start;
            let content = if wants_body && announced <= limit_bytes {
                let content = answer.bytes().await?;
                if content.len() as u64 != announced {
                    return Err(Failure::cut_off(content.len() as u64, announced));
                }
                content
            } else {
                Bytes::new()
            };
            Ok(Fetched { content, range, size_bytes })
        });
        outcome.await.map_err(|failure| failure.explain("get", key, &self.location))
    }

    /// The object's length. Costs one HEAD: only for questions that no GET can ask.
    async fn size_of(&self, key: &Key) -> Result<u64, Error> {
        let head = || GetOptions::default().with_head(true);
        Ok(self.fetch(key, 0, head, 0).await?.size_bytes)
    }
}

/// What a GET brought.
struct Fetched {
    content: Bytes,
    /// Which bytes of the object the server says these are.
    range: Range<u64>,
    size_bytes: u64,
}

/// Whether the server said that an object has none of the bytes asked for.
fn is_out_of_range(error: &Error) -> bool {
    let Error::Failed { source, .. } = error else {
        return false;
    };
    let reason = source.downcast_ref::<Reason>();
    reason.is_some_and(|reason| reason.is_out_of_range)
}

#[async_trait]
impl Store for S3Store {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.create_object(key, parts).await
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        let fetched = self.fetch(key, limit_bytes, GetOptions::default, limit_bytes).await?;
        if fetched.size_bytes > limit_bytes {
            return Err(Error::too_long(key, fetched.size_bytes, limit_bytes));
        }
        Ok(fetched.content)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let length_bytes = Error::check_range(key, &range)? as u64;
        let outcome = if length_bytes == 0 {
            // HTTP has no empty range.
            self.size_of(key).await
        } else {
            let options = || GetOptions::default().with_range(Some(range.clone()));
            match self.fetch(key, length_bytes, options, length_bytes).await {
                Ok(fetched) if fetched.range == range => return Ok(fetched.content),
                Ok(fetched) => Ok(fetched.size_bytes),
                Err(error) if is_out_of_range(&error) => self.size_of(key).await,
                Err(error) => Err(error),
            }
        };
        match outcome? {
            size_bytes if size_bytes >= range.end => Ok(Bytes::new()),
            size_bytes => Err(Error::too_short(key, size_bytes, range.end)),
        }
    }

    async fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        if length_bytes == 0 {
            return Ok((Bytes::new(), self.size_of(key).await?));
        }
        let options = || GetOptions::default().with_range(Some(GetRange::Suffix(length_bytes)));
        match self.fetch(key, length_bytes, options, length_bytes).await {
            Ok(fetched) => Ok((fetched.content, fetched.size_bytes)),
            // An empty object has no last byte.
            Err(error) if is_out_of_range(&error) => Ok((Bytes::new(), self.size_of(key).await?)),
            Err(error) => Err(error),
        }
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        self.list_objects(prefix)
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        self.first_object(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path_of("delete", key)?;
        let outcome = self.retry.run(0, || async { Ok(self.client.delete(&path).await?) }).await;
        match outcome.map_err(|failure| failure.explain("delete", key, &self.location)) {
            Err(Error::Missing { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    fn place(&self) -> String {
        self.location.url.clone()
    }
}
