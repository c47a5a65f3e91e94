//! Writing: frames of chunks are compressed on the CPU pool, put into the open pack, and packs are
//! stored as they fill. Memory is held by permits of one budget: a buffer takes its bytes from it when
//! it is filled, keeps those of the compressed frame until its pack is stored, and gives them back.

mod known;
mod lookup;
mod nodes;
mod packs;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::LEAST_BUFFERS_BYTES;
use crate::repo::chunker::Gear;
use crate::repo::codec::{self, Compression};
use crate::repo::envelope;
use crate::repo::error::Error;
use crate::repo::id::{ChunkId, SessionId};
use crate::repo::index::IndexBuilder;
use crate::repo::layout::{self, Place};
use crate::repo::open::Repository;
use crate::repo::pack::PackKind;
use crate::repo::reference::{ChunkRef, Frame};
use crate::repo::secret::Secret;
use crate::repo::session::{self, Session};
use crate::repo::snapshot::{Checkpoint, PackRecord};
use crate::repo::writer::lookup::Lookup;
use crate::repo::writer::nodes::Nodes;
use crate::repo::writer::packs::{Open, Uploads};
use crate::units::{KIB, MIB, to_u64, to_usize};

pub use known::Known;

/// A data pack is stored when it has this many bytes, unless said otherwise.
const DATA_PACK_BYTES: usize = 32 * MIB;
/// Or when it has so many chunks: then its directory has 1.8 MiB, and whoever looks for one of them has to
/// read it.
const PACK_CHUNKS: usize = 1 << 16;
/// Memory of a chunk in a pack on its way: in the list of its frame, and in the sealed directory.
const LISTED_CHUNK_BYTES: usize = 64;
/// Room for a seal's tag.
const SEAL_SPARE_BYTES: usize = 16;

/// What a writer may use and how.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// How hard to compress.
    pub compression: Compression,
    /// Bytes of buffers and packs in memory at a time; at least [`LEAST_BUFFERS_BYTES`]. The process takes more:
    /// see `memory`.
    pub memory_bytes: usize,
    /// A pack is stored when it has this many bytes, with what is kept of its chunks. Smaller ones lose less to a line that breaks often,
    /// and cost more requests.
    pub pack_bytes: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            memory_bytes: LEAST_BUFFERS_BYTES,
            pack_bytes: DATA_PACK_BYTES,
        }
    }
}

/// What a session stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Chunks of file content that were new.
    pub new_chunks: u64,
    /// Their length before compression.
    pub new_bytes: u64,
    /// Packs stored.
    pub packs: u64,
    /// Bytes of packs and index tables.
    pub stored_bytes: u64,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Data,
    /// Leaves, and lists of what files consist of.
    Leaves,
    InnerNodes,
}

impl Content {
    fn kind(self) -> PackKind {
        match self {
            Self::Data => PackKind::Data,
            Self::Leaves | Self::InnerNodes => PackKind::Metadata,
        }
    }
}

/// The writing side of one session. Shared by everything that stores.
#[derive(Debug)]
pub struct Writer {
    repository: Repository,
    session: SessionId,
    secret: Secret,
    sealed_secret: Vec<u8>,
    options: WriterOptions,
    gear: Arc<Gear>,
    pack_numbers: AtomicU32,
    budget: Arc<Semaphore>,
    budget_kib: u32,
    data: Mutex<Open>,
    metadata: Mutex<Open>,
    uploads: Uploads,
    nodes: Nodes,
    known: Mutex<Known>,
    known_nodes: Mutex<Known>,
    place: Place,
    head: Checkpoint,
    lookup: tokio::sync::Mutex<Option<Lookup>>,
    index: Mutex<IndexBuilder>,
    index_tables: AtomicU32,
    packs: Mutex<Vec<PackRecord>>,
    new_chunks: AtomicU64,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Draws the session's secret and seals it to the recovery side.
    pub fn new(
        repository: &Repository,
        session: &Session,
        options: WriterOptions,
    ) -> Result<Arc<Self>, Error> {
        let secret = Secret(repository.world().random.array());
        let recipient = std::slice::from_ref(repository.recipient());
        let sealed_secret = envelope::seal(recipient, &secret.0)?;
        let budget_kib =
            u32::try_from(options.memory_bytes.max(LEAST_BUFFERS_BYTES) / KIB).unwrap_or(1 << 20);
        Ok(Arc::new(Self {
            gear: Arc::new(Gear::new(repository.secrets().newest().gear_table())),
            repository: repository.clone(),
            session: session.place.session,
            secret,
            sealed_secret,
            options,
            pack_numbers: AtomicU32::new(0),
            budget: Arc::new(Semaphore::new(to_usize(budget_kib.into()))),
            budget_kib,
            data: Mutex::default(),
            metadata: Mutex::default(),
            uploads: Uploads::default(),
            nodes: Nodes::default(),
            known: Mutex::default(),
            known_nodes: Mutex::default(),
            place: session.place,
            head: session.head.clone(),
            lookup: tokio::sync::Mutex::default(),
            index: Mutex::default(),
            index_tables: AtomicU32::new(0),
            packs: Mutex::default(),
            new_chunks: AtomicU64::new(0),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        }))
    }

