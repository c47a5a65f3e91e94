//! Nasty file trees: what a file system can hold that a backup tool tends to get wrong.
//!
//! A tree is first a [`Plan`], which prints, shrinks and can be made twice; [`materialise`] makes
//! it on disk. [`compare`] judges a restore: every attribute of every name. As root a plan is made
//! whole; as another user without what only root may make (see `Plan::for_user`).

mod compare;
mod gallery;
mod make;
mod strategy;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub(crate) use compare::{assert_same_tree, compare};
pub(crate) use make::{make_removable, materialise};
pub(crate) use strategy::tree_plan;

/// The ACL that decides access, as the kernel's raw bytes.
const ACCESS_ACL: &str = "system.posix_acl_access";

/// A tree to be made. Parents come before what they hold; the first node is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
}

/// One name in the tree.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Components joined by `/`; the root's is empty.
    pub(crate) path: Vec<u8>,
    pub(crate) what: What,
    pub(crate) attributes: Attributes,
}

/// What a name stands for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    /// A directory with this many small files in it.
    Crowd {
        entries: u32,
    },
    File(Content),
    /// A further name of the file at `first`.
    Link {
        first: Vec<u8>,
    },
    Symlink {
        target: Vec<u8>,
    },
    Fifo,
    Socket,
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// The bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) size_bytes: u64,
    /// Where it has data, as (offset, length); the rest is holes.
    pub(crate) runs: Vec<(u64, u64)>,
    /// Equal seeds make equal bytes. One in three seeds makes zeros that are written, one text.
    pub(crate) seed: u64,
}

/// Everything but the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, u32),
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

/// How much to make beside the gallery, which has at least one of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Names at random places.
    pub(crate) random_nodes: usize,
    /// Small files in one directory; 100,000 are made in a few seconds.
    pub(crate) crowd_entries: u32,
}

impl Size {
    /// Made in well under a second.
    pub(crate) const SMALL: Self = Self { random_nodes: 60, crowd_entries: 200 };
}

/// Makes one of everything that is nasty, and more at random places, in the empty or missing
/// directory `root`. The same seed makes the same tree.
pub(crate) fn nasty_tree(root: &Path, seed: u64, size: Size) -> Plan {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = strategy::tree_plan_of(size.random_nodes..=size.random_nodes);
    let random = strategy.new_tree(&mut runner).unwrap().current();
    let mut plan = gallery::gallery(size.crowd_entries);
    for mut node in random.nodes {
        let below = |path: &[u8]| [b"random".as_slice(), path].join(&b'/');
        node.path = if node.path.is_empty() { b"random".to_vec() } else { below(&node.path) };
        if let What::Link { first } = &mut node.what {
            *first = below(first);
        }
        plan.nodes.push(node);
    }
    let plan = plan.for_user();
    materialise(root, &plan);
    plan
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Plan {
    /// The plan as it is for root; for another user without devices, foreign owners, and
    /// attributes that need rights, and readable by its owner.
    pub(crate) fn for_user(mut self) -> Self {
        if is_root() {
            return self;
        }
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.nodes
            .retain(|node| !matches!(node.what, What::CharacterDevice(..) | What::BlockDevice(..)));
        for node in &mut self.nodes {
            let attributes = &mut node.attributes;
            attributes.owner = owner;
            attributes
                .xattrs
                .retain(|name, _| name.starts_with("user.") || name.starts_with("system."));
            let readable = match node.what {
                What::Directory | What::Crowd { .. } => 0o5_u32,
                _ => 0o4,
            };
            attributes.mode |= readable << 6;
            // The first entry of an ACL is the owner's; its permissions follow version and tag.
            let acl = attributes.xattrs.get_mut(ACCESS_ACL);
            if let Some(permissions) = acl.and_then(|acl| acl.get_mut(6)) {
                *permissions |= u8::try_from(readable).unwrap();
            }
        }
        self
    }
}

impl Node {
    /// The extended attributes that a thing of this kind can have.
    pub(crate) fn xattrs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let takes = |name: &str| match self.what {
            What::Symlink { .. } => false,
            What::File(_) => true,
            What::Directory | What::Crowd { .. } => !name.starts_with("security."),
            _ => !name.starts_with("security.") && !name.starts_with("user."),
        };
        let xattrs = self.attributes.xattrs.iter();
        xattrs
            .filter(move |(name, _)| takes(name))
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The mode that the node has in the end: an ACL, made by `acl`, replaces the permissions.
    pub(crate) fn effective_mode(&self) -> u32 {
        let mode = self.attributes.mode;
        let acl = self.xattrs().find(|(name, _)| *name == ACCESS_ACL);
        let Some((_, acl)) = acl else {
            return mode;
        };
        let permissions = |place: usize| u32::from(acl[4 + place * 8 + 2]);
        let (owner, mask, others) = (permissions(0), permissions(3), permissions(4));
        mode & 0o7000 | owner << 6 | mask << 3 | others
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attributes { mode, owner, modified, xattrs } = &self.attributes;
        write!(
            f,
            "{} {:?} {mode:04o} {}:{} {}.{:09}",
            shown(&self.path),
            self.what,
            owner.0,
            owner.1,
            modified.0,
            modified.1
        )?;
        for (name, value) in xattrs {
            write!(f, " {name}={}", shown(value))?;
        }
        Ok(())
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::Crowd { entries } => write!(f, "crowd of {entries}"),
            Self::File(content) => write!(
                f,
                "file of {} bytes, data {:?}, seed {}",
                content.size_bytes, content.runs, content.seed
            ),
            Self::Link { first } => write!(f, "hard link to {}", shown(first)),
            Self::Symlink { target } => write!(f, "symlink to {}", shown(target)),
            Self::Fifo => f.write_str("fifo"),
            Self::Socket => f.write_str("socket"),
            Self::CharacterDevice(major, minor) => write!(f, "character device {major},{minor}"),
            Self::BlockDevice(major, minor) => write!(f, "block device {major},{minor}"),
        }
    }
}

/// Bytes for people: quoted, escaped, and shortened in the middle if they are many.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const ENDS: usize = 40;
    if bytes.len() <= 3 * ENDS {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let (start, end) = (&bytes[..ENDS], &bytes[bytes.len() - ENDS..]);
    format!("\"{}…{}\" ({} bytes)", start.escape_ascii(), end.escape_ascii(), bytes.len())
}
