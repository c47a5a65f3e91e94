//! The index: tables from chunk ids to places, one page per lookup. FORMAT.md §11.
//!
//! A table is a hint. An entry has 8 bytes of the id, so a hit is confirmed in the pack's directory;
//! a table that is lost, ignored or wrong costs space and never data.

use bytes::Bytes;

use crate::repo::error::Error;
use crate::repo::id::{ChunkId, PackId, RepositoryId};
use crate::repo::seal::{MAGIC, Sealer, TAG_BYTES, VERSION, numbered_nonce};
use crate::repo::secret::Secrets;
use crate::repo::wire::{Cursor, Malformed, Read};
use crate::store::Key;
use crate::units::{to_u64, to_usize};
use crate::world::Random;

const KIND: u8 = 7;
const HEADER_BYTES: usize = 80;
const ENTRY_BYTES: usize = 16;
const PACK_BYTES: usize = 40;
const SMALLEST_PAGE_LOG2: u8 = 9;
const LARGEST_PAGE_LOG2: u8 = 12;

/// Where a pack's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// Where its directory starts.
    pub directory_offset_bytes: u32,
    /// Its directory's length, seal included.
    pub directory_bytes: u32,
    /// Its whole length.
    pub pack_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct IndexEntry {
    head: u64,
    pack: u32,
    place: u32,
}

/// Collects what a session wrote.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    entries: Vec<IndexEntry>,
    packs: Vec<IndexedPack>,
}

fn head_of(id: &ChunkId) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(head)
}

fn page_of(head: u64, pages: u32) -> u32 {
    let page = (u128::from(head) * u128::from(pages)) >> 64;
    u32::try_from(page).unwrap_or(0)
}

/// How a table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    page_log2: u8,
    entry_pages: u32,
    pack_pages: u32,
}

impl Layout {
    fn page_bytes(self) -> usize {
        1 << self.page_log2
    }

    fn entries_in_page(self) -> usize {
        (self.page_bytes() - TAG_BYTES - 2) / ENTRY_BYTES
    }

    fn packs_in_page(self) -> usize {
        (self.page_bytes() - TAG_BYTES - 2) / PACK_BYTES
    }

    /// Pages about three quarters full; small pages where few of them do.
    fn choose(entries: usize, packs: usize) -> Option<Self> {
        let pages = |layout: Self| {
            let entry_pages = (entries * 4 / 3).div_ceil(layout.entries_in_page()).max(1);
            let pack_pages = packs.div_ceil(layout.packs_in_page()).max(1);
            Some(Self {
                entry_pages: u32::try_from(entry_pages).ok()?,
                pack_pages: u32::try_from(pack_pages).ok()?,
                ..layout
            })
        };
        let of = |page_log2| pages(Self { page_log2, entry_pages: 0, pack_pages: 0 });
        (SMALLEST_PAGE_LOG2..LARGEST_PAGE_LOG2)
            .filter_map(of)
            .find(|layout| layout.entry_pages <= 4)
            .or_else(|| of(LARGEST_PAGE_LOG2))
    }
}

