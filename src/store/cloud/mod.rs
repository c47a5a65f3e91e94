//! Objects in a cloud: Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage.
//!
//! This folder is the only home of the `object_store` crate. Its own retries are off: what may be tried
//! again is decided in one place for all stores (`remote/`), and whether an upload was sent more than once
//! decides what "exists already" means.

mod advice;
mod answer;
mod azure;
mod body;
mod checksum;
mod failure;
mod gcs;
mod http;
mod list;
mod location;
mod page;
mod profile;
mod proxy;
mod s3;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig,
};

use self::answer::noting;
use self::location::{Dialect, Location};
use super::count::{Meter, RequestKind};
use super::remote::{Failure, Found, Kind, Pace, Pages, Remote, RemoteStore, Wanted};
use super::settings::Settings;
use super::{Error, Key, Object, Store};
use crate::class::Class;

/// Connections at a time, unless said otherwise.
const CONNECTIONS: usize = 16;

/// What `object_store` offers for each cloud.
trait Client: ObjectStore + PaginatedListStore {}
impl<T: ObjectStore + PaginatedListStore> Client for T {}

/// A prefix of a bucket.
#[derive(Debug)]
struct CloudStore {
    client: Box<dyn Client>,
    location: Location,
    /// Whether the server is asked to refuse what exists. Where it cannot, we look first.
    asks_if_absent: bool,
    meter: Arc<Meter>,
}

/// The store that an `s3://`, `gs://` or `az://` URL names. Contacts nobody.
pub(super) fn open(
    scheme: &str,
    url: &str,
    settings: &Settings,
    meter: &Arc<Meter>,
) -> Result<Arc<dyn Store>, Error> {
    let (client, location, asks_if_absent): (Box<dyn Client>, Location, bool) = match scheme {
        "gs" => {
            let (client, location) = gcs::build(url, settings)?;
            (Box::new(client), location, true)
        }
        "az" => {
            let (client, location) = azure::build(url, settings)?;
            (Box::new(client), location, true)
        }
        _ => {
            let s3::Built { client, location, asks_if_absent } = s3::build(url, settings)?;
            (Box::new(client), location, asks_if_absent)
        }
    };
    let store = CloudStore { client, location, asks_if_absent, meter: Arc::clone(meter) };
    let connections = settings.limits.connections.map_or(CONNECTIONS, Into::into);
    Ok(Arc::new(RemoteStore::new(store, &settings.limits, connections, Arc::clone(meter))))
}

/// No retries below ours.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The way to the server, with its limits, and with the authorities that the first of `variables` which is
/// set names.
fn connector(
    location: &Location,
    settings: &Settings,
    variables: &[&str],
) -> Result<http::Connector, Error> {
    let Location { url, endpoint, .. } = location;
    let limits = &settings.limits;
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
        // Connections are limited by us, and HTTP/2 would put all of them into one.
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        // An address that does not answer is given up on sooner than a busy server.
        .connect_timeout(std::time::Duration::from_secs(10))
        .tcp_nodelay(true)
        .tcp_keepalive(http::SILENCE / 4)
        .tcp_keepalive_interval(http::SILENCE / 4)
        .tcp_keepalive_retries(3)
        .tcp_user_timeout(http::SILENCE);
    builder = proxy::through(builder, settings)?;
    let authorities = variables.iter().find_map(|name| Some((*name, settings.get(name)?)));
    if let Some((variable, path)) = authorities.filter(|_| !endpoint.starts_with("http://")) {
        let fail = |error: &dyn std::fmt::Display| {
            location::wrong(
                url,
                &format!("{variable}, {path}: {error}; name a file of PEM certificates"),
            )
        };
        let bundle = std::fs::read(path).map_err(|error| fail(&error))?;
        let found = reqwest::Certificate::from_pem_bundle(&bundle).map_err(|error| fail(&error))?;
        if found.is_empty() {
            return Err(fail(&"it holds no certificate"));
        }
        builder = builder.tls_certs_merge(found);
    }
    let client = builder.build();
    Ok(http::Connector {
        client: client.map_err(|error| location::wrong(url, &error.to_string()))?,
        upload: Arc::new(Pace::new(limits.upload_bytes_per_second)),
        download: limits.download_bytes_per_second.map(|rate| Arc::new(Pace::new(Some(rate)))),
        checksum: http::UploadChecksum::Signed,
    })
}

impl CloudStore {
    /// Where in the bucket the object is.
    fn path_of(&self, key: &Key) -> Result<Path, Failure> {
        Path::parse(self.location.full_name(key.as_str())).map_err(|_| {
            Failure::answer(Kind::Object, Class::Bug, "no object of a bucket can have this name")
        })
    }

