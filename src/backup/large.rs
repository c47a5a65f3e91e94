//! Large files: read and cut one piece after the other, while pieces before are hashed, compressed
//! and stored on all cores.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::backup::extent::Course;
use crate::backup::flow::{Piece, Progress, ReadRequest, Stage, Task};
use crate::backup::list::ListWriter;
use crate::backup::small::{unreadable, with_attributes};
use crate::entry::{Cutter, Entry, Extent};
use crate::repo;
use crate::repo::chunker::{Chunker, Gear};
use crate::repo::reference::{ChunkRef, FRAME_LIMIT_BYTES};
use crate::repo::tree::content::{Content, Extents, encode_extents};
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::repo::writer::Writer;
use crate::source::{self, Problem};
use crate::units::{MIB, to_u64, to_usize};

/// Bytes in a piece, unless the longest chunk is longer.
const PIECE_BYTES: usize = 4 * MIB;
/// Chunks of a file without a better choice.
const GENERAL: Cutter = Cutter::Content { average_bytes: 512 * 1024 };
/// Runs of data that a leaf holds itself.
const INLINE_RUNS: usize = 64;
/// Runs of data in an extents node.
const NODE_RUNS: usize = 65_536;

type Stored = VecDeque<Task<Vec<ChunkRef>>>;

/// A file that is being read.
struct Reading {
    content: Box<dyn source::Content>,
    gear: Arc<Gear>,
    chunker: Option<Chunker>,
    course: Course,
    carry: Vec<u8>,
    capacity_bytes: usize,
}

/// The cutter for a file of this kind and size.
fn cutter_for(wanted: Cutter, size_bytes: u64) -> Cutter {
    match wanted {
        Cutter::Whole if size_bytes > u64::from(FRAME_LIMIT_BYTES) => GENERAL,
        other => other,
    }
}

impl Reading {
    fn new(
        content: Box<dyn source::Content>,
        gear: Arc<Gear>,
        cutter: Cutter,
        runs: Option<&[Extent]>,
    ) -> Self {
        let course = Course::new(runs);
        let chunker = match cutter {
            Cutter::Content { average_bytes } => Some(Chunker::new(average_bytes)),
            _ => None,
        };
        // With room for a byte more, the read of a whole file comes short and so proves its end.
        let whole_bytes = to_usize(content.entry().size_bytes).max(MIB) + 1;
        let capacity_bytes =
            chunker.map_or(whole_bytes, |chunker| chunker.longest_bytes().max(PIECE_BYTES));
        Self { content, gear, chunker, course, carry: Vec::new(), capacity_bytes }
    }

    /// Reads and cuts the next piece; an empty one ends the file. Blocks.
    fn next(&mut self) -> Result<Piece, Problem> {
        // Room for the seal's tag, so that sealing in place never moves the buffer.
        let mut bytes = Vec::with_capacity(self.capacity_bytes + 64);
        bytes.append(&mut self.carry);
        self.fill(&mut bytes)?;
        let ended = self.course.is_over();
        let mut lengths = Vec::new();
        let mut cut = 0;
        while let Some(rest) = bytes.get(cut..).filter(|rest| !rest.is_empty()) {
            let length = match self.chunker {
                None => rest.len().min(to_usize(FRAME_LIMIT_BYTES.into())),
                Some(chunker) => chunker.cut(&self.gear, rest),
            };
            // A cut before the end is where it would be with more data too; at the end only the
            // longest chunk is.
            let decided = length < rest.len() || self.is_longest(length);
            if !decided && !ended {
                break;
            }
            cut += length;
            lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        }
        self.carry = bytes.split_off(cut);
        Ok(Piece { bytes, lengths })
    }

    fn is_longest(&self, length: usize) -> bool {
        self.chunker.is_none_or(|chunker| length >= chunker.longest_bytes())
    }

    fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<(), Problem> {
        while bytes.len() < self.capacity_bytes && !self.course.is_over() {
            let most_bytes = self.capacity_bytes - bytes.len();
            self.course.advance(&mut *self.content, bytes, most_bytes)?;
        }
        Ok(())
    }
}

/// What the file's metadata are, asked for once it is open.
pub(super) struct Opened {
    pub(super) entry: Entry,
    pub(super) cutter: Cutter,
    pub(super) runs: Option<Vec<Extent>>,
    /// Why attributes are missing.
    pub(super) lacking: Option<Problem>,
}

/// Asks an open file for everything but its bytes. Blocks.
pub(super) fn inspect(content: &mut dyn source::Content) -> Result<Opened, Problem> {
    let cutter = cutter_for(content.cutter()?, content.entry().size_bytes);
    let (entry, lacking) = with_attributes(content.entry().clone(), content.attributes());
    let runs = content.extents()?;
    Ok(Opened { entry, cutter, runs, lacking })
}

