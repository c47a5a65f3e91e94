//! Lists of content: short ones stand in the leaf, long ones become list nodes, cut where a chunk's id
//! says so, so that an insertion in a huge file rewrites only the list nodes around it.

use std::sync::Arc;

use crate::repo::Error;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::{Item, Unplaced, encode_list};
use crate::repo::writer::Writer;

/// Items that a leaf holds itself.
const INLINE_ITEMS: usize = 64;
/// Items of a list node: on average, and at most.
const AVERAGE_ITEMS: u16 = 512;
const MOST_ITEMS: usize = 2048;

/// Writes the content list of one file.
#[derive(Debug)]
pub(super) struct ListWriter {
    writer: Arc<Writer>,
    /// Open lists by level; items of level 0 cover themselves.
    levels: Vec<Vec<(u64, Item)>>,
}

/// The list cannot be encoded before all frames have places; that is our mistake.
pub(super) fn unplaced(_: Unplaced) -> Error {
    Error::Bug("a node refers to a frame without a place".into())
}

impl ListWriter {
    pub(super) fn new(writer: &Arc<Writer>) -> Self {
        Self { writer: Arc::clone(writer), levels: vec![Vec::new()] }
    }

    /// Appends an item that stands for `covered_bytes` of the file.
    pub(super) async fn push(
        &mut self,
        reference: ChunkRef,
        covered_bytes: u64,
    ) -> Result<(), Error> {
        self.push_at(0, Item { covered_bytes: 0, reference }, covered_bytes);
        let mut level = 0;
        while self.is_due(level) {
            self.close(level).await?;
            level += 1;
        }
        Ok(())
    }

    fn push_at(&mut self, level: usize, item: Item, covered_bytes: u64) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        if let Some(list) = self.levels.get_mut(level) {
            list.push((covered_bytes, item));
        }
    }

    fn is_due(&self, level: usize) -> bool {
        let Some(list) = self.levels.get(level) else {
            return false;
        };
        let Some((_, last)) = list.last() else {
            return false;
        };
        let head = u16::from_le_bytes([last.reference.id.0[0], last.reference.id.0[1]]);
        list.len() >= MOST_ITEMS || (list.len() > INLINE_ITEMS && head % AVERAGE_ITEMS == 0)
    }

    /// Turns the open list of a level into a node, an item of the level above.
    async fn close(&mut self, level: usize) -> Result<(), Error> {
        // What stands in a node must have a place. Chunks have one; segments of a page map and the nodes
        // of the level below may be on their way.
        let list = self.levels.get(level).map(Vec::as_slice).unwrap_or_default();
        if list.iter().any(|(_, item)| item.reference.frame.place().is_none()) {
            self.writer.flush_leaves().await?;
        }
        let list = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
        let covered_bytes = list.iter().map(|(covered, _)| covered).sum();
        let items: Vec<Item> = list.into_iter().map(|(_, item)| item).collect();
        let depth = u8::try_from(level).map_err(|_| Error::Bug("a list too deep".into()))?;
        let node = encode_list(depth, &items).map_err(unplaced)?;
        let reference = self.writer.leaf(&node).await?;
        self.push_at(level + 1, Item { covered_bytes, reference }, covered_bytes);
        Ok(())
    }

    /// The level and items for the leaf. Their frames have places after the next flush of nodes.
    pub(super) async fn finish(mut self) -> Result<(u8, Vec<Item>), Error> {
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            let short = self.levels.get(level).is_none_or(|list| list.len() <= INLINE_ITEMS);
            if is_top && short {
                break;
            }
            if self.levels.get(level).is_some_and(|list| !list.is_empty()) {
                self.close(level).await?;
            }
            level += 1;
        }
        let depth = u8::try_from(level).map_err(|_| Error::Bug("a list too deep".into()))?;
        let list = self.levels.pop().unwrap_or_default();
        Ok((depth, list.into_iter().map(|(_, item)| item).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::writer::testing::writer;

    /// Segments of a page map are nodes that have just been written: their frame may still be open.
    #[tokio::test]
    async fn a_long_list_of_nodes_without_places_is_written() {
        let writer = writer().await;
        let mut list = ListWriter::new(&writer);
        let count = MOST_ITEMS + INLINE_ITEMS;
        for number in 0..count {
            let node = writer.leaf(&number.to_be_bytes()).await.unwrap();
            list.push(node, 1).await.unwrap();
        }
        let (level, items) = list.finish().await.unwrap();
        assert_eq!(level, 1);
        writer.flush_leaves().await.unwrap();
        assert!(items.iter().all(|item| item.reference.frame.place().is_some()));
        let covered_bytes: u64 = items.iter().map(|item| item.covered_bytes).sum();
        assert_eq!(covered_bytes, count as u64);
    }
}
