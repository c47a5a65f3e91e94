//! Fetching: pieces are gathered by frame, frames that lie close together are read with one GET, and
//! each frame is opened, verified and written out on the CPU pool, in whatever order they come. From time
//! to time what was written is brought to disk, beside all that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::destination::{self, Destination};
use crate::repo::id::{ChunkId, PackId};
use crate::repo::layout;
use crate::repo::reader::{PackOpener, verified_chunk};
use crate::repo::reference::Place;
use crate::repo::{self, Repository};
use crate::restore::file::RestoredFile;
use crate::restore::layout::Piece;
use crate::restore::refusals::Refused;
use crate::restore::{Damage, Error, Progress};
use crate::units::{KIB, MIB, to_u64, to_usize};

/// Frames that lie closer together than this are read with one GET.
const GAP_BYTES: u64 = 256 * KIB as u64;
/// Longest GET, unless a single frame is longer.
const GET_BYTES: u64 = 8 * MIB as u64;
/// Stored and plain bytes that may be in memory at a time.
const MEMORY_KIB: usize = 28 * 1024;
/// Plain bytes of frames that are gathered before fetching begins.
const WINDOW_BYTES: u64 = 64 * MIB as u64;
/// And pieces, which take memory too.
const WINDOW_PIECES: usize = 65_536;
/// When so much was asked for, what is written by then is brought to disk beside what goes on. Without it
/// a disk with a cache of its own had 1.3 s to do after the last byte of a gigabyte, and was idle before.
const WRITE_BACK_BYTES: u64 = 128 * MIB as u64;
/// Short jobs that go to the CPU pool together: to hand over one by one costs more than most take.
const JOBS_TOGETHER: usize = 64;

/// A short job beside the fetching.
type Job = Box<dyn FnOnce(&Shared) -> Result<(), Error> + Send>;

/// A piece and the file that it belongs to.
struct Wanted {
    file: Arc<RestoredFile>,
    piece: Piece,
}

/// A frame and everything that is wanted of it.
struct FrameWork {
    place: Place,
    wanted: Vec<Wanted>,
}

/// What workers share.
pub(super) struct Shared {
    pub(super) repository: Repository,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) progress: Arc<Progress>,
    pub(super) damage: mpsc::UnboundedSender<Damage>,
    pub(super) refused: Arc<Refused>,
    memory: Arc<Semaphore>,
    /// One at a time: a second would only wait for the same disk.
    write_back: Arc<Semaphore>,
    fetched_bytes: AtomicU64,
}

/// Gathers pieces and fetches them window by window.
pub(super) struct Fetcher {
    shared: Arc<Shared>,
    window: BTreeMap<(PackId, u32), FrameWork>,
    window_bytes: u64,
    window_pieces: usize,
    jobs: Vec<Job>,
    tasks: JoinSet<Result<(), Error>>,
    /// Plain bytes of frames that were asked for since the last write-back began.
    unsynced_bytes: u64,
}

impl Fetcher {
    pub(super) fn new(
        repository: &Repository,
        destination: Arc<dyn Destination>,
        progress: Arc<Progress>,
        damage: mpsc::UnboundedSender<Damage>,
        refused: Arc<Refused>,
    ) -> Self {
        let shared = Shared {
            repository: repository.clone(),
            destination,
            progress,
            damage,
            refused,
            memory: Arc::new(Semaphore::new(MEMORY_KIB)),
            write_back: Arc::new(Semaphore::new(1)),
            fetched_bytes: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            window: BTreeMap::new(),
            window_bytes: 0,
            window_pieces: 0,
            jobs: Vec::new(),
            tasks: JoinSet::new(),
            unsynced_bytes: 0,
        }
    }

    /// Asks for a piece. Fetching begins when enough was asked for.
    pub(super) async fn want(
        &mut self,
        file: &Arc<RestoredFile>,
        piece: Piece,
    ) -> Result<(), Error> {
        let place = piece.chunk.frame.place();
        let place = place.ok_or_else(|| repo::Error::Bug("reading an unplaced frame".into()))?;
        file.expect();
        let key = (place.pack, place.offset_bytes);
        // Between two frames: one that both windows want would be fetched twice.
        let is_full = self.window_bytes >= WINDOW_BYTES && !self.window.contains_key(&key);
        if is_full || self.window_pieces >= WINDOW_PIECES {
            self.flush().await?;
        }
        let work = self.window.entry(key).or_insert_with(|| {
            self.window_bytes += u64::from(place.plain_bytes);
            FrameWork { place, wanted: Vec::new() }
        });
        work.wanted.push(Wanted { file: Arc::clone(file), piece });
        self.window_pieces += 1;
        Ok(())
    }

