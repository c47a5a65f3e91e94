//! Parts of objects kept in a directory of this machine, as they are stored: sealed. Objects never
//! change, so what is kept never goes stale; who reads it verifies it as if it came from the store, and
//! lets go of what does not verify. The directory may be deleted at any time.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use super::Key;

/// When more than this is kept, the least recently used half goes.
const LIMIT_BYTES: u64 = 512 << 20;
/// Backup tools leave out a directory that says so: bford.info/cachedir.
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Made by Backstay; may be deleted.\n";
const TEMPORARY: &str = ".tmp-";

/// A directory with parts of the objects of one repository. All calls block; all failures are misses.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    /// Bytes kept, once they were counted.
    kept_bytes: Mutex<Option<u64>>,
}

impl Cache {
    /// Keeps parts of the repository with this name below `directory`, which is made if it is missing.
    pub fn open(directory: &Path, repository: &str) -> io::Result<Self> {
        let own = directory.join(repository);
        DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
        match File::create_new(directory.join("CACHEDIR.TAG")) {
            Ok(mut tag) => tag.write_all(TAG.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { directory: own, limit_bytes: LIMIT_BYTES, kept_bytes: Mutex::new(None) })
    }

    fn file(&self, key: &Key, offset_bytes: u64) -> PathBuf {
        self.directory.join(format!("{}@{offset_bytes}", key.as_str().replace('/', "_")))
    }

    /// What is kept of `key` from `offset_bytes` on, at most `limit_bytes`.
    pub fn get(&self, key: &Key, offset_bytes: u64, limit_bytes: u64) -> Option<Vec<u8>> {
        let file = File::open(self.file(key, offset_bytes)).ok()?;
        let length_bytes = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
        if length_bytes > limit_bytes {
            return None;
        }
        let mut bytes = Vec::new();
        (&file).take(length_bytes).read_to_end(&mut bytes).ok()?;
        // So that what is used is not what goes. A kernel that refuses costs a request some day.
        let _used = touch(&file);
        Some(bytes)
    }

    /// Keeps bytes of `key` from `offset_bytes` on.
    pub fn put(&self, key: &Key, offset_bytes: u64, bytes: &[u8]) {
        if let Err(error) = self.try_put(key, offset_bytes, bytes) {
            tracing::debug!(%error, directory = %self.directory.display(), "not kept");
        }
    }

    fn try_put(&self, key: &Key, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        let target = self.file(key, offset_bytes);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = self.directory.join(format!("{TEMPORARY}{}-{name}", std::process::id()));
        let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &target));
        if written.is_err() {
            // Whatever went wrong, it is the first error that tells.
            let _removed = fs::remove_file(&unfinished);
        }
        written?;
        let mut kept = self.kept_bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let total = match *kept {
            Some(before) => before.saturating_add(crate::units::to_u64(bytes.len())),
            None => self.rows()?.iter().map(|row| row.length_bytes).sum(),
        };
        *kept = Some(if total > self.limit_bytes { self.shrink()? } else { total });
        Ok(())
    }

    /// Lets go of bytes that did not verify.
    pub fn forget(&self, key: &Key, offset_bytes: u64) {
        // If it cannot be removed it fails to verify again, which costs time only.
        let _removed = fs::remove_file(self.file(key, offset_bytes));
    }

    fn rows(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another process may have removed it just now.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used = metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH);
            rows.push(Row { path: entry.path(), length_bytes: metadata.len(), used });
        }
        Ok(rows)
    }

    /// Removes the least recently used files until half of the limit is left; returns what is kept.
    fn shrink(&self) -> io::Result<u64> {
        let mut rows = self.rows()?;
        rows.sort_by_key(|row| row.used);
        let mut kept: u64 = rows.iter().map(|row| row.length_bytes).sum();
        for row in rows {
            if kept <= self.limit_bytes / 2 {
                break;
            }
            if fs::remove_file(&row.path).is_ok() {
                kept = kept.saturating_sub(row.length_bytes);
            }
        }
        Ok(kept)
    }
}

struct Row {
    path: PathBuf,
    length_bytes: u64,
    used: SystemTime,
}

/// Notes that a file was used, by the kernel's clock.
fn touch(file: &File) -> Result<(), rustix::io::Errno> {
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_NOW), last_modification: at(UTIME_OMIT) };
    futimens(file, &times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_was_given_until_it_is_told_otherwise() {
        let place = tempfile::tempdir().unwrap();
        let key = Key::new("pack/0a/01");
        let cache = Cache::open(place.path(), "repository").unwrap();
        assert_eq!(cache.get(&key, 7, 100), None);
        cache.put(&key, 7, b"bytes");
        let again = Cache::open(place.path(), "repository").unwrap();
        assert_eq!(again.get(&key, 7, 100).unwrap(), b"bytes");
        assert_eq!(again.get(&key, 7, 4), None);
        assert_eq!(again.get(&key, 8, 100), None);
        assert_eq!(Cache::open(place.path(), "other").unwrap().get(&key, 7, 100), None);
        again.forget(&key, 7);
        assert_eq!(cache.get(&key, 7, 100), None);
        assert!(fs::read_to_string(place.path().join("CACHEDIR.TAG")).unwrap().starts_with("Sig"));
    }

    #[test]
    fn what_was_used_last_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(place.path(), "repository").unwrap();
        cache.limit_bytes = 1000;
        let key = |number: u64| Key::new(format!("pack/{number}"));
        let long_ago = SystemTime::UNIX_EPOCH;
        for number in 0..10 {
            cache.put(&key(number), 0, &[0; 100]);
            let file = File::open(cache.file(&key(number), 0)).unwrap();
            file.set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        }
        assert!(cache.get(&key(3), 0, 100).is_some());
        cache.put(&key(10), 0, &[0; 100]);
        let there = |number: u64| cache.file(&key(number), 0).exists();
        assert!(there(3) && there(10));
        assert_eq!((0..=10).filter(|number| there(*number)).count(), 5);
    }

    #[test]
    fn a_directory_that_is_gone_is_no_failure() {
        let place = tempfile::tempdir().unwrap();
        let key = Key::new("pack/1");
        let cache = Cache::open(place.path(), "repository").unwrap();
        fs::remove_dir_all(place.path()).unwrap();
        cache.put(&key, 0, b"bytes");
        assert_eq!(cache.get(&key, 0, 100), None);
        cache.forget(&key, 0);
    }
}
