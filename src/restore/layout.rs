//! From stored content to pieces: which bytes of which frame go where in the file. Pure.

use crate::entry::Extent;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::pages::{Page, PageHash, Source};
use crate::units::to_u64;

/// Bytes of a chunk that go to one place in a file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The chunk that they come from.
    pub(super) chunk: ChunkRef,
    /// Where they start in the chunk.
    pub(super) from_bytes: u32,
    /// How many they are.
    pub(super) length_bytes: u32,
    /// Where they go.
    pub(super) to_bytes: u64,
    /// Hashes of the pages, where the piece is pages: an existing file is compared by them.
    pub(super) pages: Vec<PageHash>,
}

/// Places the chunks of a file one after the other into its runs of data.
#[derive(Debug)]
pub(super) struct StreamLayout {
    runs: std::collections::VecDeque<Extent>,
}

impl StreamLayout {
    /// `runs` of a sparse file, or `None` for one without holes.
    pub(super) fn new(size_bytes: u64, runs: Option<&[Extent]>) -> Self {
        let whole = [Extent { offset_bytes: 0, length_bytes: size_bytes }];
        let runs = runs.unwrap_or(&whole).iter().filter(|run| run.length_bytes > 0);
        Self { runs: runs.copied().collect() }
    }

    /// The pieces of the next chunk; `None` if it has more bytes than the file.
    pub(super) fn place(&mut self, chunk: &ChunkRef) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut from_bytes = 0;
        while from_bytes < chunk.length_bytes {
            let run = self.runs.front_mut()?;
            let left = chunk.length_bytes - from_bytes;
            let length_bytes = u32::try_from(run.length_bytes).map_or(left, |run| run.min(left));
            pieces.push(Piece {
                chunk: chunk.clone(),
                from_bytes,
                length_bytes,
                to_bytes: run.offset_bytes,
                pages: Vec::new(),
            });
            from_bytes += length_bytes;
            run.offset_bytes += u64::from(length_bytes);
            run.length_bytes -= u64::from(length_bytes);
            if run.length_bytes == 0 {
                self.runs.pop_front();
            }
        }
        Some(pieces)
    }

    /// Whether every byte of the file was placed.
    pub(super) fn is_complete(&self) -> bool {
        self.runs.is_empty()
    }
}

/// What a segment of a page map places.
#[derive(Debug, Default)]
pub(super) struct SegmentPieces {
    /// Stored pages.
    pub(super) pieces: Vec<Piece>,
    /// Runs of zeros.
    pub(super) zeros: Vec<Extent>,
}

/// The pieces of a segment that starts at `start_bytes` of a file of `size_bytes`; `None` if a page
/// lies beyond its chunk.
pub(super) fn segment_pieces(
    chunks: &[ChunkRef],
    pages: &[Page],
    page_bytes: u32,
    start_bytes: u64,
    size_bytes: u64,
) -> Option<SegmentPieces> {
    let mut out = SegmentPieces::default();
    for (number, page) in pages.iter().enumerate() {
        let to_bytes = start_bytes + to_u64(number) * u64::from(page_bytes);
        let length = u64::from(page_bytes).min(size_bytes.checked_sub(to_bytes)?);
        let length_bytes = u32::try_from(length).ok()?;
        match page.source {
            Source::Zeros => match out.zeros.last_mut() {
                Some(run) if run.offset_bytes + run.length_bytes == to_bytes => {
                    run.length_bytes += length;
                }
                _ => out.zeros.push(Extent { offset_bytes: to_bytes, length_bytes: length }),
            },
            Source::Chunk { chunk, page: place } => {
                let chunk = chunks.get(usize::try_from(chunk).ok()?)?;
                let from_bytes = place.checked_mul(page_bytes)?;
                if from_bytes.checked_add(length_bytes)? > chunk.length_bytes {
                    return None;
                }
                append(&mut out.pieces, chunk, from_bytes, length_bytes, to_bytes, page.hash);
            }
        }
    }
    Some(out)
}

/// Longest piece of pages: one write, and one comparison with an existing file.
const PIECE_BYTES: u32 = 1 << 20;

fn append(
    pieces: &mut Vec<Piece>,
    chunk: &ChunkRef,
    from_bytes: u32,
    length_bytes: u32,
    to_bytes: u64,
    hash: PageHash,
) {
    if let Some(last) = pieces.last_mut() {
        let goes_on = last.chunk.id == chunk.id
            && last.from_bytes + last.length_bytes == from_bytes
            && last.to_bytes + u64::from(last.length_bytes) == to_bytes
            && last.length_bytes < PIECE_BYTES;
        if goes_on {
            last.length_bytes += length_bytes;
            last.pages.push(hash);
            return;
        }
    }
    let pages = vec![hash];
    pieces.push(Piece { chunk: chunk.clone(), from_bytes, length_bytes, to_bytes, pages });
}
