//! Opening below a root directory so that no symbolic link is ever followed, whoever swaps names
//! while we look: `openat2` resolves a whole path under that promise; where the kernel or a seccomp
//! profile refuses it, and for paths longer than `PATH_MAX`, we go down piece by piece.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, retry_on_intr};

use crate::entry::TreePath;

/// The longest path that one system call takes, without the closing NUL.
const LONGEST_PATH_BYTES: usize = 4_095;

/// `openat2` answers `EAGAIN` when a rename crossed its way.
const CROSSED_ATTEMPTS: u32 = 16;

/// A directory below which things are opened.
#[derive(Debug)]
pub(in crate::source) struct Root {
    fd: OwnedFd,
    /// Cleared when `openat2` is refused.
    whole_paths: AtomicBool,
    /// Cleared when leaving access times alone is refused: it needs ownership or a capability.
    keep_access_time: AtomicBool,
}

impl Root {
    /// Opens the root itself, the one place where links are followed.
    pub(in crate::source) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))?;
        Ok(Self { fd, whole_paths: AtomicBool::new(true), keep_access_time: AtomicBool::new(true) })
    }

    /// The root's own descriptor. Its read position is shared: list through
    /// [`Self::open_directory`].
    pub(in crate::source) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a file for reading. Does not wait for the other end of a pipe.
    pub(in crate::source) fn open_file(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        let opened = self.sparing_access_time(OFlags::RDONLY | OFlags::NONBLOCK, |flags| {
            self.open_beneath(path, flags)
        });
        match opened {
            Err(Errno::AGAIN) => self.open_leased(path),
            settled => settled,
        }
    }

    /// Opens a file on which someone holds a lease, and waits until that is given back or taken away,
    /// which the kernel does after `/proc/sys/fs/lease-break-time`. Only a regular file is waited
    /// for: what is held cannot be swapped for a pipe.
    fn open_leased(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        let held = self.hold(path)?;
        let mode = fstat(&held)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(Errno::AGAIN);
        }
        let place = format!("/proc/self/fd/{}", held.as_raw_fd());
        self.sparing_access_time(OFlags::RDONLY | OFlags::CLOEXEC, |flags| {
            retry_on_intr(|| openat(CWD, place.as_str(), flags, Mode::empty()))
        })
    }

    /// Opens a directory for listing.
    pub(in crate::source) fn open_directory(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        self.sparing_access_time(OFlags::RDONLY | OFlags::DIRECTORY, |flags| {
            self.open_beneath(path, flags)
        })
    }

    /// Opens the directory `name` in an open directory.
    pub(in crate::source) fn open_directory_at(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.sparing_access_time(flags, |flags| open_component(directory, name, flags))
    }

    /// Takes hold of an entry of any kind, a link included, without opening it.
    pub(in crate::source) fn hold(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        self.open_beneath(path, OFlags::PATH)
    }

    fn sparing_access_time(
        &self,
        flags: OFlags,
        open: impl Fn(OFlags) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        if self.keep_access_time.load(Ordering::Relaxed) {
            match open(flags | OFlags::NOATIME) {
                Err(Errno::PERM) => {}
                settled => return settled,
            }
            let opened = open(flags)?;
            self.keep_access_time.store(false, Ordering::Relaxed);
            return Ok(opened);
        }
        open(flags)
    }

    fn open_beneath(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !self.whole_paths.load(Ordering::Relaxed) {
            return self.descend(path, flags, 0, open_component);
        }
        match self.descend(path, flags, LONGEST_PATH_BYTES, open_path) {
            // `EPERM` may also be the file's own answer: only a success the other way tells.
            Err(Errno::NOSYS | Errno::PERM) => {
                let opened = self.descend(path, flags, 0, open_component)?;
                self.whole_paths.store(false, Ordering::Relaxed);
                Ok(opened)
            }
            Err(Errno::AGAIN) => self.descend(path, flags, 0, open_component),
            settled => settled,
        }
    }

    /// Goes down in pieces of whole components, each at most `longest_bytes` long, but always at
    /// least one component.
    fn descend(
        &self,
        path: &TreePath,
        flags: OFlags,
        longest_bytes: usize,
        open: impl Fn(BorrowedFd<'_>, &[u8], OFlags) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        if path.is_root() {
            return open(self.fd(), b".", flags);
        }
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut held: Option<OwnedFd> = None;
        let mut rest = path.as_bytes();
        loop {
            let from = held.as_ref().map_or(self.fd(), AsFd::as_fd);
            let (piece, after) = split(rest, longest_bytes);
            if after.is_empty() {
                return open(from, piece, flags);
            }
            held = Some(open(from, piece, step)?);
            rest = after;
        }
    }
}

/// The longest run of components within `longest_bytes`, or the first one, and what follows.
fn split(path: &[u8], longest_bytes: usize) -> (&[u8], &[u8]) {
    if path.len() <= longest_bytes {
        return (path, &[]);
    }
    let within = path.get(..=longest_bytes).unwrap_or(path);
    let border = within
        .iter()
        .rposition(|&byte| byte == b'/')
        .or_else(|| path.iter().position(|&byte| byte == b'/'));
    match border.and_then(|border| path.split_at_checked(border)) {
        Some((piece, after)) => (piece, after.get(1..).unwrap_or_default()),
        None => (path, &[]),
    }
}

fn open_component(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| openat(directory, name, flags, Mode::empty()))
}

fn open_path(directory: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if attempts < CROSSED_ATTEMPTS => {}
            settled => return settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_between_components() {
        let parts = |path: &'static str, longest| {
            let (piece, after) = split(path.as_bytes(), longest);
            (std::str::from_utf8(piece).unwrap(), std::str::from_utf8(after).unwrap())
        };
        assert_eq!(parts("a/b/c", 0), ("a", "b/c"));
        assert_eq!(parts("abc", 0), ("abc", ""));
        assert_eq!(parts("a/b/c", 5), ("a/b/c", ""));
        assert_eq!(parts("a/b/c", 4), ("a/b", "c"));
        assert_eq!(parts("a/b/c", 3), ("a/b", "c"));
        assert_eq!(parts("a/b/c", 2), ("a", "b/c"));
        assert_eq!(parts("long/b", 2), ("long", "b"));
    }

    #[test]
    fn links_are_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let place = tempfile::tempdir().unwrap();
        let below = |name: &str| place.path().join(name);
        std::fs::create_dir(below("real")).unwrap();
        std::fs::write(below("real/file"), "f").unwrap();
        std::os::unix::fs::symlink(outside.path(), below("escape")).unwrap();
        std::os::unix::fs::symlink("real", below("inside")).unwrap();
        std::os::unix::fs::symlink("real/file", below("last")).unwrap();
        for whole_paths in [true, false] {
            let root = Root::open(place.path()).unwrap();
            root.whole_paths.store(whole_paths, Ordering::Relaxed);
            let open = |path: &str| root.open_file(&TreePath::from_bytes(path).unwrap());
            assert!(open("real/file").is_ok());
            for linked in ["escape/secret", "inside/file", "last"] {
                let errno = open(linked).unwrap_err();
                assert!(matches!(errno, Errno::LOOP | Errno::NOTDIR), "{errno}");
            }
            assert_eq!(open("real/none").unwrap_err(), Errno::NOENT);
            assert_eq!(root.whole_paths.load(Ordering::Relaxed), whole_paths);
        }
    }
}
