//! Database files: read page by page, compared with the parent's page map, so that a backup stores
//! the pages that changed and not the chunks around them.
//!
//! Changed pages are gathered into groups of up to 1 MiB, which are chunks like any other. Segments of
//! the page map follow their groups at a distance, in a task of their own, so that a file of any size
//! is mapped in bounded memory.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, SetOnce, mpsc};

use crate::backup::extent::{Layout, clipped};
use crate::backup::flow::{Piece, Progress, ReadRequest, Stage, Task};
use crate::backup::large::{Opened, store_extents};
use crate::backup::list::ListWriter;
use crate::backup::segment::{
    self, DraftPage, DraftPages, DraftSegment, DraftSource, ParentMap, ParentSegment,
};
use crate::backup::small::unreadable;
use crate::entry::Cutter;
use crate::repo;
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::Content;
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::repo::tree::pages::{PageHash, SEGMENT_PAGES};
use crate::repo::writer::Writer;
use crate::source::{self, Problem};
use crate::units::{KIB, MIB, to_u64, to_usize};

/// Changed pages that are stored as one chunk.
const GROUP_BYTES: usize = MIB;
/// A hole of so many bytes is passed over; a shorter one is read with what is around it.
const LEAST_HOLE_BYTES: usize = 256 * KIB;
/// Bytes that are read and compared at a time.
const WINDOW_BYTES: usize = 2 * MIB;
/// A group is stored after so many segments even if it is not full.
const GROUP_SEGMENTS: usize = 32;

/// A group that will be a chunk; known to every page that lies in it.
pub(super) type GroupSlot = Arc<SetOnce<ChunkRef>>;

/// Pages of one window.
struct Window {
    bytes: Vec<u8>,
    hashes: Vec<PageHash>,
    kinds: Vec<PageKind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PageKind {
    Same,
    Zeros,
    New,
}

struct Group {
    slot: GroupSlot,
    bytes: Vec<u8>,
    pages: u32,
    segments: usize,
    permit: OwnedSemaphorePermit,
}

struct Paging<'a> {
    stage: &'a Stage,
    page_bytes: usize,
    layout: Layout,
    /// The hash of a page of zeros.
    zeros: PageHash,
    /// Whether the end of the file was seen.
    ended: bool,
    group: Option<Group>,
    stores: VecDeque<Task<()>>,
    /// The buffer of the window before.
    spare: Vec<u8>,
}

/// Reads a file page by page. Returns what is left to be done, as `read_large` does.
pub(super) async fn read_paged(
    stage: &Stage,
    request: ReadRequest,
    mut content: Box<dyn source::Content>,
    opened: Opened,
    page_bytes: u32,
) -> Result<impl Future<Output = Result<(), repo::Error>> + Send + 'static, repo::Error> {
    let page_bytes = to_usize(page_bytes.into());
    let mut parent = ParentMap::open(stage, request.parent.as_ref(), page_bytes);
    let mut paging = Paging::new(stage, page_bytes, &opened);
    // So many segments may wait for a group that is still open.
    let (segments, drafts) = mpsc::channel(2 * GROUP_SEGMENTS);
    let mapping = stage.spawn(write_map(Arc::clone(&stage.writer), drafts));
    let segment_bytes = to_u64(SEGMENT_PAGES * page_bytes);
    let mut failed = None;
    let mut size_bytes = 0;
    while !paging.ended {
        let draft = if paging.layout.hole_bytes(size_bytes) >= segment_bytes {
            parent.pass_over(&stage.writer).await?;
            paging.age_group();
            let (parent, pages) = (None, DraftPages::Zeros { hash: paging.zeros });
            DraftSegment { parent, pages, covered_bytes: segment_bytes }
        } else {
            let known = parent.next(&stage.writer).await?;
            let hashes = known.as_ref().map(ParentSegment::hashes).unwrap_or_default();
            let (back, segment) = paging.segment(content, size_bytes, hashes).await?;
            content = back;
            match segment {
                Ok((_, 0)) => break,
                Ok((pages, covered_bytes)) => {
                    DraftSegment { parent: known, pages: DraftPages::Each(pages), covered_bytes }
                }
                Err(problem) => {
                    failed = Some(problem);
                    break;
                }
            }
        };
        size_bytes += draft.covered_bytes;
        if segments.send(draft).await.is_err() {
            // The mapping task ended early, which it only does with an error, and that ends the run.
            break;
        }
    }
    drop(segments);
    paging.flush_group();
    let mut stores = paging.stores;
    Progress::add(&stage.progress.read_files, 1);
    let cpu = &stage.writer.repository().world().cpu;
    let closed = cpu.run(move || content.close()).await;
    let writer = Arc::clone(&stage.writer);
    Ok(async move {
        while let Some(stored) = stores.pop_front() {
            stored.join().await;
        }
        let list = mapping.join().await;
        let Opened { mut entry, cutter, runs, lacking } = opened;
        if let Some(problem) = failed {
            request.answer(Some(unreadable(entry)), Some(problem));
            return Ok(());
        }
        let (level, items) = list.finish().await?;
        entry.size_bytes = size_bytes;
        let runs = runs.map(|runs| clipped(runs, size_bytes));
        let extents = store_extents(&writer, runs).await?;
        let fidelity = if closed.is_some() { Fidelity::Changed } else { Fidelity::Exact };
        let content = Content { cutter: (!items.is_empty()).then_some(cutter), level, items };
        let lacks_attributes = lacking.is_some();
        request.answer(
            Some(StoredEntry { entry, content, extents, fidelity, lacks_attributes }),
            lacking.into_iter().chain(closed),
        );
        Ok(())
    })
}

