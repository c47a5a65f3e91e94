//! The scanning stage: forms leaves from the listing and compares them with the parent's. A leaf whose
//! fingerprint is the same is referred to unread; in others, each entry is compared by itself and
//! what is new or changed is ordered from the reading stage.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::backup::belief::Belief;
use crate::backup::flow::{Progress, ReadFile, ReadRequest};
use crate::backup::read::Order;
use crate::entry::{Entry, INODE_FLAGS_LISTED, Kind, TreePath};
use crate::repo;
use crate::repo::Repository;
use crate::repo::cursor::LeafCursor;
use crate::repo::id::ChunkId;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::Item;
use crate::repo::tree::inner::Child;
use crate::repo::tree::leaf::{Fidelity, NO_FINGERPRINT, StoredEntry, fingerprint};
use crate::repo::tree::{LEAF_ENTRIES_LIMIT, levels_ended_by};
use crate::repo::writer::Writer;
use crate::source::{self, Cut, Problem};
use crate::units::to_u64;

/// An entry of a new leaf.
pub(super) enum DraftEntry {
    /// All is known, from the parent.
    Ready(Box<StoredEntry>),
    /// The reading stage will tell.
    Pending {
        answer: oneshot::Receiver<ReadFile>,
        /// What the parent has under the same path, if that can be compared.
        was: Option<Was>,
        /// Its size in the listing.
        listed_bytes: u64,
    },
}

/// The content of a file in the parent.
pub(super) struct Was {
    pub(super) size_bytes: u64,
    pub(super) chunks: Vec<ChunkId>,
}

/// A leaf on its way to the assembling stage.
pub(super) enum Draft {
    /// The parent's, unread.
    Same(Child),
    /// A new one.
    New { entries: Vec<DraftEntry>, fingerprint: [u8; 16] },
}

/// What the scan saw.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) problems: Vec<Problem>,
    pub(super) excluded: u64,
    /// Whether there was a parent to compare with.
    pub(super) has_parent: bool,
    /// Files that the parent has too, but whose content cannot be compared with it.
    pub(super) incomparable: u64,
}

/// The parent's entries, taken in path order.
pub(super) struct Parent {
    repository: Repository,
    cursor: LeafCursor,
    loaded: VecDeque<StoredEntry>,
    /// Whether its nodes may be referred to.
    is_trusted: bool,
    /// Parts of it that could not be read.
    lost: u64,
}

impl Parent {
    /// Stands before the first entry; `None` if the tree's root is damaged.
    pub(super) async fn open(
        writer: &Writer,
        root: &ChunkRef,
        is_trusted: bool,
    ) -> Result<Option<Self>, repo::Error> {
        let repository = writer.repository().clone();
        let cursor = match LeafCursor::open(&repository, root).await {
            Ok(cursor) => cursor,
            Err(error) if error.is_loss() => {
                tracing::warn!(%error, "the last snapshot cannot be read: all files are read again");
                writer.distrust(root);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Self { repository, cursor, loaded: VecDeque::new(), is_trusted, lost: 0 }))
    }

    /// The entry at `path`; asked for in path order.
    async fn take(
        &mut self,
        writer: &Writer,
        path: &TreePath,
    ) -> Result<Option<StoredEntry>, repo::Error> {
        loop {
            while let Some(stored) = self.loaded.front() {
                match stored.entry.path.cmp(path) {
                    std::cmp::Ordering::Less => drop(self.loaded.pop_front()),
                    std::cmp::Ordering::Equal => return Ok(self.loaded.pop_front()),
                    std::cmp::Ordering::Greater => return Ok(None),
                }
            }
            match self.load(writer, path).await {
                Ok(false) => return Ok(None),
                Ok(true) => {}
                Err(error) => self.pass_over(writer, error)?,
            }
        }
    }

    /// Reads the leaf that `path` is in or would be in; false if there is none.
    async fn load(&mut self, writer: &Writer, path: &TreePath) -> Result<bool, repo::Error> {
        self.cursor.seek(path).await?;
        let Some(child) = self.cursor.peek().await? else {
            return Ok(false);
        };
        let reference = child.reference.clone();
        self.loaded = self.repository.leaf(&reference).await?.into();
        self.cursor.advance();
        if self.is_trusted {
            writer.learn_nodes(self.cursor.take_visited().iter().chain([&reference]));
        }
        Ok(!self.loaded.is_empty())
    }