    /// Runs a short job on the CPU pool beside the fetching, by the end of it at the latest.
    pub(super) async fn run(
        &mut self,
        job: impl FnOnce(&Shared) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.jobs.push(Box::new(job));
        if self.jobs.len() >= JOBS_TOGETHER { self.run_jobs().await } else { Ok(()) }
    }

    async fn run_jobs(&mut self) -> Result<(), Error> {
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let permit = reserve(&self.shared, to_u64(jobs.len() * KIB)).await?;
        self.tasks.spawn(async move {
            let cpu = shared.repository.world().cpu.clone();
            cpu.run(move || {
                let _permit = permit;
                jobs.into_iter().try_for_each(|job| job(&shared))
            })
            .await
        });
        self.collect()
    }

    /// What workers share.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Starts fetching what was asked for.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.window_bytes = 0;
        self.window_pieces = 0;
        let frames = std::mem::take(&mut self.window).into_values();
        for run in coalesce(frames) {
            // Frames are opened one after the other, or as many as there are cores.
            let largest = run.frames.iter().map(FrameWork::plain_bytes).max().unwrap_or(0);
            let bytes = run.stored_bytes() + largest;
            let permit = reserve(&self.shared, bytes).await?;
            self.unsynced_bytes += run.frames.iter().map(FrameWork::plain_bytes).sum::<u64>();
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                let _permit = permit;
                fetch(&shared, run).await
            });
            self.write_back();
            self.collect()?;
        }
        Ok(())
    }

    /// Begins a write-back if it is time for one and none is under way.
    fn write_back(&mut self) {
        if self.unsynced_bytes < WRITE_BACK_BYTES {
            return;
        }
        let Ok(permit) = Arc::clone(&self.shared.write_back).try_acquire_owned() else {
            return;
        };
        self.unsynced_bytes = 0;
        let destination = Arc::clone(&self.shared.destination);
        let cpu = self.shared.repository.world().cpu.clone();
        self.tasks.spawn(async move {
            let written = cpu.run_waiting(move || destination.write_back()).await;
            drop(permit);
            Ok(written?)
        });
    }

    /// Takes in what is done.
    fn collect(&mut self) -> Result<(), Error> {
        while let Some(done) = self.tasks.try_join_next() {
            joined(done)?;
        }
        Ok(())
    }

    /// Waits for everything that was asked for.
    pub(super) async fn drain(&mut self) -> Result<(), Error> {
        self.run_jobs().await?;
        self.flush().await?;
        while let Some(done) = self.tasks.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    /// Waits for everything; returns the bytes that were fetched.
    pub(super) async fn finish(mut self) -> Result<u64, Error> {
        self.drain().await?;
        Ok(self.shared.fetched_bytes.load(Ordering::Relaxed))
    }
}

fn joined(done: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    match done {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(repo::Error::Bug("a task was cancelled".into()).into()),
    }
}

async fn reserve(shared: &Shared, bytes: u64) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
    let kib = to_usize(bytes).div_ceil(KIB).clamp(1, MEMORY_KIB);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let permit = Arc::clone(&shared.memory).acquire_many_owned(kib).await;
    permit.map_err(|_| repo::Error::Bug("the memory budget was closed".into()).into())
}

/// Frames of one pack that are read with one GET.
struct Run {
    pack: PackId,
    start_bytes: u64,
    end_bytes: u64,
    frames: Vec<FrameWork>,
}

impl Run {
    fn stored_bytes(&self) -> u64 {
        self.end_bytes - self.start_bytes
    }
}

impl FrameWork {
    fn plain_bytes(&self) -> u64 {
        u64::from(self.place.plain_bytes)
    }
}

/// Puts frames together that lie close to each other; they come in the order of packs and offsets.
fn coalesce(frames: impl Iterator<Item = FrameWork>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for frame in frames {
        let (start, end) = (u64::from(frame.place.offset_bytes), frame.place.end_bytes());
        match runs.last_mut() {
            Some(run)
                if run.pack == frame.place.pack
                    && start >= run.end_bytes
                    && start - run.end_bytes <= GAP_BYTES
                    && end - run.start_bytes <= GET_BYTES =>
            {
                run.end_bytes = end;
                run.frames.push(frame);
            }
            _ => runs.push(Run {
                pack: frame.place.pack,
                start_bytes: start,
                end_bytes: end,
                frames: vec![frame],
            }),
        }
    }
    runs
}

