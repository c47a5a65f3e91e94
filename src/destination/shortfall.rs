//! What a destination could not give an entry, although the entry is there: an owner, a mode, a link.

use std::collections::BTreeMap;
use std::fmt;

use crate::entry::TreePath;

/// What an entry lacks: a closed set, so that a person can accept a kind by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShortfallKind {
    /// The owner or the group.
    Owner,
    /// The permission bits.
    Mode,
    /// The modification time.
    Times,
    /// An extended attribute that is none of the kinds below.
    Xattr,
    /// An access control list.
    Acl,
    /// The capabilities of a program.
    Capability,
    /// The whole device: this user may not make devices.
    Device,
    /// The link: the entry has the content, as a file of its own.
    Link,
    /// Inode flags, such as immutable.
    Flags,
    /// The whole entry: its name is that of the marker of an unfinished restore.
    Marker,
}

impl ShortfallKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Owner,
        Self::Mode,
        Self::Times,
        Self::Xattr,
        Self::Acl,
        Self::Capability,
        Self::Device,
        Self::Link,
        Self::Flags,
        Self::Marker,
    ];

    /// The word on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Mode => "mode",
            Self::Times => "times",
            Self::Xattr => "xattr",
            Self::Acl => "acl",
            Self::Capability => "capability",
            Self::Device => "device",
            Self::Link => "link",
            Self::Flags => "flags",
            Self::Marker => "marker",
        }
    }

    /// The kind that an extended attribute is of.
    pub fn of_xattr(name: &[u8]) -> Self {
        match name {
            b"system.posix_acl_access" | b"system.posix_acl_default" | b"system.nfs4_acl" => {
                Self::Acl
            }
            b"security.capability" => Self::Capability,
            _ => Self::Xattr,
        }
    }
}

impl fmt::Display for ShortfallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a restore could not give an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The entry.
    pub path: TreePath,
    /// The kind of what it lacks.
    pub kind: ShortfallKind,
    /// What it lacks: `owner`, `xattr security.selinux`, `device`.
    pub what: String,
    /// The operating system's word.
    pub detail: String,
}

/// What a restore could not give: the first of it by name, and all of it by number.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shortfalls {
    /// The first ones; a restore of a million files has at most ten thousand.
    pub listed: Vec<Shortfall>,
    /// How many there are of each kind.
    pub counts: BTreeMap<ShortfallKind, u64>,
}

impl Shortfalls {
    /// How many there are of all kinds.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many there are of kinds for which `counts` is true.
    pub fn count_of(&self, counts: impl Fn(ShortfallKind) -> bool) -> u64 {
        self.counts.iter().filter(|(kind, _)| counts(**kind)).map(|(_, count)| count).sum()
    }
}
