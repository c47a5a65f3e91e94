//! The tree of a source: entries in path order in a content-defined tree of nodes, so that an
//! insert, a rename or a ten-million-entry directory costs only the nodes it touches, and two
//! snapshots are compared in time proportional to their difference. FORMAT.md §8, §9.
//!
//! Nodes are pure values here: bytes in, bytes out. Who stores and fetches them is `writer` and
//! `reader` beside this folder.

pub mod content;
pub mod inner;
pub mod leaf;
pub mod pages;
pub mod path;

use crate::entry::TreePath;
use crate::repo::secret::Keys;

/// A leaf ends after an entry whose path hashes to this many zero bits: 32 entries on average. Leaves are
/// compressed many together, so small ones cost some 3 bytes an entry; with large ones a backup in which
/// 1 % of the files changed here and there would store nearly all metadata anew.
const LEAF_ZEROS: u32 = 5;
/// Each level above needs this many more: 64 children on average.
const LEVEL_ZEROS: u32 = 6;
/// A leaf ends after this many entries in any case.
pub const LEAF_ENTRIES_LIMIT: usize = 512;
/// An inner node ends after this many children in any case.
pub const INNER_CHILDREN_LIMIT: usize = 1024;

/// Up to which level a path ends nodes: 0 none, 1 its leaf, 2 also the inner node of level 1 above
/// it, and so on.
pub fn levels_ended_by(keys: &Keys, path: &TreePath) -> u32 {
    let zeros = keys.path_zeros(path.as_bytes());
    if zeros < LEAF_ZEROS { 0 } else { 1 + (zeros - LEAF_ZEROS) / LEVEL_ZEROS }
}