    /// Goes on behind a node that is damaged. What was below it is read again: a parent saves work, and
    /// nothing rests on it.
    fn pass_over(&mut self, writer: &Writer, error: repo::Error) -> Result<(), repo::Error> {
        let Some(node) = self.cursor.current().filter(|_| error.is_loss()) else {
            return Err(error);
        };
        tracing::warn!(%error, "part of the last snapshot cannot be read: its files are read again");
        writer.distrust(&node.reference);
        self.lost += 1;
        self.cursor.advance();
        Ok(())
    }

    async fn leaf_from(&mut self, path: &TreePath) -> Result<Option<Child>, repo::Error> {
        self.cursor.seek(path).await?;
        Ok(self.cursor.peek().await?.cloned())
    }

    /// The leaf that covers exactly these entries, if they are unchanged.
    async fn same_leaf(
        &mut self,
        writer: &Writer,
        entries: &[Entry],
        fingerprint: [u8; 16],
    ) -> Result<Option<Child>, repo::Error> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(None);
        };
        let child = loop {
            match self.leaf_from(&first.path).await {
                Ok(child) => break child,
                Err(error) => self.pass_over(writer, error)?,
            }
        };
        writer.learn_nodes(self.cursor.take_visited().iter());
        let same = child.filter(|child| {
            child.last_path == last.path
                && child.fingerprint == fingerprint
                && fingerprint != NO_FINGERPRINT
        });
        if same.is_some() {
            self.cursor.advance();
        }
        Ok(same)
    }
}

/// Whether all that a listing shows is what it was.
fn looks_same(entry: &Entry, stored: &StoredEntry) -> bool {
    let was = &stored.entry;
    stored.is_exact()
            && was.kind == entry.kind
            && was.size_bytes == entry.size_bytes
            && was.modified == entry.modified
            && was.changed == entry.changed
            && was.inode == entry.inode
            && was.mode == entry.mode
            && was.user_id == entry.user_id
            && was.group_id == entry.group_id
            && (was.inode_flags ^ entry.inode_flags) & INODE_FLAGS_LISTED == 0
            && was.seen == entry.seen
            // It is kept with hard links only.
            && (was.links < 2 || was.volume == entry.volume)
}

/// Why an entry is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The parent snapshot does not have it.
    New,
    /// The parent snapshot has it, but not as it is now.
    Changed,
    /// It looks as it did, and that proves nothing: its last change is too recent to be told from a later
    /// one, or the parent has it only in part.
    Unsure,
}

impl Change {
    /// Compares an entry that is to be read with what the parent has of it.
    pub(super) fn of(entry: &Entry, was: Option<&StoredEntry>) -> Self {
        let seen = |e: &Entry| (e.size_bytes, e.modified, e.changed, e.inode);
        match was {
            None => Self::New,
            Some(was) if seen(&was.entry) == seen(entry) => Self::Unsure,
            Some(_) => Self::Changed,
        }
    }

    /// The word in JSON output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unsure => "unsure",
        }
    }
}

/// The scan of one source.
pub(super) struct Scan {
    pub(super) writer: Arc<Writer>,
    pub(super) progress: Arc<Progress>,
    pub(super) parent: Option<Parent>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) drafts: mpsc::Sender<Draft>,
    belief: Belief,
    group: Vec<Entry>,
    scanned: Scanned,
}

/// Why a scan ended early.
pub(super) enum Ended {
    Source(source::Error),
    Repository(repo::Error),
}

impl From<repo::Error> for Ended {
    fn from(error: repo::Error) -> Self {
        Self::Repository(error)
    }
}

impl Scan {
    pub(super) fn new(
        writer: &Arc<Writer>,
        progress: &Arc<Progress>,
        parent: Option<Parent>,
        orders: mpsc::Sender<Order>,
        drafts: mpsc::Sender<Draft>,
        belief: Belief,
    ) -> Self {
        let scanned = Scanned { has_parent: parent.is_some(), ..Scanned::default() };
        Self {
            writer: Arc::clone(writer),
            progress: Arc::clone(progress),
            parent,
            orders,
            drafts,
            belief,
            group: Vec::new(),
            scanned,
        }
    }

