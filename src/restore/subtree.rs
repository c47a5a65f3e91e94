//! Walking the entries of a subtree leaf by leaf, past what is damaged: a leaf that cannot be read
//! costs its own entries, an inner node those below it, and the rest is restored all the same.

use crate::entry::TreePath;
use crate::patterns::Filter;
use crate::repo::cursor::LeafCursor;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::{self, Repository};
use crate::restore::sieve::Sieve;

/// What the walk comes to next.
pub(super) enum Step {
    /// Entries, maybe none.
    Entries(Vec<StoredEntry>),
    /// A part of the tree that cannot be read.
    Lost(Lost),
}

/// Entries that cannot be read any more.
#[derive(Debug)]
pub(super) struct Lost {
    /// The last of them; the first is not known.
    pub(super) last: TreePath,
    /// Why.
    pub(super) error: repo::Error,
}

/// Walks the entries of a subtree that a filter selects, in path order, with the directories that hold
/// them.
pub(super) struct Subtree {
    repository: Repository,
    cursor: LeafCursor,
    path: TreePath,
    sieve: Sieve,
    /// What comes after the directories that it may lie in.
    lost: Option<Lost>,
    /// Whether the cursor stands in the subtree.
    sought: bool,
    ended: bool,
}

impl Subtree {
    /// Stands before the entry at `path`. Fails if the root of the tree cannot be read.
    pub(super) async fn open(
        repository: &Repository,
        root: &ChunkRef,
        path: &TreePath,
    ) -> Result<Self, repo::Error> {
        repository.approach(root, std::iter::empty()).await?;
        Ok(Self {
            repository: repository.clone(),
            cursor: LeafCursor::open(repository, root).await?,
            path: path.clone(),
            sieve: Sieve::default(),
            lost: None,
            sought: false,
            ended: false,
        })
    }

    /// Passes over what the filter does not select. To be called before the first entry.
    pub(super) fn select(&mut self, filter: &Filter) {
        self.sieve = Sieve::new(filter);
    }

    /// What comes next; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Step>, repo::Error> {
        if let Some(lost) = self.lost.take() {
            return Ok(Some(Step::Lost(lost)));
        }
        if self.ended {
            return Ok(None);
        }
        match self.read().await {
            Ok(Some(entries)) => Ok(Some(Step::Entries(entries))),
            Ok(None) => Ok(None),
            Err(error) if error.is_loss() => {
                let error = self.repository.confirm_loss(error).await?;
                self.lose(error).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self) -> Result<Option<Vec<StoredEntry>>, repo::Error> {
        if !self.sought {
            self.cursor.seek(&self.path).await?;
            self.sought = true;
        }
        let Some(child) = self.cursor.peek().await? else {
            return Ok(None);
        };
        let (reference, last_path) = (child.reference.clone(), child.last_path.clone());
        let mut entries = self.repository.leaf(&reference).await?;
        if entries.last().is_none_or(|last| last.entry.path != last_path) {
            let leaf = format!("the leaf up to {last_path}");
            return Err(repo::Error::damaged(
                leaf,
                "does not end with the entry that its parent says",
            ));
        }
        self.cursor.advance();
        // Nothing lies below what is no directory.
        let is_it =
            |stored: &StoredEntry| stored.entry.path == self.path && !stored.entry.is_directory();
        self.ended = self.is_past(&last_path) || entries.iter().any(is_it);
        entries.retain(|stored| stored.entry.path.starts_with(&self.path));
        Ok(Some(self.sieve.pass(entries)))
    }

    fn lose(&mut self, error: repo::Error) -> Result<Step, repo::Error> {
        let Some(child) = self.cursor.current() else {
            return Err(error);
        };
        let last = child.last_path.clone();
        self.cursor.advance();
        self.ended = self.is_past(&last);
        let lost = Lost { last, error };
        let above = self.sieve.release();
        if above.is_empty() {
            return Ok(Step::Lost(lost));
        }
        self.lost = Some(lost);
        Ok(Step::Entries(above))
    }

    /// Whether nothing of the subtree comes after `path`.
    fn is_past(&self, path: &TreePath) -> bool {
        *path > self.path && !path.starts_with(&self.path)
    }
}
