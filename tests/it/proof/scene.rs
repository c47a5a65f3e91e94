//! The scene of every proof: a repository in memory with its keys, worlds, and a backup or a restore
//! in one call.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use backstay::backup;
use backstay::destination::directory::{DirectoryDestination, Options as DirectoryTo};
use backstay::destination::{Destination, Overwrite};
use backstay::entry::TreePath;
use backstay::repo::keyfile::Unlock;
use backstay::repo::layout::{self, Place};
use backstay::repo::session::{Register, read_register};
use backstay::repo::snapshot::Snapshot;
use backstay::repo::{self, InitOptions, Repository};
use backstay::restore;
use backstay::source::{DirectoryOptions, DirectorySource, Source};
use backstay::store::{Key, MemoryStore, Store};
use backstay::world::{Cpu, ManualClock, SeededRandom, World};
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::SignedDuration;

use crate::support::kept::{Items, Kept};

/// The name of the one source of most proofs.
pub const DATA: &str = "data";

/// A world in which no file is young: its clock stands in the far future, so that a backup believes
/// time stamps and goes the way of a nightly run. Work is done where it is asked for.
pub fn later(seed: u64) -> World {
    let clock = ManualClock::default();
    clock.advance(SignedDuration::from_hours(24 * 365 * 120));
    World { clock: Arc::new(clock), random: Arc::new(SeededRandom::new(seed)), cpu: Cpu::inline() }
}

/// Waits until a change of a file gets another time stamp than changes before.
pub fn tick() {
    let probe = tempfile::NamedTempFile::new().unwrap();
    let stamp = || {
        fs::write(probe.path(), "x").unwrap();
        let metadata = probe.path().metadata().unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let first = stamp();
    while stamp() == first {
        std::thread::yield_now();
    }
}

/// A directory that goes away with its handle, in memory where the system has room for files there:
/// what is proven needs no disk, and durable writes to one take their time.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        return tempfile::tempdir_in(memory).unwrap();
    }
    tempfile::tempdir().unwrap()
}

/// The keys of a repository, as texts.
#[derive(Clone, Debug)]
pub struct KeyTexts {
    pub recovery: String,
    pub agent: String,
}

/// A directory on a disk, where times prove what did not change.
pub fn scratch_on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Makes a repository.
pub async fn init(store: &Arc<dyn Store>, seed: u64) -> KeyTexts {
    let made = Repository::init(Arc::clone(store), later(seed), InitOptions::default()).await;
    let (_, keys) = made.unwrap();
    KeyTexts { recovery: keys.recovery.unwrap().to_string(), agent: keys.agent.to_string() }
}

/// Opens a repository with the text of a key.
pub async fn try_open(
    store: &Arc<dyn Store>,
    world: World,
    key: &str,
) -> Result<Repository, repo::Error> {
    let unlock = Unlock::from_file("key", key.as_bytes(), None).unwrap();
    Repository::open(Arc::clone(store), world, &unlock).await
}

/// The same, where it must work.
pub async fn open(store: &Arc<dyn Store>, seed: u64, key: &str) -> Repository {
    try_open(store, later(seed), key).await.unwrap()
}

/// A directory as the source [`DATA`].
pub fn directory(path: &Path) -> Box<dyn Source> {
    directory_with(path, |_| {})
}

/// The same with other options.
pub fn directory_with(path: &Path, change: impl FnOnce(&mut DirectoryOptions)) -> Box<dyn Source> {
    let mut options = DirectoryOptions::new(DATA, path);
    change(&mut options);
    Box::new(DirectorySource::new(options).unwrap())
}

/// Options of the proofs' one job.
pub fn job() -> backup::Options {
    backup::Options { host: "host".into(), ..Default::default() }
}

/// Backs sources up.
pub async fn try_backup(
    repository: &Repository,
    sources: &[Box<dyn Source>],
) -> Result<backup::Report, backup::Error> {
    backup::run(repository, sources, &job(), Arc::default()).await
}

/// Backs a directory up, which must work.
pub async fn backup(repository: &Repository, path: &Path) -> backup::Report {
    try_backup(repository, &[directory(path)]).await.unwrap()
}

/// What of a snapshot: a path of the source [`DATA`].
pub fn part(path: &TreePath) -> restore::Options {
    let selection = restore::Selection { source: Some(DATA.into()), path: path.clone() };
    restore::Options { selection, ..Default::default() }
}

