//! `diff`: what two snapshots of a source have and do not have in common.
//!
//! Both trees are walked side by side. Where both stand before the same node it is skipped unread,
//! so the cost follows the difference and not the size. Trees are cut where paths say so, hence they
//! fall back into step soon after a difference.

use std::collections::VecDeque;

use crate::entry::TreePath;
use crate::repo::reference::ChunkRef;
use crate::repo::snapshot::SourceRecord;
use crate::repo::tree::inner::{Child, Inner};
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::{Error, Repository};

/// What happened to an entry from the first snapshot to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is only in the second.
    Added,
    /// It is only in the first.
    Removed,
    /// It became something else, such as a link instead of a file.
    Retyped,
    /// It has other content, or a link another target.
    Content,
    /// The same content with other attributes: mode, owner, time, extended attributes.
    Attributes,
}

impl Change {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Retyped => "retyped",
            Self::Content => "content",
            Self::Attributes => "attributes",
        }
    }

    /// The sign in front of a line.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Retyped => 'T',
            Self::Content => 'M',
            Self::Attributes => 'U',
        }
    }
}

/// One difference.
#[derive(Debug)]
pub struct Difference {
    /// What happened.
    pub change: Change,
    /// The entry in the first snapshot.
    pub before: Option<StoredEntry>,
    /// The entry in the second.
    pub after: Option<StoredEntry>,
}

impl Difference {
    /// The entry's path.
    pub fn path(&self) -> &TreePath {
        static ROOT: std::sync::LazyLock<TreePath> = std::sync::LazyLock::new(TreePath::root);
        let stored = self.after.as_ref().or(self.before.as_ref());
        stored.map_or(&ROOT, |stored| &stored.entry.path)
    }
}

/// Yields differences in path order.
#[derive(Debug)]
pub struct Differences {
    repository: Repository,
    before: Side,
    after: Side,
    /// Only what is at this path or below it.
    within: TreePath,
}

/// One of the two trees.
#[derive(Debug, Default)]
struct Side {
    /// Inner nodes from the root down, each with the place of the child that comes next.
    stack: Vec<(Inner, usize)>,
    /// The leaf that was read last, as long as nothing of it is used.
    leaf: Option<ChunkRef>,
    /// What is left of that leaf.
    entries: VecDeque<StoredEntry>,
}

/// What a side stands before.
enum Next<'a> {
    Entry(&'a StoredEntry),
    /// A node and its level; 0 for leaves.
    Node(&'a Child, u8),
    End,
}

impl Side {
    async fn open(repository: &Repository, source: Option<&SourceRecord>) -> Result<Self, Error> {
        let mut side = Self::default();
        if let Some(source) = source {
            side.stack.push((repository.inner(&source.root, None).await?, 0));
        }
        Ok(side)
    }

    /// Takes finished nodes off the stack.
    fn settle(&mut self) {
        while let Some((inner, place)) = self.stack.last()
            && inner.children.len() <= *place
        {
            self.stack.pop();
            self.advance();
        }
    }

    fn advance(&mut self) {
        if let Some((_, place)) = self.stack.last_mut() {
            *place += 1;
        }
    }

    fn next(&self) -> Next<'_> {
        if let Some(entry) = self.entries.front() {
            return Next::Entry(entry);
        }
        let top = self.stack.last().and_then(|(inner, place)| {
            Some((inner.children.get(*place)?, inner.level.saturating_sub(1)))
        });
        top.map_or(Next::End, |(child, level)| Next::Node(child, level))
    }

    /// The node that comes next whole, and its level.
    fn node(&self) -> Option<(&ChunkRef, u8)> {
        match (self.next(), &self.leaf) {
            (Next::Node(child, level), _) => Some((&child.reference, level)),
            (Next::Entry(_), Some(leaf)) => Some((leaf, 0)),
            _ => None,
        }
    }

    /// Leaves the node out that comes next whole.
    fn skip_node(&mut self) {
        if self.entries.is_empty() {
            self.advance();
        }
        self.leaf = None;
        self.entries.clear();
        self.settle();
    }

    fn pop(&mut self) -> Option<StoredEntry> {
        self.leaf = None;
        let entry = self.entries.pop_front();
        self.settle();
        entry
    }

    /// Reads the node that comes next.
    async fn descend(&mut self, repository: &Repository) -> Result<(), Error> {
        let Next::Node(child, level) = self.next() else {
            return Ok(());
        };
        let reference = child.reference.clone();
        if level > 0 {
            let inner = repository.inner(&reference, Some(level)).await?;
            self.stack.push((inner, 0));
            return Ok(());
        }
        self.entries = repository.leaf(&reference).await?.into();
        self.leaf = Some(reference);
        self.advance();
        if self.entries.is_empty() {
            self.settle();
        }
        Ok(())
    }
}

/// What to do next.
enum Step {
    SkipBoth,
    SkipBefore,
    SkipAfter,
    DescendBefore,
    DescendAfter,
    TakeBefore,
    TakeAfter,
    TakeBoth,
    End,
}

