//! An entry: one file, directory, link or device with all that a restore needs except its bytes.
//!
//! `Entry` is the only currency between the nouns: sources yield entries, the repository keeps
//! them, destinations write them. Nothing here touches a file system.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Nanoseconds in a second.
pub const NANOSECONDS_PER_SECOND: u32 = 1_000_000_000;

/// A path inside a source: components joined by `/`, no leading or trailing `/`, any byte but 0
/// in a component. The source's root is the empty path.
///
/// The order is that of a depth-first walk with names sorted by their bytes: component by
/// component, so `a`, `a/z`, `a.b` (as a plain byte order would put `a.b` before `a/z`).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root of a source.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes bytes that may come from anywhere. `None` unless each component is non-empty, free of
    /// NUL, and neither `.` nor `..`: what passes can never leave the directory it is joined to.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Some(Self(bytes));
        }
        let sound = bytes.split(|&byte| byte == b'/').all(|component| {
            !component.is_empty()
                && component != b"."
                && component != b".."
                && !component.contains(&0)
        });
        sound.then_some(Self(bytes))
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the source's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let cut = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0.get(..cut).unwrap_or_default().to_vec()))
    }

    /// This path with one more component, which must be a name as a directory listing gives it.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(ancestor.0.as_slice())
                .is_some_and(|rest| rest.first().is_none_or(|&byte| byte == b'/'))
    }

    /// Components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // `/` counts as lower than every other byte, which is the same as comparing components.
        let place = self.0.iter().zip(&other.0).position(|(a, b)| a != b);
        let Some(place) = place else {
            return self.0.len().cmp(&other.0.len());
        };
        match (self.0.get(place), other.0.get(place)) {
            (Some(b'/'), _) => Ordering::Less,
            (_, Some(b'/')) => Ordering::Greater,
            (a, b) => a.cmp(&b),
        }
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A file time: whole seconds since 1970 (negative before) and nanoseconds below one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl FileTime {
    /// From nanoseconds since 1970.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of 10^9")]
    pub fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self {
            seconds: nanoseconds.div_euclid(1_000_000_000),
            nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and the bytes it holds.
    Symlink {
        /// Where it points, verbatim; never followed.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket's name; the connection behind it cannot be kept.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// A name of which nothing else is known, because it could not be looked at or was left out
    /// ([`Entry::seen`] says which). Never restored, and never removed by a restore.
    Unknown,
}

/// How much of an entry the source looked at. What was not looked at is not in the tree below it, so a
/// restore must not remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Seen {
    /// All of it.
    #[default]
    Whole,
    /// Not all that should have been: a directory that could not be listed, or not to its end; a name
    /// whose attributes could not be read. Makes a snapshot partial.
    Unreadable,
    /// Not all, by rule: a directory on another file system, a cache directory of which only the tag is
    /// kept, the repository itself, a directory of which only some names were asked for.
    LeftOut,
}

/// The inode flags of `linux/fs.h` that are kept: immutable, append-only, no-dump, no-copy-on-write.
pub const INODE_FLAGS_KEPT: u32 = 0x10 | 0x20 | 0x40 | 0x0080_0000;

/// An extended attribute, ACLs (`system.posix_acl_*`) and capabilities (`security.capability`)
/// included, as the kernel's raw bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The full name, such as `user.comment`.
    pub name: Vec<u8>,
    /// The raw value.
    pub value: Vec<u8>,
}

/// A run of stored bytes in a sparse file; between runs there are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where the run starts in the file.
    pub offset_bytes: u64,
    /// How long it is; never 0.
    pub length_bytes: u64,
}

/// Those of them that a listing shows without opening what it lists: immutable, append-only, no-dump.
pub const INODE_FLAGS_LISTED: u32 = 0x10 | 0x20 | 0x40;

/// One file, directory, link or device: everything a restore needs but the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, from the source's root.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner's number.
    pub user_id: u32,
    /// Group's number.
    pub group_id: u32,
    /// Owner's name where the system knew one.
    pub user_name: Option<Arc<str>>,
    /// Group's name where the system knew one.
    pub group_name: Option<Arc<str>>,
    /// Last change of content (mtime).
    pub modified: FileTime,
    /// Last change of anything (ctime); not restorable, kept to recognise what is unchanged.
    pub changed: FileTime,
    /// Device number of the file system that it is on, in this run. Never stored, since a number is given
    /// to another file system at the next mount.
    pub device: u64,
    /// Which file system of the source it is on: 0 for that of the source's root, else a number made
    /// from the path where that file system is first met. With `inode` it names a hard-linked file.
    pub volume: u64,
    /// Inode number.
    pub inode: u64,
    /// Names that this inode has; more than 1 for hard links of a file.
    pub links: u64,
    /// Length in bytes, for regular files; else 0.
    pub size_bytes: u64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// For a sparse file its runs of data, ascending and disjoint; `None` where it has no holes.
    pub extents: Option<Vec<Extent>>,
    /// Inode flags, of [`INODE_FLAGS_KEPT`].
    pub inode_flags: u32,
    /// How much of it the source looked at.
    pub seen: Seen,
}

impl Entry {
    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

/// How a file is cut into chunks. Recorded with each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cutter {
    /// Content-defined chunks of this average size (`FastCDC`).
    Content {
        /// A power of two from 64 KiB to 4 MiB.
        average_bytes: u32,
    },
    /// Aligned pages of this size, compared position by position with the parent snapshot.
    Pages {
        /// A power of two from 4 KiB to 64 KiB.
        page_bytes: u32,
    },
    /// The whole file is one chunk, up to 16 MiB; longer ones fall back to content-defined chunks.
    Whole,
}

impl fmt::Display for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { average_bytes } => write!(f, "cdc {} KiB", average_bytes / 1024),
            Self::Pages { page_bytes } => write!(f, "pages {} KiB", page_bytes / 1024),
            Self::Whole => f.write_str("whole"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text).unwrap()
    }

    #[test]
    fn order_is_depth_first() {
        let mut paths = ["a.b", "a/z", "b", "a", "", "a/b/c", "a/b"].map(path);
        paths.sort();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a/z", "a.b", "b"].map(path));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for hostile in ["/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert!(TreePath::from_bytes(hostile).is_none(), "{hostile:?}");
        }
    }

    #[test]
    fn ancestors() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(path("a").starts_with(&path("")));
        assert!(!path("ab").starts_with(&path("a")));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(path("")));
        assert_eq!(path("a/b").name(), b"b");
    }
}
