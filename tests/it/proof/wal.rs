//! A write-ahead log around two directories of tables, with an engine that writes, checkpoints and
//! deletes at every moment of the backup: every restore point can be replayed into one state. And what
//! breaks the log's promises is named.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backstay::backup;
use backstay::entry::TreePath;
use backstay::facts::naming::SegmentNaming;
use backstay::facts::{Facts, WalFacts};
use backstay::repo::Repository;
use backstay::repo::snapshot::Snapshot;
use backstay::source::wal::TIMELINE_MARKER_NAME;
use backstay::source::{
    DirectoryOptions, DirectorySource, Fault, Problem, Source, WalOptions, WalSource,
};

use super::scene::{init, open, scratch, store_of, try_backup, try_restore};
use crate::support::kept::{Items, Kept};
use crate::support::watched::{Moment, Watched};

/// So that numbers grow from 9 to 10 digits during the proof: by their names the segments would come
/// in the wrong order.
const FIRST_SEGMENT: u64 = 999_999_996;
const RECORDS_PER_SEGMENT: u64 = 5;
/// Segments that are closed before they are checkpointed.
const SEGMENTS_PER_CHECKPOINT: u64 = 2;

/// A small engine. Records are the numbers from 1; a table holds the sum of the squares of those that
/// belong to it, and how far that goes. Tables are replaced one after the other, and only as far as
/// closed segments go; then the segments that no table needs are deleted.
#[derive(Debug)]
struct Engine {
    root: PathBuf,
    record: u64,
    segment: u64,
    /// Records up to here are in closed segments.
    closed: u64,
    checkpointed: u64,
    /// A checkpoint on its way: up to which record, and which tables are left.
    checkpoint: Option<(u64, Vec<usize>)>,
    deleted_to: u64,
    /// Segments that it keeps though no table needs them any more.
    spare: u64,
}

const TABLES: [&str; 4] = ["one/a", "one/b", "two/a", "two/b"];

fn sum(table: usize, from: u64, to: u64) -> u64 {
    (from..=to).filter(|n| n % 4 == table as u64).map(|n| n * n).sum()
}

