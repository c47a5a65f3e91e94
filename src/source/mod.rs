//! What is protected. A [`Source`] is opened into a [`Cut`], its consistent instant; the cut yields
//! entries in path order and opens files for reading.
//!
//! Reading blocks, so [`Files`] and [`Content`] are called on the CPU pool, never on an async
//! thread.

pub mod cutter;
pub mod directory;
mod file;
mod stream;
pub mod wal;

use std::fmt::{self, Debug};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::class::Class;
use crate::entry::{Cutter, Entry, Extent, TreePath, Xattr};
use crate::facts::Facts;
use crate::world::World;

pub use cutter::CutterChoice;
pub use directory::{DirectoryOptions, DirectorySource};
pub use stream::{StreamOptions, StreamSource};
pub use wal::{ClosedRule, WalOptions, WalSource};

/// Something that a policy or a command line asks to back up.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// The name under which a snapshot keeps it.
    fn name(&self) -> &str;

    /// Where it is, for people: a path.
    fn location(&self) -> String;

    /// Whether this must be cut before and drained after all sources that are not, as a WAL must:
    /// its floor is noted first and its ceiling read last.
    fn encloses_others(&self) -> bool {
        false
    }

    /// Begins a cut. `previous` is what the parent snapshot says of the same source.
    async fn cut(&self, world: &World, previous: Option<&Previous>) -> Result<Box<dyn Cut>, Error>;
}

/// What the parent snapshot says of a source.
#[derive(Clone, Debug)]
pub struct Previous {
    /// Its facts, if they are of a kind that this version knows.
    pub facts: Option<Facts>,
    /// How many entries it had, the root included.
    pub entries: u64,
}

/// A pinned instant of a source; dropped without `finish`, it is abandoned.
#[async_trait]
pub trait Cut: Send {
    /// The next entries in path order, the root first, or `None` at the end. Entries come as the
    /// listing sees them: `xattrs` and `extents` empty (see [`Files`]).
    async fn next(&mut self) -> Result<Option<Batch>, Error>;

    /// Opens what `next` yielded. Shared by all readers of the cut.
    fn files(&self) -> Arc<dyn Files>;

    /// Ends the cut after the last entry was yielded *and* read. `compared` is what reading showed beside
    /// the parent snapshot.
    async fn finish(self: Box<Self>, compared: Compared) -> Result<Reach, Error>;
}

/// What reading showed of the files that the parent snapshot has too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Whether at least one file has the content that the parent has of it.
    pub shared: bool,
    /// Files with another content than in the parent.
    pub rewritten: Vec<TreePath>,
    /// Whether every file that both have could be compared.
    pub complete: bool,
}

/// A run of entries in path order and what could not be listed among them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries; at most 1,024.
    pub entries: Vec<Entry>,
    /// Entries that could not be listed.
    pub problems: Vec<Problem>,
    /// Entries left out by rule (excludes, other file systems, cache directories).
    pub excluded: u64,
    /// File systems that the listing came to with these entries.
    pub volumes: Vec<Volume>,
    /// Directories below which nothing was seen by the parent snapshot, though it has entries of these
    /// paths: what is there now was hidden by a mount then.
    pub doubted: Vec<TreePath>,
}

/// A file system that a listing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What its entries have as their `volume`.
    pub number: u64,
    /// What tells it from another one in its place; 0 where that is not known.
    pub identity: u64,
    /// Whether time stamps come from this machine's own clock. If not, a file that changed lately is
    /// read again in a longer time.
    pub has_local_clock: bool,
    /// Whether an entry that looks as it did in the parent snapshot is unchanged: it is the same file
    /// system, and its times tell of changes.
    pub is_believed: bool,
}

/// What a finished cut says of itself.
#[derive(Debug)]
pub struct Reach {
    /// Facts for the snapshot.
    pub facts: Facts,
    /// What showed only at the end, such as a closed segment that changed.
    pub problems: Vec<Problem>,
}

/// What an entry has beside its bytes and what a listing shows, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Inode flags that a listing does not show.
    pub inode_flags: u32,
    /// Why some are missing. It costs the entry nothing else.
    pub lacking: Option<Problem>,
}

impl Attributes {
    /// None but a reason.
    pub fn lacking(problem: Problem) -> Self {
        Self { lacking: Some(problem), ..Self::default() }
    }
}

/// Access to the files of a cut. Blocks.
pub trait Files: Send + Sync {
    /// The attributes of an entry of any kind, without following links. An error means that there is
    /// no such entry any more.
    fn attributes(&self, entry: &Entry) -> Result<Attributes, Problem>;

    /// Opens a regular file, never through a link, and makes sure that it is the one that was
    /// listed: the same device and inode, where inode numbers last.
    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem>;
}

