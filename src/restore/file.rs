//! A file that is being restored: made when its first piece arrives, finished after its last, and
//! taken away again if a piece is damaged, so that nothing wrong ever looks right.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::destination::{self, Destination, Output};
use crate::entry::Entry;

/// State shared by all who write pieces of one file.
pub(super) struct RestoredFile {
    pub(super) entry: Arc<Entry>,
    /// Page size and secret number, if it is made of pages.
    pub(super) page_bytes: Option<u32>,
    output: Mutex<Option<Arc<dyn Output>>>,
    /// Pieces that are not written yet, and one for the plan as long as it may add more.
    pending: AtomicU64,
    damaged: AtomicBool,
    /// Whether the destination refused it.
    refused: AtomicBool,
}

impl RestoredFile {
    pub(super) fn new(entry: Arc<Entry>, page_bytes: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            entry,
            page_bytes,
            output: Mutex::default(),
            pending: AtomicU64::new(1),
            damaged: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        })
    }

    /// Announces a piece.
    pub(super) fn expect(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The open file; makes it if this is the first piece. Blocks.
    pub(super) fn output(
        &self,
        destination: &dyn Destination,
    ) -> Result<Arc<dyn Output>, destination::Error> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(output) = &*output {
            return Ok(Arc::clone(output));
        }
        let made: Arc<dyn Output> = destination.create(&self.entry)?.into();
        *output = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Notes that the file cannot be restored as it was.
    pub(super) fn spoil(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Notes that the destination refuses the file; false if that was known.
    pub(super) fn refuse(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    /// Whether it cannot be restored as it was.
    pub(super) fn is_spoiled(&self) -> bool {
        self.damaged.load(Ordering::Relaxed) || self.refused.load(Ordering::Relaxed)
    }

    /// Ends the plan, if pieces are still to come; false if that makes it the last, and
    /// [`RestoredFile::done`] has to be called. Never blocks.
    pub(super) fn plan_ends(&self) -> bool {
        let others = |pending: u64| (pending > 1).then(|| pending - 1);
        self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, others).is_ok()
    }

    /// Counts `pieces` as written (or given up); the last one ends the file. True if it was the last.
    /// Blocks.
    pub(super) fn done(
        &self,
        destination: &dyn Destination,
        pieces: u64,
    ) -> Result<bool, destination::Error> {
        if self.pending.fetch_sub(pieces, Ordering::AcqRel) != pieces {
            return Ok(false);
        }
        if self.is_spoiled() {
            let open = self.output.lock().unwrap_or_else(PoisonError::into_inner).take();
            let is_begun = open.is_some();
            drop(open);
            // What was refused before it was begun is what was there before, and none of ours.
            if is_begun || self.damaged.load(Ordering::Relaxed) {
                destination.discard(&self.entry)?;
            }
            return Ok(true);
        }
        let output = self.output(destination)?;
        output.finish()?;
        self.output.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(true)
    }
}
