//! A look at a WAL directory: lists it, sorts it, and opens every segment that is not open yet.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, StatxFlags, statx};
use rustix::io::{Errno, pread, retry_on_intr};

use super::segments::{Sorted, sort};
use super::timeline::{MOST_BYTES, TIMELINE_MARKER_NAME};
use super::{TimelineMarker, WalOptions, parse_timeline_marker_text};
use crate::entry::{Entry, Kind, TreePath};
use crate::source::file::{
    Identity, Marks, Owners, Pinned, Root, Steadiness, entry_of, judge, problem,
    raise_descriptor_limit, stat_at, stat_fd,
};
use crate::source::{Error, Fault, Problem};
use crate::units::{KIB, to_u64};

/// Descriptors that the rest of the process needs.
const RESERVED_DESCRIPTORS: u64 = 64;

/// An open segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) name: Vec<u8>,
    pub(super) pinned: Pinned,
    /// Whether it was closed when it was last looked at.
    pub(super) closed: bool,
}

impl Segment {
    pub(super) fn path(&self) -> TreePath {
        TreePath::root().join(&self.name)
    }

    pub(super) fn marks(&self) -> Result<Marks, Problem> {
        stat_fd(&*self.pinned.fd)
            .map(|stat| Marks::of_stat(&stat))
            .map_err(|errno| problem(&self.path(), "stat", errno))
    }
}

/// Open segments by number.
pub(super) type Held = BTreeMap<u64, Segment>;

/// What a look found.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) sorted: Sorted,
    /// All that are open now, those that are gone from the directory included.
    pub(super) held: Held,
    pub(super) problems: Vec<Problem>,
}

/// An open WAL directory and how to read it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) options: WalOptions,
    pub(super) root: Arc<Root>,
    owners: Owners,
    limit: Option<u64>,
}

impl Place {
    /// Opens the directory. Blocks.
    pub(super) fn open(options: WalOptions) -> Result<Self, Error> {
        let root = Root::open(&options.path)
            .map_err(|errno| unusable(&options, std::io::Error::from(errno).to_string()))?;
        Ok(Self {
            root: Arc::new(root),
            owners: Owners::default(),
            limit: raise_descriptor_limit(),
            options,
        })
    }

