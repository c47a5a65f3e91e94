//! A writer that never stops, and publishes what it was told is written: the witness against whom
//! a restore is proven.
//!
//! Its file is outside of the engine's directory, or it would be lost and restored with it. It is
//! text and only ever appended to, one fact a line:
//!
//! ```text
//! closed 3 1204        segment 3 is closed, and its last record is 1204
//! acknowledged 1210    record 1210 is in the log
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::Error;
use super::record::expected_record;
use super::{ClosedSegment, Engine, Options};

/// Records come in bursts this often: sleeping for each of many would be inexact.
const BURSTS_PER_SECOND: u32 = 50;

/// How and what a writer writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How the engine writes.
    pub engine: Options,
    /// How many records to put in a second; 0 for as many as go.
    pub records_per_second: u32,
    /// The file that acknowledgements are appended to, outside of the engine's directory.
    pub acknowledged: PathBuf,
}

/// What a writer did until it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The newest record when it began; 0 where there was none.
    pub began_after: u64,
    /// The newest record when it ended.
    pub last_sequence: u64,
}

/// Opens the engine in `directory` and puts [`expected_record`]s, one after another from wherever
/// it stands, until `stop` is true.
pub fn run_writer(
    directory: &Path,
    options: &WriterOptions,
    stop: &AtomicBool,
) -> Result<Summary, Error> {
    let mut engine = Engine::open(directory, options.engine.clone())?;
    let mut journal = Journal::open(&options.acknowledged)?;
    let began_after = engine.last_sequence();
    journal.closed(&engine)?;
    let (burst, pause) = match options.records_per_second {
        0 => (1, Duration::ZERO),
        // Slower than one a burst: one record, and a longer pause.
        rate if rate < BURSTS_PER_SECOND => (1, Duration::from_secs(1) / rate),
        rate => (rate / BURSTS_PER_SECOND, Duration::from_secs(1) / BURSTS_PER_SECOND),
    };
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..burst {
            let record = expected_record(engine.last_sequence() + 1);
            let sequence = engine.put(&record.key, &record.value)?;
            journal.append(&format!("acknowledged {sequence}\n"))?;
        }
        journal.closed(&engine)?;
        std::thread::sleep(pause);
    }
    Ok(Summary { began_after, last_sequence: engine.last_sequence() })
}

/// The file of acknowledgements, open for writing.
struct Journal {
    path: PathBuf,
    file: File,
    /// The newest closed segment that is in the file.
    closed: u64,
}

impl Journal {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        // Ends the line that a crash may have cut short.
        file.write_all(b"\n").map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), file, closed: 0 })
    }

    /// One write per line, so that a crash leaves whole lines but for the last.
    fn append(&mut self, line: &str) -> Result<(), Error> {
        self.file.write_all(line.as_bytes()).map_err(Error::io("write", &self.path))
    }

    fn closed(&mut self, engine: &Engine) -> Result<(), Error> {
        for segment in engine.closed_segments() {
            if segment.number > self.closed {
                let ClosedSegment { number, last_sequence } = segment;
                self.append(&format!("closed {number} {last_sequence}\n"))?;
                self.closed = *number;
            }
        }
        Ok(())
    }
}

/// What a writer published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The highest acknowledged record; 0 where there is none.
    pub highest: u64,
    /// The last record of each closed segment, by the segment's number.
    pub closed: BTreeMap<u64, u64>,
}

impl Acknowledged {
    /// Reads what was published so far. A last line without an end is still being written, and
    /// does not count.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut published = Self::default();
        for line in whole.lines() {
            let mut words = line.split(' ');
            let word = words.next();
            let numbers: Vec<u64> = words.filter_map(|number| number.parse().ok()).collect();
            match (word, numbers.as_slice()) {
                (Some("acknowledged"), &[sequence]) => {
                    published.highest = published.highest.max(sequence);
                }
                (Some("closed"), &[number, last_sequence]) => {
                    published.closed.insert(number, last_sequence);
                }
                // A line that a crash cut short, and the end put to it at the next start.
                _ => {}
            }
        }
        Ok(published)
    }
}