    /// Runs one request and takes its failure apart.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, Failure> {
        noting(request).await.map_err(|(error, said)| failure::of(&error, said, &self.location))
    }

    /// One GET or HEAD. Checks that the body is as long as was announced.
    async fn fetch(
        &self,
        key: &Key,
        options: GetOptions,
        limit_bytes: u64,
    ) -> Result<Fetched, Failure> {
        let path = self.path_of(key)?;
        let wants_body = !options.head;
        let fetching = async {
            let answer = self.client.get_opts(&path, options).await?;
            let (size_bytes, range) = (answer.meta.size, answer.range.clone());
            let is_wanted = wants_body && range.end - range.start <= limit_bytes;
            let content = if is_wanted {
                body::joined(answer.into_stream(), range.end - range.start).await?
            } else {
                Bytes::new()
            };
            Ok((is_wanted, Fetched { content, range, size_bytes }))
        };
        let (has_body, fetched) = self.ask(fetching).await?;
        let announced = fetched.range.end - fetched.range.start;
        let found = fetched.content.len() as u64;
        if has_body && found > announced {
            let text = format!("an answer that makes no sense: longer than {announced} bytes");
            return Err(Failure::transient(text));
        }
        if has_body && found < announced {
            return Err(Failure::cut_off(found, announced));
        }
        Ok(fetched)
    }

    /// The object's length. Costs one HEAD: only for questions that no GET can ask.
    async fn size_of(&self, key: &Key) -> Result<Found, Failure> {
        let fetched = self.fetch(key, GetOptions::default().with_head(true), 0).await?;
        Ok(Found { content: Bytes::new(), size_bytes: fetched.size_bytes })
    }

    /// The end of an object, where the server cannot be asked for it without knowing where it is.
    async fn read_tail(&self, key: &Key, length_bytes: u64) -> Result<Found, Failure> {
        self.meter.request(RequestKind::Get);
        let size_bytes = self.size_of(key).await?.size_bytes;
        let start = size_bytes.saturating_sub(length_bytes);
        if start == size_bytes {
            return Ok(Found { content: Bytes::new(), size_bytes });
        }
        self.read(key, &Wanted::Range(start..size_bytes)).await
    }

    /// Looks before an upload, for servers that cannot be asked to refuse. Two who look at the same time
    /// may both be let through: class B. Asks for a byte, since whether a store or a gateway answers a HEAD
    /// with 404 nobody can tell, and the wrong one would have an object replaced.
    async fn look_first(&self, key: &Key) -> Result<(), Failure> {
        self.meter.request(RequestKind::Get);
        match self.read(key, &Wanted::Range(0..1)).await {
            Ok(_) => Err(Failure::answer(Kind::Exists, Class::Refused, "exists already")),
            Err(failure) if failure.kind == Kind::Missing => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

/// What a GET brought.
struct Fetched {
    content: Bytes,
    /// Which bytes of the object the server says these are.
    range: Range<u64>,
    size_bytes: u64,
}

#[async_trait]
impl Remote for CloudStore {
    async fn create(&self, key: &Key, parts: &[Bytes]) -> Result<(), Failure> {
        let path = self.path_of(key)?;
        let mode = if self.asks_if_absent {
            PutMode::Create
        } else {
            self.look_first(key).await?;
            PutMode::Overwrite
        };
        // Shares the parts: nothing is joined or copied here, whatever the number of attempts.
        let payload: PutPayload = parts.iter().cloned().collect();
        self.ask(self.client.put_opts(&path, payload, mode.into())).await.map(drop)
    }

    async fn read(&self, key: &Key, wanted: &Wanted) -> Result<Found, Failure> {
        let (range, limit_bytes) = match wanted {
            Wanted::Whole(limit_bytes) => (None, *limit_bytes),
            Wanted::Range(range) => (Some(GetRange::from(range.clone())), range.end - range.start),
            Wanted::Tail(length_bytes) if self.location.dialect == Dialect::Azure => {
                return self.read_tail(key, *length_bytes).await;
            }
            Wanted::Tail(length_bytes) => (Some(GetRange::Suffix(*length_bytes)), *length_bytes),
            Wanted::Nothing => return self.size_of(key).await,
        };
        let fetched =
            match self.fetch(key, GetOptions::default().with_range(range), limit_bytes).await {
                Ok(fetched) => fetched,
                // The object has none of these bytes; an empty one has no last byte.
                Err(failure) if failure::is_out_of_range(&failure) => {
                    self.meter.request(RequestKind::Get);
                    return self.size_of(key).await;
                }
                Err(failure) => return Err(failure),
            };
        let is_whole_range = !matches!(wanted, Wanted::Range(range) if *range != fetched.range);
        let content = if is_whole_range { fetched.content } else { Bytes::new() };
        Ok(Found { content, size_bytes: fetched.size_bytes })
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        let path = self.path_of(key)?;
        self.ask(self.client.delete(&path)).await
    }

    async fn overwrite_probe(&self, key: &Key, content: &Bytes) -> Result<(), Failure> {
        let path = self.path_of(key)?;
        let payload = PutPayload::from(content.clone());
        self.ask(self.client.put_opts(&path, payload, PutMode::Overwrite.into())).await?;
        Ok(())
    }

    fn pages(&self, prefix: &str) -> Box<dyn Pages + '_> {
        Box::new(list::CloudPages::new(self, prefix))
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Failure> {
        self.first_object(prefix).await
    }

    fn place(&self) -> String {
        self.location.url.clone()
    }
}