    /// What tells this directory from another one in the same place: its inode and when it was made.
    pub(super) fn identity(&self) -> Option<u64> {
        let flags = AtFlags::EMPTY_PATH;
        let stat = statx(self.root.fd(), c"", flags, StatxFlags::INO | StatxFlags::BTIME).ok()?;
        if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&stat.stx_ino.to_le_bytes());
        hasher.update(&stat.stx_btime.tv_sec.to_le_bytes());
        hasher.update(&stat.stx_btime.tv_nsec.to_le_bytes());
        hasher.finalize().as_bytes().first_chunk().copied().map(u64::from_le_bytes)
    }

    /// Reads the marker of the last restore, if there is one. A broken one is an error: going on
    /// would mix two lives of the log.
    pub(super) fn timeline_marker(&self) -> Result<Option<TimelineMarker>, Error> {
        let path = TreePath::root().join(TIMELINE_MARKER_NAME.as_bytes());
        let fd = match self.root.open_file(&path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(&self.options, "open the timeline marker in", errno)),
        };
        let mut text = [0; MOST_BYTES + 1];
        let length_bytes = retry_on_intr(|| pread(&fd, &mut text, 0))
            .map_err(|errno| failed(&self.options, "read the timeline marker in", errno))?;
        let text = text.get(..length_bytes).unwrap_or_default();
        parse_timeline_marker_text(text).map(Some).map_err(|reason| {
            unusable(
                &self.options,
                format!(
                    "{TIMELINE_MARKER_NAME} is damaged ({reason}): restore it, or remove it \
                     if this log was never restored"
                ),
            )
        })
    }

    /// Lists, sorts, and opens what `held` does not hold yet. Blocks.
    pub(super) fn look(&self, held: &Held) -> Result<Look, Error> {
        let names = list(&self.root).map_err(|errno| failed(&self.options, "list", errno))?;
        let names = names.iter().map(Vec::as_slice);
        let sorted = sort(names, &self.options.naming, &self.options.closed)
            .map_err(|reason| Error::Option { name: self.options.name.clone(), reason })?;
        let mut look = Look { held: held.clone(), problems: Vec::new(), sorted: Sorted::default() };
        self.make_room(to_u64(sorted.closed.len() + sorted.open.len()))?;
        for (number, name) in &sorted.closed {
            self.hold(&mut look, *number, name, true)?;
        }
        for (number, name) in &sorted.open {
            self.hold(&mut look, *number, name, false)?;
        }
        look.sorted = sorted;
        Ok(look)
    }

    fn make_room(&self, needed: u64) -> Result<(), Error> {
        match self.limit {
            Some(limit) if needed + RESERVED_DESCRIPTORS > limit => Err(Error::Descriptors {
                name: self.options.name.clone(),
                needed: needed + RESERVED_DESCRIPTORS,
                limit,
            }),
            _ => Ok(()),
        }
    }

    fn hold(&self, look: &mut Look, number: u64, name: &[u8], closed: bool) -> Result<(), Error> {
        let path = TreePath::root().join(name);
        let fd = match self.root.open_file(&path) {
            Ok(fd) => fd,
            // Deleted since the listing: below the first that is normal, else it shows as a gap.
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::MFILE | Errno::NFILE) => {
                return Err(Error::Descriptors {
                    name: self.options.name.clone(),
                    needed: to_u64(look.held.len()) + 1 + RESERVED_DESCRIPTORS,
                    limit: self.limit.unwrap_or(u64::MAX),
                });
            }
            Err(errno) => {
                look.problems.push(problem(&path, "open", errno));
                return Ok(());
            }
        };
        let identity = match stat_fd(&fd) {
            Ok(stat) => Identity::of_stat(&stat),
            Err(errno) => {
                look.problems.push(problem(&path, "stat", errno));
                return Ok(());
            }
        };
        if let Some(segment) = look.held.get_mut(&number) {
            if segment.pinned.identity == identity {
                segment.name = name.to_vec();
                segment.closed |= closed;
                return Ok(());
            }
            if segment.closed {
                look.problems.push(Problem {
                    path,
                    fault: Fault::Rewritten,
                    detail: "another file took the place of this closed segment".to_owned(),
                });
            }
        }
        let segment = Segment {
            name: name.to_vec(),
            pinned: Pinned { fd: Arc::new(fd), identity, written_bytes: None },
            closed,
        };
        look.held.insert(number, segment);
        Ok(())
    }

    /// Whether a closed segment was written to or replaced since `entry` was made. One that the
    /// engine deleted is fine: it was held open.
    pub(super) fn rewritten(&self, entry: &Entry) -> Option<Problem> {
        let name = CString::new(entry.path.name()).ok()?;
        let stat = stat_at(self.root.fd(), &name).ok()?;
        compare(entry, &stat)
    }

    /// The directory's own entry.
    pub(super) fn root_entry(&self) -> Result<Entry, Error> {
        let stat = stat_fd(self.root.fd()).map_err(|errno| failed(&self.options, "stat", errno))?;
        Ok(entry_of(TreePath::root(), Kind::Directory, &stat, &self.owners))
    }

    /// A segment's entry as it is now.
    pub(super) fn entry(&self, segment: &Segment) -> Result<Entry, Problem> {
        let path = segment.path();
        match stat_fd(&*segment.pinned.fd) {
            Ok(stat) => Ok(entry_of(path, Kind::File, &stat, &self.owners)),
            Err(errno) => Err(problem(&path, "stat", errno)),
        }
    }
}

/// Compares a closed segment with what stands under its name now.
fn compare(entry: &Entry, stat: &rustix::fs::Statx) -> Option<Problem> {
    let rewritten =
        |detail: String| Problem { path: entry.path.clone(), fault: Fault::Rewritten, detail };
    if Identity::of_stat(stat) != Identity::of_entry(entry) {
        return Some(rewritten("another file took the place of this closed segment".to_owned()));
    }
    let change = judge(Steadiness::Content, entry, &Marks::of_stat(stat))?;
    Some(rewritten(change.detail))
}

fn unusable(options: &WalOptions, reason: String) -> Error {
    Error::Unusable { name: options.name.clone(), path: options.path.clone(), reason }
}

fn failed(options: &WalOptions, action: &'static str, errno: Errno) -> Error {
    Error::Io {
        name: options.name.clone(),
        action,
        path: Path::to_path_buf(&options.path),
        source: errno.into(),
    }
}

/// Names of all regular files in the directory.
fn list(root: &Root) -> Result<Vec<Vec<u8>>, Errno> {
    let fd = root.open_directory(&TreePath::root())?;
    let mut buffer = Vec::with_capacity(32 * KIB);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let regular = match entry.file_type() {
            FileType::RegularFile => true,
            FileType::Unknown => stat_at(root.fd(), entry.file_name()).is_ok_and(|stat| {
                FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::RegularFile
            }),
            _ => false,
        };
        let name = entry.file_name().to_bytes();
        if regular && name != TIMELINE_MARKER_NAME.as_bytes() {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
