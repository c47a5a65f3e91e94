//! The walk: depth first, names in byte order, so that entries come out in path order.
//!
//! Every step is taken from the descriptor of the directory that holds the name, so no link is
//! followed and no path is too long. Only the directories between the root and the current place
//! are open, and of a very deep tree only the innermost ones: the outer ones are opened again on the
//! way back, and must then be the same directories.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Statx, StatxAttributes, openat, readlinkat};
use rustix::io::Errno;

use super::chosen::{Chosen, missing, name_only};
use super::listing::{Names, list};
use super::volumes::{Volumes, number_of};
use crate::entry::{Entry, Kind, Seen, TreePath};
use crate::facts::DirectoryFacts;
use crate::patterns::{CACHE_TAG, Exclude, is_tagged_cache};
use crate::source::file::{Identity, Magic, Owners, Root, entry_of, problem, stat_at, stat_fd};
use crate::source::{Batch, Error, Fault, Problem};
use crate::units::KIB;

/// Directories that are open at once.
const MOST_OPEN_LEVELS: usize = 200;

/// Entries in a batch, as the seam promises.
const BATCH_ENTRIES: usize = 1_024;

/// However much memory the outer directories' names hold, an inner one gets this much.
const LEAST_NAMES_BYTES: usize = 256 * KIB;

/// The kernel fills it with names in one call.
const NAMES_BUFFER_BYTES: usize = 64 * KIB;

/// What to walk and what to leave out.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) name: String,
    pub(super) root: Arc<Root>,
    /// The one name to look at below the root, where the source is a single file.
    pub(super) only: Option<std::ffi::CString>,
    /// The paths to look at, where not all are.
    pub(super) chosen: Chosen,
    pub(super) exclude: Exclude,
    pub(super) exclude_caches: bool,
    pub(super) one_file_system: bool,
    pub(super) scratch: PathBuf,
    /// Memory for names, of all directories on the way down together.
    pub(super) names_bytes: usize,
    pub(super) owners: Arc<Owners>,
    /// What the last snapshot says of the source's file systems.
    pub(super) volumes_before: Vec<(u64, u64)>,
    /// Backstay's own directories below the root, which are left out: the repository, the cache.
    pub(super) own: Vec<TreePath>,
    /// The root's path, and whether it may be left empty by patterns.
    pub(super) path: PathBuf,
    pub(super) allow_empty: bool,
}

/// Takes batches; `Break` ends the walk.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Batch) -> ControlFlow<()>;

impl Walk {
    /// Walks it all.
    pub(super) fn run(&self, sink: Sink<'_>) -> Result<(), Error> {
        let root = self
            .root
            .open_directory(&TreePath::root())
            .map_err(|errno| self.error("open", errno.into()))?;
        let stat = stat_fd(&root).map_err(|errno| self.error("stat", errno.into()))?;
        let mut walker = Walker {
            walk: self,
            sink,
            stack: Vec::new(),
            closed: 0,
            names_bytes: 0,
            device: Identity::of_stat(&stat).device(),
            buffer: Vec::with_capacity(NAMES_BUFFER_BYTES),
            batch: Batch::default(),
            volumes: Volumes::new(self.volumes_before.clone()),
            met: Met::default(),
        };
        walker.volumes.meet(root.as_fd(), &TreePath::root(), &stat);
        let entry = self.directory(TreePath::root(), &stat);
        walker.descend(root, entry, &stat)?;
        walker.run()
    }

    /// What a snapshot keeps of the rules.
    pub(super) fn facts(&self, pinned: bool) -> DirectoryFacts {
        let is_single = self.only.is_some();
        let exclude = if is_single { Vec::new() } else { self.exclude.patterns().to_vec() };
        let exclude_caches = self.exclude_caches && !is_single;
        DirectoryFacts { pinned, exclude, exclude_caches, volumes: Vec::new() }
    }

    /// A directory's entry, which says so where not all names in it are looked at.
    fn directory(&self, path: TreePath, stat: &Statx) -> Entry {
        let is_holder = path.is_root() && self.only.is_some();
        let is_partial = is_holder || self.chosen.names_in(&path).is_some();
        let entry = entry_of(path, Kind::Directory, stat, &self.owners);
        if is_partial { Entry { seen: Seen::LeftOut, ..entry } } else { entry }
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { name: self.name.clone(), action, path: self.scratch.clone(), source }
    }
}

/// One directory on the way from the root to here.
#[derive(Debug)]
struct Level {
    fd: Option<OwnedFd>,
    identity: Identity,
    path: TreePath,
    names: Names,
    volume: u64,
}