/// An open regular file, or a stream that is kept as one. Blocks.
///
/// Its size is a hint. Some file systems say 0 or a round number whatever a file holds, and a
/// stream has no size before its end. So a reader goes on until [`read_at`](Self::read_at) or
/// [`append_to`](Self::append_to) returns fewer bytes than it asked for: that is the end, and the
/// size that is stored. A reader that asks for more than the hint learns the end of an ordinary file
/// without a further system call.
pub trait Content: Send {
    /// The file's entry as it is now that it is open: size and times may be newer than the
    /// listing's. Without xattrs and extents. Its size is a hint.
    fn entry(&self) -> &Entry;

    /// Whether it can be read only once, from front to back: a pipe. It is then never read
    /// together with others, and each read begins where the one before ended.
    fn is_stream(&self) -> bool {
        false
    }

    /// Its attributes.
    fn attributes(&mut self) -> Attributes;

    /// Its runs of data if it has holes; `None` where it has none or the file system cannot tell.
    fn extents(&mut self) -> Result<Option<Vec<Extent>>, Problem>;

    /// How it should be cut, by what it is. May read the first bytes.
    fn cutter(&mut self) -> Result<Cutter, Problem>;

    /// Fills `buffer` from `offset_bytes` on; returns less only at the end. A file that grows is read
    /// to where it ended when its growth was noticed, a pinned one to where it ended when it was pinned.
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem>;

    /// The same at the end of `buffer`, which grows by `length_bytes` or less. Where that is all the room
    /// that it has, nothing is written to it twice.
    fn append_to(
        &mut self,
        buffer: &mut Vec<u8>,
        length_bytes: usize,
        offset_bytes: u64,
    ) -> Result<usize, Problem> {
        let start = buffer.len();
        buffer.resize(start + length_bytes, 0);
        let read = self.read_at(buffer.get_mut(start..).unwrap_or_default(), offset_bytes);
        buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Ends reading: tells whether the file changed, grew or shrank while it was read, and lets its
    /// pages in the cache go where nobody else used them. What was read is stored in each case.
    fn close(self: Box<Self>) -> Option<Problem>;
}

/// Something that one entry lacks in the snapshot. Makes the snapshot partial, never silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry.
    pub path: TreePath,
    /// What happened.
    pub fault: Fault,
    /// The operating system's word, or more detail.
    pub detail: String,
}

/// What can happen to an entry between listing and end of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It could not be opened, listed or read.
    Unreadable,
    /// It was listed but is gone.
    Vanished,
    /// It was asked for by its path, but is not there.
    Missing,
    /// It changed while it was read; the stored bytes may mix two states.
    Changed,
    /// It became shorter while it was read.
    Shrunk,
    /// A WAL segment that was closed before has other content now.
    Rewritten,
    /// A WAL segment between the first and the last is missing.
    Gap,
    /// The log is not the one of the last snapshot: a new timeline begins.
    Timeline,
    /// WAL segments do not count as closed though they should.
    NotClosed,
    /// A log is empty.
    Empty,
}

impl Fault {
    /// The word used in reports and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Shrunk => "shrunk",
            Self::Rewritten => "rewritten",
            Self::Gap => "gap",
            Self::Timeline => "timeline",
            Self::NotClosed => "not-closed",
            Self::Empty => "empty",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.fault.as_str(), self.path, self.detail)
    }
}

/// What keeps a source from being cut at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path does not exist or is not of the kind that was asked for.
    #[error("source {name}: {path}: {reason}", path = path.display())]
    Unusable {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
        /// The cause and what to do about it.
        reason: String,
    },
    /// The source is empty though its parent was not: a volume that was not mounted looks so.
    #[error(
        "source {name}: {path} is empty, though the last snapshot of it was not: \
         is the volume mounted? (--allow-empty if it is meant)", path = path.display()
    )]
    Emptied {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// Not enough file descriptors to pin a database directory.
    #[error(
        "source {name}: {needed} files must be open at once, but the limit is {limit}: \
         raise RLIMIT_NOFILE (ulimit -n)"
    )]
    Descriptors {
        /// The source.
        name: String,
        /// Files to hold open.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The listing did not stand still.
    #[error("source {name}: files came and went through {attempts} listings; is it being rebuilt?")]
    Restless {
        /// The source.
        name: String,
        /// How often it was listed.
        attempts: u32,
    },
    /// A pattern or option cannot be used.
    #[error("source {name}: {reason}")]
    Option {
        /// The source.
        name: String,
        /// The cause and what to do about it.
        reason: String,
    },
    /// Patterns left out all that there is.
    #[error(
        "source {name}: the exclude patterns leave nothing of {path}: correct them \
         (--allow-empty if it is meant)", path = path.display()
    )]
    AllExcluded {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("source {name}: {action} {path}", path = path.display())]
    Io {
        /// The source.
        name: String,
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Decides exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Option { .. } => Class::Config,
            _ => Class::Source,
        }
    }
}
