//! Small files: hundreds of neighbours are read into one buffer, hashed and stored as one frame, so
//! that they compress as well as one large file and cost one hand-over.

use std::sync::Arc;

use crate::backup::extent::Course;
use crate::backup::flow::{Piece, Progress, ReadRequest, Stage};
use crate::entry::{Cutter, Entry};
use crate::repo;
use crate::repo::chunker::{Chunker, Gear};
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::{Content, Extents, Item};
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::source::{self, Attributes, Fault, Files, Problem};
use crate::units::{KIB, MIB, to_u64, to_usize};

/// A file up to this size is one chunk.
pub(super) const ONE_CHUNK_BYTES: u64 = 128 * KIB as u64;
/// A file up to this size is read with its neighbours.
pub(super) const SMALL_BYTES: u64 = MIB as u64;
/// The first read of a file asks for so much at least: a file may hold more than its size says.
const FIRST_READ_BYTES: usize = 4 * KIB;
/// And each further one.
const MORE_BYTES: usize = 64 * KIB;
/// How many bytes of neighbours are read into a buffer.
pub(super) const BATCH_BYTES: u64 = 2 * MIB as u64;
/// And how many files.
pub(super) const BATCH_FILES: usize = 1024;

/// What became of a file of a batch.
enum Outcome {
    /// Read: its chunks are a run of the batch's.
    Read(Box<StoredEntry>, std::ops::Range<usize>, Vec<Problem>),
    /// It is gone.
    Gone(Problem),
    /// It is too large or of a kind that is read in another way.
    Deferred(Box<dyn source::Content>),
}

struct BatchRead {
    requests: Vec<ReadRequest>,
    outcomes: Vec<Outcome>,
    piece: Piece,
}

