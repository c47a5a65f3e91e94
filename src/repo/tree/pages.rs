//! Page maps: where each page of a database file lies, and a short hash by which the next backup
//! sees that it did not change. FORMAT.md §9.
//!
//! A segment maps 4,096 pages. Where few of them changed it is written as an overlay on an older
//! full one, so that a backup of a large file with few changes costs what changed.

use crate::repo::reference::{ChunkRef, FrameTable, Frames, REFERENCE_BYTES};
use crate::repo::tree::content::{Unplaced, put_ref};
use crate::repo::wire::{Cursor, Malformed, Read, put_length, put_var};

/// Kind byte of a page map segment.
pub const PAGES_NODE: u8 = 4;
/// Pages in a segment.
pub const SEGMENT_PAGES: usize = 4096;

/// The short hash of a page.
pub type PageHash = [u8; 8];

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is all zeros and stored nowhere.
    Zeros,
    /// It is a page of a chunk.
    Chunk {
        /// Place in the list of chunks.
        chunk: u32,
        /// Which page of it.
        page: u32,
    },
}

/// A page as a segment knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its hash.
    pub hash: PageHash,
    /// Its place.
    pub source: Source,
}

/// A segment as it is stored.
#[derive(Clone, Debug)]
pub enum Segment {
    /// States all pages.
    Full {
        /// The chunks that pages lie in.
        chunks: Vec<ChunkRef>,
        /// All pages, in order.
        pages: Vec<Page>,
    },
    /// States what differs from a full segment.
    Overlay {
        /// The full segment.
        base: ChunkRef,
        /// Pages after the change.
        page_count: usize,
        /// The chunks that the stated pages lie in.
        chunks: Vec<ChunkRef>,
        /// Runs of stated pages: place of the first, and the pages.
        patches: Vec<(usize, Vec<Page>)>,
    },
}

fn put_chunks(
    table: &mut FrameTable,
    body: &mut Vec<u8>,
    chunks: &[ChunkRef],
) -> Result<(), Unplaced> {
    put_length(body, chunks.len());
    chunks.iter().try_for_each(|chunk| put_ref(table, body, chunk))
}

fn put_hashes(body: &mut Vec<u8>, pages: &[Page]) {
    for page in pages {
        body.extend_from_slice(&page.hash);
    }
}

/// Appends the sources of pages as runs.
fn put_sources(body: &mut Vec<u8>, pages: &[Page]) {
    let mut runs: Vec<(u64, Source)> = Vec::new();
    for page in pages {
        if let Some((length, first)) = runs.last_mut() {
            let goes_on = match (*first, page.source) {
                (Source::Zeros, Source::Zeros) => true,
                (Source::Chunk { chunk, page: first }, Source::Chunk { chunk: c, page: p }) => {
                    chunk == c && u64::from(first) + *length == u64::from(p)
                }
                _ => false,
            };
            if goes_on {
                *length += 1;
                continue;
            }
        }
        runs.push((1, page.source));
    }
    put_length(body, runs.len());
    for (length, source) in runs {
        put_var(body, length);
        match source {
            Source::Zeros => put_var(body, 0),
            Source::Chunk { chunk, page } => {
                put_var(body, u64::from(chunk) + 1);
                put_var(body, u64::from(page));
            }
        }
    }
}

/// Reads the sources of `count` pages.
fn read_sources(cursor: &mut Cursor<'_>, count: usize, chunks: usize) -> Read<Vec<Source>> {
    let runs = cursor.count(2)?;
    let mut sources = Vec::with_capacity(count);
    for _ in 0..runs {
        let length = cursor.var_u32()?;
        let source = cursor.var_u32()?;
        if usize::try_from(length).map_or(true, |n| n > count - sources.len()) {
            return Err(Malformed("a run of pages beyond its segment"));
        }
        if source == 0 {
            sources.extend((0..length).map(|_| Source::Zeros));
            continue;
        }
        let chunk = source - 1;
        if usize::try_from(chunk).map_or(true, |n| n >= chunks) {
            return Err(Malformed("a page in a chunk that is not listed"));
        }
        let first = cursor.var_u32()?;
        let end = first.checked_add(length).ok_or(Malformed("a page beyond its chunk"))?;
        sources.extend((first..end).map(|page| Source::Chunk { chunk, page }));
    }
    if sources.len() != count {
        return Err(Malformed("pages without a place"));
    }
    Ok(sources)
}

