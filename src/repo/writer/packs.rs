//! Packs on their way to the store, and the index of what they hold.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, SetOnce};
use tokio::task::{JoinError, JoinSet};

use crate::repo::error::Error;
use crate::repo::id::PackId;
use crate::repo::index::{IndexBuilder, IndexedPack};
use crate::repo::layout;
use crate::repo::pack::{FinishedPack, PackBuilder, PackKind};
use crate::repo::secret::data_pack_key;
use crate::repo::snapshot::PackRecord;
use crate::repo::writer::{Stored, Writer, lock};
use crate::units::{MIB, to_u64};

/// A metadata pack is stored when it has this many bytes: there is less of it than of data.
const METADATA_PACK_BYTES: usize = 8 * MIB;
/// Chunks in an index table; then the next one is begun.
const INDEX_TABLE_CHUNKS: usize = 1 << 20;

/// A pack that is being filled.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) builder: Option<PackBuilder>,
    pub(super) permits: Vec<OwnedSemaphorePermit>,
}

/// Packs on their way. Nobody waits for one of them, so the first failure must be told.
#[derive(Debug)]
pub(super) struct Uploads {
    /// None once the run is over.
    tasks: Mutex<Option<JoinSet<()>>>,
    has_failed: SetOnce<()>,
    failure: Mutex<Option<Error>>,
}

impl Default for Uploads {
    fn default() -> Self {
        let tasks = Mutex::new(Some(JoinSet::new()));
        Self { tasks, has_failed: SetOnce::new(), failure: Mutex::default() }
    }
}

impl Uploads {
    fn report(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        drop(self.has_failed.set(()));
    }

    fn take_failure(&self) -> Error {
        let first = lock(&self.failure).take();
        first.unwrap_or_else(|| Error::Bug("an upload's failure was told twice".into()))
    }
}

/// An upload that panicked takes us with it.
fn resume(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Writer {
    pub(super) fn open_pack(&self, kind: PackKind) -> (&Mutex<Open>, usize) {
        match kind {
            PackKind::Data => (&self.data, self.options.pack_bytes),
            PackKind::Metadata => {
                (&self.metadata, METADATA_PACK_BYTES.min(self.options.pack_bytes))
            }
        }
    }

    pub(super) fn new_pack(&self, kind: PackKind) -> Result<PackBuilder, Error> {
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

    /// Sends a full pack on its way. How many there are at a time is up to the budget and the store.
    pub(super) fn send_pack(self: &Arc<Self>, open: Open) {
        let mut tasks = lock(&self.uploads.tasks);
        let Some(tasks) = &mut *tasks else {
            return;
        };
        while let Some(done) = tasks.try_join_next() {
            resume(done);
        }
        let this = Arc::clone(self);
        tasks.spawn(async move {
            if let Err(error) = this.store_pack(open).await {
                this.uploads.report(error);
            }
        });
    }

    /// Waits until a pack could not be stored, which ends the run.
    pub async fn failed(&self) -> Error {
        self.uploads.has_failed.wait().await;
        self.uploads.take_failure()
    }

    async fn settle_uploads(&self) -> Result<(), Error> {
        let mut tasks = lock(&self.uploads.tasks).as_mut().map(std::mem::take).unwrap_or_default();
        while let Some(done) = tasks.join_next().await {
            resume(done);
        }
        if self.uploads.has_failed.initialized() {
            Err(self.uploads.take_failure())
        } else {
            Ok(())
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

    /// Stores what is still open: packs, then the index. After it, everything that has a place is
    /// durable.
    pub async fn finish(self: &Arc<Self>) -> Result<(Vec<PackRecord>, Stored), Error> {
        self.flush_leaves().await?;
        self.flush_inner_nodes().await?;
        for kind in [PackKind::Data, PackKind::Metadata] {
            let open = std::mem::take(&mut *lock(self.open_pack(kind).0));
            self.send_pack(open);
        }
        self.settle_uploads().await?;
        // Nothing more will be looked for, and an index table needs some memory.
        for known in [&self.known, &self.known_nodes] {
            drop(std::mem::take(&mut *lock(known)));
        }
        let index = std::mem::take(&mut *lock(&self.index));
        self.store_index(index).await?;
        let packs = lock(&self.packs).clone();
        let stored = Stored { packs: to_u64(packs.len()), ..self.stored() };
        Ok((packs, stored))
    }

    /// Gives up what is on its way. What was stored stays, for the next run.
    pub fn give_up(&self) {
        // All that is under way is aborted, and what comes late from a task of its own goes nowhere.
        drop(lock(&self.uploads.tasks).take());
    }
}