/// Reads a batch and stores what is new. Returns the files that must be read in another way.
pub(super) async fn read_batch(
    stage: &Stage,
    requests: Vec<ReadRequest>,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<Vec<(ReadRequest, Box<dyn source::Content>)>, repo::Error> {
    let files = Arc::clone(&stage.files);
    let writer = Arc::clone(&stage.writer);
    let job = move || {
        let batch = read_all(&*files, writer.gear(), requests);
        let ids = batch.piece.ids(&writer);
        (batch, ids)
    };
    let (mut batch, ids) = stage.writer.repository().world().cpu.run(job).await;
    Progress::add(&stage.progress.read_files, to_u64(batch.outcomes.len()));
    Progress::add(&stage.progress.read_bytes, to_u64(batch.piece.bytes.len()));
    let (references, frame, kept) = stage.claim(&mut batch.piece, &ids).await?;
    let mut deferred = Vec::new();
    for (request, outcome) in batch.requests.into_iter().zip(batch.outcomes) {
        match outcome {
            Outcome::Read(mut stored, chunks, problems) => {
                stored.content.items = items(references.get(chunks).unwrap_or_default());
                request.answer(Some(*stored), problems);
            }
            Outcome::Gone(problem) => request.answer(None, Some(problem)),
            Outcome::Deferred(content) => deferred.push((request, content)),
        }
    }
    if !kept.is_empty() {
        stage.writer.store_data(frame, batch.piece.bytes, kept, permit).await?;
    }
    Ok(deferred)
}

/// Content items of a list of chunks.
pub(super) fn items(references: &[ChunkRef]) -> Vec<Item> {
    references
        .iter()
        .map(|reference| Item { covered_bytes: 0, reference: reference.clone() })
        .collect()
}

fn read_all(files: &dyn Files, gear: &Gear, requests: Vec<ReadRequest>) -> BatchRead {
    let expected: u64 = requests.iter().map(|request| request.entry.size_bytes).sum();
    let mut piece = Piece {
        bytes: Vec::with_capacity(
            to_usize(expected.min(BATCH_BYTES + SMALL_BYTES)) + FIRST_READ_BYTES,
        ),
        lengths: Vec::with_capacity(requests.len()),
    };
    let outcomes =
        requests.iter().map(|request| read_one(files, gear, &request.entry, &mut piece)).collect();
    BatchRead { requests, outcomes, piece }
}

/// What is kept of a file that could not be read at all.
pub(super) fn unreadable(entry: Entry) -> StoredEntry {
    StoredEntry { fidelity: Fidelity::Absent, ..StoredEntry::bare(entry) }
}

fn failed(entry: &Entry, problem: Problem) -> Outcome {
    if problem.fault == Fault::Vanished {
        return Outcome::Gone(problem);
    }
    Outcome::Read(Box::new(unreadable(entry.clone())), 0..0, vec![problem])
}

/// An entry with its attributes, whether some are lacking, and why.
pub(super) fn with_attributes(
    mut entry: Entry,
    attributes: Attributes,
) -> (Entry, Option<Problem>) {
    entry.xattrs = attributes.xattrs;
    entry.inode_flags |= attributes.inode_flags;
    (entry, attributes.lacking)
}

fn read_one(files: &dyn Files, gear: &Gear, entry: &Entry, piece: &mut Piece) -> Outcome {
    if !entry.is_file() {
        return match files.attributes(entry) {
            Ok(attributes) => {
                let (entry, lacking) = with_attributes(entry.clone(), attributes);
                let lacks_attributes = lacking.is_some();
                let stored = StoredEntry { lacks_attributes, ..StoredEntry::bare(entry) };
                Outcome::Read(Box::new(stored), 0..0, lacking.into_iter().collect())
            }
            Err(problem) => failed(entry, problem),
        };
    }
    let mut content = match files.open(entry) {
        Ok(content) => content,
        Err(problem) => return failed(entry, problem),
    };
    if content.entry().size_bytes > SMALL_BYTES || content.is_stream() {
        return Outcome::Deferred(content);
    }
    let bytes_before = piece.bytes.len();
    let chunks_before = piece.lengths.len();
    let outcome = try_read_one(&mut *content, gear, piece);
    match outcome {
        Ok(Some((mut stored, lacking))) => {
            let changed = content.close();
            if changed.is_some() {
                stored.fidelity = Fidelity::Changed;
            }
            let problems = lacking.into_iter().chain(changed).collect();
            Outcome::Read(Box::new(stored), chunks_before..piece.lengths.len(), problems)
        }
        Ok(None) => {
            piece.bytes.truncate(bytes_before);
            Outcome::Deferred(content)
        }
        Err(problem) => {
            piece.bytes.truncate(bytes_before);
            piece.lengths.truncate(chunks_before);
            failed(entry, problem)
        }
    }
}

/// `None` where the file must be read page by page, or is larger than its size says.
fn try_read_one(
    content: &mut dyn source::Content,
    gear: &Gear,
    piece: &mut Piece,
) -> Result<Option<(StoredEntry, Option<Problem>)>, Problem> {
    let cutter = content.cutter()?;
    let size_bytes = content.entry().size_bytes;
    if matches!(cutter, Cutter::Pages { .. }) && size_bytes > ONE_CHUNK_BYTES {
        return Ok(None);
    }
    let (entry, lacking) = with_attributes(content.entry().clone(), content.attributes());
    let runs = content.extents()?;
    let start = piece.bytes.len();
    let mut course = Course::new(runs.as_deref());
    // One byte more than there should be: that the read comes short proves the end.
    let mut most_bytes = to_usize(size_bytes + 1).max(FIRST_READ_BYTES);
    while !course.is_over() {
        if to_u64(piece.bytes.len() - start) > SMALL_BYTES {
            return Ok(None);
        }
        course.advance(content, &mut piece.bytes, most_bytes)?;
        most_bytes = most_bytes.max(MORE_BYTES);
    }
    let (entry, runs) = course.as_read(entry, runs);
    let read = piece.bytes.get(start..).unwrap_or_default();
    let cutter = match cutter {
        // So short a file has one page map entry's worth of gain: it is kept as one chunk.
        Cutter::Pages { .. } => Cutter::Whole,
        other => other,
    };
    cut(cutter, gear, read, &mut piece.lengths);
    let content =
        Content { cutter: (!read.is_empty()).then_some(cutter), level: 0, items: Vec::new() };
    let extents = runs.map_or(Extents::None, Extents::Inline);
    let lacks_attributes = lacking.is_some();
    let fidelity = Fidelity::Exact;
    Ok(Some((StoredEntry { entry, content, extents, fidelity, lacks_attributes }, lacking)))
}

fn cut(cutter: Cutter, gear: &Gear, mut data: &[u8], lengths: &mut Vec<u32>) {
    let chunker = match cutter {
        Cutter::Content { average_bytes } if to_u64(data.len()) > ONE_CHUNK_BYTES => {
            Some(Chunker::new(average_bytes))
        }
        _ => None,
    };
    while !data.is_empty() {
        let length = chunker.map_or(data.len(), |chunker| chunker.cut(gear, data));
        let (chunk, rest) = data.split_at(length);
        lengths.push(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        data = rest;
    }
}
