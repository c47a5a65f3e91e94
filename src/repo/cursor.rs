//! A cursor over the leaves of a stored tree, in path order, that reads no more inner nodes than it
//! must.

use crate::entry::TreePath;
use crate::repo::error::Error;
use crate::repo::open::Repository;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::inner::{Child, Inner};

/// Stands before a leaf of a tree, or at its end.
#[derive(Debug)]
pub struct LeafCursor {
    repository: Repository,
    /// Inner nodes from the root down, each with the place of the child that the cursor is in.
    stack: Vec<(Inner, usize)>,
    /// Inner nodes read since someone last asked.
    visited: Vec<ChunkRef>,
}

impl LeafCursor {
    /// Stands before the first leaf. Costs one GET at most.
    pub async fn open(repository: &Repository, root: &ChunkRef) -> Result<Self, Error> {
        let node = repository.inner(root, None).await?;
        let visited = vec![root.clone()];
        Ok(Self { repository: repository.clone(), stack: vec![(node, 0)], visited })
    }

    /// The leaf that the cursor stands before.
    pub async fn peek(&mut self) -> Result<Option<&Child>, Error> {
        loop {
            let Some((inner, place)) = self.stack.last() else {
                return Ok(None);
            };
            match inner.children.get(*place) {
                None => {
                    self.stack.pop();
                    self.advance();
                }
                Some(_) if inner.level == 1 => break,
                Some(child) => {
                    let below = inner.level - 1;
                    let reference = child.reference.clone();
                    let node = self.repository.inner(&reference, Some(below)).await?;
                    self.visited.push(reference);
                    self.stack.push((node, 0));
                }
            }
        }
        Ok(self.current())
    }

    /// The node that the cursor stands before: the next leaf, or the inner node on the way to it that
    /// was not read yet, which is the one that could not be read where [`peek`](Self::peek) or
    /// [`seek`](Self::seek) failed.
    pub fn current(&self) -> Option<&Child> {
        self.stack.last().and_then(|(inner, place)| inner.children.get(*place))
    }

    /// The inner nodes that were read since the last call.
    pub fn take_visited(&mut self) -> Vec<ChunkRef> {
        std::mem::take(&mut self.visited)
    }

    /// Goes on behind the node that the cursor stands before.
    pub fn advance(&mut self) {
        if let Some((_, place)) = self.stack.last_mut() {
            *place += 1;
        }
    }

    /// Skips all leaves that end before `path`. Never goes back.
    pub async fn seek(&mut self, path: &TreePath) -> Result<(), Error> {
        loop {
            let Some((inner, place)) = self.stack.last_mut() else {
                return Ok(());
            };
            let rest = inner.children.get(*place..).unwrap_or_default();
            *place += rest.partition_point(|child| child.last_path < *path);
            let Some(child) = inner.children.get(*place) else {
                self.stack.pop();
                self.advance();
                continue;
            };
            if inner.level == 1 {
                return Ok(());
            }
            let below = inner.level - 1;
            let reference = child.reference.clone();
            let node = self.repository.inner(&reference, Some(below)).await?;
            self.visited.push(reference);
            self.stack.push((node, 0));
        }
    }
}
