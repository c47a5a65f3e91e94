//! The two cuts of a directory: walked while it is read, and pinned beforehand.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::pin::PinnedTree;
use super::walk::Walk;
use crate::entry::Entry;
use crate::facts::{DirectoryFacts, Facts};
use crate::source::file::{PinnedFiles, Reading};
use crate::source::{Batch, Compared, Cut, Error, Files, Problem, Reach};

/// Batches on their way: enough that neither side waits for the other, few enough that the listing
/// is not far ahead of the reading.
const BATCHES_AHEAD: usize = 4;

/// Entries in a batch, as the seam promises.
const BATCH_ENTRIES: usize = 1_024;

/// File systems that this machine's kernel stamps, by the numbers in `statfs(2)`: ext2 to ext4, XFS, Btrfs,
/// tmpfs, F2FS, ZFS and overlays of these. A file system of a server has the server's clock.
const LOCAL_FILE_SYSTEMS: [u64; 7] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1, 0x794c_7630];

fn has_local_clock(walk: &Walk) -> bool {
    rustix::fs::fstatfs(walk.root.fd()).is_ok_and(|found| {
        LOCAL_FILE_SYSTEMS.contains(&(found.f_type.cast_unsigned() & 0xffff_ffff))
    })
}

/// What the walking thread says.
enum Word {
    Batch(Batch),
    /// Said at the end, so that a thread that died cannot pass for a walk that ended.
    Ended(Result<(), Error>),
}

/// A walk on a thread of its own.
pub(super) struct WalkingCut {
    name: String,
    /// Not started yet: the listing should be as young as possible.
    walk: Option<Walk>,
    words: Option<mpsc::Receiver<Word>>,
    files: Arc<dyn Files>,
    has_local_clock: bool,
    facts: DirectoryFacts,
}

impl WalkingCut {
    pub(super) fn new(walk: Walk, files: Arc<dyn Files>) -> Self {
        let has_local_clock = has_local_clock(&walk);
        let facts = walk.facts(false);
        Self {
            name: walk.name.clone(),
            walk: Some(walk),
            words: None,
            files,
            has_local_clock,
            facts,
        }
    }

    fn start(&mut self, walk: Walk) -> Result<(), Error> {
        let (sender, words) = mpsc::channel(BATCHES_AHEAD);
        let work = move || {
            let mut sink = |batch| match sender.blocking_send(Word::Batch(batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let ended = walk.run(&mut sink);
            // Nobody listens any more if the cut was dropped.
            drop(sender.blocking_send(Word::Ended(ended)));
        };
        let thread = std::thread::Builder::new().name("walk".to_owned());
        thread.spawn(work).map_err(|source| Error::Io {
            name: self.name.clone(),
            action: "start a thread to walk",
            path: std::path::PathBuf::new(),
            source,
        })?;
        self.words = Some(words);
        Ok(())
    }
}

#[async_trait]
impl Cut for WalkingCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(walk) = self.walk.take() {
            self.start(walk)?;
        }
        let Some(words) = &mut self.words else {
            return Ok(None);
        };
        match words.recv().await {
            Some(Word::Batch(batch)) => Ok(Some(batch)),
            Some(Word::Ended(ended)) => {
                self.words = None;
                ended.map(|()| None)
            }
            None => Err(Error::Io {
                name: self.name.clone(),
                action: "walk",
                path: std::path::PathBuf::new(),
                source: std::io::Error::other("the walking thread died"),
            }),
        }
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::clone(&self.files)
    }

    fn has_local_clock(&self) -> bool {
        self.has_local_clock
    }

    async fn finish(self: Box<Self>, _compared: Compared) -> Result<Reach, Error> {
        Ok(Reach { facts: Facts::Directory(self.facts), problems: Vec::new() })
    }
}

/// A listing that stood still, all its files open.
pub(super) struct PinnedCut {
    entries: std::vec::IntoIter<Entry>,
    problems: Vec<Problem>,
    excluded: u64,
    files: Arc<PinnedFiles>,
    has_local_clock: bool,
    facts: DirectoryFacts,
}

impl PinnedCut {
    pub(super) fn new(walk: &Walk, tree: PinnedTree, reading: Reading) -> Self {
        let files = PinnedFiles::new(Arc::clone(&walk.root), reading, tree.files);
        Self {
            entries: tree.entries.into_iter(),
            problems: tree.problems,
            excluded: tree.excluded,
            files: Arc::new(files),
            has_local_clock: has_local_clock(walk),
            facts: walk.facts(true),
        }
    }
}

#[async_trait]
impl Cut for PinnedCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        let entries: Vec<Entry> = self.entries.by_ref().take(BATCH_ENTRIES).collect();
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(Batch {
            entries,
            problems: std::mem::take(&mut self.problems),
            excluded: std::mem::take(&mut self.excluded),
        }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::<PinnedFiles>::clone(&self.files)
    }

    fn has_local_clock(&self) -> bool {
        self.has_local_clock
    }

    async fn finish(self: Box<Self>, _compared: Compared) -> Result<Reach, Error> {
        Ok(Reach { facts: Facts::Directory(self.facts), problems: Vec::new() })
    }
}