impl Engine {
    fn new(root: &Path, spare: u64) -> Self {
        for directory in ["wal", "one", "two", "temporary"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        let engine = Self {
            root: root.to_owned(),
            record: 0,
            segment: FIRST_SEGMENT,
            closed: 0,
            checkpointed: 0,
            checkpoint: None,
            deleted_to: FIRST_SEGMENT,
            spare,
        };
        (0..TABLES.len()).for_each(|table| engine.write_table(table, 0));
        engine
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.root.join(format!("wal/wal-{number}.log"))
    }

    fn write_table(&self, table: usize, to: u64) {
        let temporary = self.root.join("temporary/table");
        fs::write(&temporary, format!("{to} {}", sum(table, 1, to))).unwrap();
        fs::rename(temporary, self.root.join(TABLES[table])).unwrap();
    }

    /// One record more, and one table more of a checkpoint.
    fn step(&mut self) {
        self.record += 1;
        let path = self.segment_path(self.segment);
        let mut segment = fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(segment, "{}", self.record).unwrap();
        if self.record.is_multiple_of(RECORDS_PER_SEGMENT) {
            self.closed = self.record;
            self.segment += 1;
            fs::write(self.segment_path(self.segment), "").unwrap();
        }
        if let Some((to, mut left)) = self.checkpoint.take() {
            if let Some(table) = left.pop() {
                self.write_table(table, to);
                self.checkpoint = Some((to, left));
            } else {
                self.checkpointed = to;
                let needed = (to / RECORDS_PER_SEGMENT).saturating_sub(self.spare) + FIRST_SEGMENT;
                for number in self.deleted_to..needed {
                    fs::remove_file(self.segment_path(number)).unwrap();
                }
                self.deleted_to = needed;
            }
        } else if self.closed >= self.checkpointed + SEGMENTS_PER_CHECKPOINT * RECORDS_PER_SEGMENT {
            self.checkpoint = Some((self.closed, vec![2, 0, 3, 1]));
        }
    }
}

/// Replays the log over the tables; returns how far it goes.
fn replay(items: &Items, facts: &WalFacts, what: &str) -> u64 {
    let text = |path: &TreePath| String::from_utf8(items[path].bytes.clone()).unwrap();
    let mut segments = BTreeMap::new();
    for path in items.keys().filter(|path| path.as_bytes().starts_with(b"wal/")) {
        let name = std::str::from_utf8(path.name()).unwrap();
        if name == TIMELINE_MARKER_NAME {
            // The restore's own word: what is written here from now on is another life of the log.
            continue;
        }
        let number = name.strip_prefix("wal-").unwrap().strip_suffix(".log").unwrap();
        segments.insert(number.parse::<u64>().unwrap(), text(path));
    }
    assert_eq!(facts.first, segments.keys().next().copied(), "{what}");
    assert_eq!(facts.last, segments.keys().next_back().copied(), "{what}");
    assert!(facts.gaps.iter().all(|(_, last)| Some(*last) < facts.first), "{what}: {facts:?}");
    let lines = segments.values().flat_map(|text| text.lines());
    let records: Vec<u64> = lines.map(|line| line.parse().unwrap()).collect();
    let (first, last) = (*records.first().unwrap(), *records.last().unwrap());
    assert_eq!(
        records,
        (first..=last).collect::<Vec<_>>(),
        "{what}: numbers, not names, are the order"
    );
    for (table, name) in TABLES.iter().enumerate() {
        let text = text(&TreePath::from_bytes(*name).unwrap());
        let (to, stored) = text.split_once(' ').unwrap();
        let (to, stored) = (to.parse::<u64>().unwrap(), stored.parse::<u64>().unwrap());
        assert!(first <= to + 1, "{what}: {name} is at {to}, the log begins with {first}");
        assert!(last >= to, "{what}: {name} is at {to}, the log ends with {last}");
        assert_eq!(stored + sum(table, to + 1, last), sum(table, 1, last), "{what}: {name}");
    }
    last
}

fn wal_facts(snapshot: &Snapshot) -> WalFacts {
    match snapshot.source("wal").unwrap().facts() {
        Some(Facts::Wal(facts)) => facts,
        other => panic!("{other:?}"),
    }
}

fn naming() -> SegmentNaming {
    SegmentNaming::parse("wal-{number}.log").unwrap()
}

/// The engine's sources, the log first, heard by `ear`.
fn sources(
    root: &Path,
    ear: impl Fn(&Moment) -> Result<(), Problem> + Clone + Send + Sync + 'static,
) -> Vec<Box<dyn Source>> {
    let wal = WalSource::new(WalOptions::new("wal", root.join("wal"), naming())).unwrap();
    let mut sources = vec![Watched::boxed(wal, ear.clone())];
    for name in ["one", "two"] {
        let options =
            DirectoryOptions { pin: true, ..DirectoryOptions::new(name, root.join(name)) };
        sources.push(Watched::boxed(DirectorySource::new(options).unwrap(), ear.clone()));
    }
    sources
}

async fn recall_all(repository: &Repository, snapshot: &Snapshot) -> Items {
    let kept = Kept::default();
    let all = backstay::restore::Options::default();
    let report = try_restore(repository, snapshot, Arc::new(kept.clone()), &all).await.unwrap();
    assert_eq!(report.damage, []);
    kept.items()
}

/// What 60 backups beside the engine made: those that were clean, and those with a gap.
#[derive(Debug, Default)]
struct Tally {
    clean: usize,
    gaps: usize,
    /// Restore points with segment numbers of 9 and of 10 digits.
    crossed: usize,
    /// Restore points with tables of different instants.
    differed: usize,
}

async fn beside_the_engine(spare: u64, haste: usize) -> Tally {
    let place = scratch();
    let engine = Arc::new(Mutex::new(Engine::new(place.path(), spare)));
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    (0..12).for_each(|_| engine.lock().unwrap().step());
    let mut tally = Tally::default();
    for round in 0..60_usize {
        let ear = {
            let engine = Arc::clone(&engine);
            // The engine is faster in some rounds than in others.
            move |_: &Moment| {
                (0..=round % haste).for_each(|_| engine.lock().unwrap().step());
                Ok(())
            }
        };
        let acknowledged = engine.lock().unwrap().closed;
        let report = try_backup(&repository, &sources(place.path(), ear)).await.unwrap();
        let what = format!("round {round}, {spare} spare segments");
        let facts = wal_facts(&report.snapshot);
        let faults = faults(&report);
        assert_eq!(report.snapshot.partial, !faults.is_empty(), "{what}");
        if !faults.is_empty() {
            assert!(faults.iter().all(|(_, fault)| *fault == Fault::Gap), "{what}: {faults:?}");
            assert_eq!(facts.gaps.len(), faults.len(), "{what}");
        }
        // What was deleted unstored before the first segment ends no replay of this restore point.
        if facts.gaps.iter().any(|(_, last)| Some(*last) >= facts.first) {
            tally.gaps += 1;
            continue;
        }
        let items = recall_all(&repository, &report.snapshot).await;
        let last = replay(&items, &facts, &what);
        assert!(last >= acknowledged, "{what}: ends at {last}");
        tally.clean += 1;
        let border = Some(1_000_000_000);
        tally.crossed += usize::from(facts.first < border && facts.last >= border);
        let to = |name: &str| {
            let bytes = &items[&TreePath::from_bytes(name).unwrap()].bytes;
            String::from_utf8_lossy(bytes).split(' ').next().unwrap().to_owned()
        };
        tally.differed += usize::from(TABLES.iter().any(|table| to(table) != to(TABLES[0])));
    }
    tally
}

/// An engine that keeps its last segments a little longer than it must.
#[tokio::test(start_paused = true)]
async fn every_restore_point_can_be_replayed() {
    let tally = beside_the_engine(40, 4).await;
    assert_eq!((tally.clean, tally.gaps), (60, 0));
    assert!(tally.crossed > 0 && tally.differed > 5, "{tally:?} proves little");
}

/// An engine that opens, fills and deletes segments all between two looks at them: what is not a clean
/// restore point says so.
#[tokio::test(start_paused = true)]
async fn segments_that_were_never_seen_are_a_gap() {
    let tally = beside_the_engine(14, 6).await;
    assert!(tally.clean > 5 && tally.gaps > 5, "{tally:?} proves little");
}

/// Backs the log up alone, as it lies there.
async fn log_alone(repository: &Repository, root: &Path) -> backup::Report {
    let wal: Box<dyn Source> =
        Box::new(WalSource::new(WalOptions::new("wal", root.join("wal"), naming())).unwrap());
    try_backup(repository, &[wal]).await.unwrap()
}

fn faults(report: &backup::Report) -> Vec<(String, Fault)> {
    report.problems.iter().map(|(_, p)| (p.path.to_string(), p.fault)).collect()
}

#[tokio::test(start_paused = true)]
async fn rewritten_and_missing_segments_are_named() {
    let place = scratch();
    let wal = place.path().join("wal");
    fs::create_dir(&wal).unwrap();
    let name = |number: u64| format!("wal-{number}.log");
    for number in FIRST_SEGMENT..FIRST_SEGMENT + 8 {
        fs::write(wal.join(name(number)), format!("segment {number}")).unwrap();
    }
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    let clean = log_alone(&repository, place.path()).await;
    assert_eq!((faults(&clean), clean.snapshot.partial), (vec![], false));

    // The same length and modification time, and other bytes.
    super::scene::tick();
    let victim = wal.join(name(FIRST_SEGMENT + 2));
    let modified = victim.metadata().unwrap().modified().unwrap();
    fs::write(&victim, format!("Segment {}", FIRST_SEGMENT + 2)).unwrap();
    let times = fs::FileTimes::new().set_modified(modified);
    fs::File::open(&victim).unwrap().set_times(times).unwrap();
    super::scene::tick();
    let rewritten = log_alone(&repository, place.path()).await;
    assert_eq!(faults(&rewritten), [(name(FIRST_SEGMENT + 2), Fault::Timeline)]);
    assert!(rewritten.snapshot.partial);
    let (was, now) = (wal_facts(&clean.snapshot), wal_facts(&rewritten.snapshot));
    assert_eq!(now.forked_from, Some((was.timeline, FIRST_SEGMENT + 1)));

    // Two in the middle, around the border of 9 and 10 digits.
    fs::remove_file(wal.join(name(FIRST_SEGMENT + 3))).unwrap();
    fs::remove_file(wal.join(name(FIRST_SEGMENT + 4))).unwrap();
    let gap = log_alone(&repository, place.path()).await;
    assert!(gap.snapshot.partial);
    let of_gap: Vec<_> = faults(&gap).into_iter().filter(|(_, f)| *f == Fault::Gap).collect();
    assert_eq!(of_gap, [(name(FIRST_SEGMENT + 3), Fault::Gap)]);
    let facts = wal_facts(&gap.snapshot);
    assert_eq!(facts.gaps, [(FIRST_SEGMENT + 3, FIRST_SEGMENT + 4)]);
    assert_eq!((facts.first, facts.last), (Some(FIRST_SEGMENT), Some(FIRST_SEGMENT + 6)));

    // Deleting the oldest is what engines do.
    for number in FIRST_SEGMENT..FIRST_SEGMENT + 5 {
        drop(fs::remove_file(wal.join(name(number))));
    }
    let shorter = log_alone(&repository, place.path()).await;
    assert_eq!((faults(&shorter), shorter.snapshot.partial), (vec![], false));
}
