//! Writing: frames of chunks are compressed on the CPU pool, put into the open pack, and packs are
//! stored as they fill. Memory is held by permits of one budget: a buffer takes its bytes from it when
//! it is filled, keeps those of the compressed frame until its pack is stored, and gives them back.

mod known;
mod lookup;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::repo::chunker::Gear;
use crate::repo::codec::{self, Compression};
use crate::repo::envelope;
use crate::repo::error::Error;
use crate::repo::id::{ChunkId, PackId, SessionId};
use crate::repo::index::{IndexBuilder, IndexedPack};
use crate::repo::layout;
use crate::repo::open::Repository;
use crate::repo::pack::{FinishedPack, PackBuilder, PackKind};
use crate::repo::reference::{ChunkRef, Frame};
use crate::repo::secret::{Secret, data_pack_key};
use crate::repo::session::Session;
use crate::repo::snapshot::{Checkpoint, PackRecord};
use crate::repo::writer::lookup::Lookup;
use crate::units::{KIB, MIB, to_u64, to_usize};

pub use known::Known;

/// A data pack is stored when it has this many bytes, unless said otherwise.
const DATA_PACK_BYTES: usize = 32 * MIB;
/// The same for metadata, of which there is less.
const METADATA_PACK_BYTES: usize = 8 * MIB;
/// Plaintext of nodes that is gathered into a frame.
const NODE_FRAME_BYTES: usize = 256 * KIB;
/// Chunks in an index table; then the next one is begun.
const INDEX_TABLE_CHUNKS: usize = 1 << 20;
/// Room for a seal's tag.
const SEAL_SPARE_BYTES: usize = 16;

/// What a writer may use and how.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// How hard to compress.
    pub compression: Compression,
    /// Bytes of buffers and packs in memory at a time; at least 56 MiB.
    pub memory_bytes: usize,
    /// A pack is stored when it has this many bytes. Smaller ones lose less to a line that breaks often,
    /// and cost more requests.
    pub pack_bytes: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            memory_bytes: 56 * MIB,
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