async fn fetch(shared: &Arc<Shared>, run: Run) -> Result<(), Error> {
    let read = async {
        let opener = shared.repository.data_opener(run.pack).await?;
        let range = run.start_bytes..run.end_bytes;
        let bytes = shared.repository.store().get_range(&layout::pack(run.pack), range).await;
        Ok::<_, repo::Error>((opener, bytes?))
    };
    let (opener, bytes) = match read.await {
        Ok(read) => read,
        // Without the pack its files are lost, but others need not be.
        Err(error) if error.is_loss() => {
            let error = shared.repository.confirm_loss(error).await?;
            let shared = Arc::clone(shared);
            let cpu = shared.repository.world().cpu.clone();
            let give_up =
                move || run.frames.iter().try_for_each(|frame| give_up(&shared, frame, &error));
            return cpu.run(give_up).await;
        }
        Err(error) => return Err(error.into()),
    };
    shared.fetched_bytes.fetch_add(to_u64(bytes.len()), Ordering::Relaxed);
    let jobs = run.frames.into_iter().map(|frame| {
        let start = to_usize(u64::from(frame.place.offset_bytes) - run.start_bytes);
        let stored = bytes.slice(start..start + to_usize(u64::from(frame.place.stored_bytes)));
        let shared = Arc::clone(shared);
        let opener = opener.clone();
        async move {
            let cpu = shared.repository.world().cpu.clone();
            cpu.run(move || write_frame(&shared, &opener, frame, &stored)).await
        }
    });
    futures::future::try_join_all(jobs).await?;
    Ok(())
}

/// Opens a frame, verifies the chunks that are wanted, and writes them out. Blocks.
fn write_frame(
    shared: &Shared,
    opener: &PackOpener,
    frame: FrameWork,
    stored: &[u8],
) -> Result<(), Error> {
    let plain = match opener.open(&frame.place, stored) {
        Ok(plain) => plain,
        Err(error) => return give_up(shared, &frame, &error),
    };
    let mut verified: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    let mut wanted = frame.wanted.as_slice();
    // Pieces of one file follow each other: it is looked at, and counted down, once.
    while let Some(first) = wanted.first() {
        let of_file = wanted.iter().take_while(|next| Arc::ptr_eq(&next.file, &first.file)).count();
        let (pieces, rest) = wanted.split_at(of_file);
        wanted = rest;
        let file = &first.file;
        for Wanted { piece, .. } in pieces {
            let chunk = &piece.chunk;
            let key = (chunk.offset_bytes, chunk.length_bytes);
            let sound = *verified.entry(key).or_insert_with(|| {
                let chunk = verified_chunk(&shared.repository, chunk, &plain);
                if let Err(error) = &chunk {
                    report(shared, file, error);
                }
                chunk.is_ok()
            });
            if !sound {
                spoil(shared, file, chunk.id);
                continue;
            }
            if file.is_spoiled() {
                continue;
            }
            let start = to_usize(u64::from(chunk.offset_bytes) + u64::from(piece.from_bytes));
            let end = start + to_usize(piece.length_bytes.into());
            let bytes = plain.get(start..end).unwrap_or_default();
            let output = file.output(&*shared.destination);
            match output.and_then(|output| output.write_at(bytes, piece.to_bytes)) {
                Ok(()) => shared.progress.add_bytes(u64::from(piece.length_bytes)),
                Err(error) => refuse(shared, file, error)?,
            }
        }
        finish_pieces(shared, file, to_u64(pieces.len()))?;
    }
    Ok(())
}

/// Counts pieces down, and the file if it is done.
pub(super) fn finish_pieces(
    shared: &Shared,
    file: &RestoredFile,
    pieces: u64,
) -> Result<(), Error> {
    match file.done(&*shared.destination, pieces) {
        Ok(true) if !file.is_spoiled() => shared.progress.add_file(),
        Ok(_) => {}
        Err(error) => refuse(shared, file, error)?,
    }
    Ok(())
}

/// Takes note that the destination refuses a file; passes on what ends the restore.
pub(super) fn refuse(
    shared: &Shared,
    file: &RestoredFile,
    error: destination::Error,
) -> Result<(), Error> {
    if error.ends_restore() {
        return Err(error.into());
    }
    if file.refuse() {
        shared.refused.add(&file.entry.path, &error);
    }
    lose(shared, file);
    Ok(())
}

/// Other names of the file cannot be linked to it.
fn lose(shared: &Shared, file: &RestoredFile) {
    if file.entry.links > 1 {
        shared.refused.lose(&file.entry.path);
    }
}

fn report(shared: &Shared, file: &RestoredFile, error: &repo::Error) {
    if !file.is_spoiled() {
        let path = file.entry.path.clone();
        // The receiver lives as long as the restore.
        drop(shared.damage.send(Damage::of_content(path, error)));
        lose(shared, file);
    }
    file.spoil();
}

fn spoil(shared: &Shared, file: &RestoredFile, chunk: ChunkId) {
    let error = repo::Error::damaged(format!("chunk {chunk}"), "is not what it was");
    report(shared, file, &error);
}

/// Names all files that want something of a frame that cannot be had.
fn give_up(shared: &Shared, frame: &FrameWork, error: &repo::Error) -> Result<(), Error> {
    for Wanted { file, .. } in &frame.wanted {
        report(shared, file, error);
        finish_pieces(shared, file, 1)?;
    }
    Ok(())
}
