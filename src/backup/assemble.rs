//! The assembling stage: leaves whose files have been read become nodes, and nodes become a tree.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::backup::list::unplaced;
use crate::backup::scan::{Draft, DraftEntry, Was};
use crate::repo;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::Extents;
use crate::repo::tree::inner::{Child, Inner};
use crate::repo::tree::leaf::{self, Fidelity, NO_FINGERPRINT, StoredEntry};
use crate::repo::tree::{INNER_CHILDREN_LIMIT, levels_ended_by};
use crate::repo::writer::Writer;
use crate::source::{Compared, Problem};
use crate::units::to_u64;

/// A leaf with more bytes is split, whatever its paths say: attributes can be large.
const LEAF_BYTES: usize = 8 << 20;

/// The tree of a source.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Has a place once the writer has finished.
    pub(super) root: ChunkRef,
    pub(super) entries: u64,
    pub(super) size_bytes: u64,
    pub(super) problems: Vec<Problem>,
    /// What the files are beside those of the parent.
    pub(super) compared: Compared,
}

struct Assembly {
    writer: Arc<Writer>,
    /// Open inner nodes, those of level 1 first.
    levels: Vec<Vec<Child>>,
    entries: u64,
    size_bytes: u64,
    problems: Vec<Problem>,
    compared: Compared,
}

/// Assembles leaves until the scan is done.
pub(super) async fn run(
    writer: Arc<Writer>,
    mut drafts: mpsc::Receiver<Draft>,
) -> Result<Assembled, repo::Error> {
    let mut assembly = Assembly {
        writer,
        levels: vec![Vec::new()],
        entries: 0,
        size_bytes: 0,
        problems: Vec::new(),
        compared: Compared::default(),
    };
    while let Some(draft) = drafts.recv().await {
        match draft {
            Draft::Same(child) => {
                // A leaf with only the root holds nothing to share.
                assembly.compared.shared |= child.entries > 1 || child.size_bytes > 0;
                assembly.push(child).await?;
            }
            Draft::New { entries, fingerprint } => assembly.leaf(entries, fingerprint).await?,
        }
    }
    assembly.finish().await
}

/// Whether an inner node must end whatever its last path says.
fn is_full(children: &[Child]) -> bool {
    let paths: usize = children.iter().map(|child| child.last_path.as_bytes().len()).sum();
    children.len() >= INNER_CHILDREN_LIMIT || paths > LEAF_BYTES
}

