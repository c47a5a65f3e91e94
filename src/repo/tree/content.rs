//! What a file's bytes are made of: lists of references, and the runs of data in a sparse file.
//! FORMAT.md §9.

use crate::entry::{Cutter, Extent};
use crate::repo::reference::{ChunkRef, FrameTable, Frames, REFERENCE_BYTES};
use crate::repo::wire::{Cursor, Malformed, Read, put_length, put_var};

/// Kind byte of a list node.
pub const LIST_NODE: u8 = 3;
/// Kind byte of an extents node.
pub const EXTENTS_NODE: u8 = 5;
/// Levels of list nodes that a reader follows.
pub const LEVELS_LIMIT: u8 = 8;

/// One item of a content list.
#[derive(Clone, Debug)]
pub struct Item {
    /// Bytes of content below a list node; on level 0 it is 0 and means nothing.
    pub covered_bytes: u64,
    /// The chunk, page map segment or list node.
    pub reference: ChunkRef,
}

/// The content of a regular file.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// How it was cut; `None` for an empty file.
    pub cutter: Option<Cutter>,
    /// 0: items are chunks or page map segments; above: list nodes.
    pub level: u8,
    /// The parts, in order.
    pub items: Vec<Item>,
}

/// The runs of data of a file with holes.
#[derive(Clone, Debug, Default)]
pub enum Extents {
    /// The file has no holes.
    #[default]
    None,
    /// The runs themselves.
    Inline(Vec<Extent>),
    /// Nodes that hold them.
    Nodes(Vec<ChunkRef>),
}

/// A reference to a frame that has no place yet: a mistake of the writer.
#[derive(Clone, Copy, Debug)]
pub struct Unplaced;

/// Appends a reference.
pub fn put_ref(
    table: &mut FrameTable,
    body: &mut Vec<u8>,
    reference: &ChunkRef,
) -> Result<(), Unplaced> {
    if table.put(body, reference) { Ok(()) } else { Err(Unplaced) }
}

fn put_items(
    table: &mut FrameTable,
    body: &mut Vec<u8>,
    level: u8,
    items: &[Item],
) -> Result<(), Unplaced> {
    body.push(level);
    put_length(body, items.len());
    for item in items {
        if level > 0 {
            put_var(body, item.covered_bytes);
        }
        put_ref(table, body, &item.reference)?;
    }
    Ok(())
}

fn read_items(cursor: &mut Cursor<'_>, frames: &Frames) -> Read<(u8, Vec<Item>)> {
    let level = cursor.u8()?;
    if level > LEVELS_LIMIT {
        return Err(Malformed("content lists too deep"));
    }
    let count = cursor.count(REFERENCE_BYTES)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let covered_bytes = if level > 0 { cursor.var()? } else { 0 };
        items.push(Item { covered_bytes, reference: frames.reference(cursor)? });
    }
    Ok((level, items))
}

impl Content {
    /// Appends this content to a leaf.
    pub fn put(&self, table: &mut FrameTable, body: &mut Vec<u8>) -> Result<(), Unplaced> {
        let (kind, parameter) = match self.cutter {
            None => {
                body.push(0);
                return Ok(());
            }
            Some(Cutter::Content { average_bytes }) => (1, average_bytes),
            Some(Cutter::Pages { page_bytes }) => (2, page_bytes),
            Some(Cutter::Whole) => (3, 0),
        };
        body.push(kind);
        put_var(body, u64::from(parameter));
        put_items(table, body, self.level, &self.items)
    }

    /// Reads what [`Content::put`] wrote.
    pub fn read(cursor: &mut Cursor<'_>, frames: &Frames) -> Read<Self> {
        let kind = cursor.u8()?;
        if kind == 0 {
            return Ok(Self::default());
        }
        let parameter = cursor.var_u32()?;
        let cutter = match kind {
            1 => Cutter::Content { average_bytes: parameter },
            2 if (512..=1 << 20).contains(&parameter) => Cutter::Pages { page_bytes: parameter },
            3 => Cutter::Whole,
            _ => return Err(Malformed("a file cut in an unknown way")),
        };
        let (level, items) = read_items(cursor, frames)?;
        Ok(Self { cutter: Some(cutter), level, items })
    }
}

