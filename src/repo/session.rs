//! A session: announce, read the newest checkpoint, choose a parent, write, commit. The order of
//! these steps is what makes collecting safe without locks or clocks. FORMAT.md §12.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::repo::error::Error;
use crate::repo::id::SessionId;
use crate::repo::layout::{self, Place};
use crate::repo::open::Repository;
use crate::repo::record;
use crate::repo::seal::{Sealed, open_object, seal_object};
use crate::repo::snapshot::{AbortRecord, Checkpoint, SessionRecord, Snapshot};
use crate::store::{self, Key};

/// Largest session or abort record that is read.
const RECORD_LIMIT_BYTES: u64 = 1 << 20;
/// Largest snapshot or checkpoint that is read.
const SNAPSHOT_LIMIT_BYTES: u64 = 256 << 20;
/// How often a session is begun anew when a collector closes in on it.
const ATTEMPTS: u32 = 5;
/// Who writes.
pub const PROGRAM: &str = concat!("backstay ", env!("CARGO_PKG_VERSION"));

/// A session that was announced.
#[derive(Debug)]
pub struct Session {
    /// Lane, sequence, checkpoint and id.
    pub place: Place,
    /// The newest checkpoint, read after the announcement.
    pub head: Checkpoint,
    /// The newest valid snapshot of the lane.
    pub parent: Option<Snapshot>,
    /// When it began, in nanoseconds since 1970.
    pub started: i64,
}

/// What is in a commit register.
#[derive(Debug)]
pub enum Register {
    /// A restore point.
    Snapshot(Box<Snapshot>),
    /// The session was given up.
    Aborted(AbortRecord),
}

impl Session {
    /// Announces a session for `job` on `host`. Costs 1 PUT, 3 LIST, and 1 GET with a parent.
    pub async fn begin(repository: &Repository, job: &str, host: &str) -> Result<Self, Error> {
        repository.check_writable()?;
        for _ in 0..ATTEMPTS {
            if let Some(session) = Self::attempt(repository, job, host).await? {
                return Ok(session);
            }
        }
        Err(Error::Aborted {
            session: job.to_owned(),
            reason: "collectors kept closing in on it".into(),
        })
    }

    async fn attempt(
        repository: &Repository,
        job: &str,
        host: &str,
    ) -> Result<Option<Self>, Error> {
        let started = repository.now();
        let checkpoint = newest_checkpoint(repository).await?;
        let lane = repository.secrets().oldest().lane(job, host);
        let prefix = layout::snapshots_of(lane);
        // What is read of it now is judged by the checkpoint that is read later; a snapshot that comes in
        // between is not compared with.
        let mut earlier = places(repository.store().list(&prefix));
        let newest = earlier.try_next().await?;
        let sequence = newest.map_or(Some(1), |place| place.sequence.checked_add(1));
        // Whoever may write to the store can make such a name; counting on would hide our snapshot.
        let sequence = sequence.ok_or_else(|| {
            Error::damaged(&prefix, "its newest name has the last number that there is")
        })?;
        let place = Place {
            lane,
            sequence,
            checkpoint,
            session: SessionId(repository.world().random.array()),
        };
        let announcement = SessionRecord {
            id: place.session,
            started,
            host: host.to_owned(),
            program: PROGRAM.into(),
        };
        let key = place.session_key();
        let object = sealed(repository, Sealed::Session, &key, &record::encode(&announcement));
        repository.store().create(&key, vec![object]).await?;
        let head = read_checkpoint(repository, newest_checkpoint(repository).await?).await?;
        if head.closing > checkpoint {
            return Ok(None);
        }
        let parent = newest_valid(repository, newest, &mut earlier, &head).await?;
        Ok(Some(Self { place, head, parent, started }))
    }

    /// What a session would begin with, without an announcement: for who wants to know what a backup
    /// would do. It has no place in the lane (sequence 0), and cannot commit. Costs 2 LIST, and 1 GET
    /// with a parent.
    pub async fn unannounced(
        repository: &Repository,
        job: &str,
        host: &str,
    ) -> Result<Self, Error> {
        repository.check_writable()?;
        let started = repository.now();
        let head = read_checkpoint(repository, newest_checkpoint(repository).await?).await?;
        let lane = repository.secrets().oldest().lane(job, host);
        let prefix = layout::snapshots_of(lane);
        let mut earlier = places(repository.store().list(&prefix));
        let newest = earlier.try_next().await?;
        let parent = newest_valid(repository, newest, &mut earlier, &head).await?;
        let session = SessionId(repository.world().random.array());
        let place = Place { lane, sequence: 0, checkpoint: head.number, session };
        Ok(Self { place, head, parent, started })
    }

