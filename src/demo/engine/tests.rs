//! The engine keeps what it acknowledged through crashes, and never vouches for what it has not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// So small that a few hundred records make segments, tables and compactions.
fn small() -> Options {
    Options {
        segment_bytes: 4 << 10,
        memory_bytes: 16 << 10,
        sync: false,
        keep_segments: 4,
        most_tables: 3,
    }
}

/// Keeps every record in memory and in the log.
fn no_tables() -> Options {
    Options { memory_bytes: u64::MAX, ..small() }
}

fn open(directory: &TempDir, options: Options) -> Result<Engine, Error> {
    Engine::open(directory.path(), options)
}

/// An engine with the writer's first `count` records, dropped as a crash drops it.
fn filled(count: u64, options: Options) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(&mut open(&directory, options).unwrap(), count);
    directory
}

fn write(engine: &mut Engine, count: u64) {
    for _ in 0..count {
        let record = expected_record(engine.last_sequence() + 1);
        assert_eq!(engine.put(&record.key, &record.value).unwrap(), record.sequence);
    }
}

/// Files of one of an engine's directories, in the order of their names.
fn files(directory: &TempDir, part: &str) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory.path().join(part)).unwrap();
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn cut(path: &Path, length_bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length_bytes).unwrap();
}

#[test]
fn a_crash_loses_nothing() {
    let directory = filled(1000, small());
    for count in (1000..1500).step_by(100) {
        let mut engine = open(&directory, small()).unwrap();
        let verification = engine.prove().unwrap();
        assert_eq!(verification.records, count);
        assert_eq!(verification.first_sequence, 1);
        assert_eq!(verification.last_sequence, count);
        let record = expected_record(count);
        assert_eq!(engine.get(&record.key).unwrap(), Some(record.value));
        assert_eq!(engine.get(b"none").unwrap(), None);
        write(&mut engine, 100);
    }
}

#[test]
fn the_layout_does_not_change_the_digest() {
    let digest = |options| {
        let directory = filled(700, no_tables());
        let engine = open(&directory, options).unwrap();
        engine.prove().unwrap()
    };
    let directory = filled(700, small());
    let mut engine = open(&directory, small()).unwrap();
    engine.flush().unwrap();
    engine.compact().unwrap();
    assert_eq!(engine.prove().unwrap(), digest(no_tables()));
}

#[test]
fn newer_values_win_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(&directory, small()).unwrap();
    for round in 0..6 {
        engine.put(b"key", &[round]).unwrap();
        if round < 5 {
            engine.flush().unwrap();
        }
        if round == 3 {
            engine.compact().unwrap();
        }
        assert_eq!(engine.get(b"key").unwrap(), Some(vec![round]));
        assert_eq!(engine.verify().unwrap().records, 1);
    }
    assert!(matches!(engine.put(&vec![0; 70_000], b""), Err(Error::TooLong { .. })));
}

#[test]
fn a_torn_end_is_cut_off() {
    // Closed segments stay as they are; the newest loses its last record only.
    for lost_bytes in [1, 7, 40, 70] {
        let directory = filled(30, no_tables());
        let logs = files(&directory, LOG_DIRECTORY);
        let (newest, closed) = logs.split_last().unwrap();
        let before: Vec<_> = closed.iter().map(|path| fs::read(path).unwrap()).collect();
        cut(newest, fs::metadata(newest).unwrap().len() - lost_bytes);
        let mut engine = open(&directory, no_tables()).unwrap();
        assert_eq!(engine.prove().unwrap().records, 29, "{lost_bytes}");
        write(&mut engine, 30);
        assert_eq!(engine.prove().unwrap().records, 59);
        let after: Vec<_> = closed.iter().map(|path| fs::read(path).unwrap()).collect();
        assert_eq!(before, after);
        drop(engine);
        assert_eq!(open(&directory, small()).unwrap().prove().unwrap().records, 59);
    }
}

#[test]
fn damage_is_no_torn_end() {
    type Harm = fn(&[PathBuf]);
    let harms: [(&str, Harm); 4] = [
        ("a closed segment ends early", |logs| {
            cut(&logs[0], fs::metadata(&logs[0]).unwrap().len() - 5);
        }),
        ("a length in the newest points past its end", |logs| {
            let newest = logs.last().unwrap();
            let mut bytes = fs::read(newest).unwrap();
            bytes[1] = 0xff;
            fs::write(newest, bytes).unwrap();
        }),
        ("a segment is missing", |logs| {
            fs::remove_file(&logs[1]).unwrap();
        }),
        ("a segment is another one", |logs| {
            fs::copy(&logs[0], &logs[1]).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let directory = filled(80, no_tables());
        harm(&files(&directory, LOG_DIRECTORY));
        let error = open(&directory, no_tables()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. } | Error::Gap { .. }), "{what}: {error}");
    }
}

