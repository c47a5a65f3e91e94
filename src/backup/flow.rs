//! What flows between the stages of a backup: requests to read files, the slots that answers go into,
//! and the counters that a person watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use std::sync::{Mutex, PoisonError};

use tokio::sync::{SetOnce, oneshot};
use tokio::task::JoinHandle;

use crate::entry::Entry;
use crate::repo;
use crate::repo::id::ChunkId;
use crate::repo::reference::{ChunkRef, Frame};
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::writer::Writer;
use crate::source::{Files, Problem};
use crate::units::to_usize;

/// Counters of a run, for people who watch and for the report.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries listed.
    pub entries: AtomicU64,
    /// Sum of the sizes of files listed.
    pub size_bytes: AtomicU64,
    /// Files that the parent snapshot does not have.
    pub new_files: AtomicU64,
    /// Files that the parent snapshot has, but not as they are now.
    pub changed_files: AtomicU64,
    /// Files read because they were new or had changed.
    pub read_files: AtomicU64,
    /// Bytes read from them.
    pub read_bytes: AtomicU64,
}

impl Progress {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// What every stage needs.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) writer: Arc<Writer>,
    pub(super) files: Arc<dyn Files>,
    pub(super) progress: Arc<Progress>,
    /// Whether page hashes of the parent can be compared with ours.
    pub(super) parent_hashes: bool,
    pub(super) failure: Arc<Failure>,
}

/// The first error of any task. Tasks wait for each other's frames, so a failed one must end the run
/// at once instead of leaving others to wait for ever.
#[derive(Debug, Default)]
pub(super) struct Failure {
    happened: SetOnce<()>,
    error: Mutex<Option<repo::Error>>,
}

impl Failure {
    fn report(&self, error: repo::Error) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        drop(self.happened.set(()));
    }

    /// Waits for the first error.
    pub(super) async fn wait(&self) -> repo::Error {
        self.happened.wait().await;
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().unwrap_or_else(|| repo::Error::Bug("an error was reported twice".into()))
    }
}

/// A task that ends with its handle, and whose error ends the run.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<Option<T>>);

impl<T> Task<T> {
    /// What the task made of it. Never returns if it failed: the run ends through [`Failure`].
    pub(super) async fn join(mut self) -> T {
        match (&mut self.0).await {
            Ok(Some(value)) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Whether it is done.
    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answer to a [`ReadRequest`].
#[derive(Debug)]
pub(super) struct ReadFile {
    /// The entry with its content; `None` if the file is gone.
    pub(super) stored: Option<StoredEntry>,
    /// What went wrong.
    pub(super) problems: Vec<Problem>,
}

/// An entry of which the listing does not tell enough: a file to be read, or anything that may have
/// extended attributes.
pub(super) struct ReadRequest {
    pub(super) entry: Entry,
    /// What the parent snapshot says of it.
    pub(super) parent: Option<StoredEntry>,
    pub(super) slot: oneshot::Sender<ReadFile>,
}

impl ReadRequest {
    pub(super) fn answer(
        self,
        stored: Option<StoredEntry>,
        problems: impl IntoIterator<Item = Problem>,
    ) {
        let problems = problems.into_iter().collect();
        // Nobody waits any more when the run is ending with an error.
        drop(self.slot.send(ReadFile { stored, problems }));
    }
}

/// A buffer of chunks that lie one after the other.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) lengths: Vec<u32>,
}

impl Piece {
    /// The chunks' ids. Keeps a core busy.
    pub(super) fn ids(&self, writer: &Writer) -> Vec<(ChunkId, u32)> {
        let keys = writer.repository().secrets().newest();
        let mut rest = self.bytes.as_slice();
        let mut id = |length: &u32| {
            let (chunk, after) = rest.split_at(to_usize((*length).into()).min(rest.len()));
            rest = after;
            (keys.chunk_id(chunk), *length)
        };
        self.lengths.iter().map(&mut id).collect()
    }
}

/// Keeps only the chunks of `bytes` that are new, moving them together.
fn keep_new(bytes: &mut Vec<u8>, claims: &[(ChunkRef, bool)]) -> Vec<(ChunkId, u32)> {
    let mut kept = Vec::new();
    let mut from = 0;
    let mut to = 0;
    for (reference, new) in claims {
        let length = to_usize(reference.length_bytes.into());
        if *new {
            if from != to {
                bytes.copy_within(from..from + length, to);
            }
            to += length;
            kept.push((reference.id, reference.length_bytes));
        }
        from += length;
    }
    bytes.truncate(to);
    kept
}

impl Stage {
    /// Starts a task whose error ends the run.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, repo::Error>> + Send + 'static,
    ) -> Task<T> {
        let failure = Arc::clone(&self.failure);
        Task(tokio::spawn(async move {
            match work.await {
                Ok(value) => Some(value),
                Err(error) => {
                    failure.report(error);
                    None
                }
            }
        }))
    }

    /// Finds out which chunks of a piece are new. The piece is left with those, to be stored with
    /// [`Stage::store`]; the references are for all.
    pub(super) async fn claim(
        &self,
        piece: &mut Piece,
        ids: &[(ChunkId, u32)],
    ) -> Result<(Vec<ChunkRef>, Arc<Frame>, Vec<(ChunkId, u32)>), repo::Error> {
        self.writer.look_up(ids).await?;
        let frame = Arc::new(Frame::default());
        let claims = self.writer.claim(&frame, ids);
        let kept = keep_new(&mut piece.bytes, &claims);
        Ok((claims.into_iter().map(|(reference, _)| reference).collect(), frame, kept))
    }

    /// Hashes, deduplicates and stores a piece; returns references to all its chunks, whose frame has
    /// its place then.
    pub(super) async fn store_piece(
        &self,
        piece: Piece,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Vec<ChunkRef>, repo::Error> {
        let writer = Arc::clone(&self.writer);
        let hash = move || {
            let ids = piece.ids(&writer);
            (piece, ids)
        };
        let (mut piece, ids) = self.writer.repository().world().cpu.run(hash).await;
        let (references, frame, kept) = self.claim(&mut piece, &ids).await?;
        if !kept.is_empty() {
            self.writer.store_data(frame, piece.bytes, kept, permit).await?;
        }
        Ok(references)
    }
}
