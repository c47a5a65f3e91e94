//! The two cuts of a directory: walked while it is read, and pinned beforehand.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::pin::PinnedTree;
use super::walk::Walk;
use crate::entry::{Entry, TreePath};
use crate::facts::{DirectoryFacts, Facts};
use crate::source::file::{PinnedFiles, Reading};
use crate::source::{Batch, Compared, Cut, Error, Files, Problem, Reach, Volume};

/// Batches on their way: enough that neither side waits for the other, few enough that the listing
/// is not far ahead of the reading.
const BATCHES_AHEAD: usize = 4;

/// Entries in a batch, as the seam promises.
const BATCH_ENTRIES: usize = 1_024;

fn note_volumes(facts: &mut DirectoryFacts, met: &[Volume]) {
    facts.volumes.extend(met.iter().map(|volume| (volume.number, volume.identity)));
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
    facts: DirectoryFacts,
}

impl WalkingCut {
    pub(super) fn new(walk: Walk, files: Arc<dyn Files>) -> Self {
        let facts = walk.facts(false);
        Self { name: walk.name.clone(), walk: Some(walk), words: None, files, facts }
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
            Some(Word::Batch(batch)) => {
                note_volumes(&mut self.facts, &batch.volumes);
                Ok(Some(batch))
            }
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

    async fn finish(self: Box<Self>, _compared: Compared) -> Result<Reach, Error> {
        Ok(Reach { facts: Facts::Directory(self.facts), problems: Vec::new() })
    }
}

/// A listing that stood still, all its files open.
pub(super) struct PinnedCut {
    entries: std::vec::IntoIter<Entry>,
    problems: Vec<Problem>,
    excluded: u64,
    volumes: Vec<Volume>,
    doubted: Vec<TreePath>,
    files: Arc<PinnedFiles>,
    facts: DirectoryFacts,
}

impl PinnedCut {
    pub(super) fn new(walk: &Walk, tree: PinnedTree, reading: Reading) -> Self {
        let mut facts = walk.facts(true);
        note_volumes(&mut facts, &tree.volumes);
        let files = PinnedFiles::new(Arc::clone(&walk.root), reading, tree.files);
        Self {
            entries: tree.entries.into_iter(),
            problems: tree.problems,
            excluded: tree.excluded,
            volumes: tree.volumes,
            doubted: tree.doubted,
            files: Arc::new(files),
            facts,
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
            volumes: std::mem::take(&mut self.volumes),
            doubted: std::mem::take(&mut self.doubted),
        }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::<PinnedFiles>::clone(&self.files)
    }

    async fn finish(self: Box<Self>, _compared: Compared) -> Result<Reach, Error> {
        Ok(Reach { facts: Facts::Directory(self.facts), problems: Vec::new() })
    }
}
