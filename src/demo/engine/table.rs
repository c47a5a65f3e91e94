//! Tables: immutable files of records in the order of their keys, written once and whole.
//!
//! Records one after another, then a trailer: `u64` count of records, 32 bytes of BLAKE3 over all
//! before them. A table is believed only after that hash was checked; its index of keys lives in
//! memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk;
use super::error::Error;
use super::record::Record;
use crate::units::{to_u64, to_usize};

const COUNT_BYTES: usize = 8;
const HASH_BYTES: usize = 32;

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its number, which is its name.
    pub(super) number: u64,
    /// Length of the file.
    pub(super) size_bytes: u64,
    path: PathBuf,
    file: File,
    /// In the order of keys.
    index: Vec<Slot>,
}

/// Where a record of a table is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Vec<u8>,
    pub(super) sequence: u64,
    offset_bytes: u64,
    length_bytes: usize,
}

impl Table {
    /// Writes `records`, whose keys ascend, as table `number` of `data`, and opens it.
    pub(super) fn create<'a>(
        data: &Path,
        number: u64,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let mut count: u64 = 0;
        for record in records {
            record.encode(&mut bytes);
            count += 1;
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        let path = disk::table_path(data, number);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        disk::replace(data, &name, &bytes)?;
        Self::open(data, number)
    }

    /// Opens table `number` of `data` and checks every byte of it.
    pub(super) fn open(data: &Path, number: u64) -> Result<Self, Error> {
        let path = disk::table_path(data, number);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let records = read(&path)?;
        let (mut index, mut offset_bytes) = (Vec::with_capacity(records.len()), 0);
        for record in records {
            let length_bytes = record.encoded_bytes();
            index.push(Slot {
                key: record.key,
                sequence: record.sequence,
                offset_bytes,
                length_bytes,
            });
            offset_bytes += to_u64(length_bytes);
        }
        Ok(Self {
            number,
            size_bytes: offset_bytes + to_u64(COUNT_BYTES + HASH_BYTES),
            path,
            file,
            index,
        })
    }

    /// The newest record under `key` in this table.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Slot> {
        let place = self.index.binary_search_by(|slot| slot.key.as_slice().cmp(key));
        self.index.get(place.ok()?)
    }

    /// All records' places, in the order of keys.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.index
    }

    /// Reads the record at `slot` of this table.
    pub(super) fn read(&self, slot: &Slot) -> Result<Record, Error> {
        let mut bytes = vec![0; slot.length_bytes];
        self.file
            .read_exact_at(&mut bytes, slot.offset_bytes)
            .map_err(Error::io("read", &self.path))?;
        match Record::decode(&bytes) {
            Ok((record, _)) if record.sequence == slot.sequence => Ok(record),
            _ => Err(self.damaged(slot)),
        }
    }

    /// Reads all of the file again and checks every byte of it.
    pub(super) fn records(&self) -> Result<Vec<Record>, Error> {
        read(&self.path)
    }

    /// Removes the file. The table must be in no manifest.
    pub(super) fn remove(self) -> Result<(), Error> {
        disk::remove(&self.path)
    }

    fn damaged(&self, slot: &Slot) -> Error {
        Error::damaged(&self.path, slot.offset_bytes, "the record's checksum does not fit")
    }
}

/// All records of the table at `path`, after every byte of it was checked.
fn read(path: &Path) -> Result<Vec<Record>, Error> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let damaged = |offset_bytes: usize, reason| Error::damaged(path, to_u64(offset_bytes), reason);
    let short = || damaged(bytes.len(), "it ends too early");
    let (hashed, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or_else(short)?;
    let (body, count) = hashed.split_last_chunk::<COUNT_BYTES>().ok_or_else(short)?;
    if blake3::hash(hashed) != *hash {
        return Err(damaged(0, "the hash of the whole table does not fit"));
    }
    let count = to_usize(u64::from_le_bytes(*count));
    let (mut records, mut rest) = (Vec::<Record>::new(), body);
    while !rest.is_empty() {
        let offset = body.len() - rest.len();
        let (record, length) = Record::decode(rest)
            .map_err(|_| damaged(offset, "the record's checksum does not fit"))?;
        if records.last().is_some_and(|last| last.key >= record.key) {
            return Err(damaged(offset, "its keys do not ascend"));
        }
        records.push(record);
        rest = rest.get(length..).unwrap_or_default();
    }
    if records.len() != count {
        return Err(damaged(body.len(), "it counts other records than it has"));
    }
    Ok(records)
}
