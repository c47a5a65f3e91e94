//! Parts of objects kept in a directory of this machine, as they are stored: sealed. Objects never
//! change, so what is kept never goes stale; who reads it verifies it as if it came from the store, and
//! lets go of what does not verify. The directory may be deleted at any time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    self as sys, AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, futimens,
};
use rustix::io::Errno;

use super::Key;

/// When more than this is kept, the least recently used half goes.
const LIMIT_BYTES: u64 = 512 << 20;
/// Backup tools leave out a directory that says so: bford.info/cachedir.
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Made by Backstay; may be deleted.\n";
const TAG_NAME: &str = "CACHEDIR.TAG";
const TEMPORARY: &str = ".tmp-";

/// A directory with parts of the objects of one repository. All calls block; all failures are misses.
///
/// The directory and the one above it belong to this user, and no one else may write to them. They are
/// held open, and each file is reached from there by its name alone: a link is never followed, and a new
/// file never goes into one that someone else made.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    directory: OwnedFd,
    limit_bytes: u64,
    /// Bytes kept, once they were counted.
    kept_bytes: Mutex<Option<u64>>,
    /// Makes the names of unfinished files differ.
    unfinished: AtomicU64,
}

impl Cache {
    /// Keeps parts of the repository with this name below `directory`, which is made if it is missing.
    /// Fails if that directory, or the repository's in it, is a link, belongs to someone else, or can be
    /// written by others: whoever may write there could make this user write anywhere.
    pub fn open(directory: &Path, repository: &str) -> io::Result<Self> {
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)?;
        }
        let above = own_directory(CWD, directory.as_os_str())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match sys::openat(&above, TAG_NAME, flags, Mode::RUSR | Mode::WUSR) {
            Ok(tag) => File::from(tag).write_all(TAG.as_bytes())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Self {
            path: directory.join(repository),
            directory: own_directory(&above, OsStr::new(repository))?,
            limit_bytes: LIMIT_BYTES,
            kept_bytes: Mutex::new(None),
            unfinished: AtomicU64::new(0),
        })
    }

    fn open_file(&self, name: &str) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        sys::openat(&self.directory, name, flags, Mode::empty()).map(File::from).ok()
    }

    /// What is kept of `key` from `offset_bytes` on, at most `limit_bytes`.
    pub fn get(&self, key: &Key, offset_bytes: u64, limit_bytes: u64) -> Option<Vec<u8>> {
        let file = self.open_file(&name_of(key, offset_bytes))?;
        let metadata = file.metadata().ok();
        let length_bytes = metadata.filter(std::fs::Metadata::is_file)?.len();
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
            tracing::debug!(%error, directory = %self.path.display(), "not kept");
        }
    }

    fn try_put(&self, key: &Key, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        let name = name_of(key, offset_bytes);
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{TEMPORARY}{}-{number}-{name}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || sys::openat(&self.directory, &*unfinished, flags, Mode::RUSR | Mode::WUSR);
        let opened = match open() {
            // Left by a process of the same number that was killed.
            Err(Errno::EXIST) => {
                self.remove(&unfinished);
                open()
            }
            opened => opened,
        };
        let written = File::from(opened?).write_all(bytes).and_then(|()| {
            let renamed = sys::renameat(&self.directory, &*unfinished, &self.directory, &*name);
            renamed.map_err(io::Error::from)
        });
        if written.is_err() {
            // Whatever went wrong, it is the first error that tells.
            self.remove(&unfinished);
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
        self.remove(name_of(key, offset_bytes));
    }

    fn remove(&self, name: impl rustix::path::Arg) -> bool {
        sys::unlinkat(&self.directory, name, AtFlags::empty()).is_ok()
    }

    fn rows(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for item in Dir::read_from(&self.directory)? {
            let name = item?.file_name().to_owned();
            if [&b"."[..], b".."].contains(&name.to_bytes()) {
                continue;
            }
            // Another process may have removed it just now.
            let Ok(stat) = sys::statat(&self.directory, &*name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            rows.push(Row {
                name,
                length_bytes: u64::try_from(stat.st_size).unwrap_or(0),
                used: (stat.st_atime, stat.st_atime_nsec),
            });
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
            if self.remove(&*row.name) {
                kept = kept.saturating_sub(row.length_bytes);
            }
        }
        Ok(kept)
    }
}

fn name_of(key: &Key, offset_bytes: u64) -> String {
    format!("{}@{offset_bytes}", key.as_str().replace('/', "_"))
}

/// Opens a directory of this user's own, and makes it if it is missing.
fn own_directory(parent: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    // A slash at the end would lead through a link.
    let bytes = name.as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(bytes.len(), |last| last + 1);
    let name = OsStr::from_bytes(bytes.get(..end).unwrap_or_default());
    match sys::mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let refused = |reason: &str| {
        io::Error::other(format!(
            "{}: {reason}; remove it, or name another directory",
            Path::new(name).display()
        ))
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match sys::openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(refused("it is a link, or no directory")),
        opened => opened?,
    };
    let stat = sys::fstat(&directory)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(refused("it is no directory"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user, who could put links into it"));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(refused("other users may write to it and could put links into it"));
    }
    Ok(directory)
}

struct Row {
    name: std::ffi::CString,
    length_bytes: u64,
    used: (i64, u64),
}

/// Notes that a file was used, by the kernel's clock.
fn touch(file: &File) -> Result<(), Errno> {
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_NOW), last_modification: at(UTIME_OMIT) };
    futimens(file, &times)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

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

    /// What others could use to make this user write elsewhere, or read what they wrote.
    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        symlink(at("elsewhere"), at("link")).unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir_all(at("planted")).unwrap();
        symlink(at("elsewhere"), at("planted/repository")).unwrap();
        fs::create_dir_all(at("wide/repository")).unwrap();
        fs::set_permissions(at("wide/repository"), fs::Permissions::from_mode(0o720)).unwrap();
        for name in ["link", "link/", "open", "planted", "wide"] {
            let refused = Cache::open(&at(name), "repository").unwrap_err().to_string();
            assert!(refused.contains("name another directory"), "{name}: {refused}");
        }
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
        if rustix::process::geteuid().is_root() {
            fs::create_dir(at("foreign")).unwrap();
            std::os::unix::fs::chown(at("foreign"), Some(12_345), None).unwrap();
            let refused = Cache::open(&at("foreign"), "repository").unwrap_err().to_string();
            assert!(refused.contains("another user"), "{refused}");
        }
    }

    /// A link where a file is kept, or where an unfinished one will be, is neither read nor written
    /// through.
    #[test]
    fn planted_links_lead_nowhere() {
        use std::os::unix::fs::symlink;

        let place = tempfile::tempdir().unwrap();
        let precious = place.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let cache = Cache::open(&place.path().join("cache"), "repository").unwrap();
        let key = Key::new("pack/1");
        let name = name_of(&key, 0);
        symlink(&precious, cache.path.join(&name)).unwrap();
        for number in 0..4 {
            let unfinished = format!("{TEMPORARY}{}-{number}-{name}", std::process::id());
            symlink(&precious, cache.path.join(unfinished)).unwrap();
        }
        fs::write(place.path().join("cache/repository/other"), "").unwrap();
        assert_eq!(cache.get(&key, 0, 100), None);
        cache.put(&key, 0, b"bytes");
        assert_eq!(cache.get(&key, 0, 100).unwrap(), b"bytes");
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
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
            let file = cache.open_file(&name_of(&key(number), 0)).unwrap();
            file.set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        }
        assert!(cache.get(&key(3), 0, 100).is_some());
        cache.put(&key(10), 0, &[0; 100]);
        let there = |number: u64| cache.open_file(&name_of(&key(number), 0)).is_some();
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