impl IndexBuilder {
    /// Adds a pack and its chunks in the order of its directory.
    pub fn add<'a>(&mut self, pack: IndexedPack, chunks: impl Iterator<Item = &'a ChunkId>) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack);
        self.entries.extend((0..).zip(chunks).map(|(place, id)| IndexEntry {
            head: head_of(id),
            pack: number,
            place,
        }));
    }

    /// Number of chunks so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The whole table, to be stored under `name`.
    pub fn finish(
        mut self,
        repository: RepositoryId,
        secrets: &Secrets,
        random: &dyn Random,
        name: &Key,
    ) -> Result<Bytes, Error> {
        let too_large = || Error::Bug("an index table is too large".into());
        let layout = Layout::choose(self.entries.len(), self.packs.len()).ok_or_else(too_large)?;
        let salt: [u8; 32] = random.array();
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[KIND, VERSION, secrets.newest_number(), layout.page_log2]);
        out.extend_from_slice(&repository.0);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&layout.entry_pages.to_le_bytes());
        out.extend_from_slice(&layout.pack_pages.to_le_bytes());
        out.extend_from_slice(&to_u64(self.entries.len()).to_le_bytes());
        let packs = u32::try_from(self.packs.len()).map_err(|_| too_large())?;
        out.extend_from_slice(&packs.to_le_bytes());
        let aad = [out.as_slice(), name.as_str().as_bytes()].concat();
        let sealer = Sealer::new(&secrets.newest().object_key("index", &salt));
        self.entries.sort_unstable();
        let pages = to_usize(layout.entry_pages.into()) + to_usize(layout.pack_pages.into());
        out.resize(HEADER_BYTES + pages * layout.page_bytes(), 0);
        let (entries, pack_pages) = out[HEADER_BYTES..]
            .split_at_mut(to_usize(layout.entry_pages.into()) * layout.page_bytes());
        fill_entry_pages(layout, entries, &self.entries);
        fill_pack_pages(layout, pack_pages, &self.packs);
        let mut sealed = Vec::with_capacity(layout.page_bytes());
        for (number, page) in (0..).zip(out[HEADER_BYTES..].chunks_exact_mut(layout.page_bytes())) {
            sealed.clear();
            sealed.extend_from_slice(&page[..layout.page_bytes() - TAG_BYTES]);
            sealer.seal(numbered_nonce(number), &aad, &mut sealed);
            page.copy_from_slice(&sealed);
        }
        Ok(out.into())
    }
}

/// Appends a record to a page that holds `count` of its kind.
fn put_record(page: &mut [u8], count: usize, record: &[u8]) {
    let (counter, records) = page.split_at_mut(2);
    counter.copy_from_slice(&u16::try_from(count + 1).unwrap_or(u16::MAX).to_le_bytes());
    let start = count * record.len();
    if let Some(room) = records.get_mut(start..start + record.len()) {
        room.copy_from_slice(record);
    }
}

/// Writes entries into their pages, which are zeros before. A table of a million chunks is 22 MiB: there
/// is no second copy of it.
fn fill_entry_pages(layout: Layout, pages: &mut [u8], entries: &[IndexEntry]) {
    let room = layout.entries_in_page();
    let mut counts = vec![0; to_usize(layout.entry_pages.into())];
    for entry in entries {
        let home = to_usize(page_of(entry.head, layout.entry_pages).into());
        // There is room for a third more than there are entries, so a page with room exists.
        let mut places = (home..home + counts.len()).map(|n| n % counts.len());
        let Some(place) = places.find(|n| counts[*n] < room) else {
            continue;
        };
        let mut record = [0; ENTRY_BYTES];
        record[..8].copy_from_slice(&entry.head.to_be_bytes());
        record[8..12].copy_from_slice(&entry.pack.to_le_bytes());
        record[12..].copy_from_slice(&entry.place.to_le_bytes());
        let start = place * layout.page_bytes();
        put_record(&mut pages[start..start + layout.page_bytes()], counts[place], &record);
        counts[place] += 1;
    }
}

fn fill_pack_pages(layout: Layout, pages: &mut [u8], packs: &[IndexedPack]) {
    for (number, pack) in packs.iter().enumerate() {
        let mut record = [0; PACK_BYTES];
        record[..24].copy_from_slice(&pack.id.0);
        record[24..28].copy_from_slice(&pack.directory_offset_bytes.to_le_bytes());
        record[28..32].copy_from_slice(&pack.directory_bytes.to_le_bytes());
        record[32..].copy_from_slice(&pack.pack_bytes.to_le_bytes());
        let start = number / layout.packs_in_page() * layout.page_bytes();
        let page = &mut pages[start..start + layout.page_bytes()];
        put_record(page, number % layout.packs_in_page(), &record);
    }
}

/// The front of a table: enough to find and open its pages.
#[derive(Debug)]
pub struct TableHeader {
    layout: Layout,
    entries: u64,
    packs: u32,
    aad: Vec<u8>,
    sealer: Sealer,
}

/// Bytes to fetch for [`TableHeader::parse`].
pub const TABLE_HEADER_BYTES: u64 = HEADER_BYTES as u64;

