//! Walking below the root without ever leaving it.
//!
//! Each component is opened by itself, relative to the descriptor of the one above, and a link is
//! never followed. A [`TreePath`] has no `..`, so every step goes down: nothing that a repository
//! or another process plants below the root can lead outside. `openat2` with `RESOLVE_BENEATH`
//! would say the same in one call, but container sandboxes may forbid it, it takes no path longer
//! than `PATH_MAX`, and with the recently used directories kept open there is nothing to gain.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::Error;
use super::attributes::{Handle, Stat};
use crate::entry::TreePath;

/// Directories kept open. A restore in path order works in one directory at a time, its files'
/// contents lag a little behind, and sealing returns to the parents.
const KEPT_OPEN: usize = 64;

/// The directory that holds a name, and the name.
pub(super) type Place<'a> = (Arc<Directory>, &'a [u8]);

/// An open directory below the root.
#[derive(Debug)]
pub(super) struct Directory {
    descriptor: OwnedFd,
    /// Opened only as a place (`O_PATH`), because we may not list it.
    is_place_only: bool,
}

impl Directory {
    pub(super) fn handle(&self) -> Handle<'_> {
        if self.is_place_only {
            Handle::Place(self.descriptor.as_fd())
        } else {
            Handle::Open(self.descriptor.as_fd())
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The directory that a restore fills.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    directory: Arc<Directory>,
    device: (u32, u32),
    /// The repository and the cache.
    protected: Vec<Stat>,
    is_top_safe: AtomicBool,
    /// Most recently used first.
    recent: Mutex<VecDeque<(TreePath, Arc<Directory>)>>,
    /// One directory of each further file system that is mounted below the root.
    mounted: Mutex<HashMap<(u32, u32), Arc<Directory>>>,
}

impl Root {
    /// Opens the root if it is there.
    pub(super) fn open_if_there(path: &Path) -> Result<Option<Self>, Error> {
        match Self::open(path, std::iter::empty()) {
            Ok(root) => Ok(Some(root)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the root. Links in the path *to* it are the caller's own and are followed.
    ///
    /// `protected` directories are never restored into and never removed.
    pub(super) fn open<'a>(
        path: &Path,
        protected: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self, Error> {
        let io_error = |action, source| Error::Io { action, path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = sys::open(path, flags, Mode::empty())
            .map_err(|errno| io_error("open directory", errno.into()))?;
        let directory = Directory { descriptor, is_place_only: false };
        let stat = directory
            .handle()
            .stat()
            .map_err(|errno| io_error("read the attributes of", errno.into()))?;
        Ok(Self {
            path: path.to_owned(),
            directory: Arc::new(directory),
            device: stat.device(),
            protected: protected.filter_map(|path| Stat::at(path).ok()).collect(),
            is_top_safe: AtomicBool::new(false),
            recent: Mutex::default(),
            mounted: Mutex::default(),
        })
    }

    /// The path that a person would use.
    pub(super) fn full(&self, path: &TreePath) -> PathBuf {
        join(&self.path, path)
    }

    pub(super) fn error(&self, action: &'static str, path: &TreePath, errno: Errno) -> Error {
        Error::Io { action, path: self.full(path), source: errno.into() }
    }

    /// The root itself.
    pub(super) fn top(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn device(&self) -> (u32, u32) {
        self.device
    }

    /// Whether something is the repository or the cache itself.
    pub(super) fn is_protected(&self, there: &Stat) -> bool {
        self.protected.iter().any(|kept| kept.identity() == there.identity())
    }

    pub(super) fn is_on(&self, device: (u32, u32)) -> bool {
        self.device == device
    }

    /// What is at `name`, itself and not what a link points to.
    pub(super) fn stat(
        &self,
        parent: &Directory,
        name: &[u8],
        path: &TreePath,
    ) -> Result<Option<Stat>, Error> {
        match Stat::of(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("read the attributes of", path, errno)),
        }
    }

    /// The open directory that holds `path`, and the last component. A root has no parent.
    pub(super) fn parent<'a>(&self, path: &'a TreePath) -> Result<Place<'a>, Error> {
        let parent = path.parent().ok_or_else(|| Error::InTheWay {
            path: self.path.clone(),
            reason: "the snapshot's top must be a directory".to_owned(),
        })?;
        Ok((self.directory(&parent)?, path.name()))
    }

    /// Like `parent`; `None` where the parent is missing.
    pub(super) fn parent_if_there<'a>(
        &self,
        path: &'a TreePath,
    ) -> Result<Option<Place<'a>>, Error> {
        match self.parent(path) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a directory, from the nearest ancestor that is open already.
    pub(super) fn directory(&self, path: &TreePath) -> Result<Arc<Directory>, Error> {
        let (mut directory, mut done_bytes) = self.nearest(path);
        let bytes = path.as_bytes();
        while done_bytes < bytes.len() {
            let start = if done_bytes == 0 { 0 } else { done_bytes + 1 };
            let rest = bytes.get(start..).unwrap_or_default();
            let length = rest.iter().position(|&byte| byte == b'/');
            let name = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
            done_bytes = start + name.len();
            let opened = open_below(&directory, name);
            directory = opened.map_err(|errno| self.walk_error(path, done_bytes, errno))?;
            self.note_file_system(path, &directory)?;
            // Its siblings will come through the same directories.
            if let Some(reached) = bytes.get(..done_bytes).and_then(TreePath::from_bytes) {
                self.keep(&reached, &directory);
            }
        }
        Ok(directory)
    }

    /// Lets go of the descriptors of a directory and everything below it.
    pub(super) fn forget(&self, path: &TreePath) {
        self.lock_recent().retain(|(kept, _)| !kept.starts_with(path));
    }

    /// Gives us the rights to work in a directory that was there already; `seal_directory` gives
    /// it its final mode.
    pub(super) fn make_usable(&self, path: &TreePath) -> Result<(), Error> {
        self.change_mode(path, |mode| mode | 0o700)
    }

    /// The same, and takes from everyone else the right to write to it, until it is sealed. An ACL
    /// grants no more than these bits.
    pub(super) fn close_to_others(&self, path: &TreePath) -> Result<(), Error> {
        self.change_mode(path, |mode| (mode | 0o700) & !0o022)
    }

    fn change_mode(&self, path: &TreePath, change: impl Fn(u32) -> u32) -> Result<(), Error> {
        let directory = self.directory(path)?;
        let handle = directory.handle();
        let stat =
            handle.stat().map_err(|errno| self.error("read the attributes of", path, errno))?;
        let wanted = change(stat.mode());
        if stat.mode() == wanted {
            return Ok(());
        }
        match handle.set_mode(wanted) {
            // Not ours: whether we may write there shows when we do.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(self.error("make writable", path, errno)),
        }
        // Opened before, it may have been opened only as a place.
        self.forget(path);
        Ok(())
    }

    /// Looks at who owns the root. Someone who is neither us nor root could exchange everything in
    /// it, so nothing is restored before an entry of the snapshot says that it is theirs.
    pub(super) fn judge_top(&self) -> Result<(), Error> {
        let stat = self.directory.handle().stat();
        let root = TreePath::root();
        let stat = stat.map_err(|errno| self.error("read the attributes of", &root, errno))?;
        let owner = stat.owner().0;
        let is_safe = owner == 0 || owner == rustix::process::geteuid().as_raw();
        self.is_top_safe.store(is_safe, Ordering::Relaxed);
        Ok(())
    }

    /// The root's own entry says that its owner may see to what is in it.
    pub(super) fn top_is_safe(&self) {
        self.is_top_safe.store(true, Ordering::Relaxed);
    }

    /// Fails as long as the root belongs to someone who must not see to what is in it.
    pub(super) fn require_safe_top(&self) -> Result<(), Error> {
        if self.is_top_safe.load(Ordering::Relaxed) {
            return Ok(());
        }
        let owner = self.directory.handle().stat().map_or(0, |stat| stat.owner().0);
        Err(Error::Unsafe {
            path: self.path.clone(),
            reason: format!(
                "it belongs to user {owner}, who could exchange what is restored into it: choose \
                 another directory, or change its owner"
            ),
        })
    }

    /// Writes to disk what the root's own file system holds in memory. A write that failed is told
    /// once, here or by [`Root::sync_file_systems`].
    pub(super) fn sync_own_file_system(&self) -> Result<(), Error> {
        sys::syncfs(&self.directory)
            .map_err(|errno| self.error("write to disk what lies in", &TreePath::root(), errno))
    }

    /// Writes everything to disk that any file system below the root still holds in memory, and
    /// learns of every write that failed since the root was opened.
    pub(super) fn sync_file_systems(&self) -> Result<(), Error> {
        self.sync_own_file_system()?;
        let root = TreePath::root();
        let failed = |errno| self.error("write to disk what lies in", &root, errno);
        let mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in mounted.values() {
            sys::syncfs(directory).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes the root's own names and attributes durable.
    pub(super) fn sync_root(&self) -> Result<(), Error> {
        sys::fsync(&self.directory)
            .map_err(|errno| self.error("write to disk", &TreePath::root(), errno))
    }

    fn lock_recent(&self) -> MutexGuard<'_, VecDeque<(TreePath, Arc<Directory>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open directory deepest on the way to `path`, and how many bytes of `path` it covers.
    fn nearest(&self, path: &TreePath) -> (Arc<Directory>, usize) {
        let mut recent = self.lock_recent();
        let mut best: Option<(usize, usize)> = None;
        for (place, (kept, _)) in recent.iter().enumerate() {
            let length = kept.as_bytes().len();
            if best.is_none_or(|(_, longest)| length > longest) && path.starts_with(kept) {
                best = Some((place, length));
                if length == path.as_bytes().len() {
                    break;
                }
            }
        }
        let Some((place, length)) = best else {
            return (Arc::clone(&self.directory), 0);
        };
        // To the front: the least recently used is the one to close.
        if let Some(entry) = recent.remove(place) {
            let directory = Arc::clone(&entry.1);
            recent.push_front(entry);
            return (directory, length);
        }
        (Arc::clone(&self.directory), 0)
    }

    fn keep(&self, path: &TreePath, directory: &Arc<Directory>) {
        if path.is_root() {
            return;
        }
        let mut recent = self.lock_recent();
        if recent.iter().any(|(kept, _)| kept == path) {
            return;
        }
        recent.push_front((path.clone(), Arc::clone(directory)));
        recent.truncate(KEPT_OPEN);
    }

    fn note_file_system(&self, path: &TreePath, directory: &Arc<Directory>) -> Result<(), Error> {
        let stat = directory
            .handle()
            .stat()
            .map_err(|errno| self.error("read the attributes of", path, errno))?;
        if self.is_protected(&stat) {
            return Err(Error::InTheWay {
                path: self.full(path),
                reason: "the repository or the cache is there, and neither is restored into"
                    .to_owned(),
            });
        }
        if !self.is_on(stat.device()) && !directory.is_place_only {
            let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
            mounted.entry(stat.device()).or_insert_with(|| Arc::clone(directory));
        }
        Ok(())
    }

    fn walk_error(&self, path: &TreePath, length: usize, errno: Errno) -> Error {
        let reached = path.as_bytes().get(..length).unwrap_or_default();
        let full = self.path.join(OsStr::from_bytes(reached));
        if matches!(errno, Errno::NOTDIR | Errno::LOOP) {
            return Error::InTheWay {
                path: full,
                reason: "it is not a directory, and links are never followed: move it away, \
                         or say --overwrite always"
                    .to_owned(),
            };
        }
        Error::Io { action: "open directory", path: full, source: errno.into() }
    }
}

/// A path below `root`, as a person would write it.
pub(super) fn join(root: &Path, path: &TreePath) -> PathBuf {
    if path.is_root() {
        return root.to_owned();
    }
    root.join(OsStr::from_bytes(path.as_bytes()))
}

/// Opens one directory by its name alone, and never through a link.
pub(super) fn open_below(parent: &Directory, name: &[u8]) -> Result<Arc<Directory>, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (descriptor, is_place_only) =
        match sys::openat(parent, name, flags | OFlags::RDONLY, Mode::empty()) {
            Err(Errno::ACCESS) => {
                let place = sys::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
                (place, true)
            }
            opened => (opened?, false),
        };
    Ok(Arc::new(Directory { descriptor, is_place_only }))
}