#[derive(Debug, Default)]
struct Open {
    builder: Option<PackBuilder>,
    permits: Vec<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct OpenNodes {
    plain: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
    frame: Arc<Frame>,
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
    nodes: Mutex<OpenNodes>,
    node_frames: tokio::sync::Mutex<JoinSet<Result<(), Error>>>,
    known: Mutex<Known>,
    known_nodes: Mutex<Known>,
    head: Checkpoint,
    abandoned: Vec<SessionId>,
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
    ///
    /// `abandoned` are sessions whose packs may be used, from [`Session::abandoned`].
    pub fn new(
        repository: &Repository,
        session: &Session,
        abandoned: Vec<SessionId>,
        options: WriterOptions,
    ) -> Result<Arc<Self>, Error> {
        let secret = Secret(repository.world().random.array());
        let recipient = std::slice::from_ref(repository.recipient());
        let sealed_secret = envelope::seal(recipient, &secret.0)?;
        let budget_kib = u32::try_from(options.memory_bytes.max(56 * MIB) / KIB).unwrap_or(1 << 20);
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
            nodes: Mutex::default(),
            node_frames: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            known_nodes: Mutex::default(),
            head: session.head.clone(),
            abandoned,
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
        for session in &self.abandoned {
            let mut learn = |chunks: Vec<ChunkRef>| self.learn(chunks.iter());
            let head = &self.head;
            let packs =
                lookup::chunks_of_session(&self.repository, head, *session, &mut learn).await?;
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
        self.store_frame(PackKind::Data, frame, plain, chunks, permit).await
    }

    async fn store_frame(
        self: &Arc<Self>,
        kind: PackKind,
        frame: Arc<Frame>,
        plain: Vec<u8>,
        chunks: Vec<(ChunkId, u32)>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        let place = move || this.place_frame(kind, &frame, plain, chunks, permit);
        match self.repository.world().cpu.run(place).await? {
            Some(full) => self.store_pack(full).await,
            None => Ok(()),
        }
    }

    fn open_pack(&self, kind: PackKind) -> (&Mutex<Open>, usize) {
        match kind {
            PackKind::Data => (&self.data, self.options.pack_bytes),
            PackKind::Metadata => {
                (&self.metadata, METADATA_PACK_BYTES.min(self.options.pack_bytes))
            }
        }
    }

    /// On the CPU pool: compress, then seal and append under the pack's lock, since a seal needs the
    /// frame's offset. Sealing runs at memory speed, so the lock is short.
    fn place_frame(
        &self,
        kind: PackKind,
        frame: &Frame,
        plain: Vec<u8>,
        chunks: Vec<(ChunkId, u32)>,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<Option<Open>, Error> {
        let plain_bytes = u32::try_from(plain.len())
            .map_err(|_| Error::Bug("a frame of more than 4 GiB".into()))?;
        let payload = codec::compress(self.options.compression, &plain, SEAL_SPARE_BYTES)?;
        let payload = payload.unwrap_or(plain);
        let kept_kib = payload.len().div_ceil(KIB);
        drop(permit.split(permit.num_permits().saturating_sub(kept_kib)));
        let (open, target_bytes) = self.open_pack(kind);
        let mut open = lock(open);
        let mut builder = match open.builder.take() {
            Some(builder) => builder,
            None => self.new_pack(kind)?,
        };
        frame.set(builder.add(payload, plain_bytes, chunks)?);
        let full = to_usize(builder.length_bytes().into()) >= target_bytes;
        open.builder = Some(builder);
        open.permits.push(permit);
        Ok(full.then(|| std::mem::take(&mut *open)))
    }

    fn new_pack(&self, kind: PackKind) -> Result<PackBuilder, Error> {
        let secrets = self.repository.secrets();
        let number = self.pack_numbers.fetch_add(1, Ordering::Relaxed);
        let random = self.repository.world().random.array();
        let id = PackId::new(self.session, number, random, secrets.newest_number());
        let repository = self.repository.id();
        match kind {
            PackKind::Data => {
                let key = data_pack_key(&self.secret, repository, id);
                PackBuilder::new(kind, repository, id, &key, &self.sealed_secret)
            }
            PackKind::Metadata => {
                let key = secrets.newest().pack_key("metadata", repository, id);
                PackBuilder::new(kind, repository, id, &key, &[])
            }
        }
    }

    async fn store_pack(self: &Arc<Self>, open: Open) -> Result<(), Error> {
        let Open { builder: Some(builder), permits } = open else {
            return Ok(());
        };
        let this = Arc::clone(self);
        let finish = move || builder.finish(this.repository.secrets().newest());
        let mut pack = self.repository.world().cpu.run(finish).await?;
        let parts = std::mem::take(&mut pack.parts);
        self.repository.store().create(&pack.key, parts).await?;
        drop(permits);
        self.record_pack(pack).await
    }

    async fn record_pack(&self, pack: FinishedPack) -> Result<(), Error> {
        self.stored_bytes.fetch_add(pack.trailer.pack_bytes, Ordering::Relaxed);
        let full_index = {
            lock(&self.packs).push(PackRecord {
                id: pack.id,
                length_bytes: pack.trailer.pack_bytes,
                hash: pack.hash,
            });
            let mut index = lock(&self.index);
            if pack.kind == PackKind::Data {
                let indexed = IndexedPack {
                    id: pack.id,
                    directory_offset_bytes: pack.trailer.directory_offset_bytes,
                    directory_bytes: pack.trailer.directory_bytes,
                    pack_bytes: pack.trailer.pack_bytes,
                };
                let chunks = pack.frames.iter().flat_map(|frame| &frame.chunks);
                index.add(indexed, chunks.map(|(id, _)| id));
            }
            (index.len() >= INDEX_TABLE_CHUNKS).then(|| std::mem::take(&mut *index))
        };
        match full_index {
            Some(index) => self.store_index(index).await,
            None => Ok(()),
        }
    }

    async fn store_index(&self, index: IndexBuilder) -> Result<(), Error> {
        if index.is_empty() {
            return Ok(());
        }
        let number = self.index_tables.fetch_add(1, Ordering::Relaxed);
        let number = u16::try_from(number)
            .map_err(|_| Error::Bug("more index tables than a session has numbers for".into()))?;
        let name = layout::index(self.session, number);
        let random = &*self.repository.world().random;
        let table = index.finish(self.repository.id(), self.repository.secrets(), random, &name)?;
        self.stored_bytes.fetch_add(to_u64(table.len()), Ordering::Relaxed);
        Ok(self.repository.store().create(&name, vec![table]).await?)
    }

    /// Adds a tree node and returns a reference to it, which has a place after [`Writer::flush_nodes`]
    /// at the latest.
    pub async fn node(self: &Arc<Self>, node: &[u8]) -> Result<ChunkRef, Error> {
        let length_bytes = u32::try_from(node.len())
            .ok()
            .filter(|length| *length <= crate::repo::reference::FRAME_LIMIT_BYTES)
            .ok_or_else(|| Error::Bug("a tree node of more than 16 MiB".into()))?;
        let id = self.repository.secrets().newest().chunk_id(node);
        if let Some(reference) = lock(&self.known_nodes).get(&id, length_bytes) {
            return Ok(reference);
        }
        let too_full = lock(&self.nodes).plain.len() + node.len() > NODE_FRAME_BYTES;
        if too_full {
            self.send_nodes().await?;
        }
        let mut open = lock(&self.nodes);
        let reference = ChunkRef {
            frame: Arc::clone(&open.frame),
            offset_bytes: u32::try_from(open.plain.len()).unwrap_or(u32::MAX),
            length_bytes,
            id,
        };
        open.plain.extend_from_slice(node);
        open.chunks.push((id, length_bytes));
        Ok(reference)
    }

    /// Sends the open frame of nodes on its way.
    async fn send_nodes(self: &Arc<Self>) -> Result<(), Error> {
        let nodes = std::mem::take(&mut *lock(&self.nodes));
        if nodes.plain.is_empty() {
            return Ok(());
        }
        let permit = self.reserve(nodes.plain.len()).await?;
        let this = Arc::clone(self);
        let mut frames = self.node_frames.lock().await;
        while let Some(done) = frames.try_join_next() {
            joined(done)?;
        }
        frames.spawn(async move {
            let OpenNodes { plain, chunks, frame } = nodes;
            this.store_frame(PackKind::Metadata, frame, plain, chunks, permit).await
        });
        Ok(())
    }

    /// Waits until every node has a place.
    pub async fn flush_nodes(self: &Arc<Self>) -> Result<(), Error> {
        self.send_nodes().await?;
        let mut frames = self.node_frames.lock().await;
        while let Some(done) = frames.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    /// Stores what is still open: packs, then the index. After it, everything that has a place is
    /// durable.
    pub async fn finish(self: &Arc<Self>) -> Result<(Vec<PackRecord>, Stored), Error> {
        self.flush_nodes().await?;
        for kind in [PackKind::Data, PackKind::Metadata] {
            let open = std::mem::take(&mut *lock(self.open_pack(kind).0));
            self.store_pack(open).await?;
        }
        let index = std::mem::take(&mut *lock(&self.index));
        self.store_index(index).await?;
        let packs = lock(&self.packs).clone();
        let stored = Stored { packs: to_u64(packs.len()), ..self.stored() };
        Ok((packs, stored))
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
