//! Vouching for records: every byte on disk is read and checked again, and what follows from it is
//! compared with what the engine says.

use super::error::Error;
use super::record::{Record, expected_record};
use super::{Engine, log};

/// What an engine holds. Two engines with the same records have the same digest, however their
/// tables and segments are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Keys that are alive.
    pub records: u64,
    /// The lowest sequence among them; 0 where there is none.
    pub first_sequence: u64,
    /// The highest sequence among them; 0 where there is none.
    pub last_sequence: u64,
    /// BLAKE3 over all of them in the order of keys, in hexadecimal.
    pub digest: String,
}

impl Engine {
    /// Reads and checks every table and every log segment, and sums up the records.
    pub fn verify(&self) -> Result<Verification, Error> {
        self.check_files()?;
        self.sum_up(|_| Ok(()))
    }

    /// Verifies, and proves besides that the records are exactly those that [`super::run_writer`]
    /// puts: every number from 1 to the last is there, with the content that follows from it.
    pub fn prove(&self) -> Result<Verification, Error> {
        self.check_files()?;
        let verification = self.sum_up(|record| {
            if *record == expected_record(record.sequence) {
                return Ok(());
            }
            Err(Error::Unexpected {
                sequence: record.sequence,
                reason: "its key or value is another one",
            })
        })?;
        // Each record is the right one for its number, so keys differ just as numbers do, and as
        // many records as numbers means that none is missing.
        if verification.records != self.last_sequence {
            return Err(Error::Unexpected {
                sequence: self.last_sequence,
                reason: "records before it are missing",
            });
        }
        Ok(verification)
    }

    fn check_files(&self) -> Result<(), Error> {
        for table in &self.tables {
            table.records()?;
        }
        let contains = self.manifest.contains;
        let replay = log::replay(&self.log_directory, contains, false)?;
        let in_log = replay.records.last().map_or(contains, |last| last.sequence);
        if in_log.max(contains) != self.last_sequence {
            return Err(Error::Gap {
                path: self.log_directory.clone(),
                expected: self.last_sequence + 1,
                found: in_log + 1,
            });
        }
        Ok(())
    }

    fn sum_up(&self, check: impl Fn(&Record) -> Result<(), Error>) -> Result<Verification, Error> {
        let mut hasher = blake3::Hasher::new();
        let (mut records, mut first, mut last) = (0, u64::MAX, 0);
        let mut bytes = Vec::new();
        for record in self.iter() {
            let record = record?;
            check(&record)?;
            bytes.clear();
            record.encode(&mut bytes);
            hasher.update(&bytes);
            records += 1;
            first = first.min(record.sequence);
            last = last.max(record.sequence);
        }
        Ok(Verification {
            records,
            first_sequence: if records == 0 { 0 } else { first },
            last_sequence: last,
            digest: hasher.finalize().to_string(),
        })
    }
}