    /// Makes the snapshot visible. Everything that it refers to must be durable. Costs 1 PUT and
    /// 1 LIST.
    pub async fn commit(&self, repository: &Repository, snapshot: &Snapshot) -> Result<(), Error> {
        if self.place.sequence == 0 {
            return Err(Error::Bug("a session that was not announced cannot commit".into()));
        }
        let key = self.place.register_key();
        let record = record::encode(snapshot);
        if record.is_empty() {
            return Err(Error::Bug("a snapshot that refers to something not stored".into()));
        }
        let object = sealed(repository, Sealed::Snapshot, &key, &record);
        match repository.store().create(&key, vec![object.clone()]).await {
            Ok(()) => {}
            Err(store::Error::Exists { .. }) => self.settle(repository, &object).await?,
            Err(error) => return Err(error.into()),
        }
        keep(repository, &key, object).await;
        let number = newest_checkpoint(repository).await?;
        if number > self.head.number {
            let head = read_checkpoint(repository, number).await?;
            if !head.is_valid(self.place.session, self.place.checkpoint) {
                return Err(self.aborted("a collector finished before it committed"));
            }
        }
        Ok(())
    }

    /// Something is in the register: our own snapshot if a reply was lost, else someone gave us up.
    async fn settle(&self, repository: &Repository, ours: &Bytes) -> Result<(), Error> {
        let key = self.place.register_key();
        let found = repository.store().get(&key, SNAPSHOT_LIMIT_BYTES).await?;
        if found == *ours {
            return Ok(());
        }
        match read_register(repository, &self.place).await? {
            Register::Aborted(record) => Err(self.aborted(&record.reason)),
            Register::Snapshot(_) => {
                Err(Error::damaged(&key, "holds a snapshot that this session did not write"))
            }
        }
    }

    fn aborted(&self, reason: &str) -> Error {
        Error::Aborted { session: self.place.session.to_string(), reason: reason.to_owned() }
    }
}

/// Sessions of the lane of `own` that never committed and whose packs may be used: those above the newest
/// snapshot that it saw. Costs one LIST.
pub(super) async fn abandoned(
    repository: &Repository,
    own: &Place,
) -> Result<Vec<SessionId>, Error> {
    let prefix = layout::sessions_of(own.lane);
    let mut listing = repository.store().list(&prefix);
    let mut sessions = Vec::new();
    while let Some(object) = listing.try_next().await? {
        let Some(place) = Place::parse(&object.key) else {
            continue;
        };
        // Newest first, so the rest is older still.
        if place.sequence < own.sequence {
            break;
        }
        if place.session != own.session {
            sessions.push(place.session);
        }
    }
    Ok(sessions)
}

fn sealed(repository: &Repository, kind: Sealed, key: &Key, record: &[u8]) -> Bytes {
    let random = &*repository.world().random;
    seal_object(kind, repository.id(), repository.secrets(), random, key, record)
}

/// The newest checkpoint's number; 0 where there is none. Costs one LIST.
pub async fn newest_checkpoint(repository: &Repository) -> Result<u64, Error> {
    let newest = repository.store().first(layout::CHECKPOINT).await?;
    Ok(newest.and_then(|object| layout::parse_checkpoint(&object.key)).unwrap_or(0))
}

/// A checkpoint; number 0 is the empty one.
pub async fn read_checkpoint(repository: &Repository, number: u64) -> Result<Checkpoint, Error> {
    if number == 0 {
        return Ok(Checkpoint::default());
    }
    let key = layout::checkpoint(number);
    let object = repository.store().get(&key, SNAPSHOT_LIMIT_BYTES).await?;
    let (kind, body) = open_object(repository.id(), repository.secrets(), &key, &object)?;
    if kind != Sealed::Checkpoint {
        return Err(Error::damaged(&key, "is not a checkpoint"));
    }
    let checkpoint: Checkpoint = record::decode(&key, &body)?;
    if checkpoint.number != number {
        return Err(Error::damaged(&key, "is not the checkpoint that its name says"));
    }
    Ok(checkpoint)
}

/// Checkpoints that a reader looks at.
const CHECKPOINTS_TRIED: usize = 64;

