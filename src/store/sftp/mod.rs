//! Objects as files of an SFTP server, such as a Hetzner Storage Box.
//!
//! SSH is russh's. The few packets of SFTP are ours (`wire/`): `russh-sftp` keeps handles and names as
//! text, so that a server's 129th open file or one foreign name ends its session, copies each byte some
//! times more, and waits for each answer by a timer of its own.
//!
//! An object is written under a name that no listing shows, synced where the server can, and published
//! without replacing, in the first of these ways that a trial shows to work (`publish.rs`): a hard link,
//! then the removal of the first name; a plain rename, which OpenSSH and most others refuse where the
//! name is taken; and, where both replace, a look at the name and then a rename. The last lets two
//! writers of one key both win if they look at the same time: such a server is of class B, and racing
//! writers at `init` show it. Creating under the final name at once would settle that race, but a reader
//! could then see half an object, so it is not done.

mod connect;
mod create;
mod directory;
mod failure;
mod identity;
mod known_hosts;
mod listener;
mod login;
mod open_file;
mod pool;
mod publish;
mod read;
mod refusals;
mod server;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod url;
mod walk;
pub mod wire;

use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use self::open_file::Orphans;
use self::pool::{Pool, Ticket};
use self::publish::Publishing;
use self::refusals::Refusals;
use self::session::{Lane, attributes};
use self::table::Trouble;
use self::url::Location;
use self::walk::Walk;
use self::wire::{Request, status};
use super::count::Meter;
use super::remote::{Failure, Found, Kind, Pace, Pages, Remote, RemoteStore, Wanted};
use super::settings::{Limits, Settings};
use super::{Error, Key, Object, Store};

/// Connections at a time, unless said otherwise.
const CONNECTIONS: usize = 4;
/// Operations at a time for each of them: while one waits for an answer, another has bytes to move.
const OPERATIONS: usize = 4;

/// A directory of a server.
#[derive(Debug)]
struct SftpStore {
    location: Arc<Location>,
    pool: Pool,
    upload: Pace,
    download: Pace,
    /// Bytes written or read at once at most.
    upload_piece_bytes: u32,
    download_piece_bytes: u32,
    publishing: OnceCell<Publishing>,
    orphans: Orphans,
    refusals: Refusals,
}

/// The store that an `sftp://` URL names. Contacts nobody.
pub(super) fn open(
    url: &str,
    settings: &Settings,
    meter: &Arc<Meter>,
) -> Result<Arc<dyn Store>, Error> {
    let store = SftpStore::new(url, settings)?;
    let limits = &settings.limits;
    let operations = connections(limits).saturating_mul(OPERATIONS);
    Ok(Arc::new(RemoteStore::new(store, limits, operations, Arc::clone(meter))))
}

fn connections(limits: &Limits) -> usize {
    limits.connections.map_or(CONNECTIONS, Into::into)
}

/// What passes at once under a limit: so little that it flows evenly.
fn piece_bytes(bytes_per_second: Option<NonZeroU64>) -> u32 {
    if bytes_per_second.is_some() { 32 << 10 } else { u32::MAX }
}

impl SftpStore {
    fn new(url: &str, settings: &Settings) -> Result<Self, Error> {
        let location = Arc::new(Location::parse(url, settings)?);
        let limits = &settings.limits;
        Ok(Self {
            pool: Pool::new(Arc::clone(&location), settings.clone(), connections(limits)),
            location,
            upload: Pace::new(limits.upload_bytes_per_second),
            download: Pace::new(limits.download_bytes_per_second),
            upload_piece_bytes: piece_bytes(limits.upload_bytes_per_second),
            download_piece_bytes: piece_bytes(limits.download_bytes_per_second),
            publishing: OnceCell::new(),
            orphans: Orphans::default(),
            refusals: Refusals::new(limits.retry_for),
        })
    }

    /// What a failed request for `path` means.
    fn failed(&self, trouble: &Trouble, path: &str) -> Failure {
        failure::of(trouble, &self.location, path)
    }

    /// A file that is not there, unless the repository itself is not: a volume that is not mounted must
    /// never look like an empty repository.
    async fn missing(&self, ticket: &Ticket, path: &str) -> Failure {
        let root = attributes(ticket.submit(Lane::Fast, Request::Stat(&self.location.root))).await;
        let failure = match root {
            Ok(found) if found.is_directory() == Some(false) => {
                return failure::a_file(&self.location, "");
            }
            Ok(_) => {
                let absent = Trouble::Status(status::NO_SUCH_FILE, String::new());
                return self.failed(&absent, path);
            }
            Err(trouble) => self.failed(&trouble, &self.location.root),
        };
        match failure.kind {
            Kind::Missing => failure::no_root(&self.location),
            _ => failure,
        }
    }
}

#[async_trait]
impl Remote for SftpStore {
    async fn create(&self, key: &Key, parts: &[Bytes]) -> Result<(), Failure> {
        self.create_object(key, parts).await
    }

    async fn read(&self, key: &Key, wanted: &Wanted) -> Result<Found, Failure> {
        self.read_object(key, wanted).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        self.delete_object(key).await
    }

    async fn overwrite_probe(&self, key: &Key, content: &Bytes) -> Result<(), Failure> {
        self.overwrite_object(key, content).await
    }

    fn pages(&self, prefix: &str) -> Box<dyn Pages + '_> {
        Box::new(Walk::new(self, prefix))
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Failure> {
        Walk::new(self, prefix).first().await
    }

    fn place(&self) -> String {
        self.location.url.clone()
    }
}
