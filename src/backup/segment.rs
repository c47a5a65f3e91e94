//! Page map segments: the parent's are read, new ones are written, as an overlay on an older full
//! segment where few pages changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backup::flow::Stage;
use crate::backup::list::unplaced;
use crate::backup::paged::GroupSlot;
use crate::entry::Cutter;
use crate::repo::content::ContentItems;
use crate::repo::reference::{ChunkRef, Place};
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::tree::pages::{Page, PageHash, SEGMENT_PAGES, Segment, Source};
use crate::repo::writer::Writer;
use crate::repo::{self, Repository};
use crate::units::to_usize;

/// An overlay states at most one page in this many; else the segment is written in full.
const OVERLAY_SHARE: usize = 4;

/// Where a page of a new segment is.
pub(super) enum DraftSource {
    /// Where the parent's page at the same place is.
    Same,
    /// All zeros.
    Zeros,
    /// In a group of this session.
    New { group: GroupSlot, page: u32 },
}

/// A page of a new segment.
pub(super) struct DraftPage {
    pub(super) hash: PageHash,
    pub(super) source: DraftSource,
}

/// The pages of a new segment.
pub(super) enum DraftPages {
    /// As they were read.
    Each(Vec<DraftPage>),
    /// A full segment in a hole: pages of zeros, which have this hash.
    Zeros { hash: PageHash },
}

/// A segment to be written.
pub(super) struct DraftSegment {
    pub(super) parent: Option<ParentSegment>,
    pub(super) pages: DraftPages,
    pub(super) covered_bytes: u64,
}

/// The parent's segment at the same place.
pub(super) struct ParentSegment {
    /// The segment itself.
    own: ChunkRef,
    /// The full segment: itself, or what it overlays.
    full: ChunkRef,
    full_hashes: Vec<PageHash>,
    chunks: Vec<ChunkRef>,
    pages: Vec<Page>,
    hashes: Arc<Vec<PageHash>>,
}

impl ParentSegment {
    pub(super) fn hashes(&self) -> Arc<Vec<PageHash>> {
        Arc::clone(&self.hashes)
    }
}

/// The page map that the parent snapshot has of a file.
pub(super) struct ParentMap {
    items: Option<ContentItems>,
}

impl ParentMap {
    /// Opens the map if there is one that can be compared with.
    pub(super) fn open(stage: &Stage, parent: Option<&StoredEntry>, page_bytes: usize) -> Self {
        let comparable = parent.filter(|parent| {
            stage.parent_hashes
                && matches!(parent.content.cutter, Some(Cutter::Pages { page_bytes: of })
                    if to_usize(of.into()) == page_bytes)
        });
        let repository = stage.writer.repository();
        let items = comparable.map(|parent| repository.content_items(&parent.content));
        Self { items }
    }

    async fn next_reference(&mut self) -> Result<Option<ChunkRef>, repo::Error> {
        let Some(items) = &mut self.items else {
            return Ok(None);
        };
        match items.next().await {
            Err(error) if error.is_loss() => {
                tracing::warn!(%error, "the rest of a page map cannot be read");
                self.items = None;
                Ok(None)
            }
            told => told,
        }
    }

    /// Leaves out the next segment, whose place is all zeros now. It may be the same segment of zeros.
    pub(super) async fn pass_over(&mut self, writer: &Writer) -> Result<(), repo::Error> {
        let own = self.next_reference().await?;
        writer.learn_nodes(own.iter());
        Ok(())
    }