/// What a name turned out to be.
enum Found {
    Entry(Box<Entry>),
    Directory(TreePath, Box<Statx>),
    /// A pattern matches it.
    Excluded,
    /// It is on another file system, and only its name is kept.
    LeftOut(TreePath),
    /// It is gone, or something else than a moment ago.
    Problem(Problem),
    /// It could not be looked at, and only its name is kept.
    Unreadable(Problem),
    /// Listed paths that are not there.
    Missing(Vec<Problem>),
    /// No name is left.
    End,
}

struct Walker<'a> {
    walk: &'a Walk,
    sink: Sink<'a>,
    stack: Vec<Level>,
    /// How many of the outermost levels have no descriptor now.
    closed: usize,
    /// Memory that the stack's names hold.
    names_bytes: usize,
    device: u64,
    buffer: Vec<u8>,
    batch: Batch,
    volumes: Volumes,
    met: Met,
}

/// What the walk came to.
#[derive(Debug, Default)]
struct Met {
    /// Anything that is kept beside the root, or could not be looked at.
    kept: bool,
    /// Anything that a pattern matches.
    excluded: bool,
}

impl Walker<'_> {
    fn run(&mut self) -> Result<(), Error> {
        while let Some(level) = self.stack.last_mut() {
            let found = look(self.walk, self.device, &mut self.volumes, level)?;
            self.met.kept |= !matches!(found, Found::Excluded | Found::End);
            match found {
                Found::Entry(entry) => self.batch.entries.push(*entry),
                Found::Directory(path, stat) => self.enter(path, &stat)?,
                Found::Excluded => {
                    self.batch.excluded += 1;
                    self.met.excluded = true;
                }
                Found::LeftOut(path) => {
                    self.batch.entries.push(name_only(path, Seen::LeftOut));
                    self.batch.excluded += 1;
                }
                Found::Problem(problem) => self.batch.problems.push(problem),
                Found::Missing(problems) => self.batch.problems.extend(problems),
                Found::Unreadable(problem) => {
                    let entry = name_only(problem.path.clone(), Seen::Unreadable);
                    self.batch.entries.push(entry);
                    self.batch.problems.push(problem);
                }
                Found::End => self.leave(),
            }
            let full = self.batch.entries.len().max(self.batch.problems.len()) >= BATCH_ENTRIES;
            if full && self.flush().is_break() {
                return Ok(());
            }
        }
        if self.met.excluded && !self.met.kept && !self.walk.allow_empty {
            let (name, path) = (self.walk.name.clone(), self.walk.path.clone());
            return Err(Error::AllExcluded { name, path });
        }
        // The receiver is gone: it needs no more.
        let _ = self.flush();
        Ok(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let next = Batch { entries: Vec::with_capacity(BATCH_ENTRIES), ..Batch::default() };
        (self.batch.volumes, self.batch.doubted) = self.volumes.take_news();
        (self.sink)(std::mem::replace(&mut self.batch, next))
    }

    /// Comes to a directory: keeps its entry and, if nothing forbids it, goes down.
    fn enter(&mut self, path: TreePath, stat: &Statx) -> Result<(), Error> {
        let owners = Arc::clone(&self.walk.owners);
        let (one_file_system, device) = (self.walk.one_file_system, self.device);
        let foreign = |stat: &Statx| one_file_system && Identity::of_stat(stat).device() != device;
        let is_own = self.walk.own.contains(&path);
        if is_own {
            tracing::warn!(source = self.walk.name, %path, "left out: it is Backstay's own");
        }
        if foreign(stat) || is_own {
            self.leave_out(entry_of(path, Kind::Directory, stat, &owners), foreign(stat));
            return Ok(());
        }
        let opened = match self.open(path.name()) {
            Ok(fd) => stat_fd(&fd).map(|stat| (fd, stat)),
            Err(errno) => Err(errno),
        };
        match opened {
            Ok((_, stat)) if foreign(&stat) => {
                self.leave_out(entry_of(path, Kind::Directory, &stat, &owners), true);
                Ok(())
            }
            Ok((fd, stat)) => {
                let volume = self.volumes.meet(fd.as_fd(), &path, &stat);
                let entry = self.walk.directory(path, &stat);
                self.descend(fd, Entry { volume, ..entry }, &stat)
            }
            Err(errno) => {
                let problem = problem(&path, "open directory", errno);
                if problem.fault == Fault::Unreadable {
                    let volume = self.volume_of(stat, &path);
                    let entry = entry_of(path, Kind::Directory, stat, &owners);
                    self.batch.entries.push(Entry { seen: Seen::Unreadable, volume, ..entry });
                }
                self.batch.problems.push(problem);
                Ok(())
            }
        }
    }

    /// Keeps a directory but nothing below it.
    fn leave_out(&mut self, entry: Entry, is_foreign: bool) {
        let here = self.stack.last().map_or(0, |level| level.volume);
        let volume = if is_foreign { number_of(&entry.path) } else { here };
        self.batch.entries.push(Entry { seen: Seen::LeftOut, volume, ..entry });
        self.batch.excluded += 1;
    }

    /// The number of the file system of a directory that cannot be opened.
    fn volume_of(&self, stat: &Statx, path: &TreePath) -> u64 {
        self.volumes.number(stat).unwrap_or_else(|| number_of(path))
    }

    /// Opens a directory in the innermost one; where descriptors run out, the outer ones yield.
    fn open(&mut self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let attempt = |stack: &[Level]| match stack.last().and_then(|level| level.fd.as_ref()) {
            Some(fd) => self.walk.root.open_directory_at(fd.as_fd(), name),
            None => Err(Errno::BADF),
        };
        match attempt(&self.stack) {
            Err(Errno::MFILE | Errno::NFILE) => {}
            settled => return settled,
        }
        let inner = self.stack.len().saturating_sub(1);
        self.close_levels(inner);
        match self.stack.last().and_then(|level| level.fd.as_ref()) {
            Some(fd) => self.walk.root.open_directory_at(fd.as_fd(), name),
            None => Err(Errno::BADF),
        }
    }

    /// Closes the outermost levels until `count` of them are closed.
    fn close_levels(&mut self, count: usize) {
        for level in self.stack.iter_mut().take(count).skip(self.closed) {
            level.fd = None;
        }
        self.closed = self.closed.max(count);
    }

    /// Lists an open directory, keeps its entry and makes it the innermost level.
    fn descend(&mut self, fd: OwnedFd, mut entry: Entry, stat: &Statx) -> Result<(), Error> {
        let path = entry.path.clone();
        let names = if let (true, Some(only)) = (path.is_root(), &self.walk.only) {
            Names::only(only)
        } else if self.walk.exclude_caches && !path.is_root() && is_tagged_cache(&fd) {
            self.batch.excluded += 1;
            entry.seen = Seen::LeftOut;
            Names::only(CACHE_TAG)
        } else if let Some(names) = self.walk.chosen.names_in(&path) {
            Names::these(names)
        } else {
            let memory_bytes = self.walk.names_bytes.saturating_sub(self.names_bytes);
            let listing = list(
                fd.as_fd(),
                &mut self.buffer,
                memory_bytes.max(LEAST_NAMES_BYTES.min(self.walk.names_bytes)),
                &self.walk.scratch,
            )
            .map_err(|source| self.walk.error("sort names in a temporary file in", source))?;
            if let Some(errno) = listing.cut_short {
                let problem = problem(&path, "list", errno);
                // Removed while it was listed, it has nothing left to be lacking.
                if problem.fault == Fault::Unreadable {
                    entry.seen = Seen::Unreadable;
                }
                self.batch.problems.push(problem);
            }
            listing.names
        };
        self.names_bytes += names.memory_bytes();
        let (identity, volume) = (Identity::of_stat(stat), entry.volume);
        self.batch.entries.push(entry);
        self.stack.push(Level { fd: Some(fd), identity, path, names, volume });
        self.close_levels(self.stack.len().saturating_sub(MOST_OPEN_LEVELS));
        Ok(())
    }

    /// Goes back up, opening the outer directory again if it was closed.
    fn leave(&mut self) {
        let mut left = self.stack.pop();
        while let Some(level) = &left {
            self.names_bytes = self.names_bytes.saturating_sub(level.names.memory_bytes());
            let Some(outer) = self.stack.last_mut() else {
                return;
            };
            if outer.fd.is_some() {
                return;
            }
            self.closed = self.closed.min(self.stack.len().saturating_sub(1));
            let Some(outer) = self.stack.last_mut() else {
                return;
            };
            match reopen(self.walk, level, outer) {
                Ok(fd) => {
                    outer.fd = Some(fd);
                    return;
                }
                Err(errno) => {
                    let problem = problem(&outer.path, "return to directory", errno);
                    self.batch.problems.push(problem);
                    left = self.stack.pop();
                }
            }
        }
    }
}

