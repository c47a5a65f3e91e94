//! Walking the entries of a stored tree in path order, with the means to leap over what nobody asked
//! for.

use std::collections::VecDeque;

use crate::entry::TreePath;
use crate::repo::cursor::LeafCursor;
use crate::repo::error::Error;
use crate::repo::open::Repository;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::leaf::StoredEntry;

/// Stands before an entry of a tree, or at its end.
#[derive(Debug)]
pub struct EntryCursor {
    repository: Repository,
    leaves: LeafCursor,
    /// What is left of the leaf that was read last.
    entries: VecDeque<StoredEntry>,
}

impl EntryCursor {
    /// Stands before the first entry. Costs one GET at most.
    pub async fn open(repository: &Repository, root: &ChunkRef) -> Result<Self, Error> {
        let leaves = LeafCursor::open(repository, root).await?;
        Ok(Self { repository: repository.clone(), leaves, entries: VecDeque::new() })
    }

    /// The next entry.
    pub async fn next(&mut self) -> Result<Option<StoredEntry>, Error> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Ok(Some(entry));
            }
            let Some(leaf) = self.leaves.peek().await? else {
                return Ok(None);
            };
            let reference = leaf.reference.clone();
            self.leaves.advance();
            self.entries = self.repository.leaf(&reference).await?.into();
        }
    }

    /// Skips all entries before `path`. Never goes back. Leaves that are skipped are not read.
    pub async fn seek(&mut self, path: &TreePath) -> Result<(), Error> {
        let before = self.entries.partition_point(|stored| stored.entry.path < *path);
        self.entries.drain(..before);
        if !self.entries.is_empty() {
            return Ok(());
        }
        self.leaves.seek(path).await?;
        if let Some(leaf) = self.leaves.peek().await? {
            let reference = leaf.reference.clone();
            self.leaves.advance();
            self.entries = self.repository.leaf(&reference).await?.into();
            self.entries.retain(|stored| stored.entry.path >= *path);
        }
        Ok(())
    }

    /// Skips everything below `directory`, which is not the root.
    pub async fn leave(&mut self, directory: &TreePath) -> Result<(), Error> {
        // `/` sorts before every other byte and 1 is the lowest of those, so nothing stands between.
        let mut after = directory.as_bytes().to_vec();
        after.push(1);
        match TreePath::from_bytes(after) {
            Some(after) => self.seek(&after).await,
            None => Ok(()),
        }
    }
}