    /// Drains the cut.
    pub(super) async fn run(mut self, cut: &mut dyn Cut) -> Result<Scanned, Ended> {
        let writer = Arc::clone(&self.writer);
        let keys = writer.repository().secrets().newest();
        while let Some(batch) = cut.next().await.map_err(Ended::Source)? {
            Progress::add(&self.progress.entries, to_u64(batch.entries.len()));
            self.scanned.problems.extend(batch.problems);
            self.scanned.excluded += batch.excluded;
            self.belief.learn(batch.volumes, batch.doubted);
            for entry in batch.entries {
                Progress::add(&self.progress.size_bytes, entry.size_bytes);
                let ends = levels_ended_by(keys, &entry.path) > 0;
                self.group.push(entry);
                if ends || self.group.len() >= LEAF_ENTRIES_LIMIT {
                    self.close_group().await?;
                }
            }
        }
        self.close_group().await?;
        self.scanned.incomparable += self.parent.as_ref().map_or(0, |parent| parent.lost);
        Ok(self.scanned)
    }

    async fn close_group(&mut self) -> Result<(), repo::Error> {
        let entries = std::mem::take(&mut self.group);
        if entries.is_empty() {
            return Ok(());
        }
        let keys = self.writer.repository().secrets().newest();
        let now = fingerprint(keys, entries.iter());
        let must_read = entries.iter().any(|entry| self.belief.must_read(entry));
        if let Some(parent) = self.parent.as_mut().filter(|_| !must_read)
            && let Some(child) = parent.same_leaf(&self.writer, &entries, now).await?
        {
            return self.send(Draft::Same(child)).await;
        }
        let mut drafts = Vec::with_capacity(entries.len());
        for entry in entries {
            drafts.push(self.draft(entry).await?);
        }
        self.send(Draft::New { entries: drafts, fingerprint: now }).await
    }

    async fn draft(&mut self, entry: Entry) -> Result<DraftEntry, repo::Error> {
        if entry.kind == Kind::Unknown {
            return Ok(DraftEntry::Ready(Box::new(StoredEntry::bare(entry))));
        }
        let mut was = None;
        if let Some(parent) = &mut self.parent {
            was = parent.take(&self.writer, &entry.path).await?;
            if let Some(stored) = &was
                && looks_same(&entry, stored)
                && !self.belief.must_read(&entry)
            {
                let mut stored = stored.clone();
                // What the listing knows better is how many names there are, and where they are.
                stored.entry.links = entry.links;
                stored.entry.volume = entry.volume;
                return Ok(DraftEntry::Ready(Box::new(stored)));
            }
        }
        let (slot, answer) = oneshot::channel();
        let compared = was.as_ref().filter(|was| was.entry.is_file() && entry.is_file());
        let content = compared.and_then(|was| self.content_of(was));
        self.scanned.incomparable += u64::from(compared.is_some() && content.is_none());
        self.count(&entry, was.as_ref());
        // With --read-all the parent does not help to read either: it may be damaged.
        let parent = was.filter(|_| !self.belief.is_blind());
        let listed_bytes = entry.size_bytes;
        let request = ReadRequest { entry, parent, slot };
        let order = Order::Read(Box::new(request));
        // Nobody takes orders any more only when the run is ending with an error.
        drop(self.orders.send(order).await);
        Ok(DraftEntry::Pending { answer, was: content, listed_bytes })
    }

    /// What the parent has of a file, if the ids of its chunks can be compared with those of today: they
    /// come from the newest secret, and the file was whole.
    fn content_of(&self, was: &StoredEntry) -> Option<Was> {
        let newest = self.writer.repository().secrets().newest_number();
        let of_secret = |item: &Item| {
            item.reference.frame.place().is_some_and(|place| place.pack.secret() == newest)
        };
        let is_whole = was.fidelity == Fidelity::Exact && was.content.items.iter().all(of_secret);
        is_whole.then(|| Was {
            size_bytes: was.entry.size_bytes,
            chunks: was.content.items.iter().map(|item| item.reference.id).collect(),
        })
    }

    /// Counts a file as new or changed.
    fn count(&self, entry: &Entry, was: Option<&StoredEntry>) {
        match Change::of(entry, was) {
            _ if !entry.is_file() => {}
            Change::New => Progress::add(&self.progress.new_files, 1),
            Change::Changed => Progress::add(&self.progress.changed_files, 1),
            Change::Unsure => {}
        }
    }

    async fn send(&mut self, draft: Draft) -> Result<(), repo::Error> {
        match self.drafts.try_send(draft) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(draft)) => {
                // The assembling stage waits for what the reading stage may still be gathering.
                drop(self.orders.send(Order::Flush).await);
                drop(self.drafts.send(draft).await);
                Ok(())
            }
        }
    }
}
