//! The write-ahead log: numbered segments of records in the order of their sequences.
//!
//! Only the newest segment is written to; a segment is *closed* once the next one exists, and never
//! changes again. Only the newest may end in a torn record, the trace of a crash within a write,
//! and opening cuts that off. Anything else that is no record is damage.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::disk;
use super::error::Error;
use super::record::{Flaw, Record};
use crate::units::to_u64;

/// A closed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its number, which is its name.
    pub number: u64,
    /// Its last record; 0 where it has none.
    pub last_sequence: u64,
}

/// What replaying the log gave.
#[derive(Debug)]
pub(super) struct Replay {
    /// All records of all segments, in order.
    pub(super) records: Vec<Record>,
    /// All segments, in order.
    pub(super) segments: Vec<ClosedSegment>,
}

/// The log, open for writing.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    file: File,
    path: PathBuf,
    sync: bool,
    written_bytes: u64,
    number: u64,
    last_sequence: u64,
    closed: Vec<ClosedSegment>,
}

/// Reads and checks all segments of `directory`. `contains` is what tables hold: the log may begin
/// anywhere up to the record after it. With `repair` a torn end of the newest segment is cut off;
/// without, it is damage.
pub(super) fn replay(directory: &Path, contains: u64, repair: bool) -> Result<Replay, Error> {
    let numbers = disk::numbered(directory, disk::SEGMENT_SUFFIX)?;
    let (mut records, mut segments) = (Vec::<Record>::new(), Vec::<ClosedSegment>::new());
    for &number in &numbers {
        let path = disk::segment_path(directory, number);
        if let Some(last) = segments.last()
            && last.number + 1 != number
        {
            return Err(Error::damaged(&path, 0, "the segment before it is missing"));
        }
        let torn_allowed = repair && numbers.last() == Some(&number);
        let before = segments.last().map_or(0, |segment| segment.last_sequence);
        let found = read_segment(&path, torn_allowed)?;
        for record in found {
            let expected = records.last().map(|last| last.sequence + 1);
            // The first of the log may lie below what the tables hold, but not beyond.
            let fits = match expected {
                Some(expected) => record.sequence == expected,
                None => (1..=contains + 1).contains(&record.sequence),
            };
            if !fits {
                let (expected, found) = (expected.unwrap_or(contains + 1), record.sequence);
                return Err(Error::Gap { path, expected, found });
            }
            records.push(record);
        }
        let last_sequence = records.last().map_or(before, |last| last.sequence);
        segments.push(ClosedSegment { number, last_sequence });
    }
    Ok(Replay { records, segments })
}

fn read_segment(path: &Path, torn_allowed: bool) -> Result<Vec<Record>, Error> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let (mut records, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let offset_bytes = to_u64(bytes.len() - rest.len());
        match Record::decode(rest) {
            Ok((record, length)) => {
                records.push(record);
                rest = rest.get(length..).unwrap_or_default();
            }
            Err(flaw) if torn_allowed && is_torn(rest, flaw) => {
                cut_off(path, offset_bytes)?;
                break;
            }
            Err(_) => {
                return Err(Error::damaged(path, offset_bytes, "this is no whole record"));
            }
        }
    }
    Ok(records)
}

/// Whether `rest` is a write that a crash cut short, and not damage to what was once whole: it ends
/// early or was never filled, and no whole record comes after. A flipped length looks like an early
/// end too, but then the records behind it are still there.
fn is_torn(rest: &[u8], flaw: Flaw) -> bool {
    let unfinished = flaw == Flaw::Short || rest.iter().all(|&byte| byte == 0);
    let follows = || {
        (1..rest.len()).filter_map(|at| rest.get(at..)).any(|bytes| Record::decode(bytes).is_ok())
    };
    unfinished && !follows()
}

fn cut_off(path: &Path, length_bytes: u64) -> Result<(), Error> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length_bytes)?;
        file.sync_all()
    };
    cut().map_err(Error::io("cut the torn end off", path))
}

impl Log {
    /// Opens the log for writing after it was replayed. What was there is closed; writing begins
    /// in a new segment. Tables hold everything up to `contains`, and the log's numbers up to
    /// `used` are taken.
    pub(super) fn open(
        directory: &Path,
        mut segments: Vec<ClosedSegment>,
        contains: u64,
        used: u64,
        sync: bool,
    ) -> Result<Self, Error> {
        let mut last_sequence = segments.last().map_or(0, |segment| segment.last_sequence);
        if last_sequence < contains {
            // Tables can be ahead of a restored log, of which only closed segments were there to
            // back up. Going on behind them would leave a gap, and nobody needs them any more.
            for segment in segments.drain(..) {
                disk::remove(&disk::segment_path(directory, segment.number))?;
            }
            last_sequence = contains;
        }
        let mut number = segments.last().map_or(used, |segment| segment.number) + 1;
        // A segment that nothing was written to yet serves again, else each start would leave one.
        if let Some(last) = segments.last().copied()
            && is_empty(&disk::segment_path(directory, last.number))?
        {
            number = last.number;
            segments.pop();
        }
        let (path, file) = create_segment(directory, number)?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            path,
            sync,
            written_bytes: 0,
            number,
            last_sequence,
            closed: segments,
        })
    }

    /// The newest record of the log.
    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Appends a record; on return it is written, and durable if so opened.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(record.encoded_bytes());
        record.encode(&mut bytes);
        self.file
            .write_all(&bytes)
            .and_then(|()| if self.sync { self.file.sync_data() } else { Ok(()) })
            .map_err(Error::io("write", &self.path))?;
        self.written_bytes += to_u64(bytes.len());
        self.last_sequence = record.sequence;
        Ok(())
    }

    /// How much was written to the newest segment.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The number of the newest segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Closes the newest segment by beginning the next.
    pub(super) fn roll(&mut self) -> Result<ClosedSegment, Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        let (path, file) = create_segment(&self.directory, self.number + 1)?;
        let closed = ClosedSegment { number: self.number, last_sequence: self.last_sequence };
        self.closed.push(closed);
        (self.path, self.file) = (path, file);
        self.number += 1;
        self.written_bytes = 0;
        Ok(closed)
    }

    /// All closed segments that are still there, in order.
    pub(super) fn closed(&self) -> &[ClosedSegment] {
        &self.closed
    }

    /// Deletes, oldest first, closed segments whose records all are in tables, which hold
    /// everything up to `contains`; `keep` of them stay.
    pub(super) fn recycle(&mut self, contains: u64, keep: usize) -> Result<(), Error> {
        let spare = self.closed.len().saturating_sub(keep);
        let done = self
            .closed
            .iter()
            .take(spare)
            .take_while(|segment| segment.last_sequence <= contains)
            .count();
        for segment in self.closed.drain(..done) {
            disk::remove(&disk::segment_path(&self.directory, segment.number))?;
        }
        Ok(())
    }
}

fn is_empty(path: &Path) -> Result<bool, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("look at", path))?;
    Ok(metadata.len() == 0)
}

fn create_segment(directory: &Path, number: u64) -> Result<(PathBuf, File), Error> {
    let path = disk::segment_path(directory, number);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    disk::sync_directory(directory)?;
    Ok((path, file))
}
