//! What a source says of its cut: the facts that a snapshot keeps beside the tree, so that a
//! restore can judge what it has without reading it.

pub mod naming;

use self::naming::SegmentNaming;

/// One life of a WAL, as in `PostgreSQL`. A restore begins a new one, and so does a log that is found to
/// be another than the one of the last snapshot. In one timeline a segment's number stands for one
/// content, so segments of several snapshots may be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeline(pub [u8; 16]);

/// The WAL segments of one restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFacts {
    /// The timeline that the segments belong to.
    pub timeline: Timeline,
    /// The timeline that this one was forked from, and the last segment that both have.
    pub forked_from: Option<(Timeline, u64)>,
    /// Timelines of this log before this one, newest first, at most [`EARLIER_KEPT`]: a marker that names
    /// one of them is old.
    pub earlier: Vec<Timeline>,
    /// Number of the oldest closed segment; `None` where there is no closed segment yet.
    pub first: Option<u64>,
    /// Number of the newest closed segment.
    pub last: Option<u64>,
    /// Number of the newest segment, closed or not, when the directories' copying began.
    pub floor: Option<u64>,
    /// Number of the newest segment, closed or not, when all directories had been copied: their files may
    /// hold writes of segments up to this one.
    pub ceiling: Option<u64>,
    /// Missing numbers between `first` and `last`, and before `first` those that were deleted since the
    /// last snapshot without ever having been stored; inclusive runs.
    pub gaps: Vec<(u64, u64)>,
    /// How segment files are named, so that a restore can place them in the order of their numbers.
    pub naming: SegmentNaming,
    /// The greatest number that any snapshot of this timeline has, up to this one.
    pub reached: Option<u64>,
    /// What tells the log's directory from another one in the same place; `None` where the file system
    /// does not say.
    pub directory: Option<u64>,
    /// The timeline that the marker in the log's directory names, if there is one. Seen again, the same
    /// marker is no news.
    pub marker: Option<Timeline>,
}

/// Earlier timelines that facts keep.
pub const EARLIER_KEPT: usize = 64;

/// What a directory source says of its cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// Whether all files were opened and the listing stood still before bytes were copied.
    pub pinned: bool,
    /// Patterns of what was left out, in the manner of gitignore. A restore must not remove what they
    /// match: the backup did not look at it.
    pub exclude: Vec<String>,
    /// Whether directories with a `CACHEDIR.TAG` were reduced to it.
    pub exclude_caches: bool,
    /// File systems of the source: the number that entries have as their `volume`, and what tells this
    /// file system from another in its place; 0 where that is not known.
    pub volumes: Vec<(u64, u64)>,
}

/// Facts of one source in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A directory.
    Directory(DirectoryFacts),
    /// Closed WAL segments.
    Wal(WalFacts),
}