/// Reads a file to its end; pieces are stored by tasks of their own. Returns what is left to be done:
/// waiting for those, which the caller need not wait for before it reads the next file.
pub(super) async fn read_large(
    stage: &Stage,
    request: ReadRequest,
    content: Box<dyn source::Content>,
    opened: Opened,
) -> Result<impl Future<Output = Result<(), repo::Error>> + Send + 'static, repo::Error> {
    if let Some(parent) = &request.parent {
        learn_parent(stage, parent).await?;
    }
    let gear = Arc::clone(stage.writer.gear());
    let mut reading = Reading::new(content, gear, opened.cutter, opened.runs.as_deref());
    let mut pieces = Stored::new();
    let mut list = ListWriter::new(&stage.writer);
    let cpu = &stage.writer.repository().world().cpu;
    let mut failed = None;
    loop {
        let permit = stage.writer.reserve(reading.capacity_bytes).await?;
        let next = move || {
            let piece = reading.next();
            (reading, piece)
        };
        let (back, piece) = cpu.run(next).await;
        reading = back;
        match piece {
            Ok(piece) if piece.lengths.is_empty() => break,
            Ok(piece) => {
                Progress::add(&stage.progress.read_bytes, to_u64(piece.bytes.len()));
                pieces.push_back(spawn_store(stage, piece, permit));
            }
            Err(problem) => {
                failed = Some(problem);
                break;
            }
        }
        // Long lists are written while the file is read, so that memory does not grow with it.
        while pieces.len() > 16 {
            push_next(&mut list, &mut pieces).await?;
        }
    }
    Progress::add(&stage.progress.read_files, 1);
    let Reading { content, course, .. } = reading;
    let closed = cpu.run(move || content.close()).await;
    let writer = Arc::clone(&stage.writer);
    Ok(async move {
        while !pieces.is_empty() {
            push_next(&mut list, &mut pieces).await?;
        }
        let Opened { entry, cutter, runs, lacking } = opened;
        let (entry, runs) = course.as_read(entry, runs);
        if let Some(problem) = failed {
            request.answer(Some(unreadable(entry)), Some(problem));
            return Ok(());
        }
        let (level, items) = list.finish().await?;
        let extents = store_extents(&writer, runs).await?;
        let fidelity = if closed.is_some() { Fidelity::Changed } else { Fidelity::Exact };
        let cutter = (!items.is_empty()).then_some(cutter);
        let content = Content { cutter, level, items };
        let lacks_attributes = lacking.is_some();
        request.answer(
            Some(StoredEntry { entry, content, extents, fidelity, lacks_attributes }),
            lacking.into_iter().chain(closed),
        );
        Ok(())
    })
}

fn spawn_store(stage: &Stage, piece: Piece, permit: OwnedSemaphorePermit) -> Task<Vec<ChunkRef>> {
    let this = stage.clone();
    stage.spawn(async move { this.store_piece(piece, permit).await })
}

async fn push_next(list: &mut ListWriter, pieces: &mut Stored) -> Result<(), repo::Error> {
    if let Some(stored) = pieces.pop_front() {
        for reference in stored.join().await {
            // The chunk may have been claimed by another frame that is still on its way.
            reference.frame.wait().await;
            let covered_bytes = u64::from(reference.length_bytes);
            list.push(reference, covered_bytes).await?;
        }
    }
    Ok(())
}

/// Remembers the chunks that the parent has of this file: most of them will come again.
async fn learn_parent(stage: &Stage, parent: &StoredEntry) -> Result<(), repo::Error> {
    /// More are not worth their memory; the index finds those.
    const MOST_CHUNKS: usize = 100_000;
    if matches!(parent.content.cutter, Some(Cutter::Pages { .. }) | None) {
        return Ok(());
    }
    let repository = stage.writer.repository();
    let mut chunks = repository.content_items(&parent.content);
    let mut count = 0;
    loop {
        let reference = match chunks.next().await {
            Ok(Some(reference)) => reference,
            Ok(None) => break,
            // A parent saves work, and nothing rests on it.
            Err(error) if error.is_loss() => {
                tracing::warn!(%error, "the rest of what the last snapshot has of a file cannot be read");
                break;
            }
            Err(error) => return Err(error),
        };
        stage.writer.learn(std::iter::once(&reference));
        count += 1;
        if count >= MOST_CHUNKS {
            break;
        }
    }
    Ok(())
}

/// Stores the runs of a sparse file.
pub(super) async fn store_extents(
    writer: &Arc<Writer>,
    runs: Option<Vec<Extent>>,
) -> Result<Extents, repo::Error> {
    let runs = match runs {
        None => return Ok(Extents::None),
        Some(runs) if runs.len() <= INLINE_RUNS => return Ok(Extents::Inline(runs)),
        Some(runs) => runs,
    };
    let mut nodes = Vec::new();
    let mut at_bytes = 0;
    for part in runs.chunks(NODE_RUNS) {
        let (node, end) = encode_extents(part, at_bytes);
        nodes.push(writer.leaf(&node).await?);
        at_bytes = end;
    }
    Ok(Extents::Nodes(nodes))
}
