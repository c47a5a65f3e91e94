//! Looking chunks up in the index: which chunks that this session has not met are stored already.
//!
//! Small tables are downloaded, large ones are asked page by page. A hit is confirmed in the directory
//! of its pack, all of whose chunks are then known: where one chunk was found its neighbours follow.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::repo::error::Error;
use crate::repo::id::{ChunkId, PackId};
use crate::repo::index::{IndexedPack, TABLE_HEADER_BYTES, TableHeader};
use crate::repo::layout;
use crate::repo::open::Repository;
use crate::repo::pack::{TRAILER_BYTES, Trailer, open_directory};
use crate::repo::reference::{ChunkRef, Frame};
use crate::repo::snapshot::Checkpoint;
use crate::store::{self, Key};
use crate::units::{MIB, to_u64, to_usize};

/// Tables up to this size are downloaded.
const DOWNLOADED_TABLE_BYTES: u64 = 4 * MIB as u64;
/// All downloaded tables together.
const DOWNLOADED_BYTES: u64 = 16 * MIB as u64;
/// Tables that a session asks; a miss costs space only.
const MOST_TABLES: usize = 64;
/// Of ids that only a large table could know, one in this many is looked up, until one is found.
const SAMPLE: u8 = 16;
/// Largest directory that is read.
const DIRECTORY_LIMIT_BYTES: u64 = 64 * MIB as u64;

#[derive(Debug)]
struct Table {
    name: Key,
    header: TableHeader,
    /// The whole table, if it was downloaded.
    bytes: Option<Bytes>,
}

/// The tables of the repository, as far as this session asks them.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    tables: Vec<Table>,
    /// Packs whose directories were read, or that must not be used.
    settled: HashSet<PackId>,
    /// Whether the last question to a large table found something.
    warm: bool,
}

impl Table {
    async fn page(&self, repository: &Repository, page: u32) -> Result<Bytes, Error> {
        let range = self.header.page_range(page);
        if let Some(bytes) = &self.bytes {
            let page = bytes.len() >= to_usize(range.end);
            return if page {
                Ok(bytes.slice(to_usize(range.start)..to_usize(range.end)))
            } else {
                Err(Error::damaged(&self.name, "shorter than its header says"))
            };
        }
        Ok(repository.store().get_range(&self.name, range).await?)
    }

    async fn find(&self, repository: &Repository, id: &ChunkId) -> Result<Vec<u32>, Error> {
        let mut packs = Vec::new();
        let first = self.header.entry_page(id);
        let mut page = first;
        loop {
            let sealed = self.page(repository, page).await?;
            let (hits, full) = self.header.find(&self.name, page, &sealed, id)?;
            packs.extend(hits.into_iter().map(|(pack, _)| pack));
            page = self.header.next_entry_page(page);
            if !full || page == first {
                return Ok(packs);
            }
        }
    }

    async fn pack(
        &self,
        repository: &Repository,
        number: u32,
    ) -> Result<Option<IndexedPack>, Error> {
        let Some(page) = self.header.pack_page(number) else {
            return Ok(None);
        };
        let sealed = self.page(repository, page).await?;
        self.header.pack(&self.name, number, &sealed)
    }
}

/// A table that cannot be used costs space, never a backup; only a store that fails ends it.
fn ignore_damage<T: Default>(result: Result<T, Error>) -> Result<T, Error> {
    use crate::class::Class;
    match result {
        Err(error) if matches!(error.class(), Class::Damaged | Class::Missing | Class::Denied) => {
            tracing::warn!(%error, "an index table or pack directory is of no use");
            Ok(T::default())
        }
        other => other,
    }
}

