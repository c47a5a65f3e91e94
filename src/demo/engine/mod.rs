//! A small storage engine with a write-ahead log, so that the quick start has something real to
//! back up, destroy and restore: a log-structured store, in the manner of the engines that Backstay
//! was made for.
//!
//! A directory of it holds
//!
//! - `wal/00000001.wal` …: the log (`log.rs`), written to its newest segment only;
//! - `data/000001.table` …: immutable tables (`table.rs`), which come and go with compaction;
//! - `data/MANIFEST`: which tables are alive, and up to which record (`manifest.rs`);
//! - `LOCK`: held by the one open engine.
//!
//! A put is written to the log, then kept in memory. When memory holds enough, it is written as a
//! table, the manifest is replaced, and log segments whose records all are in tables may go. Each
//! step is durable before the next begins, so that a crash between any two loses nothing.
//!
//! Opening is the start gate after a restore: while a `.backstay-restore` marker is there, it
//! refuses.

mod disk;
mod error;
mod log;
mod manifest;
mod record;
mod table;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

pub use error::Error;
pub use log::ClosedSegment;
pub use record::{Record, expected_record};
pub use verify::Verification;
pub use writer::{Acknowledged, Summary, WriterOptions, run_writer};

use crate::units::to_u64;
use log::Log;
use manifest::Manifest;
use table::Table;

/// Where the log is, in an engine's directory.
pub const LOG_DIRECTORY: &str = "wal";
/// Where tables are, in an engine's directory.
pub const DATA_DIRECTORY: &str = "data";
/// What a restore leaves in a directory until it has ended.
pub const RESTORE_MARKER: &str = ".backstay-restore";

/// How an engine writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A log segment is closed once it is this long.
    pub segment_bytes: u64,
    /// Memory is written as a table once it holds this much.
    pub memory_bytes: u64,
    /// Whether a put is durable, not only written, before it returns.
    pub sync: bool,
    /// Closed segments that stay though their records are in tables: the time that a backup has
    /// between noting the log's beginning and holding its files open.
    pub keep_segments: usize,
    /// When there are more tables, the smallest are merged into one.
    pub most_tables: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 20,
            memory_bytes: 2 << 20,
            sync: true,
            keep_segments: 8,
            most_tables: 6,
        }
    }
}

/// An open engine. Dropped without ado, as a crash would drop it: nothing needs to be closed.
#[derive(Debug)]
pub struct Engine {
    log_directory: PathBuf,
    data: PathBuf,
    options: Options,
    manifest: Manifest,
    tables: Vec<Table>,
    log: Log,
    memory: BTreeMap<Vec<u8>, Record>,
    memory_bytes: u64,
    last_sequence: u64,
    broken: bool,
    /// Held for as long as the engine is open.
    _lock: File,
}