/// All of a source.
pub fn part_of(source: &str) -> restore::Options {
    let selection = restore::Selection { source: Some(source.into()), path: TreePath::root() };
    restore::Options { selection, ..Default::default() }
}

/// Restores into `destination` with its report.
pub async fn try_restore(
    repository: &Repository,
    snapshot: &Snapshot,
    destination: Arc<dyn Destination>,
    options: &restore::Options,
) -> Result<restore::Report, restore::Error> {
    restore::run(repository, snapshot, destination, options, Arc::default()).await
}

/// A directory as destination.
pub fn into_directory(path: &Path, overwrite: Overwrite) -> Arc<dyn Destination> {
    let options = DirectoryTo { path: path.to_owned(), overwrite, ..Default::default() };
    Arc::new(DirectoryDestination::new(options))
}

/// Restores a path of [`DATA`] into an empty directory, without any loss.
pub async fn restore_part(
    repository: &Repository,
    snapshot: &Snapshot,
    path: &TreePath,
    to: &Path,
) -> restore::Report {
    let destination = into_directory(to, Overwrite::Refuse);
    let report = try_restore(repository, snapshot, destination, &part(path)).await.unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.shortfalls.listed, []);
    assert_eq!(report.incomplete, []);
    report
}

/// Restores all of [`DATA`] into an empty directory, without any loss.
pub async fn restore(repository: &Repository, snapshot: &Snapshot, to: &Path) -> restore::Report {
    restore_part(repository, snapshot, &TreePath::root(), to).await
}

/// Restores [`DATA`] into memory, with whatever report.
pub async fn recall_damaged(
    repository: &Repository,
    snapshot: &Snapshot,
) -> Result<(Items, restore::Report), restore::Error> {
    let kept = Kept::default();
    let destination = Arc::new(kept.clone());
    let report = try_restore(repository, snapshot, destination, &part(&TreePath::root())).await?;
    Ok((kept.items(), report))
}

/// Restores [`DATA`] into memory, without any loss.
pub async fn recall(repository: &Repository, snapshot: &Snapshot) -> Items {
    let (items, report) = recall_damaged(repository, snapshot).await.unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.incomplete, []);
    assert!(items.values().all(|item| item.is_whole));
    items
}

/// Where the commit registers are, newest first in each lane.
pub async fn registers(store: &dyn Store) -> Vec<Place> {
    let rows: Vec<_> = store.list(layout::SNAPSHOT).try_collect().await.unwrap();
    rows.iter().map(|row| Place::parse(&row.key).unwrap()).collect()
}

/// All snapshots, newest first in each lane.
pub async fn snapshots(repository: &Repository) -> Vec<Snapshot> {
    let mut found = Vec::new();
    for place in registers(repository.store()).await {
        match read_register(repository, &place).await.unwrap() {
            Register::Snapshot(snapshot) => found.push(*snapshot),
            Register::Aborted(record) => panic!("nobody aborts here: {record:?}"),
        }
    }
    found
}

/// All objects of a store.
pub async fn objects(store: &dyn Store) -> Vec<(Key, Bytes)> {
    let rows: Vec<_> = store.list("").try_collect().await.unwrap();
    let mut objects = Vec::new();
    for row in rows {
        let bytes = store.get(&row.key, u64::MAX).await.unwrap();
        objects.push((row.key, bytes));
    }
    objects
}

/// A store of its own with these objects.
pub async fn store_of(objects: impl IntoIterator<Item = (Key, Bytes)>) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    for (key, bytes) in objects {
        store.create(&key, vec![bytes]).await.unwrap();
    }
    Arc::new(store)
}

/// A path in a source.
pub fn path(text: &str) -> TreePath {
    TreePath::from_bytes(text).unwrap()
}

/// Bytes that do not compress; equal seeds make equal bytes.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let random = SeededRandom::new(seed);
    let mut bytes = vec![0; length];
    backstay::world::Random::fill(&random, &mut bytes);
    bytes
}

/// A file with the header of an `SQLite` database of 4-KiB pages, which is kept page by page.
pub fn database(seed: u64, pages: usize) -> Vec<u8> {
    let mut bytes = noise(seed, pages * 4096);
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..18].copy_from_slice(&4096_u16.to_be_bytes());
    bytes
}