impl Segment {
    /// Encodes the segment.
    pub fn encode(&self) -> Result<Vec<u8>, Unplaced> {
        let mut table = FrameTable::default();
        let mut body = Vec::new();
        match self {
            Self::Full { chunks, pages } => {
                body.push(0);
                put_length(&mut body, pages.len());
                put_chunks(&mut table, &mut body, chunks)?;
                put_hashes(&mut body, pages);
                put_sources(&mut body, pages);
            }
            Self::Overlay { base, page_count, chunks, patches } => {
                body.push(1);
                put_ref(&mut table, &mut body, base)?;
                put_length(&mut body, *page_count);
                put_chunks(&mut table, &mut body, chunks)?;
                put_length(&mut body, patches.len());
                let mut at = 0;
                for (first, pages) in patches {
                    put_length(&mut body, first - at);
                    put_length(&mut body, pages.len());
                    put_hashes(&mut body, pages);
                    at = first + pages.len();
                }
                let pages: Vec<Page> = patches.iter().flat_map(|(_, p)| p).copied().collect();
                put_sources(&mut body, &pages);
            }
        }
        Ok(table.node(PAGES_NODE, &body))
    }

    /// Decodes a segment.
    pub fn decode(node: &[u8]) -> Read<Self> {
        let mut cursor = Cursor::new(node);
        let frames = Frames::read(&mut cursor, PAGES_NODE)?;
        let base = match cursor.u8()? {
            0 => None,
            1 => Some(frames.reference(&mut cursor)?),
            _ => return Err(Malformed("a page map of an unknown form")),
        };
        let page_count = usize::try_from(cursor.var()?).unwrap_or(usize::MAX);
        if page_count > SEGMENT_PAGES {
            return Err(Malformed("a page map segment with too many pages"));
        }
        let chunk_count = cursor.count(REFERENCE_BYTES)?;
        let chunks =
            (0..chunk_count).map(|_| frames.reference(&mut cursor)).collect::<Read<Vec<_>>>()?;
        let segment = match base {
            None => {
                let hashes: Vec<PageHash> =
                    (0..page_count).map(|_| cursor.array()).collect::<Read<_>>()?;
                let sources = read_sources(&mut cursor, page_count, chunks.len())?;
                Self::Full { chunks, pages: join(hashes, sources) }
            }
            Some(base) => {
                let patches = read_patches(&mut cursor, page_count, chunks.len())?;
                Self::Overlay { base, page_count, chunks, patches }
            }
        };
        cursor.end()?;
        Ok(segment)
    }

    /// Puts an overlay onto its full segment: all pages and their chunks.
    pub fn flatten(self, base: Option<Self>) -> Read<(Vec<ChunkRef>, Vec<Page>)> {
        match (self, base) {
            (Self::Full { chunks, pages }, None) => Ok((chunks, pages)),
            (
                Self::Overlay { page_count, chunks: own, patches, .. },
                Some(Self::Full { mut chunks, mut pages }),
            ) => {
                let shift = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
                chunks.extend(own);
                pages.truncate(page_count);
                for (first, patch) in patches {
                    if first > pages.len() {
                        return Err(Malformed("a page that no segment states"));
                    }
                    for (number, mut page) in (first..).zip(patch) {
                        if let Source::Chunk { chunk, .. } = &mut page.source {
                            *chunk += shift;
                        }
                        match pages.get_mut(number) {
                            Some(place) => *place = page,
                            None => pages.push(page),
                        }
                    }
                }
                if pages.len() != page_count {
                    return Err(Malformed("a page that no segment states"));
                }
                Ok((chunks, pages))
            }
            _ => Err(Malformed("an overlay on something that is no full segment")),
        }
    }
}

fn join(hashes: Vec<PageHash>, sources: Vec<Source>) -> Vec<Page> {
    hashes.into_iter().zip(sources).map(|(hash, source)| Page { hash, source }).collect()
}

fn read_patches(
    cursor: &mut Cursor<'_>,
    page_count: usize,
    chunks: usize,
) -> Read<Vec<(usize, Vec<Page>)>> {
    let count = cursor.count(10)?;
    let mut runs = Vec::with_capacity(count);
    let mut hashes: Vec<PageHash> = Vec::new();
    let mut at = 0usize;
    for _ in 0..count {
        let skip = usize::try_from(cursor.var()?).unwrap_or(usize::MAX);
        let length = usize::try_from(cursor.var()?).unwrap_or(usize::MAX);
        let first = at.saturating_add(skip);
        let end = first.saturating_add(length);
        if end > page_count || length == 0 {
            return Err(Malformed("a patch beyond its segment"));
        }
        for _ in 0..length {
            hashes.push(cursor.array()?);
        }
        runs.push((first, length));
        at = end;
    }
    let sources = read_sources(cursor, hashes.len(), chunks)?;
    let mut pages = join(hashes, sources).into_iter();
    Ok(runs.into_iter().map(|(first, n)| (first, pages.by_ref().take(n).collect())).collect())
}