    /// The repository that is written to.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The table for content-defined cutting.
    pub fn gear(&self) -> &Arc<Gear> {
        &self.gear
    }

    /// Waits until the budget has room for a buffer.
    pub async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        // One buffer may be larger than a quarter of the budget, but never so large that open packs
        // and it could wait for each other.
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).min(self.budget_kib / 4);
        let permit = Arc::clone(&self.budget).acquire_many_owned(kib).await;
        permit.map_err(|_| Error::Bug("the memory budget was closed".into()))
    }

    /// Remembers chunks that are stored already.
    pub fn learn<'a>(&self, references: impl Iterator<Item = &'a ChunkRef>) {
        let mut known = lock(&self.known);
        references.for_each(|reference| known.insert(reference));
    }

    /// Remembers tree nodes of the parent: those that come out the same are referred to again. Apart
    /// from data chunks, so that a file which looks like a node is never taken for it.
    pub fn learn_nodes<'a>(&self, references: impl Iterator<Item = &'a ChunkRef>) {
        let mut known = lock(&self.known_nodes);
        references.for_each(|reference| known.insert(reference));
    }

    /// A node that could not be read: what its pack holds is stored anew where it is needed, so that
    /// damage of the parent does not live on.
    pub fn distrust(&self, reference: &ChunkRef) {
        if let Some(place) = reference.frame.place() {
            lock(&self.known_nodes).distrust(place.pack);
        }
    }

    /// Asks the index for those of `chunks` that this session has not met, so that the next
    /// [`Writer::claim`] knows them. The first question opens the index and the packs of sessions that
    /// never committed; without new chunks nothing is asked.
    pub async fn look_up(&self, chunks: &[(ChunkId, u32)]) -> Result<(), Error> {
        let unknown: Vec<ChunkId> = {
            let known = lock(&self.known);
            let new = |(id, length): &&(ChunkId, u32)| known.get(id, *length).is_none();
            chunks.iter().filter(new).map(|(id, _)| *id).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let mut lookup = self.lookup.lock().await;
        let lookup = match &mut *lookup {
            Some(lookup) => lookup,
            none => none.insert(self.open_lookup().await?),
        };
        if lookup.is_empty() {
            return Ok(());
        }
        for id in unknown {
            let found = lookup.find(&self.repository, &self.head, &id).await?;
            self.learn(found.iter());
        }
        Ok(())
    }

    async fn open_lookup(&self) -> Result<Lookup, Error> {
        for session in session::abandoned(&self.repository, &self.place).await? {
            let mut learn = |chunks: Vec<ChunkRef>| self.learn(chunks.iter());
            let head = &self.head;
            let packs =
                lookup::chunks_of_session(&self.repository, head, session, &mut learn).await?;
            if packs > 0 {
                tracing::info!(%session, packs, "using what an interrupted backup stored");
            }
        }
        Lookup::open(&self.repository).await
    }

    /// Decides which of `chunks` (id, length; lying one after the other in a buffer) are new, and
    /// claims those: they get a place in `frame`, and whoever asks for them next is told so. Returns a
    /// reference for each chunk and how many are new.
    pub fn claim(&self, frame: &Arc<Frame>, chunks: &[(ChunkId, u32)]) -> Vec<(ChunkRef, bool)> {
        let mut known = lock(&self.known);
        let mut offset_bytes = 0;
        let mut claim = |(id, length_bytes): &(ChunkId, u32)| {
            if let Some(reference) = known.get(id, *length_bytes) {
                return (reference, false);
            }
            let reference = ChunkRef {
                frame: Arc::clone(frame),
                offset_bytes,
                length_bytes: *length_bytes,
                id: *id,
            };
            offset_bytes += length_bytes;
            known.insert(&reference);
            (reference, true)
        };
        chunks.iter().map(&mut claim).collect()
    }

    /// Compresses a frame of data chunks and puts it into the open pack; stores the pack if that
    /// fills it. The frame has its place when this returns.
    pub async fn store_data(
        self: &Arc<Self>,
        frame: Arc<Frame>,
        plain: Vec<u8>,
        chunks: Vec<(ChunkId, u32)>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        self.new_chunks.fetch_add(to_u64(chunks.len()), Ordering::Relaxed);
        self.new_bytes.fetch_add(to_u64(plain.len()), Ordering::Relaxed);
        self.store_frame(Content::Data, frame, plain, chunks, permit).await
    }

    async fn store_frame(
        self: &Arc<Self>,
        content: Content,
        frame: Arc<Frame>,
        plain: Vec<u8>,
        chunks: Vec<(ChunkId, u32)>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        let place = move || this.place_frame(content, &frame, plain, chunks, permit);
        if let Some(full) = self.repository.world().cpu.run(place).await? {
            self.send_pack(full);
        }
        Ok(())
    }

    /// On the CPU pool: compress, then seal and append under the pack's lock, since a seal needs the
    /// frame's offset. Sealing runs at memory speed, so the lock is short.
    fn place_frame(
        &self,
        content: Content,
        frame: &Frame,
        plain: Vec<u8>,
        chunks: Vec<(ChunkId, u32)>,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<Option<Open>, Error> {
        let plain_bytes = u32::try_from(plain.len())
            .map_err(|_| Error::Bug("a frame of more than 4 GiB".into()))?;
        let payload = codec::compress(self.options.compression, &plain, SEAL_SPARE_BYTES)?;
        let mut payload = payload.unwrap_or(plain);
        // What is kept until its pack is stored is what the budget counts, and no more: the buffer of a
        // piece of which little was new is mostly empty.
        if payload.capacity() > payload.len() + payload.len() / 8 {
            payload.shrink_to(payload.len() + SEAL_SPARE_BYTES);
        }
        let kept_kib = (payload.len() + chunks.len() * LISTED_CHUNK_BYTES).div_ceil(KIB);
        drop(permit.split(permit.num_permits().saturating_sub(kept_kib)));
        let (open_pack, target_bytes) = self.open_pack(content.kind());
        let mut open = lock(open_pack);
        let mut builder = match open.builder.take() {
            Some(builder) => builder,
            None => self.new_pack(content.kind())?,
        };
        let place = builder.add(payload, plain_bytes, chunks)?;
        let kept = builder.last_part().filter(|_| content == Content::InnerNodes).cloned();
        let listed_bytes = builder.chunk_count() * LISTED_CHUNK_BYTES;
        let full = to_usize(builder.length_bytes().into()) + listed_bytes >= target_bytes
            || builder.chunk_count() >= PACK_CHUNKS;
        open.builder = Some(builder);
        open.permits.push(permit);
        let full = full.then(|| std::mem::take(&mut *open));
        drop(open);
        // The next backup reads every inner node; one that finds them here asks the store for none.
        if let (Some(stored), Some(cache)) = (kept, self.repository.cache()) {
            cache.put(&layout::pack(place.pack), place.offset_bytes.into(), &stored);
        }
        frame.set(place);
        Ok(full)
    }

    /// What was stored so far.
    pub fn stored(&self) -> Stored {
        Stored {
            new_chunks: self.new_chunks.load(Ordering::Relaxed),
            new_bytes: self.new_bytes.load(Ordering::Relaxed),
            packs: to_u64(lock(&self.packs).len()),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
        }
    }
}

/// What a task returned; its panic is ours.
pub fn joined<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    match outcome {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Bug("a task was cancelled".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Random as _, SeededRandom};

    /// The buffer of a piece is large, and what was new in it may be little.
    #[tokio::test]
    async fn what_waits_in_a_pack_holds_no_more_memory_than_was_counted() {
        let writer = testing::writer().await;
        let mut plain = Vec::with_capacity(4 * MIB);
        plain.resize(64 * KIB, 0);
        SeededRandom::new(1).fill(&mut plain);
        let id = writer.repository.secrets().newest().chunk_id(&plain);
        let permit = writer.reserve(4 * MIB).await.unwrap();
        let chunks = vec![(id, 64 * 1024)];
        writer.store_data(Arc::default(), plain, chunks, permit).await.unwrap();
        let Open { builder, permits } = std::mem::take(&mut *lock(&writer.data));
        let counted: usize = permits.iter().map(OwnedSemaphorePermit::num_permits).sum();
        let pack = builder.unwrap().finish(writer.repository.secrets().newest()).unwrap();
        let parts = pack.parts.into_iter().skip(1).map(|part| part.try_into_mut().unwrap());
        let held: usize = parts.map(|part| part.capacity()).sum();
        assert!(held < 2 * counted * KIB, "{held} bytes held, {counted} KiB counted");
    }
}