/// Writes segments in order, each after its groups have places.
async fn write_map(
    writer: Arc<Writer>,
    mut drafts: mpsc::Receiver<DraftSegment>,
) -> Result<ListWriter, repo::Error> {
    let mut list = ListWriter::new(&writer);
    let mut zeros = None;
    while let Some(draft) = drafts.recv().await {
        let covered_bytes = draft.covered_bytes;
        let reference = segment::write(&writer, draft, &mut zeros).await?;
        list.push(reference, covered_bytes).await?;
    }
    writer.flush_leaves().await?;
    Ok(list)
}

/// The pages of a segment, and how many bytes they are.
type Segmented = (Box<dyn source::Content>, Result<(Vec<DraftPage>, u64), Problem>);

impl<'a> Paging<'a> {
    fn new(stage: &'a Stage, page_bytes: usize, opened: &Opened) -> Self {
        let keys = stage.writer.repository().secrets().newest();
        Self {
            stage,
            page_bytes,
            layout: Layout::new(opened.runs.as_deref(), opened.entry.size_bytes),
            zeros: keys.page_hash(&vec![0; page_bytes]),
            ended: false,
            group: None,
            stores: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Reads the pages of one segment, of which `hashes` are those of the parent.
    async fn segment(
        &mut self,
        mut content: Box<dyn source::Content>,
        start_bytes: u64,
        hashes: Arc<Vec<PageHash>>,
    ) -> Result<Segmented, repo::Error> {
        let mut pages = Vec::new();
        let end = start_bytes + to_u64(SEGMENT_PAGES * self.page_bytes);
        let mut at = start_bytes;
        while at < end && !self.ended {
            let hole_pages = to_usize(self.layout.hole_bytes(at).min(end - at)) / self.page_bytes;
            if hole_pages * self.page_bytes >= LEAST_HOLE_BYTES {
                let hashes = hashes.get(pages.len()..).unwrap_or_default();
                pages.extend((0..hole_pages).map(|page| self.zero_page(hashes.get(page))));
                at += to_u64(hole_pages * self.page_bytes);
                continue;
            }
            let length = to_usize((end - at).min(self.layout.most_bytes(at))).min(WINDOW_BYTES);
            if length == 0 {
                self.ended = true;
                break;
            }
            let permit = self.stage.writer.reserve(length).await?;
            let (back, window) = self.window(content, at, length, pages.len(), &hashes).await;
            content = back;
            match window {
                Ok(window) => {
                    at += to_u64(window.bytes.len());
                    self.ended = window.bytes.len() < length;
                    self.gather(window, &mut pages).await?;
                }
                Err(problem) => return Ok((content, Err(problem))),
            }
            drop(permit);
        }
        self.age_group();
        Ok((content, Ok((pages, at - start_bytes))))
    }

    /// A page in a hole, of which the parent has this hash.
    fn zero_page(&self, known: Option<&PageHash>) -> DraftPage {
        let is_same = known == Some(&self.zeros);
        let source = if is_same { DraftSource::Same } else { DraftSource::Zeros };
        DraftPage { hash: self.zeros, source }
    }

    async fn window(
        &mut self,
        mut content: Box<dyn source::Content>,
        at_bytes: u64,
        length: usize,
        first_page: usize,
        hashes: &Arc<Vec<PageHash>>,
    ) -> (Box<dyn source::Content>, Result<Window, Problem>) {
        let writer = Arc::clone(&self.stage.writer);
        let hashes = Arc::clone(hashes);
        let page_bytes = self.page_bytes;
        let mut bytes = std::mem::take(&mut self.spare);
        let job = move || {
            let known = hashes.get(first_page..).unwrap_or_default();
            bytes.resize(length, 0);
            let window = read_window(&mut *content, &writer, at_bytes, bytes, page_bytes, known);
            (content, window)
        };
        let (content, window) = self.stage.writer.repository().world().cpu.run(job).await;
        let read = window.as_ref().map_or(0, |window| window.bytes.len());
        Progress::add(&self.stage.progress.read_bytes, to_u64(read));
        (content, window)
    }

    /// Adds a window's pages to the segment, and its new ones to the open group.
    async fn gather(
        &mut self,
        window: Window,
        pages: &mut Vec<DraftPage>,
    ) -> Result<(), repo::Error> {
        let bodies = window.bytes.chunks(self.page_bytes);
        for ((body, hash), kind) in bodies.zip(window.hashes).zip(window.kinds) {
            let source = match kind {
                PageKind::Same => DraftSource::Same,
                PageKind::Zeros => DraftSource::Zeros,
                PageKind::New => {
                    let group = self.open_group().await?;
                    group.bytes.extend_from_slice(body);
                    group.pages += 1;
                    DraftSource::New { group: Arc::clone(&group.slot), page: group.pages - 1 }
                }
            };
            pages.push(DraftPage { hash, source });
        }
        self.spare = window.bytes;
        // Where all is new, groups end at multiples of their size, so that a copy of the file that
        // has no parent finds the same chunks.
        let aligned = (pages.len() * self.page_bytes).is_multiple_of(GROUP_BYTES);
        if aligned && self.group.as_ref().is_some_and(|group| group.bytes.len() >= GROUP_BYTES / 2)
        {
            self.flush_group();
        }
        Ok(())
    }

    async fn open_group(&mut self) -> Result<&mut Group, repo::Error> {
        if self.group.as_ref().is_some_and(|group| group.bytes.len() >= GROUP_BYTES) {
            self.flush_group();
        }
        while self.stores.front().is_some_and(Task::is_finished) {
            self.stores.pop_front();
        }
        let group = match self.group.take() {
            Some(group) => group,
            None => Group {
                permit: self.stage.writer.reserve(GROUP_BYTES).await?,
                slot: Arc::default(),
                bytes: Vec::with_capacity(GROUP_BYTES),
                pages: 0,
                segments: 0,
            },
        };
        Ok(self.group.insert(group))
    }

    /// Segments wait for the open group, and there is room for so many of them only.
    fn age_group(&mut self) {
        if let Some(group) = &mut self.group {
            group.segments += 1;
            if group.segments >= GROUP_SEGMENTS {
                self.flush_group();
            }
        }
    }

    fn flush_group(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        let stage = self.stage.clone();
        let store = self.stage.spawn(async move {
            let length = u32::try_from(group.bytes.len()).unwrap_or(u32::MAX);
            let piece = Piece { bytes: group.bytes, lengths: vec![length] };
            let references = stage.store_piece(piece, group.permit).await?;
            if let Some(reference) = references.into_iter().next() {
                reference.frame.wait().await;
                drop(group.slot.set(reference));
            }
            Ok(())
        });
        self.stores.push_back(store);
    }
}

fn read_window(
    content: &mut dyn source::Content,
    writer: &Writer,
    at_bytes: u64,
    mut bytes: Vec<u8>,
    page_bytes: usize,
    known: &[PageHash],
) -> Result<Window, Problem> {
    let read = content.read_at(&mut bytes, at_bytes)?;
    bytes.truncate(read);
    let keys = writer.repository().secrets().newest();
    let hashes: Vec<PageHash> = bytes.chunks(page_bytes).map(|page| keys.page_hash(page)).collect();
    let kind = |(number, page): (usize, &[u8])| {
        if known.get(number) == hashes.get(number) {
            PageKind::Same
        } else if page.iter().all(|byte| *byte == 0) {
            PageKind::Zeros
        } else {
            PageKind::New
        }
    };
    let kinds = bytes.chunks(page_bytes).enumerate().map(kind).collect();
    Ok(Window { bytes, hashes, kinds })
}

/// Page size, if a file is cut into pages.
pub(super) fn page_bytes(cutter: Cutter) -> Option<u32> {
    match cutter {
        Cutter::Pages { page_bytes } => Some(page_bytes),
        _ => None,
    }
}