/// The newest checkpoint that can be read, and what is wrong with newer ones: anyone who may write to
/// the store can put one there, and shall not keep people from reading. Only for readers; a writer stops
/// instead. Costs a LIST, and a GET for each that is looked at.
pub async fn head_for_reading(
    repository: &Repository,
) -> Result<(Checkpoint, Vec<(Key, Error)>), Error> {
    let mut listing = repository.store().list(layout::CHECKPOINT);
    let mut passed_over = Vec::new();
    while let Some(object) = listing.try_next().await? {
        let Some(number) = layout::parse_checkpoint(&object.key) else {
            continue;
        };
        match read_checkpoint(repository, number).await {
            Ok(head) => return Ok((head, passed_over)),
            Err(error) if error.is_unreadable() && passed_over.len() < CHECKPOINTS_TRIED => {
                tracing::warn!(%error, "a checkpoint is passed over");
                passed_over.push((object.key, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((Checkpoint::default(), passed_over))
}

/// What is in the commit register of `place`.
pub async fn read_register(repository: &Repository, place: &Place) -> Result<Register, Error> {
    let key = place.register_key();
    let (kind, body) = match kept_register(repository, &key).await {
        Some(kept) => kept,
        None => fetched_register(repository, &key).await?,
    };
    match kind {
        Sealed::Snapshot => {
            let snapshot: Snapshot = record::decode(&key, &body)?;
            snapshot.check(key.as_str(), place.session)?;
            Ok(Register::Snapshot(Box::new(snapshot)))
        }
        Sealed::Abort if to_u64_len(&body) <= RECORD_LIMIT_BYTES => {
            Ok(Register::Aborted(record::decode(&key, &body)?))
        }
        _ => Err(Error::damaged(&key, "is neither a snapshot nor an abort record")),
    }
}

async fn kept_register(repository: &Repository, key: &Key) -> Option<(Sealed, Vec<u8>)> {
    let cache = repository.cache()?;
    let (id, secrets, key) = (repository.id(), repository.secrets().clone(), key.clone());
    let open = move || {
        let object = cache.get(&key, 0, SNAPSHOT_LIMIT_BYTES)?;
        open_object(id, &secrets, &key, &object).inspect_err(|_| cache.forget(&key, 0)).ok()
    };
    repository.world().cpu.run(open).await
}

async fn fetched_register(repository: &Repository, key: &Key) -> Result<(Sealed, Vec<u8>), Error> {
    let object = repository.store().get(key, SNAPSHOT_LIMIT_BYTES).await?;
    let opened = open_object(repository.id(), repository.secrets(), key, &object)?;
    keep(repository, key, object).await;
    Ok(opened)
}

/// Keeps an object where this machine keeps metadata.
async fn keep(repository: &Repository, key: &Key, object: Bytes) {
    if let Some(cache) = repository.cache() {
        let key = key.clone();
        repository.world().cpu.run(move || cache.put(&key, 0, &object)).await;
    }
}

fn to_u64_len(bytes: &[u8]) -> u64 {
    crate::units::to_u64(bytes.len())
}

/// The places that names in a listing stand for; other names are ignored.
fn places(
    listing: BoxStream<'_, Result<store::Object, store::Error>>,
) -> BoxStream<'_, Result<Place, store::Error>> {
    let place = |object: store::Object| std::future::ready(Ok(Place::parse(&object.key)));
    listing.try_filter_map(place).boxed()
}

/// The snapshot to compare with: the first of these places, newest first, that is valid and can be read.
async fn newest_valid(
    repository: &Repository,
    newest: Option<Place>,
    earlier: &mut BoxStream<'_, Result<Place, store::Error>>,
    head: &Checkpoint,
) -> Result<Option<Snapshot>, Error> {
    let mut next = newest;
    while let Some(place) = next {
        if head.is_valid(place.session, place.checkpoint) {
            match read_register(repository, &place).await {
                Ok(Register::Snapshot(snapshot)) => return Ok(Some(*snapshot)),
                Ok(Register::Aborted(_)) => {}
                // One before it does as well: a parent saves work, and nothing rests on it.
                Err(error) if error.is_unreadable() => {
                    tracing::warn!(snapshot = %place.session, %error, "not compared with: it cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        next = earlier.try_next().await?;
    }
    Ok(None)
}

impl Repository {
    /// Snapshots of the same series that came after `snapshot` and are valid, in their order, and those that
    /// cannot be read. Costs a LIST, and a GET per snapshot.
    pub async fn later_snapshots(
        &self,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Snapshot>, Vec<Error>), Error> {
        let mut places = self.series_places(snapshot).await?;
        let own = places.iter().position(|place| place.session == snapshot.id);
        places.truncate(own.unwrap_or(places.len()));
        let (mut later, mut unreadable) = (Vec::new(), Vec::new());
        // The listing has the newest first.
        for place in places.iter().rev() {
            match read_register(self, place).await {
                Ok(Register::Snapshot(found)) => later.push(*found),
                Ok(Register::Aborted(_)) => {}
                Err(error) if error.is_unreadable() => unreadable.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((later, unreadable))
    }

    /// Snapshots of the same series that came before `snapshot`, are valid and can be read, newest first.
    /// Costs as much as [`Repository::later_snapshots`].
    pub async fn earlier_snapshots(&self, snapshot: &Snapshot) -> Result<Vec<Snapshot>, Error> {
        let places = self.series_places(snapshot).await?.into_iter();
        let mut earlier = Vec::new();
        for place in places.skip_while(|place| place.session != snapshot.id).skip(1) {
            match read_register(self, &place).await {
                Ok(Register::Snapshot(found)) => earlier.push(*found),
                Ok(Register::Aborted(_)) => {}
                Err(error) if error.is_unreadable() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(earlier)
    }

    /// The places of all valid snapshots of a series, newest first.
    async fn series_places(&self, snapshot: &Snapshot) -> Result<Vec<Place>, Error> {
        let (head, _) = head_for_reading(self).await?;
        let lane = self.secrets().oldest().lane(&snapshot.job, &snapshot.host);
        let prefix = layout::snapshots_of(lane);
        let places: Vec<Place> = places(self.store().list(&prefix)).try_collect().await?;
        let valid = places.into_iter();
        Ok(valid.filter(|place| head.is_valid(place.session, place.checkpoint)).collect())
    }
}
