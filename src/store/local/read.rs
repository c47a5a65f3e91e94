//! Reading and removing files of a local store.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::{Root, failed, is_absent};
use crate::store::{Error, Key};

impl Root {
    pub(super) fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, Error> {
        let (file, size_bytes) = self.open(key)?;
        if size_bytes > limit_bytes {
            return Err(Error::too_long(key, size_bytes, limit_bytes));
        }
        read_range(&file, key, 0..size_bytes)
    }

    pub(super) fn get_range(&self, key: &Key, range: &Range<u64>) -> Result<Bytes, Error> {
        Error::check_range(key, range)?;
        let (file, size_bytes) = self.open(key)?;
        if range.end > size_bytes {
            return Err(Error::too_short(key, size_bytes, range.end));
        }
        read_range(&file, key, range.clone())
    }

    pub(super) fn get_tail(&self, key: &Key, length_bytes: u64) -> Result<(Bytes, u64), Error> {
        let (file, size_bytes) = self.open(key)?;
        let start = size_bytes.saturating_sub(length_bytes);
        Ok((read_range(&file, key, start..size_bytes)?, size_bytes))
    }

    /// Removes the file and makes its absence durable: what a collector saw removed must not come
    /// back with the next crash.
    pub(super) fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path_of("delete", key)?;
        match std::fs::remove_file(&path) {
            Ok(()) => {
                let directory = path.parent().unwrap_or(&self.path);
                super::create::sync_directory(directory)
                    .map_err(|error| failed("delete", key, error))
            }
            Err(error) if is_absent(&error) => self.check_exists(),
            Err(error) => Err(failed("delete", key, error)),
        }
    }

    fn open(&self, key: &Key) -> Result<(File, u64), Error> {
        let path = self.path_of("get", key)?;
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata.len())),
            // A directory of objects is no object.
            Ok(_) => Err(Error::Missing { key: key.clone() }),
            Err(error) if is_absent(&error) => {
                self.check_exists()?;
                Err(Error::Missing { key: key.clone() })
            }
            Err(error) => Err(failed("get", key, error)),
        }
    }
}

/// Reads into a buffer of exactly the right size, which is never cleared first.
fn read_range(file: &File, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
    let length = Error::check_range(key, &range)?;
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let offset_bytes = range.start + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), offset_bytes) {
            // The file was cut short after we had asked for its length.
            Ok(0) => return Err(Error::too_short(key, offset_bytes, range.end)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("get", key, io::Error::from(error))),
        }
    }
    // The allocator may have given more room than asked for.
    buffer.truncate(length);
    Ok(Bytes::from(buffer))
}