impl TableHeader {
    /// Reads the first 80 bytes of the table called `name`.
    pub fn parse(
        repository: RepositoryId,
        secrets: &Secrets,
        name: &Key,
        bytes: &[u8],
    ) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(name, reason);
        let head = bytes.get(..HEADER_BYTES).ok_or_else(|| damaged("shorter than its header"))?;
        let read = || -> Read<_> {
            let mut cursor = Cursor::new(head);
            let magic: [u8; 8] = cursor.array()?;
            let [kind, version, secret, page_log2] = cursor.array()?;
            let owner: [u8; 16] = cursor.array()?;
            let salt: [u8; 32] = cursor.array()?;
            let layout =
                Layout { page_log2, entry_pages: cursor.u32()?, pack_pages: cursor.u32()? };
            let sound = &magic == MAGIC
                && kind == KIND
                && version == VERSION
                && owner == repository.0
                && (SMALLEST_PAGE_LOG2..=16).contains(&page_log2)
                && layout.entry_pages > 0
                && layout.pack_pages > 0
                // Pages are numbered through, in 32 bits.
                && layout.entry_pages.checked_add(layout.pack_pages).is_some();
            if !sound {
                return Err(Malformed("does not start like an index table of this repository"));
            }
            Ok((secret, salt, layout, cursor.u64()?, cursor.u32()?))
        };
        let (secret, salt, layout, entries, packs) = read().map_err(|e| damaged(e.0))?;
        let keys = secrets.get(secret).ok_or_else(|| {
            Error::Denied(format!(
                "{name} was sealed with secret {secret}, which this key does not have: the agent key \
                 was rotated since"
            ))
        })?;
        Ok(Self {
            layout,
            entries,
            packs,
            aad: [head, name.as_str().as_bytes()].concat(),
            sealer: Sealer::new(&keys.object_key("index", &salt)),
        })
    }

    /// Number of chunks in the table.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Number of packs in the table.
    pub fn packs(&self) -> u32 {
        self.packs
    }

    /// Length of the whole table.
    pub fn table_bytes(&self) -> u64 {
        let pages = u64::from(self.layout.entry_pages) + u64::from(self.layout.pack_pages);
        TABLE_HEADER_BYTES + pages * to_u64(self.layout.page_bytes())
    }

    /// The page that a lookup of `id` starts with.
    pub fn entry_page(&self, id: &ChunkId) -> u32 {
        page_of(head_of(id), self.layout.entry_pages)
    }

    /// The page after `page`, wrapping.
    pub fn next_entry_page(&self, page: u32) -> u32 {
        (page + 1) % self.layout.entry_pages
    }

    /// The page that has pack number `pack`.
    pub fn pack_page(&self, pack: u32) -> Option<u32> {
        let page = to_usize(pack.into()) / self.layout.packs_in_page();
        let page = u32::try_from(page).ok().filter(|page| *page < self.layout.pack_pages)?;
        Some(self.layout.entry_pages + page)
    }

    /// All pages that hold packs.
    pub fn pack_pages(&self) -> std::ops::Range<u32> {
        self.layout.entry_pages..self.layout.entry_pages + self.layout.pack_pages
    }

    /// Where a page is in the object.
    pub fn page_range(&self, page: u32) -> std::ops::Range<u64> {
        let start = TABLE_HEADER_BYTES + u64::from(page) * to_u64(self.layout.page_bytes());
        start..start + to_u64(self.layout.page_bytes())
    }

    fn open_page(&self, name: &Key, page: u32, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = sealed.to_vec();
        let length = self
            .sealer
            .open(numbered_nonce(page), &self.aad, &mut sealed)
            .map_err(|_| Error::damaged(name, format!("the seal of page {page} is broken")))?
            .len();
        sealed.truncate(length);
        Ok(sealed)
    }

    /// Checks the seal of a page.
    pub fn check_page(&self, name: &Key, page: u32, sealed: &[u8]) -> Result<(), Error> {
        self.open_page(name, page, sealed).map(drop)
    }

    /// Looks `id` up in a page. Also tells whether the page is full, so that the next one must be
    /// looked at too.
    pub fn find(
        &self,
        name: &Key,
        page: u32,
        sealed: &[u8],
        id: &ChunkId,
    ) -> Result<(Vec<(u32, u32)>, bool), Error> {
        let plain = self.open_page(name, page, sealed)?;
        let head = head_of(id);
        let read = || -> Read<_> {
            let mut cursor = Cursor::new(&plain);
            let count = usize::from(cursor.u16()?);
            let mut hits = Vec::new();
            for _ in 0..count {
                let entry: [u8; 8] = cursor.array()?;
                let place = (cursor.u32()?, cursor.u32()?);
                if u64::from_be_bytes(entry) == head {
                    hits.push(place);
                }
            }
            Ok((hits, count >= self.layout.entries_in_page()))
        };
        read().map_err(|e| Error::damaged(name, e.0))
    }

    /// The packs of a pack page.
    pub fn packs_of(
        &self,
        name: &Key,
        page: u32,
        sealed: &[u8],
    ) -> Result<Vec<IndexedPack>, Error> {
        let plain = self.open_page(name, page, sealed)?;
        let read = || -> Read<_> {
            let mut cursor = Cursor::new(&plain);
            let count = usize::from(cursor.u16()?);
            (0..count)
                .map(|_| {
                    Ok(IndexedPack {
                        id: PackId(cursor.array()?),
                        directory_offset_bytes: cursor.u32()?,
                        directory_bytes: cursor.u32()?,
                        pack_bytes: cursor.u64()?,
                    })
                })
                .collect()
        };
        read().map_err(|e| Error::damaged(name, e.0))
    }

    /// The pack numbered `pack`, from its page.
    pub fn pack(&self, name: &Key, pack: u32, sealed: &[u8]) -> Result<Option<IndexedPack>, Error> {
        let Some(page) = self.pack_page(pack) else {
            return Ok(None);
        };
        let place = to_usize(pack.into()) % self.layout.packs_in_page();
        Ok(self.packs_of(name, page, sealed)?.get(place).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::id::SessionId;
    use crate::repo::secret::Secret;
    use crate::world::SeededRandom;

    #[test]
    fn every_chunk_is_found_in_tables_of_all_sizes() {
        let random = SeededRandom::new(9);
        let random: &dyn Random = &random;
        let secrets = Secrets::new(vec![Secret(random.array())]).unwrap();
        let repository = RepositoryId([3; 16]);
        for (packs, chunks) in [(1, 1), (1, 40), (3, 500), (40, 300)] {
            let name = Key::new("index/test");
            let mut builder = IndexBuilder::default();
            let mut all = Vec::new();
            for number in 0..packs {
                let pack = IndexedPack {
                    id: PackId::new(SessionId([1; 12]), number, [0; 7], 0),
                    directory_offset_bytes: 100 + number,
                    directory_bytes: 20,
                    pack_bytes: 1000,
                };
                let ids: Vec<ChunkId> = (0..chunks).map(|_| ChunkId(random.array())).collect();
                builder.add(pack, ids.iter());
                all.extend((0..).zip(ids).map(|(place, id)| (number, place, id)));
            }
            let table = builder.finish(repository, &secrets, random, &name).unwrap();
            let header = TableHeader::parse(repository, &secrets, &name, &table).unwrap();
            assert_eq!(header.table_bytes(), to_u64(table.len()));
            let bytes = |page| {
                let range = header.page_range(page);
                &table[to_usize(range.start)..to_usize(range.end)]
            };
            for (pack, place, id) in all {
                let mut page = header.entry_page(&id);
                loop {
                    let (hits, full) = header.find(&name, page, bytes(page), &id).unwrap();
                    if hits.contains(&(pack, place)) {
                        break;
                    }
                    assert!(full, "chunk {place} of pack {pack} is not found");
                    page = header.next_entry_page(page);
                }
                let pack_page = header.pack_page(pack).unwrap();
                let found = header.pack(&name, pack, bytes(pack_page)).unwrap().unwrap();
                assert_eq!(found.directory_offset_bytes, 100 + pack);
            }
        }
    }
}