/// Encodes a list node.
pub fn encode_list(level: u8, items: &[Item]) -> Result<Vec<u8>, Unplaced> {
    let mut table = FrameTable::default();
    let mut body = Vec::new();
    put_items(&mut table, &mut body, level, items)?;
    Ok(table.node(LIST_NODE, &body))
}

/// Decodes a list node: the level of its items, and the items.
pub fn decode_list(node: &[u8]) -> Read<(u8, Vec<Item>)> {
    let mut cursor = Cursor::new(node);
    let frames = Frames::read(&mut cursor, LIST_NODE)?;
    let list = read_items(&mut cursor, &frames)?;
    cursor.end()?;
    Ok(list)
}

fn put_runs(body: &mut Vec<u8>, runs: &[Extent], mut at_bytes: u64) -> u64 {
    put_length(body, runs.len());
    for run in runs {
        put_var(body, run.offset_bytes.saturating_sub(at_bytes));
        put_var(body, run.length_bytes);
        at_bytes = run.offset_bytes + run.length_bytes;
    }
    at_bytes
}

/// Reads runs that go on at `at_bytes` in a file of `size_bytes`.
fn read_runs(cursor: &mut Cursor<'_>, at_bytes: &mut u64, size_bytes: u64) -> Read<Vec<Extent>> {
    let count = cursor.count(2)?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let hole_bytes = cursor.var()?;
        let length_bytes = cursor.var()?;
        let offset_bytes = at_bytes.checked_add(hole_bytes);
        let end = offset_bytes.and_then(|at| at.checked_add(length_bytes));
        match (offset_bytes, end) {
            (Some(offset_bytes), Some(end)) if length_bytes > 0 && end <= size_bytes => {
                runs.push(Extent { offset_bytes, length_bytes });
                *at_bytes = end;
            }
            _ => return Err(Malformed("a run of data beyond its file")),
        }
    }
    Ok(runs)
}

impl Extents {
    /// Appends the extents to a leaf; not to be called for [`Extents::None`].
    pub fn put(&self, table: &mut FrameTable, body: &mut Vec<u8>) -> Result<(), Unplaced> {
        match self {
            Self::None => Ok(()),
            Self::Inline(runs) => {
                body.push(0);
                put_runs(body, runs, 0);
                Ok(())
            }
            Self::Nodes(nodes) => {
                body.push(1);
                put_length(body, nodes.len());
                nodes.iter().try_for_each(|node| put_ref(table, body, node))
            }
        }
    }

    /// Reads what [`Extents::put`] wrote, for a file of `size_bytes`.
    pub fn read(cursor: &mut Cursor<'_>, frames: &Frames, size_bytes: u64) -> Read<Self> {
        match cursor.u8()? {
            0 => Ok(Self::Inline(read_runs(cursor, &mut 0, size_bytes)?)),
            1 => {
                let count = cursor.count(REFERENCE_BYTES)?;
                let nodes = (0..count).map(|_| frames.reference(cursor)).collect::<Read<_>>()?;
                Ok(Self::Nodes(nodes))
            }
            _ => Err(Malformed("extents of an unknown form")),
        }
    }
}

/// Encodes a node of runs that go on at `at_bytes`; returns it and where it ends.
pub fn encode_extents(runs: &[Extent], at_bytes: u64) -> (Vec<u8>, u64) {
    let mut body = Vec::new();
    let end = put_runs(&mut body, runs, at_bytes);
    (FrameTable::default().node(EXTENTS_NODE, &body), end)
}

/// Decodes a node of runs that go on at `at_bytes`, which is moved to their end.
pub fn decode_extents(node: &[u8], at_bytes: &mut u64, size_bytes: u64) -> Read<Vec<Extent>> {
    let mut cursor = Cursor::new(node);
    if !Frames::read(&mut cursor, EXTENTS_NODE)?.is_empty() {
        return Err(Malformed("extents that list frames"));
    }
    let runs = read_runs(&mut cursor, at_bytes, size_bytes)?;
    cursor.end()?;
    Ok(runs)
}
