//! `cat`: the bytes of one file, in order, each verified before it is handed out. Needs a recovery
//! key.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::entry::{Cutter, Extent, Kind, TreePath};
use crate::repo::content::ContentItems;
use crate::repo::id::PackId;
use crate::repo::layout;
use crate::repo::reader::{PackOpener, verified_chunk};
use crate::repo::reference::{ChunkRef, Place};
use crate::repo::snapshot::Snapshot;
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::repo::tree::pages::{SEGMENT_PAGES, Segment, Source};
use crate::repo::walk::EntryCursor;
use crate::repo::{Error, Repository};
use crate::units::{MIB, to_u64, to_usize};

/// Zeros of a hole that are handed out at a time.
const ZEROS_BYTES: u64 = MIB as u64;
/// Plaintext of frames that is kept, since the pages of a database lie scattered.
const FRAMES_BYTES: usize = 32 * MIB;

/// What comes next in the file.
#[derive(Debug)]
enum Part {
    Zeros(u64),
    Bytes { chunk: ChunkRef, from_bytes: u32, length_bytes: u32 },
}

/// How the file was cut.
#[derive(Debug)]
enum Plan {
    /// Chunks fill the runs of data that are left, one after the other.
    Stream { runs: VecDeque<Extent> },
    /// Page map segments, each of 4,096 pages.
    Pages { page_bytes: u32 },
}

/// Reads a file from its first byte to its last.
#[derive(Debug)]
pub struct FileReader {
    repository: Repository,
    stored: StoredEntry,
    /// Where it is, for errors.
    name: String,
    items: ContentItems,
    plan: Plan,
    parts: VecDeque<Part>,
    /// Where the parts end that are known.
    planned_bytes: u64,
    frames: Frames,
}

/// Opens the file at `path` of a source.
pub async fn open(
    repository: &Repository,
    snapshot: &Snapshot,
    source: &str,
    path: &TreePath,
) -> Result<FileReader, Error> {
    if !repository.reads_content() {
        return Err(Error::AgentKey);
    }
    let record = snapshot.require_source(source)?;
    let mut cursor = EntryCursor::open(repository, &record.root).await?;
    cursor.seek(path).await?;
    let stored = cursor.next().await?.filter(|stored| stored.entry.path == *path);
    let stored = stored.ok_or_else(|| snapshot.no_such_path(source, path))?;
    let name = format!("{}:{source}/{path}", snapshot.short_id());
    let refuse =
        |reason: &str| Err(Error::Snapshot { wanted: name.clone(), reason: reason.to_owned() });
    match (&stored.entry.kind, stored.fidelity) {
        (Kind::File, Fidelity::Absent) => {
            return refuse("it could not be read when this was backed up, so nothing is stored");
        }
        (Kind::File, _) => {}
        (Kind::Directory, _) => return refuse("it is a directory; name a file in it"),
        _ => return refuse("it is no regular file, so it has no content"),
    }
    let size_bytes = stored.entry.size_bytes;
    let plan = if let Some(Cutter::Pages { page_bytes }) = stored.content.cutter {
        Plan::Pages { page_bytes }
    } else {
        let runs = repository.extents(&stored.extents, size_bytes).await?;
        let whole = vec![Extent { offset_bytes: 0, length_bytes: size_bytes }];
        let mut runs = runs.unwrap_or(whole);
        runs.retain(|run| run.length_bytes > 0);
        Plan::Stream { runs: runs.into() }
    };
    Ok(FileReader {
        repository: repository.clone(),
        items: repository.content_items(&stored.content),
        stored,
        name,
        plan,
        parts: VecDeque::new(),
        planned_bytes: 0,
        frames: Frames::default(),
    })
}

impl FileReader {
    /// The file.
    pub fn stored(&self) -> &StoredEntry {
        &self.stored
    }