    /// The next segment; `None` at the end, and where it is damaged: its pages are stored anew then.
    pub(super) async fn next(
        &mut self,
        writer: &Writer,
    ) -> Result<Option<ParentSegment>, repo::Error> {
        let Some(own) = self.next_reference().await? else {
            return Ok(None);
        };
        let repository = writer.repository().clone();
        match ParentSegment::read(&repository, writer, own).await {
            Ok(segment) => Ok(Some(segment)),
            Err(error) if error.is_loss() => {
                tracing::warn!(%error, "a page map cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl ParentSegment {
    async fn read(
        repository: &Repository,
        writer: &Writer,
        own: ChunkRef,
    ) -> Result<Self, repo::Error> {
        let node = async |reference: &ChunkRef| {
            let segment = repository.node(reference, Segment::decode).await;
            segment.inspect_err(|_| writer.distrust(reference))
        };
        let segment = node(&own).await?;
        let (full, base) = match &segment {
            Segment::Full { .. } => (own.clone(), None),
            Segment::Overlay { base, .. } => (base.clone(), Some(node(base).await?)),
        };
        let full_hashes = match base.as_ref().unwrap_or(&segment) {
            Segment::Full { pages, .. } => pages.iter().map(|page| page.hash).collect(),
            Segment::Overlay { .. } => Vec::new(),
        };
        let damaged = |reason: repo::wire::Malformed| {
            repo::Error::damaged(format!("page map segment {}", own.id), reason.0)
        };
        let (chunks, pages) = segment.flatten(base).map_err(damaged)?;
        let hashes = Arc::new(pages.iter().map(|page| page.hash).collect());
        Ok(Self { own, full, full_hashes, chunks, pages, hashes })
    }
}

/// Chunks that a segment refers to, each listed once.
#[derive(Default)]
struct Chunks {
    list: Vec<ChunkRef>,
    numbers: HashMap<(Place, u32), u32>,
}

impl Chunks {
    fn number(&mut self, chunk: &ChunkRef) -> Result<u32, repo::Error> {
        let place = chunk
            .frame
            .place()
            .ok_or_else(|| repo::Error::Bug("a group of pages without a place".into()))?;
        let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry((place, chunk.offset_bytes)).or_insert(next);
        if number == next {
            self.list.push(chunk.clone());
        }
        Ok(number)
    }
}

/// Writes a segment whose groups are on their way; waits for them. `zeros` is the file's segment of
/// zeros once there is one.
pub(super) async fn write(
    writer: &Arc<Writer>,
    draft: DraftSegment,
    zeros: &mut Option<ChunkRef>,
) -> Result<ChunkRef, repo::Error> {
    let DraftSegment { parent, pages, .. } = draft;
    let pages = match pages {
        DraftPages::Each(pages) => pages,
        DraftPages::Zeros { hash } => return write_zeros(writer, hash, zeros).await,
    };
    let all_same = pages.iter().all(|page| matches!(page.source, DraftSource::Same));
    if let Some(parent) = parent.as_ref().filter(|p| all_same && p.pages.len() == pages.len()) {
        return Ok(parent.own.clone());
    }
    let stated = stated_pages(parent.as_ref(), &pages);
    let overlay = stated.len() * OVERLAY_SHARE <= pages.len();
    let mut chunks = Chunks::default();
    let segment = if let Some(parent) = parent.as_ref().filter(|_| overlay) {
        let mut patches: Vec<(usize, Vec<Page>)> = Vec::new();
        for number in stated {
            let page = place(&mut chunks, Some(parent), &pages, number).await?;
            match patches.last_mut() {
                Some((first, run)) if *first + run.len() == number => run.push(page),
                _ => patches.push((number, vec![page])),
            }
        }
        let base = parent.full.clone();
        Segment::Overlay { base, page_count: pages.len(), chunks: chunks.list, patches }
    } else {
        let mut placed = Vec::with_capacity(pages.len());
        for number in 0..pages.len() {
            placed.push(place(&mut chunks, parent.as_ref(), &pages, number).await?);
        }
        Segment::Full { chunks: chunks.list, pages: placed }
    };
    writer.leaf(&segment.encode().map_err(unplaced)?).await
}

/// Writes the segment of a hole; there is one in a file, whatever the number of its places.
async fn write_zeros(
    writer: &Arc<Writer>,
    hash: PageHash,
    zeros: &mut Option<ChunkRef>,
) -> Result<ChunkRef, repo::Error> {
    if let Some(zeros) = zeros {
        return Ok(zeros.clone());
    }
    let pages = vec![Page { hash, source: Source::Zeros }; SEGMENT_PAGES];
    let segment = Segment::Full { chunks: Vec::new(), pages };
    let written = writer.leaf(&segment.encode().map_err(unplaced)?).await?;
    Ok(zeros.insert(written).clone())
}

/// Pages that differ from the full segment below.
fn stated_pages(parent: Option<&ParentSegment>, pages: &[DraftPage]) -> Vec<usize> {
    let Some(parent) = parent else {
        return (0..pages.len()).collect();
    };
    let differs = |(number, page): (usize, &DraftPage)| {
        (parent.full_hashes.get(number) != Some(&page.hash)).then_some(number)
    };
    pages.iter().enumerate().filter_map(differs).collect()
}

async fn place(
    chunks: &mut Chunks,
    parent: Option<&ParentSegment>,
    pages: &[DraftPage],
    number: usize,
) -> Result<Page, repo::Error> {
    let missing = || repo::Error::Bug("a page of the parent that it does not have".into());
    let page = pages.get(number).ok_or_else(missing)?;
    let source = match &page.source {
        DraftSource::Zeros => Source::Zeros,
        DraftSource::New { group, page } => {
            let chunk = group.wait().await;
            Source::Chunk { chunk: chunks.number(chunk)?, page: *page }
        }
        DraftSource::Same => {
            let parent = parent.ok_or_else(missing)?;
            match parent.pages.get(number).ok_or_else(missing)?.source {
                Source::Zeros => Source::Zeros,
                Source::Chunk { chunk, page } => {
                    let chunk = parent.chunks.get(to_usize(chunk.into())).ok_or_else(missing)?;
                    Source::Chunk { chunk: chunks.number(chunk)?, page }
                }
            }
        }
    };
    Ok(Page { hash: page.hash, source })
}
