//! Inner nodes: lists of leaves or of further inner nodes. FORMAT.md §8.

use crate::entry::TreePath;
use crate::repo::reference::{ChunkRef, FrameTable, Frames};
use crate::repo::tree::content::{Unplaced, put_ref};
use crate::repo::tree::path::{PathReader, put_path};
use crate::repo::wire::{Cursor, Malformed, Read, put_length, put_var};

/// Kind byte of an inner node.
pub const INNER_NODE: u8 = 2;
/// Levels of a tree that a reader follows.
pub const LEVELS_LIMIT: u8 = 16;

/// A child of an inner node.
#[derive(Clone, Debug)]
pub struct Child {
    /// The last path in it.
    pub last_path: TreePath,
    /// The node.
    pub reference: ChunkRef,
    /// Entries in it.
    pub entries: u64,
    /// Sum of the sizes of its files.
    pub size_bytes: u64,
    /// Fingerprint, where the child is a leaf.
    pub fingerprint: [u8; 16],
}

/// An inner node.
#[derive(Clone, Debug)]
pub struct Inner {
    /// 1 above leaves.
    pub level: u8,
    /// In path order.
    pub children: Vec<Child>,
}

impl Inner {
    /// Encodes the node.
    pub fn encode(&self) -> Result<Vec<u8>, Unplaced> {
        let mut table = FrameTable::default();
        let mut body = Vec::with_capacity(self.children.len() * 96);
        body.push(self.level);
        put_length(&mut body, self.children.len());
        let mut before: &[u8] = &[];
        for child in &self.children {
            put_path(&mut body, before, child.last_path.as_bytes());
            before = child.last_path.as_bytes();
            put_ref(&mut table, &mut body, &child.reference)?;
            put_var(&mut body, child.entries);
            put_var(&mut body, child.size_bytes);
            body.extend_from_slice(&child.fingerprint);
        }
        Ok(table.node(INNER_NODE, &body))
    }

    /// Decodes a node.
    pub fn decode(node: &[u8]) -> Read<Self> {
        let mut cursor = Cursor::new(node);
        let frames = Frames::read(&mut cursor, INNER_NODE)?;
        let level = cursor.u8()?;
        if level == 0 || level > LEVELS_LIMIT {
            return Err(Malformed("an inner node on a level that cannot be"));
        }
        let count = cursor.count(47)?;
        if count == 0 || count > 65_536 {
            return Err(Malformed("an inner node with no or too many children"));
        }
        let mut paths = PathReader::default();
        let mut children: Vec<Child> = Vec::with_capacity(count);
        for _ in 0..count {
            let child = Child {
                last_path: paths.read(&mut cursor)?,
                reference: frames.reference(&mut cursor)?,
                entries: cursor.var()?,
                size_bytes: cursor.var()?,
                fingerprint: cursor.array()?,
            };
            if children.last().is_some_and(|last| last.last_path >= child.last_path) {
                return Err(Malformed("children out of order"));
            }
            children.push(child);
        }
        cursor.end()?;
        Ok(Self { level, children })
    }
}
