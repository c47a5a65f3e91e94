//! Walking content lists: from what a leaf says of a file to its chunks or page map segments, in
//! order, without holding a huge file's list in memory. FORMAT.md §9.

use std::collections::VecDeque;

use crate::entry::Extent;
use crate::repo::error::Error;
use crate::repo::open::Repository;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::{
    Content, Extents, Item, LEVELS_LIMIT, decode_extents, decode_list,
};
use crate::repo::tree::pages::{Page, Segment};
use crate::repo::wire::Malformed;

/// The chunks or page map segments of a file, one after the other.
#[derive(Debug)]
pub struct ContentItems {
    repository: Repository,
    /// Lists from the top down: their level and what is left of them.
    stack: Vec<(u8, VecDeque<Item>)>,
}

impl ContentItems {
    /// The next chunk or segment. Costs a GET per list node.
    pub async fn next(&mut self) -> Result<Option<ChunkRef>, Error> {
        loop {
            let Some((level, list)) = self.stack.last_mut() else {
                return Ok(None);
            };
            let level = *level;
            match list.pop_front() {
                None => {
                    self.stack.pop();
                }
                Some(item) if level == 0 => return Ok(Some(item.reference)),
                Some(item) => {
                    let read = |node: &[u8]| {
                        let (below, items) = decode_list(node)?;
                        if below + 1 != level {
                            return Err(Malformed("a level that its parent denies"));
                        }
                        Ok(items)
                    };
                    let items = self.repository.node(&item.reference, read).await?;
                    self.stack.push((level - 1, items.into()));
                }
            }
        }
    }

    /// Where it reads.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

/// A segment of a page map, with what it is laid over.
#[derive(Debug)]
pub struct PageSegment {
    /// The full segment that it is laid over, if it states only what differs.
    pub base: Option<ChunkRef>,
    /// The chunks that pages lie in.
    pub chunks: Vec<ChunkRef>,
    /// All pages, in order.
    pub pages: Vec<Page>,
}

impl Repository {
    /// Reads a segment of a page map. Costs a GET, or two where it is laid over another.
    pub async fn page_segment(&self, reference: &ChunkRef) -> Result<PageSegment, Error> {
        let segment = self.node(reference, Segment::decode).await?;
        let (base, full) = match &segment {
            Segment::Full { .. } => (None, None),
            Segment::Overlay { base, .. } => {
                (Some(base.clone()), Some(self.node(base, Segment::decode).await?))
            }
        };
        let damaged = |reason: Malformed| {
            Error::damaged(format!("page map segment {}", reference.id), reason.0)
        };
        let (chunks, pages) = segment.flatten(full).map_err(damaged)?;
        Ok(PageSegment { base, chunks, pages })
    }

    /// Walks the content list of a file.
    pub fn content_items(&self, content: &Content) -> ContentItems {
        let level = content.level.min(LEVELS_LIMIT);
        let list = content.items.iter().cloned().collect();
        ContentItems { repository: self.clone(), stack: vec![(level, list)] }
    }

    /// The runs of data of a sparse file of `size_bytes`; `None` for one without holes.
    pub async fn extents(
        &self,
        extents: &Extents,
        size_bytes: u64,
    ) -> Result<Option<Vec<Extent>>, Error> {
        match extents {
            Extents::None => Ok(None),
            Extents::Inline(runs) => Ok(Some(runs.clone())),
            Extents::Nodes(nodes) => {
                let mut runs = Vec::new();
                let mut at_bytes = 0;
                for node in nodes {
                    let read = |node: &[u8]| decode_extents(node, &mut at_bytes, size_bytes);
                    runs.extend(self.node(node, read).await?);
                }
                Ok(Some(runs))
            }
        }
    }
}