    /// The next bytes; `None` when all were handed out. Costs a GET per frame.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.parts.pop_front() {
                Some(Part::Zeros(0)) => {}
                Some(Part::Zeros(length_bytes)) => {
                    let now = length_bytes.min(ZEROS_BYTES);
                    self.parts.push_front(Part::Zeros(length_bytes - now));
                    return Ok(Some(vec![0; to_usize(now)]));
                }
                Some(Part::Bytes { chunk, from_bytes, length_bytes }) => {
                    let frame = self.frames.verified(&self.repository, &chunk).await?;
                    let start = to_usize(u64::from(chunk.offset_bytes) + u64::from(from_bytes));
                    let bytes = frame.get(start..start + to_usize(length_bytes.into()));
                    let bytes = bytes.map(<[u8]>::to_vec);
                    return bytes.map(Some).ok_or_else(|| self.damaged("lies beyond its chunk"));
                }
                None => {
                    let Some(item) = self.items.next().await? else {
                        return self.end();
                    };
                    self.plan(item).await?;
                }
            }
        }
    }

    /// What stands between the last byte that is stored and the end: a hole, or it is damage.
    fn end(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let left_bytes = self.stored.entry.size_bytes.saturating_sub(self.planned_bytes);
        let is_hole = matches!(&self.plan, Plan::Stream { runs } if runs.is_empty());
        if left_bytes == 0 && (is_hole || matches!(self.plan, Plan::Pages { .. })) {
            return Ok(None);
        }
        if !is_hole {
            return Err(self.damaged("has not as many bytes as the file"));
        }
        let now = left_bytes.min(ZEROS_BYTES);
        self.planned_bytes += now;
        Ok(Some(vec![0; to_usize(now)]))
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(format!("the content of {}", self.name), reason)
    }

    async fn plan(&mut self, item: ChunkRef) -> Result<(), Error> {
        match self.plan {
            Plan::Stream { .. } => self.plan_chunk(item),
            Plan::Pages { page_bytes } => self.plan_segment(item, page_bytes).await,
        }
    }

    fn plan_chunk(&mut self, chunk: ChunkRef) -> Result<(), Error> {
        let mut from_bytes = 0;
        while from_bytes < chunk.length_bytes {
            let Plan::Stream { runs } = &mut self.plan else {
                break;
            };
            let Some(run) = runs.front_mut() else {
                return Err(self.damaged("has more bytes than the file"));
            };
            let hole_bytes = run.offset_bytes.saturating_sub(self.planned_bytes);
            let left = chunk.length_bytes - from_bytes;
            let length_bytes = u32::try_from(run.length_bytes).map_or(left, |run| run.min(left));
            run.offset_bytes += u64::from(length_bytes);
            run.length_bytes -= u64::from(length_bytes);
            self.planned_bytes = run.offset_bytes;
            if run.length_bytes == 0 {
                runs.pop_front();
            }
            self.parts.push_back(Part::Zeros(hole_bytes));
            self.parts.push_back(Part::Bytes { chunk: chunk.clone(), from_bytes, length_bytes });
            from_bytes += length_bytes;
        }
        Ok(())
    }

    async fn plan_segment(&mut self, item: ChunkRef, page_bytes: u32) -> Result<(), Error> {
        let segment = self.repository.node(&item, Segment::decode).await?;
        let base = match &segment {
            Segment::Full { .. } => None,
            Segment::Overlay { base, .. } => {
                Some(self.repository.node(base, Segment::decode).await?)
            }
        };
        let (chunks, pages) = segment.flatten(base).map_err(|error| self.damaged(error.0))?;
        let segment_bytes = to_u64(SEGMENT_PAGES) * u64::from(page_bytes);
        let left_bytes = self.stored.entry.size_bytes.saturating_sub(self.planned_bytes);
        let mut left_bytes = left_bytes.min(segment_bytes);
        if to_u64(pages.len()) != left_bytes.div_ceil(u64::from(page_bytes)) {
            return Err(self.damaged("has a page map that does not cover it"));
        }
        self.planned_bytes += left_bytes;
        for page in pages {
            let length = u64::from(page_bytes).min(left_bytes);
            left_bytes -= length;
            let length_bytes = u32::try_from(length).unwrap_or(page_bytes);
            match page.source {
                Source::Zeros => self.parts.push_back(Part::Zeros(length)),
                Source::Chunk { chunk, page } => {
                    let chunk = usize::try_from(chunk).ok().and_then(|place| chunks.get(place));
                    let from_bytes = page.checked_mul(page_bytes);
                    let end = from_bytes.and_then(|from| from.checked_add(length_bytes));
                    let (Some(chunk), Some(from_bytes), Some(end)) = (chunk, from_bytes, end)
                    else {
                        return Err(self.damaged("has a page map that names no chunk"));
                    };
                    if end > chunk.length_bytes {
                        return Err(
                            self.damaged("has a page map that names a page beyond its chunk")
                        );
                    }
                    self.page(chunk, from_bytes, length_bytes);
                }
            }
        }
        Ok(())
    }

    /// Plans a page, together with the one before where they lie side by side.
    fn page(&mut self, chunk: &ChunkRef, from_bytes: u32, length_bytes: u32) {
        if let Some(Part::Bytes { chunk: last, from_bytes: start, length_bytes: length }) =
            self.parts.back_mut()
            && last.id == chunk.id
            && *start + *length == from_bytes
        {
            *length += length_bytes;
            return;
        }
        self.parts.push_back(Part::Bytes { chunk: chunk.clone(), from_bytes, length_bytes });
    }
}

/// Frames of data packs read lately, and what opens more of them.
#[derive(Debug, Default)]
struct Frames {
    openers: HashMap<PackId, PackOpener>,
    /// The one used last stands last.
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    place: Place,
    plain: Vec<u8>,
    /// Chunks of it that were found to be what they should be: where they start and end.
    verified: HashSet<(u32, u32)>,
}

impl Frames {
    /// The plaintext of the frame that `chunk` lies in, of which the chunk is verified.
    async fn verified(
        &mut self,
        repository: &Repository,
        chunk: &ChunkRef,
    ) -> Result<&[u8], Error> {
        let place = chunk.frame.place();
        let place = place.ok_or_else(|| Error::Bug("reading a frame without a place".into()))?;
        let known = self.kept.iter().position(|kept| kept.place == place);
        let mut kept = if let Some(kept) = known.and_then(|at| self.kept.remove(at)) {
            kept
        } else {
            let plain = self.read(repository, place).await?;
            Kept { place, plain, verified: HashSet::new() }
        };
        if !kept.verified.contains(&(chunk.offset_bytes, chunk.length_bytes)) {
            verified_chunk(repository, chunk, &kept.plain)?;
            kept.verified.insert((chunk.offset_bytes, chunk.length_bytes));
        }
        self.kept.push_back(kept);
        while self.kept.len() > 1
            && self.kept.iter().map(|kept| kept.plain.len()).sum::<usize>() > FRAMES_BYTES
        {
            self.kept.pop_front();
        }
        Ok(self.kept.back().map(|kept| kept.plain.as_slice()).unwrap_or_default())
    }

    async fn read(&mut self, repository: &Repository, place: Place) -> Result<Vec<u8>, Error> {
        let opener = if let Some(opener) = self.openers.get(&place.pack) {
            opener.clone()
        } else {
            let opener = repository.data_opener(place.pack).await?;
            self.openers.insert(place.pack, opener.clone());
            opener
        };
        let range = u64::from(place.offset_bytes)..place.end_bytes();
        let stored = repository.store().get_range(&layout::pack(place.pack), range).await?;
        let opening = move || opener.open(&place, &stored);
        repository.world().cpu.run(opening).await
    }
}
