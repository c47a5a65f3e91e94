//! A live LSM engine, fjall, written to at full speed while it is backed up with no word to it: every
//! restore opens and is one state of the database, with every record that was acknowledged before the
//! cut began.
//!
//! *Acknowledged*: `insert` returned. By then fjall has handed the record to the operating system, which
//! is what a reader of its files sees (durability against power loss is another matter, and not ours).
//! *Before the cut began*: before `Source::cut` was called. A pinned cut takes its files' lengths
//! somewhere inside that call, so what is acknowledged meanwhile may or may not be in it.
//!
//! fjall 3 keeps its journals (`7.jnl`) beside its tables and needs the open one too, so a WAL source
//! would have nothing to add: the pinned directory holds all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use backstay::repo::snapshot::Snapshot;
use backstay::source::{DirectoryOptions, DirectorySource};
use backstay::store::{MemoryStore, Store};
use backstay::world::World;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::scene::{DATA, init, restore, scratch, try_backup, try_open};
use crate::support::watched::{Moment, Watched};

const BACKUPS: usize = 50;
/// Keys are written in turns, so that compactions have something to throw away.
const KEYS: u64 = 3_000;
const VALUE_BYTES: usize = 200;

fn open_database(path: &Path) -> (Database, Keyspace) {
    let database = Database::builder(path).worker_threads(2).open().unwrap();
    let options = || KeyspaceCreateOptions::default().max_memtable_size(256 * 1024);
    let items = database.keyspace("items", options).unwrap();
    (database, items)
}

/// The value of record `number`; its key is the number modulo [`KEYS`].
fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    let mut random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while value.len() < VALUE_BYTES {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        value.extend(random.to_be_bytes());
    }
    value
}

/// Writes until told to stop; publishes what is acknowledged. Returns how often was compacted.
fn write(path: &Path, acknowledged: &AtomicU64, stop: &AtomicBool) -> usize {
    let (database, items) = open_database(path);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        items.insert((number % KEYS).to_be_bytes(), value(number)).unwrap();
        acknowledged.store(number, Ordering::Release);
    }
    database.compactions_completed()
}

/// The database in `path` must be exactly the state after some record; returns which.
fn state(path: &Path, what: &str) -> u64 {
    let (_database, items) = open_database(path);
    let mut found = std::collections::BTreeMap::new();
    for guard in items.iter() {
        let (key, value) = guard.into_inner().unwrap();
        found.insert(u64::from_be_bytes((*key).try_into().unwrap()), value);
    }
    let number = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
    let last = found.values().map(|value| number(value)).max().unwrap();
    for (key, found) in &found {
        let right = last - (last + KEYS - key) % KEYS;
        assert_eq!(number(found), right, "{what}: key {key} in the state after {last}");
        assert!(**found == *value(right), "{what}: the value of record {right}");
    }
    assert_eq!(found.len() as u64, last.min(KEYS), "{what}: keys in the state after {last}");
    last
}

/// Copies a directory that stands still.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A pinned journal may end in the midst of a record: a write is seen page by page while it goes on. That
/// costs this one record, which was not acknowledged yet, wherever it is torn.
#[test]
fn a_torn_record_is_dropped_and_no_other() {
    const RECORDS: u64 = 20;
    const TRAILER: &[u8] = b"FJL\x03";
    let place = scratch();
    let (live, still) = (place.path().join("live"), place.path().join("still"));
    let (database, items) = open_database(&live);
    for number in 1..=RECORDS {
        items.insert((number % KEYS).to_be_bytes(), value(number)).unwrap();
    }
    // While it is open: closing it might tidy up.
    copy(&live, &still);
    drop((items, database));

    let files = std::fs::read_dir(&still).unwrap().map(|entry| entry.unwrap().file_name());
    let journal = files.filter(|name| name.to_string_lossy().ends_with(".jnl")).max().unwrap();
    let written = std::fs::read(still.join(&journal)).unwrap();
    let end = written.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let records = &written[..end - TRAILER.len()];
    let start = records.windows(TRAILER.len()).rposition(|part| part == TRAILER).unwrap();
    let start = start + TRAILER.len();
    assert!(end - start > VALUE_BYTES);
    // Most of it is a hole, which a copy would fill.
    std::fs::write(still.join(&journal), &written[..end]).unwrap();
    for torn in start..=end {
        let (out, what) = (place.path().join("out"), format!("torn at {torn} in {start}..{end}"));
        copy(&still, &out);
        let file = std::fs::File::options().write(true).open(out.join(&journal)).unwrap();
        file.set_len(torn as u64).unwrap();
        file.set_len(written.len() as u64).unwrap();
        let expected = if torn < end { RECORDS - 1 } else { RECORDS };
        assert_eq!(state(&out, &what), expected, "{what}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

struct Taken {
    snapshot: Snapshot,
    acknowledged_before: u64,
    acknowledged_after: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_engine_comes_back_with_all_that_was_acknowledged() {
    let place = scratch();
    let live = place.path().join("live");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (live, acknowledged, stop) =
            (live.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        std::thread::spawn(move || write(&live, &acknowledged, &stop))
    };
    while acknowledged.load(Ordering::Acquire) < 2 * KEYS && !writer.is_finished() {
        std::thread::yield_now();
    }
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let keys = init(&store, 1).await;
    let repository = try_open(&store, World::system(), &keys.recovery).await.unwrap();
    let mut taken = Vec::new();
    for round in 0..BACKUPS {
        let before = Arc::new(AtomicU64::new(0));
        let options = DirectoryOptions { pin: true, ..DirectoryOptions::new(DATA, &live) };
        let ear = {
            let (before, acknowledged) = (Arc::clone(&before), Arc::clone(&acknowledged));
            move |moment: &Moment| {
                if *moment == Moment::Cutting {
                    before.store(acknowledged.load(Ordering::Acquire), Ordering::Release);
                }
                Ok(())
            }
        };
        let source = Watched::boxed(DirectorySource::new(options).unwrap(), ear);
        let report = try_backup(&repository, &[source]).await.unwrap();
        assert_eq!(report.problems, [], "backup {round}");
        taken.push(Taken {
            snapshot: report.snapshot,
            acknowledged_before: before.load(Ordering::Acquire),
            acknowledged_after: acknowledged.load(Ordering::Acquire),
        });
    }
    stop.store(true, Ordering::Relaxed);
    let compactions = writer.join().unwrap();
    assert!(compactions > 20, "{compactions} compactions prove little");

    for (round, taken) in taken.iter().enumerate() {
        let what = format!("backup {round}");
        let out = place.path().join(format!("out-{round}"));
        restore(&repository, &taken.snapshot, &out).await;
        let last = state(&out, &what);
        let (least, most) = (taken.acknowledged_before, taken.acknowledged_after + 1);
        assert!((least..=most).contains(&last), "{what}: {last} is not in {least}..={most}");
        std::fs::remove_dir_all(&out).unwrap();
    }
    let written = taken.last().unwrap().acknowledged_after - taken[0].acknowledged_before;
    println!("{written} records and {compactions} compactions during {BACKUPS} backups");
}