impl Engine {
    /// Opens the engine in `directory`, which is made if it is missing: reads the manifest, checks
    /// every table, replays the log, and removes what a crash left unfinished.
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        let log_directory = directory.join(LOG_DIRECTORY);
        let data = directory.join(DATA_DIRECTORY);
        for place in [directory, &log_directory, &data] {
            refuse_unrestored(place)?;
        }
        for place in [&log_directory, &data] {
            fs::create_dir_all(place).map_err(Error::io("create", place))?;
        }
        let lock = lock(&directory.join("LOCK"))?;
        let manifest = Manifest::read(&data)?;
        let tables = open_tables(&data, &manifest)?;
        let replay = log::replay(&log_directory, manifest.contains, true)?;
        let (contains, used) = (manifest.contains, manifest.segment);
        let log = Log::open(&log_directory, replay.segments, contains, used, options.sync)?;
        let mut engine = Self {
            last_sequence: log.last_sequence(),
            log_directory,
            data,
            options,
            manifest,
            tables,
            log,
            memory: BTreeMap::new(),
            memory_bytes: 0,
            broken: false,
            _lock: lock,
        };
        let in_tables = engine.manifest.contains;
        for record in replay.records {
            if record.sequence > in_tables {
                engine.remember(record);
            }
        }
        Ok(engine)
    }

    /// Puts `value` under `key`. On return the record is in the log, durable if the options say
    /// so, and has the sequence that is returned. After an error it may be there nonetheless, as
    /// after a crash.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let record =
            Record { sequence: self.last_sequence + 1, key: key.to_vec(), value: value.to_vec() };
        let sequence = record.sequence;
        for (length_bytes, limit_bytes) in
            [(key.len(), record::KEY_LIMIT_BYTES), (record.body_bytes(), record::BODY_LIMIT_BYTES)]
        {
            if length_bytes > limit_bytes {
                return Err(Error::TooLong { length_bytes, limit_bytes });
            }
        }
        // A write that failed half-way leaves a torn record, and nothing may come behind it.
        self.broken = true;
        self.log.append(&record)?;
        self.broken = false;
        self.last_sequence = sequence;
        self.remember(record);
        self.tidy_up()?;
        Ok(sequence)
    }

    /// The value under `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if let Some(record) = self.memory.get(key) {
            return Ok(Some(record.value.clone()));
        }
        let newest = self
            .tables
            .iter()
            .filter_map(|table| Some((table, table.find(key)?)))
            .max_by_key(|(_, slot)| slot.sequence);
        match newest {
            Some((table, slot)) => Ok(Some(table.read(slot)?.value)),
            None => Ok(None),
        }
    }

    /// The newest record of every key, in the order of keys. Each is read when it is asked for.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record, Error>> {
        let mut places = BTreeMap::new();
        for table in &self.tables {
            for slot in table.slots() {
                let place = places.entry(slot.key.as_slice()).or_insert((table, slot));
                if place.1.sequence < slot.sequence {
                    *place = (table, slot);
                }
            }
        }
        let mut places: BTreeMap<&[u8], Place<'_>> = places
            .into_iter()
            .map(|(key, (table, slot))| (key, Place::Table(table, slot)))
            .collect();
        for (key, record) in &self.memory {
            places.insert(key, Place::Memory(record));
        }
        places.into_values().map(|place| match place {
            Place::Memory(record) => Ok(record.clone()),
            Place::Table(table, slot) => table.read(slot),
        })
    }

    /// The sequence of the newest record; 0 where there is none.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The closed log segments that are still there, in order.
    pub fn closed_segments(&self) -> &[ClosedSegment] {
        self.log.closed()
    }

    /// Closes the newest log segment, however short it is.
    pub fn close_segment(&mut self) -> Result<ClosedSegment, Error> {
        self.log.roll()
    }

    /// Writes what is in memory as a table, and lets log segments go that nobody needs.
    pub fn flush(&mut self) -> Result<(), Error> {
        if !self.memory.is_empty() {
            let number = self.manifest.next_table;
            let table = Table::create(&self.data, number, self.memory.values())?;
            let mut manifest = self.manifest.clone();
            manifest.contains = self.last_sequence;
            manifest.segment = self.log.number();
            manifest.next_table += 1;
            manifest.tables.push(number);
            manifest.write(&self.data)?;
            self.manifest = manifest;
            self.tables.push(table);
            self.memory.clear();
            self.memory_bytes = 0;
        }
        self.log.recycle(self.manifest.contains, self.options.keep_segments)
    }

    /// Merges the smaller half of the tables into one and deletes them.
    pub fn compact(&mut self) -> Result<(), Error> {
        if self.tables.len() < 2 {
            return Ok(());
        }
        // The smallest of them, so that a large table is rarely written again.
        self.tables.sort_by_key(|table| table.size_bytes);
        let merged_count = self.tables.len().div_ceil(2).max(2);
        let mut newest: BTreeMap<Vec<u8>, Record> = BTreeMap::new();
        for table in self.tables.iter().take(merged_count) {
            for record in table.records()? {
                let known = newest.get(&record.key).map(|known| known.sequence);
                if known.is_none_or(|known| known < record.sequence) {
                    newest.insert(record.key.clone(), record);
                }
            }
        }
        let number = self.manifest.next_table;
        let merged = Table::create(&self.data, number, newest.values())?;
        let kept = self.tables.iter().skip(merged_count);
        let mut manifest = self.manifest.clone();
        manifest.next_table += 1;
        manifest.tables = kept.map(|table| table.number).chain([number]).collect();
        manifest.tables.sort_unstable();
        manifest.write(&self.data)?;
        // Durable: from here on the old tables are leftovers.
        self.manifest = manifest;
        let old: Vec<Table> = self.tables.drain(..merged_count).collect();
        self.tables.push(merged);
        old.into_iter().try_for_each(Table::remove)
    }

    fn remember(&mut self, record: Record) {
        self.memory_bytes += to_u64(record.encoded_bytes());
        self.memory.insert(record.key.clone(), record);
    }

    /// What is due after a put: the next segment, the next table, compaction.
    fn tidy_up(&mut self) -> Result<(), Error> {
        if self.log.written_bytes() >= self.options.segment_bytes {
            self.log.roll()?;
        }
        if self.memory_bytes >= self.options.memory_bytes {
            self.flush()?;
        }
        if self.tables.len() > self.options.most_tables {
            self.compact()?;
        }
        Ok(())
    }
}

/// Where the newest record of a key is.
enum Place<'a> {
    Memory(&'a Record),
    Table(&'a Table, &'a table::Slot),
}

/// The start gate: data that a restore has not finished must not be opened, let alone repaired.
fn refuse_unrestored(directory: &Path) -> Result<(), Error> {
    let marker = directory.join(RESTORE_MARKER);
    // Not followed: a marker that points nowhere is a marker.
    match fs::symlink_metadata(&marker) {
        Ok(_) => Err(Error::Restoring { marker }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look at", &marker)(error)),
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("create", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// Opens the live tables, and removes those that a crash left behind.
fn open_tables(data: &Path, manifest: &Manifest) -> Result<Vec<Table>, Error> {
    disk::remove_unfinished(data)?;
    for number in disk::numbered(data, disk::TABLE_SUFFIX)? {
        if !manifest.tables.contains(&number) {
            disk::remove(&disk::table_path(data, number))?;
        }
    }
    let numbers = manifest.tables.iter();
    numbers.map(|&number| Table::open(data, number)).collect()
}