#[test]
fn segments_go_once_their_records_are_in_tables() {
    let directory = filled(130, no_tables());
    let count = files(&directory, LOG_DIRECTORY).len();
    assert!(count > 5, "{count}");
    let mut engine = open(&directory, no_tables()).unwrap();
    // Opening begins a segment of its own.
    assert_eq!(files(&directory, LOG_DIRECTORY).len(), count + 1);
    engine.flush().unwrap();
    assert_eq!(files(&directory, LOG_DIRECTORY).len(), 4 + 1);
    assert_eq!(engine.closed_segments().len(), 4);
    assert_eq!(engine.closed_segments().last().unwrap().last_sequence, 130);
    engine.prove().unwrap();
    drop(engine);
    // Starts that write nothing leave no segments.
    for _ in 0..3 {
        open(&directory, no_tables()).unwrap().prove().unwrap();
        assert_eq!(files(&directory, LOG_DIRECTORY).len(), 4 + 1);
    }
}

#[test]
fn tables_may_be_ahead_of_a_restored_log() {
    let directory = filled(80, no_tables());
    open(&directory, no_tables()).unwrap().flush().unwrap();
    let logs = files(&directory, LOG_DIRECTORY);
    for path in logs.iter().rev().take(2) {
        fs::remove_file(path).unwrap();
    }
    for count in [80, 90, 100] {
        let mut engine = open(&directory, no_tables()).unwrap();
        assert_eq!(engine.prove().unwrap().records, count);
        write(&mut engine, 10);
    }
    // A log that begins beyond the tables has lost what lies between.
    let elsewhere = filled(80, no_tables());
    let first = files(&elsewhere, LOG_DIRECTORY).remove(0);
    fs::remove_file(first).unwrap();
    let error = open(&elsewhere, no_tables()).unwrap_err();
    assert!(matches!(error, Error::Gap { expected: 1, .. }), "{error}");
}

#[test]
fn every_flipped_bit_shows() {
    let directory = filled(90, small());
    let engine = open(&directory, small()).unwrap();
    let sound = engine.verify().unwrap();
    drop(engine);
    let mut paths = files(&directory, LOG_DIRECTORY);
    paths.extend(files(&directory, DATA_DIRECTORY));
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        for bit in (0..bytes.len() * 8).step_by(bytes.len() / 8 + 3) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            let found = open(&directory, small()).and_then(|engine| engine.verify());
            assert!(found.is_err(), "{} bit {bit}", path.display());
        }
        fs::write(&path, bytes).unwrap();
    }
    let engine = open(&directory, small()).unwrap();
    assert_eq!(engine.verify().unwrap(), sound);
    // And under an open engine, which has all of it in memory.
    let log = files(&directory, LOG_DIRECTORY).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&log, bytes).unwrap();
    assert!(matches!(engine.verify(), Err(Error::Damaged { .. })));
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let directory = filled(200, small());
    let data = directory.path().join(DATA_DIRECTORY);
    fs::write(data.join("000999.table"), "half").unwrap();
    fs::write(data.join("MANIFEST.tmp"), "half").unwrap();
    open(&directory, small()).unwrap().prove().unwrap();
    assert!(!data.join("000999.table").exists());
    assert!(!data.join("MANIFEST.tmp").exists());
    fs::remove_file(data.join("MANIFEST")).unwrap();
    assert!(matches!(open(&directory, small()), Err(Error::Damaged { .. })));
}

#[test]
fn the_start_gate() {
    let directory = filled(10, small());
    for part in ["", LOG_DIRECTORY, DATA_DIRECTORY] {
        let marker = directory.path().join(part).join(RESTORE_MARKER);
        fs::write(&marker, "").unwrap();
        assert!(matches!(open(&directory, small()), Err(Error::Restoring { .. })), "{part}");
        fs::remove_file(marker).unwrap();
    }
    let first = open(&directory, small()).unwrap();
    assert!(matches!(open(&directory, small()), Err(Error::Locked { .. })));
    drop(first);
    open(&directory, small()).unwrap();
}

#[test]
fn another_writers_records_are_not_proven() {
    let directory = filled(10, small());
    let mut engine = open(&directory, small()).unwrap();
    engine.put(b"mine", b"and not the writer's").unwrap();
    engine.verify().unwrap();
    assert!(matches!(engine.prove(), Err(Error::Unexpected { sequence: 11, .. })));
}