impl Differences {
    /// Compares two states of a source; `None` where a snapshot does not have it. Costs two GET at
    /// first.
    pub async fn open(
        repository: &Repository,
        before: Option<&SourceRecord>,
        after: Option<&SourceRecord>,
        within: TreePath,
    ) -> Result<Self, Error> {
        let same = match (before, after) {
            (Some(before), Some(after)) => before.root.id == after.root.id,
            _ => false,
        };
        let (before, after) = if same { (None, None) } else { (before, after) };
        Ok(Self {
            repository: repository.clone(),
            before: Side::open(repository, before).await?,
            after: Side::open(repository, after).await?,
            within,
        })
    }

    /// The next difference.
    pub async fn next(&mut self) -> Result<Option<Difference>, Error> {
        loop {
            match self.step() {
                Step::SkipBoth => {
                    self.before.skip_node();
                    self.after.skip_node();
                }
                Step::SkipBefore => self.before.skip_node(),
                Step::SkipAfter => self.after.skip_node(),
                Step::DescendBefore => self.before.descend(&self.repository).await?,
                Step::DescendAfter => self.after.descend(&self.repository).await?,
                Step::TakeBefore => {
                    let before = self.before.pop();
                    if let Some(found) = self.wanted(Change::Removed, before, None) {
                        return Ok(Some(found));
                    }
                }
                Step::TakeAfter => {
                    let after = self.after.pop();
                    if let Some(found) = self.wanted(Change::Added, None, after) {
                        return Ok(Some(found));
                    }
                }
                Step::TakeBoth => {
                    let (before, after) = (self.before.pop(), self.after.pop());
                    let change =
                        before.as_ref().zip(after.as_ref()).and_then(|(a, b)| change(a, b));
                    if let Some(change) = change
                        && let Some(found) = self.wanted(change, before, after)
                    {
                        return Ok(Some(found));
                    }
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn wanted(
        &self,
        change: Change,
        before: Option<StoredEntry>,
        after: Option<StoredEntry>,
    ) -> Option<Difference> {
        let found = Difference { change, before, after };
        found.path().starts_with(&self.within).then_some(found)
    }

    /// Whether a side is done with what is wanted.
    fn is_past(&self, side: &Side) -> bool {
        match side.next() {
            Next::Entry(stored) => {
                stored.entry.path > self.within && !stored.entry.path.starts_with(&self.within)
            }
            Next::Node(..) => false,
            Next::End => true,
        }
    }

    fn step(&self) -> Step {
        let (before, after) = (&self.before, &self.after);
        if self.is_past(before) && self.is_past(after) {
            return Step::End;
        }
        let is_outside = |side: &Side| matches!(side.next(), Next::Node(child, _) if child.last_path < self.within);
        if let (Some((a, a_level)), Some((b, b_level))) = (before.node(), after.node())
            && a.id == b.id
            && a_level == b_level
        {
            return Step::SkipBoth;
        }
        if is_outside(before) {
            return Step::SkipBefore;
        }
        if is_outside(after) {
            return Step::SkipAfter;
        }
        match (before.next(), after.next()) {
            (Next::Entry(a), Next::Entry(b)) => match a.entry.path.cmp(&b.entry.path) {
                std::cmp::Ordering::Less => Step::TakeBefore,
                std::cmp::Ordering::Equal => Step::TakeBoth,
                std::cmp::Ordering::Greater => Step::TakeAfter,
            },
            (Next::Node(_, a), Next::Node(_, b)) if b > a => Step::DescendAfter,
            (Next::Node(..), _) => Step::DescendBefore,
            (_, Next::Node(..)) => Step::DescendAfter,
            (Next::Entry(_), Next::End) => Step::TakeBefore,
            (Next::End, Next::Entry(_)) => Step::TakeAfter,
            (Next::End, Next::End) => Step::End,
        }
    }
}

/// What an entry became; `None` where it is the same. Numbers of inodes and times of changes of them
/// do not count: a restore cannot bring them back.
fn change(before: &StoredEntry, after: &StoredEntry) -> Option<Change> {
    let (a, b) = (&before.entry, &after.entry);
    if std::mem::discriminant(&a.kind) != std::mem::discriminant(&b.kind) {
        return Some(Change::Retyped);
    }
    let items = |stored: &StoredEntry| {
        let ids = stored.content.items.iter().map(|item| item.reference.id);
        ids.collect::<Vec<_>>()
    };
    if a.kind != b.kind || a.size_bytes != b.size_bytes || items(before) != items(after) {
        return Some(Change::Content);
    }
    let same = (a.mode, a.user_id, a.group_id, a.modified)
        == (b.mode, b.user_id, b.group_id, b.modified)
        && a.xattrs == b.xattrs
        && before.fidelity == after.fidelity;
    (!same).then_some(Change::Attributes)
}