/// Opens `outer` again, through `..` of the directory that we come from, or from the root.
fn reopen(walk: &Walk, inner: &Level, outer: &Level) -> Result<OwnedFd, Errno> {
    let is_same = |fd: &OwnedFd| {
        let stat = stat_fd(fd).map(|stat| Identity::of_stat(&stat));
        stat.is_ok_and(|identity| {
            identity == outer.identity
                || identity.device() == outer.identity.device()
                    && Magic::of(fd).has_unstable_inodes()
        })
    };
    if let Some(inner) = &inner.fd
        && let Ok(fd) = walk.root.open_directory_at(inner.as_fd(), b"..")
        && is_same(&fd)
    {
        return Ok(fd);
    }
    let fd = walk.root.open_directory(&outer.path)?;
    if is_same(&fd) { Ok(fd) } else { Err(Errno::NOENT) }
}

/// Looks at the next name of a directory.
fn look(
    walk: &Walk,
    root_device: u64,
    volumes: &mut Volumes,
    level: &mut Level,
) -> Result<Found, Error> {
    let next = level.names.next();
    let next = next.map_err(|source| walk.error("read names from a temporary file in", source))?;
    let Some(name) = next else {
        return Ok(Found::End);
    };
    let Some(directory) = &level.fd else {
        return Ok(Found::End);
    };
    let path = level.path.join(name.to_bytes());
    let single = walk.only.is_some();
    let stat = match stat_at(directory.as_fd(), name) {
        Ok(stat) => stat,
        Err(_) if !single && walk.exclude.matches(path.as_bytes(), false) => {
            return Ok(Found::Excluded);
        }
        Err(Errno::NOENT) if !walk.chosen.listed_at(&path).is_empty() => {
            return Ok(Found::Missing(missing(walk.chosen.listed_at(&path), "is not there")));
        }
        Err(errno) => return Ok(unseen(problem(&path, "stat", errno))),
    };
    let file_type = FileType::from_raw_mode(u32::from(stat.stx_mode));
    let is_directory = file_type == FileType::Directory;
    if !single && walk.exclude.matches(path.as_bytes(), is_directory) {
        return Ok(Found::Excluded);
    }
    if is_directory {
        return Ok(Found::Directory(path, Box::new(stat)));
    }
    let below = walk.chosen.listed_at(&path);
    if below.first().is_some_and(|listed| *listed != path) {
        let reason = match file_type {
            FileType::Symlink => "is a symbolic link, and links are not followed",
            _ => "is no directory",
        };
        return Ok(Found::Missing(missing(below, &format!("{path} {reason}"))));
    }
    let mounted = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let foreign = Identity::of_stat(&stat).device() != root_device;
    if walk.one_file_system && mounted && foreign {
        return Ok(Found::LeftOut(path));
    }
    let kind = match kind_of(file_type, &stat) {
        Some(kind) => kind,
        None if file_type == FileType::Symlink => {
            match readlinkat(directory, name, Vec::new()) {
                Ok(target) => Kind::Symlink { target: target.into_bytes() },
                // No longer a link.
                Err(Errno::INVAL) => {
                    return Ok(Found::Problem(problem(&path, "read link", Errno::LOOP)));
                }
                Err(errno) => return Ok(unseen(problem(&path, "read link", errno))),
            }
        }
        None => {
            let problem = Problem {
                path,
                fault: Fault::Unreadable,
                detail: format!("is of an unknown kind (mode {:o})", stat.stx_mode),
            };
            return Ok(Found::Unreadable(problem));
        }
    };
    // A file of a layer below an overlay has a device of its own and is still on the overlay.
    let volume = if mounted { meet_mounted(volumes, directory, name, &path, &stat) } else { None };
    let volume = volume.unwrap_or(level.volume);
    let entry = entry_of(path, kind, &stat, &walk.owners);
    Ok(Found::Entry(Box::new(Entry { volume, ..entry })))
}

/// The file system of a file that is mounted by itself.
fn meet_mounted(
    volumes: &mut Volumes,
    directory: &OwnedFd,
    name: &CStr,
    path: &TreePath,
    stat: &Statx,
) -> Option<u64> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = openat(directory, name, flags, Mode::empty()).ok()?;
    Some(volumes.meet(held.as_fd(), path, stat))
}

/// What became of a name that could not be looked at: kept, if it is still there.
fn unseen(problem: Problem) -> Found {
    if problem.fault == Fault::Unreadable {
        Found::Unreadable(problem)
    } else {
        Found::Problem(problem)
    }
}

fn kind_of(file_type: FileType, stat: &Statx) -> Option<Kind> {
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    match file_type {
        FileType::RegularFile => Some(Kind::File),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        FileType::CharacterDevice => Some(Kind::CharacterDevice { major, minor }),
        FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
        _ => None,
    }
}