/// Copies an engine's directory while it runs, as a backup does: first the log's files are held
/// open, then all of the data's, and what was closed meanwhile is added last.
fn copy_running(from: &Path, to: &Path) {
    let closed = |held: &mut BTreeMap<PathBuf, File>| {
        let numbers = disk::numbered(&from.join(LOG_DIRECTORY), disk::SEGMENT_SUFFIX).unwrap();
        for number in numbers.split_last().map_or(&[][..], |(_, closed)| closed) {
            let path = disk::segment_path(&from.join(LOG_DIRECTORY), *number);
            // One that is recycled between listing and opening is in tables by then.
            if !held.contains_key(&path)
                && let Ok(file) = File::open(&path)
            {
                held.insert(path, file);
            }
        }
    };
    let mut held = BTreeMap::new();
    closed(&mut held);
    let data = from.join(DATA_DIRECTORY);
    let listing = || -> BTreeSet<(PathBuf, u64)> {
        let entries = fs::read_dir(&data).unwrap().filter_map(Result::ok);
        entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.ino()))).collect()
    };
    let pinned = loop {
        let before = listing();
        let opened: Option<Vec<(PathBuf, File)>> =
            before.iter().map(|(path, _)| Some((path.clone(), File::open(path).ok()?))).collect();
        match opened {
            Some(opened) if listing() == before => break opened,
            _ => {}
        }
    };
    held.extend(pinned);
    closed(&mut held);
    for (path, mut file) in held {
        let copy = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::io::copy(&mut file, &mut File::create(copy).unwrap()).unwrap();
    }
}

#[test]
fn copies_of_a_running_engine_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, acknowledged) = (directory.path().join("engine"), directory.path().join("said"));
    let options = WriterOptions {
        engine: Options {
            segment_bytes: 16 << 10,
            memory_bytes: 32 << 10,
            // Slow machines get their time.
            keep_segments: 256,
            ..small()
        },
        records_per_second: 2000,
        acknowledged: acknowledged.clone(),
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| run_writer(&engine, &options, &stop));
        let tables = || {
            let numbers = disk::numbered(&engine.join(DATA_DIRECTORY), disk::TABLE_SUFFIX);
            numbers.ok().and_then(|numbers| numbers.last().copied()).unwrap_or(0)
        };
        // From the first table on, and until compaction had some rounds of work.
        let mut copies = 0;
        while copies < 8 || tables() < 20 {
            assert!(!writer.is_finished());
            thread::sleep(Duration::from_millis(20));
            if tables() == 0 {
                continue;
            }
            copies += 1;
            let copy = directory.path().join(format!("copy-{copies}"));
            let before = Acknowledged::read(&acknowledged).unwrap();
            copy_running(&engine, &copy);
            let proven = Engine::open(&copy, small()).unwrap().prove().unwrap();
            let closed = before.closed.values().last().copied().unwrap_or(0);
            assert!(proven.last_sequence >= closed);
        }
        stop.store(true, Ordering::Relaxed);
        let summary = writer.join().unwrap().unwrap();
        let said = Acknowledged::read(&acknowledged).unwrap();
        assert_eq!(said.highest, summary.last_sequence);
        let engine = Engine::open(&engine, small()).unwrap();
        assert_eq!(engine.prove().unwrap().records, said.highest);
    });
}

#[test]
fn what_the_writer_says_survives_a_torn_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("said");
    let text = "\nclosed 1 4\nacknowledged 9\nackno\nacknowledged 8\nclosed 2 7\nacknowledged 1";
    fs::write(&path, text).unwrap();
    let expected = Acknowledged { highest: 9, closed: BTreeMap::from([(1, 4), (2, 7)]) };
    assert_eq!(Acknowledged::read(&path).unwrap(), expected);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Flush,
    Compact,
    Roll,
    Crash { lost_bytes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u8..20, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Roll),
        1 => (0_u64..3).prop_map(|lost_bytes| Step::Crash { lost_bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any history, beside a plain map.
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 200, memory_bytes: 400, keep_segments: 1, ..small() };
        let mut engine = open(&directory, options.clone()).unwrap();
        let mut map = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    engine.put(&[key], &[value]).unwrap();
                    map.insert(vec![key], vec![value]);
                }
                Step::Flush => engine.flush().unwrap(),
                Step::Compact => engine.compact().unwrap(),
                Step::Roll => drop(engine.close_segment().unwrap()),
                Step::Crash { lost_bytes } => {
                    drop(engine);
                    // A write that the crash cut short: it was never acknowledged.
                    let newest = files(&directory, LOG_DIRECTORY).pop().unwrap();
                    let mut bytes = fs::read(&newest).unwrap();
                    let torn = &[20_u8, 0, 0][..crate::units::to_usize(lost_bytes)];
                    bytes.extend_from_slice(torn);
                    fs::write(&newest, bytes).unwrap();
                    engine = open(&directory, options.clone()).unwrap();
                }
            }
            let held: BTreeMap<_, _> = engine
                .iter()
                .map(|record| record.map(|record| (record.key, record.value)).unwrap())
                .collect();
            prop_assert_eq!(&held, &map);
            engine.verify().unwrap();
        }
    }
}