impl Assembly {
    async fn leaf(
        &mut self,
        drafts: Vec<DraftEntry>,
        mut fingerprint: [u8; 16],
    ) -> Result<(), repo::Error> {
        let mut entries = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match draft {
                DraftEntry::Ready(stored) => {
                    self.compared.shared |= stored.entry.is_file();
                    entries.push(*stored);
                }
                DraftEntry::Pending { answer, was, listed_bytes } => {
                    let read = answer.await.map_err(|_| {
                        repo::Error::Bug("a file was ordered but never read".into())
                    })?;
                    // The fingerprint is of the listing: it must not stand for anything else.
                    let size_bytes = read.stored.as_ref().map(|stored| stored.entry.size_bytes);
                    if !read.problems.is_empty() || size_bytes != Some(listed_bytes) {
                        fingerprint = NO_FINGERPRINT;
                    }
                    self.problems.extend(read.problems);
                    if let Some(stored) = read.stored {
                        self.compare(&stored, was.as_ref());
                        entries.push(stored);
                    }
                }
            }
        }
        if entries.iter().any(|stored| !stored.is_exact()) {
            fingerprint = NO_FINGERPRINT;
        }
        self.settle(&entries).await?;
        self.encode(&entries, fingerprint).await
    }

    fn compare(&mut self, stored: &StoredEntry, was: Option<&Was>) {
        let Some(was) = was.filter(|_| stored.fidelity == Fidelity::Exact) else {
            return;
        };
        let chunks = stored.content.items.iter().map(|item| &item.reference.id);
        if stored.entry.size_bytes == was.size_bytes && chunks.eq(&was.chunks) {
            self.compared.shared = true;
        } else {
            self.compared.rewritten.push(stored.entry.path.clone());
        }
    }

    /// Waits until everything that the entries refer to has a place.
    async fn settle(&self, entries: &[StoredEntry]) -> Result<(), repo::Error> {
        let of_nodes = |stored: &StoredEntry| {
            let paged = matches!(stored.content.cutter, Some(crate::entry::Cutter::Pages { .. }));
            let content = paged || stored.content.level > 0;
            let items = stored.content.items.iter().filter(move |_| content);
            let unplaced = items.map(|item| &item.reference).any(is_unplaced);
            unplaced
                || matches!(&stored.extents, Extents::Nodes(nodes) if nodes.iter().any(is_unplaced))
        };
        if entries.iter().any(of_nodes) {
            self.writer.flush_leaves().await?;
        }
        for stored in entries {
            for item in &stored.content.items {
                item.reference.frame.wait().await;
            }
        }
        Ok(())
    }

    async fn encode(
        &mut self,
        entries: &[StoredEntry],
        fingerprint: [u8; 16],
    ) -> Result<(), repo::Error> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let node = leaf::encode(entries).map_err(unplaced)?;
        if (node.len() > LEAF_BYTES || !leaf::fits(entries)) && entries.len() > 1 {
            let (front, back) = entries.split_at(entries.len() / 2);
            Box::pin(self.encode(front, NO_FINGERPRINT)).await?;
            return Box::pin(self.encode(back, NO_FINGERPRINT)).await;
        }
        let child = Child {
            last_path: last.entry.path.clone(),
            reference: self.writer.leaf(&node).await?,
            entries: to_u64(entries.len()),
            size_bytes: entries.iter().map(|stored| stored.entry.size_bytes).sum(),
            fingerprint,
        };
        self.push(child).await
    }

    /// Appends a leaf, and closes the inner nodes that end with it.
    async fn push(&mut self, child: Child) -> Result<(), repo::Error> {
        self.entries += child.entries;
        self.size_bytes = self.size_bytes.saturating_add(child.size_bytes);
        let keys = self.writer.repository().secrets().newest();
        let ended = levels_ended_by(keys, &child.last_path);
        if let Some(list) = self.levels.first_mut() {
            list.push(child);
        }
        let mut level = 0;
        // A path that ends one level ends its leaf; one that ends two also the inner node above it.
        let mut ends = ended.saturating_sub(1);
        while self
            .levels
            .get(level)
            .is_some_and(|list| !list.is_empty() && (ends > 0 || is_full(list)))
        {
            self.close(level).await?;
            level += 1;
            ends = ends.saturating_sub(1);
        }
        Ok(())
    }

    /// Turns the open inner node of a level into a child of the level above.
    async fn close(&mut self, level: usize) -> Result<(), repo::Error> {
        let children = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
        let Some(last) = children.last() else {
            return Ok(());
        };
        if children.iter().any(|child| is_unplaced(&child.reference)) {
            if level == 0 {
                self.writer.flush_leaves().await?;
            } else {
                self.writer.flush_inner_nodes().await?;
            }
        }
        let last_path = last.last_path.clone();
        let entries = children.iter().map(|child| child.entries).sum();
        let size_bytes = children.iter().map(|child| child.size_bytes).sum();
        let depth = u8::try_from(level + 1)
            .map_err(|_| repo::Error::Bug("a tree of more than 255 levels".into()))?;
        let node = Inner { level: depth, children }.encode().map_err(unplaced)?;
        let reference = self.writer.inner_node(&node).await?;
        if self.levels.len() == level + 1 {
            self.levels.push(Vec::new());
        }
        if let Some(list) = self.levels.get_mut(level + 1) {
            let fingerprint = NO_FINGERPRINT;
            list.push(Child { last_path, reference, entries, size_bytes, fingerprint });
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Assembled, repo::Error> {
        let mut level = 0;
        let root = loop {
            let is_top = level + 1 == self.levels.len();
            let children = self.levels.get(level).map_or(0, Vec::len);
            if is_top && level > 0 && children == 1 {
                let top = self.levels.pop().unwrap_or_default();
                break top.into_iter().next();
            }
            if children == 0 && is_top {
                break None;
            }
            self.close(level).await?;
            level += 1;
        };
        let root = root.ok_or_else(|| repo::Error::Bug("a source without its root".into()))?;
        Ok(Assembled {
            root: root.reference,
            entries: self.entries,
            size_bytes: self.size_bytes,
            problems: self.problems,
            compared: self.compared,
        })
    }
}

fn is_unplaced(reference: &ChunkRef) -> bool {
    reference.frame.place().is_none()
}