impl Lookup {
    /// Lists the tables and downloads the small ones. Costs one LIST, and a GET per table.
    pub(super) async fn open(repository: &Repository) -> Result<Self, Error> {
        let mut names = Vec::new();
        let mut listing = repository.store().list(layout::INDEX);
        while let Some(object) = listing.try_next().await? {
            if layout::parse_index(&object.key).is_some() {
                names.push(object);
            }
            // There is a table for each session that stored something: too many names to keep.
            if names.len() == 2 * MOST_TABLES {
                keep_largest(&mut names);
            }
        }
        drop(listing);
        keep_largest(&mut names);
        let mut lookup = Self::default();
        let mut downloaded = 0;
        for object in names {
            let small = object.size_bytes <= DOWNLOADED_TABLE_BYTES
                && downloaded + object.size_bytes <= DOWNLOADED_BYTES;
            let table = open_table(repository, &object, small).await.map(Some);
            let table = ignore_damage(table)?;
            downloaded += if small { object.size_bytes } else { 0 };
            lookup.tables.extend(table);
        }
        Ok(lookup)
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Looks one chunk up. Returns the chunks of packs that it led to.
    pub(super) async fn find(
        &mut self,
        repository: &Repository,
        head: &Checkpoint,
        id: &ChunkId,
    ) -> Result<Vec<ChunkRef>, Error> {
        let sampled = self.warm || id.0[23].is_multiple_of(SAMPLE);
        let mut found = Vec::new();
        let mut asked_large = false;
        for table in &self.tables {
            let large = table.bytes.is_none();
            if large && !sampled {
                continue;
            }
            asked_large |= large;
            for number in ignore_damage(table.find(repository, id).await)? {
                let Some(pack) = ignore_damage(table.pack(repository, number).await)? else {
                    continue;
                };
                if self.settled.insert(pack.id) && head.permits(&pack.id) {
                    found.extend(ignore_damage(read_directory(repository, &pack).await)?);
                }
            }
        }
        if asked_large {
            self.warm = !found.is_empty();
        }
        Ok(found)
    }
}

/// The tables that a session asks.
fn keep_largest(names: &mut Vec<store::Object>) {
    names.sort_by_key(|object| std::cmp::Reverse(object.size_bytes));
    names.truncate(MOST_TABLES);
}

async fn open_table(
    repository: &Repository,
    object: &store::Object,
    download: bool,
) -> Result<Table, Error> {
    let store = repository.store();
    let bytes = if download {
        store.get(&object.key, DOWNLOADED_TABLE_BYTES).await?
    } else {
        store.get_range(&object.key, 0..TABLE_HEADER_BYTES).await?
    };
    let header = TableHeader::parse(repository.id(), repository.secrets(), &object.key, &bytes)?;
    if header.table_bytes() != object.size_bytes {
        return Err(Error::damaged(&object.key, "its length is not what its header says"));
    }
    Ok(Table { name: object.key.clone(), header, bytes: download.then_some(bytes) })
}

/// All chunks of a pack, from its directory. Costs one GET.
async fn read_directory(
    repository: &Repository,
    pack: &IndexedPack,
) -> Result<Vec<ChunkRef>, Error> {
    let key = layout::pack(pack.id);
    if u64::from(pack.directory_bytes) > DIRECTORY_LIMIT_BYTES {
        return Err(Error::damaged(&key, "its directory is too large"));
    }
    let start = u64::from(pack.directory_offset_bytes);
    let range = start..start + u64::from(pack.directory_bytes);
    let sealed = repository.store().get_range(&key, range).await?;
    chunks_of(repository, pack.id, &sealed, pack.directory_offset_bytes)
}

fn chunks_of(
    repository: &Repository,
    pack: PackId,
    sealed: &[u8],
    directory_offset_bytes: u32,
) -> Result<Vec<ChunkRef>, Error> {
    let newest = repository.secrets().newest_number();
    // Ids of chunks under an older secret never match ours.
    let keys = repository.secrets().get(pack.secret()).filter(|_| pack.secret() == newest);
    let Some(keys) = keys else {
        return Ok(Vec::new());
    };
    let frames = open_directory(keys, repository.id(), pack, sealed, directory_offset_bytes)?;
    let mut chunks = Vec::new();
    for listed in frames {
        let frame = Frame::stored(listed.place);
        let mut offset_bytes = 0;
        for (id, length_bytes) in listed.chunks {
            let frame = std::sync::Arc::clone(&frame);
            chunks.push(ChunkRef { frame, offset_bytes, length_bytes, id });
            offset_bytes += length_bytes;
        }
    }
    Ok(chunks)
}

/// The chunks of all packs of a session that never committed. Costs one LIST, and a GET per pack.
pub(super) async fn chunks_of_session(
    repository: &Repository,
    head: &Checkpoint,
    session: crate::repo::id::SessionId,
    learn: &mut (dyn FnMut(Vec<ChunkRef>) + Send),
) -> Result<u64, Error> {
    let prefix = layout::packs_of(session);
    let mut listing = repository.store().list(&prefix);
    let mut packs: HashMap<PackId, Key> = HashMap::new();
    while let Some(object) = listing.try_next().await? {
        if let Some(id) = layout::parse_pack(&object.key) {
            packs.insert(id, object.key);
        }
    }
    drop(listing);
    let mut count = 0;
    for (id, key) in packs {
        if !head.permits(&id) {
            continue;
        }
        let chunks = ignore_damage(read_tail(repository, id, &key).await)?;
        count += u64::from(!chunks.is_empty());
        learn(chunks);
    }
    Ok(count)
}

/// Reads a pack's directory through its trailer.
async fn read_tail(repository: &Repository, id: PackId, key: &Key) -> Result<Vec<ChunkRef>, Error> {
    /// Most directories fit into the first guess.
    const GUESS_BYTES: u64 = 64 * 1024;
    let (tail, pack_bytes) = repository.store().get_tail(key, GUESS_BYTES).await?;
    let trailer = Trailer::parse(id, &tail, pack_bytes)?;
    let start = u64::from(trailer.directory_offset_bytes);
    let end = start + u64::from(trailer.directory_bytes);
    let tail_start = pack_bytes - to_u64(tail.len());
    let header = repository.pack_header(id).await?;
    if header.kind != crate::repo::pack::PackKind::Data || end - start > DIRECTORY_LIMIT_BYTES {
        return Ok(Vec::new());
    }
    let sealed = if start >= tail_start {
        let from = to_usize(start - tail_start);
        tail.slice(from..tail.len() - TRAILER_BYTES)
    } else {
        repository.store().get_range(key, start..end).await?
    };
    chunks_of(repository, id, &sealed, trailer.directory_offset_bytes)
}
