//! An open regular file that is being read, and the judgement at its end: did it hold still?

use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, SeekFrom, Statx, fadvise, seek};
use rustix::io::{Errno, pread, retry_on_intr};

use super::preallocated::{Preallocated, runs_by_content};
use super::{Marks, Owners, attributes_of_fd, entry_of, problem, stat_fd};
use crate::entry::{Cutter, Entry, Extent, Kind};
use crate::source::cutter::{self, CutterChoice};
use crate::source::{Attributes, Content, Fault, Problem};
use crate::units::{MIB, to_u64, to_usize};

/// From here on advice to the page cache is worth its system calls.
const ADVISED_BYTES: u64 = MIB as u64;

/// More room than was asked for is not read into, but for so much.
const SLACK_BYTES: usize = 4096;

/// So far beyond its size a file is read whose size does not say what it holds. One that goes on is
/// taken for endless.
const MOST_UNTOLD_BYTES: u64 = 4 << 30;

/// More runs than this are not told apart: the rest of the file counts as one run. Bounds memory.
const MOST_EXTENTS: usize = 1 << 20;

/// Bytes in a block as `stat` counts them.
const BLOCK_BYTES: u64 = 512;

/// What must not happen to a file between opening and closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Steadiness {
    /// Any change of content or metadata.
    Exact,
    /// Any change of content; being unlinked is fine, since its descriptor is pinned.
    Content,
    /// Any change but growth: it is read only as far as it reached when it was pinned.
    Appendable,
}

/// How the cutter of each file is found.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) enum Cutting {
    /// As asked for.
    Chosen(CutterChoice),
    /// All files are WAL segments.
    Segments,
}

/// How the files of a cut are read.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Reading {
    pub(in crate::source) cutting: Cutting,
    pub(in crate::source) steadiness: Steadiness,
    /// Whether pages are dropped from the cache after reading.
    pub(in crate::source) drop_cache: bool,
}

/// An open regular file.
#[derive(Debug)]
pub(in crate::source) struct OpenFile {
    fd: Arc<OwnedFd>,
    entry: Entry,
    /// Fewer blocks than bytes: it may have holes.
    sparse: bool,
    /// For a pinned log that has its final length from birth.
    preallocated: Option<Preallocated>,
    reading: Reading,
    beyond: Beyond,
    most_untold_bytes: u64,
}

/// What is known of bytes beyond the size that the file said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    /// None was seen.
    Unseen,
    /// The file grew, and what came later is not read.
    Grew { end_bytes: u64 },
    /// The size says nothing; the file is read up to here.
    Untold { end_bytes: u64, is_endless: bool },
}

impl Beyond {
    fn end_bytes(self) -> u64 {
        match self {
            Self::Unseen => u64::MAX,
            Self::Grew { end_bytes } | Self::Untold { end_bytes, .. } => end_bytes,
        }
    }
}

impl OpenFile {
    /// Takes an open descriptor; `stat` must be its own.
    pub(in crate::source) fn new(
        fd: Arc<OwnedFd>,
        listed: &Entry,
        stat: &Statx,
        owners: &Owners,
        reading: Reading,
    ) -> Self {
        let mut entry = entry_of(listed.path.clone(), Kind::File, stat, owners);
        entry.volume = listed.volume;
        Self::pinned(fd, entry, stat, None, reading)
    }

    /// Takes a pinned descriptor and the entry as it was when it was pinned.
    pub(in crate::source) fn pinned(
        fd: Arc<OwnedFd>,
        entry: Entry,
        stat: &Statx,
        written_bytes: Option<u64>,
        reading: Reading,
    ) -> Self {
        if entry.size_bytes >= ADVISED_BYTES {
            // Advice only: a file system that does not take it is none the worse.
            let _ = fadvise(&*fd, 0, None, Advice::Sequential);
        }
        let sparse = stat.stx_blocks.saturating_mul(BLOCK_BYTES) < entry.size_bytes;
        let preallocated = written_bytes.map(Preallocated::new);
        let (beyond, most_untold_bytes) = (Beyond::Unseen, MOST_UNTOLD_BYTES);
        Self { fd, entry, sparse, preallocated, reading, beyond, most_untold_bytes }
    }

    /// Up to where the file holds anything but zeros.
    fn written_bytes(&self) -> u64 {
        let size_bytes = self.entry.size_bytes;
        let preallocated = self.preallocated.as_ref();
        preallocated.map_or(size_bytes, |log| log.written_bytes.min(size_bytes))
    }

    /// Reads until the buffer is full or the file ends. A read that comes short is its end only where
    /// the size says so too.
    fn fill(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        let mut filled_bytes = 0;
        while filled_bytes < buffer.len() {
            let rest = buffer.get_mut(filled_bytes..).unwrap_or_default();
            let place = offset_bytes + to_u64(filled_bytes);
            let read_bytes = self.read_some(rest, place)?;
            filled_bytes += read_bytes;
            if read_bytes == 0 || place + to_u64(read_bytes) == self.entry.size_bytes {
                break;
            }
        }
        Ok(filled_bytes)
    }

    /// How many of the bytes that were read at `place` are the file's, as it is stored.
    fn accept(&mut self, read_bytes: usize, place: u64) -> Result<usize, Problem> {
        let reached = place + to_u64(read_bytes);
        if reached > self.entry.size_bytes && self.beyond == Beyond::Unseen {
            self.beyond = self.look_beyond()?;
        }
        let end = self.beyond.end_bytes();
        if let Beyond::Untold { is_endless, .. } = &mut self.beyond {
            *is_endless |= reached > end;
        }
        Ok(to_usize(end.saturating_sub(place)).min(read_bytes))
    }

    /// There are bytes beyond the size: the file grew, or its size does not tell what it holds.
    fn look_beyond(&self) -> Result<Beyond, Problem> {
        let stat = stat_fd(&*self.fd).map_err(|errno| self.problem("stat while reading", errno))?;
        let size_bytes = self.entry.size_bytes;
        Ok(if stat.stx_size <= size_bytes {
            let end_bytes = size_bytes.saturating_add(self.most_untold_bytes);
            Beyond::Untold { end_bytes, is_endless: false }
        } else if self.reading.steadiness == Steadiness::Exact {
            Beyond::Grew { end_bytes: stat.stx_size }
        } else {
            Beyond::Grew { end_bytes: size_bytes }
        })
    }

    fn judge(&self, now: &Marks) -> Option<Problem> {
        if let Beyond::Untold { end_bytes, is_endless: true } = self.beyond {
            return Some(Problem {
                path: self.entry.path.clone(),
                fault: Fault::Changed,
                detail: format!(
                    "says that it has {} bytes and goes on after {end_bytes}; what came before is stored",
                    self.entry.size_bytes
                ),
            });
        }
        let found = judge(self.reading.steadiness, &self.entry, now)?;
        match &self.preallocated {
            Some(log)
                if now.size_bytes >= log.written_bytes && log.still_holds(self.fd.as_fd()) =>
            {
                None
            }
            _ => Some(found),
        }
    }

    fn problem(&self, action: &str, errno: Errno) -> Problem {
        problem(&self.entry.path, action, errno)
    }

    /// One read, of which only what belongs to the file counts.
    fn read_some(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        if offset_bytes >= self.beyond.end_bytes() {
            return Ok(0);
        }
        let read = retry_on_intr(|| pread(&*self.fd, &mut *buffer, offset_bytes));
        let read = read.map_err(|errno| self.unread(errno))?;
        self.accept(read, offset_bytes)
    }

    fn unread(&self, errno: Errno) -> Problem {
        if errno == Errno::AGAIN {
            // All files are opened without waiting: it is one of the kernel's streams.
            let detail = "has no bytes to give without waiting: it is a stream, not a file";
            let (path, fault) = (self.entry.path.clone(), Fault::Unreadable);
            return Problem { path, fault, detail: detail.to_owned() };
        }
        self.problem("read", errno)
    }
}

impl Content for OpenFile {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn attributes(&mut self) -> Attributes {
        attributes_of_fd(self.fd.as_fd(), &self.entry)
    }

    fn extents(&mut self) -> Result<Option<Vec<Extent>>, Problem> {
        let size_bytes = self.entry.size_bytes;
        if matches!(self.reading.cutting, Cutting::Segments) {
            return Ok(runs_by_content(self.fd.as_fd(), size_bytes));
        }
        // Blocks of its metadata (xattrs, extent trees) count too and can make up for a hole.
        let dense = || seek(&*self.fd, SeekFrom::Hole(0)).is_ok_and(|hole| hole >= size_bytes);
        if size_bytes == 0 || !self.sparse && dense() {
            return Ok(None);
        }
        let written_bytes = self.written_bytes();
        let mut extents = Vec::new();
        let mut offset_bytes = 0;
        while offset_bytes < written_bytes {
            let start = match seek(&*self.fd, SeekFrom::Data(offset_bytes)) {
                Ok(start) if start < written_bytes => start,
                // A hole up to the end.
                Ok(_) | Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
                Err(errno) => return Err(self.problem("seek data", errno)),
            };
            let end = match seek(&*self.fd, SeekFrom::Hole(start)) {
                Ok(_) if extents.len() + 1 >= MOST_EXTENTS => written_bytes,
                Ok(end) => end.min(written_bytes),
                // Cut off meanwhile; `close` will say so.
                Err(Errno::NXIO) => written_bytes,
                Err(errno) => return Err(self.problem("seek hole", errno)),
            };
            extents.push(Extent { offset_bytes: start, length_bytes: end.saturating_sub(start) });
            offset_bytes = end;
        }
        let dense = matches!(
            extents.as_slice(),
            [Extent { offset_bytes: 0, length_bytes }] if *length_bytes == size_bytes
        );
        Ok((!dense).then_some(extents))
    }

    fn cutter(&mut self) -> Result<Cutter, Problem> {
        let size_bytes = self.entry.size_bytes;
        match self.reading.cutting {
            Cutting::Segments => Ok(cutter::of_segment(size_bytes)),
            Cutting::Chosen(CutterChoice::Forced(cutter)) => Ok(cutter),
            Cutting::Chosen(CutterChoice::Auto) => {
                let mut head = [0; cutter::HEAD_BYTES];
                let mut length_bytes = 0;
                if cutter::needs_head(size_bytes) {
                    length_bytes = self.read_some(&mut head, 0)?;
                }
                let head = head.get(..length_bytes).unwrap_or_default();
                Ok(cutter::choose(&self.entry.path, size_bytes, head))
            }
        }
    }

    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        if self.preallocated.is_none() {
            return self.fill(buffer, offset_bytes);
        }
        // Such a log ends where it ended when it was pinned, and beyond what was written there is nothing.
        let left_bytes = self.entry.size_bytes.saturating_sub(offset_bytes);
        let wanted_bytes = to_usize(left_bytes.min(to_u64(buffer.len())));
        let written_bytes = self.written_bytes().saturating_sub(offset_bytes);
        let real_bytes = to_usize(written_bytes.min(to_u64(wanted_bytes)));
        let wanted = buffer.get_mut(..wanted_bytes).unwrap_or_default();
        let (real, zeros) = wanted.split_at_mut(real_bytes);
        let read_bytes = self.fill(real, offset_bytes)?;
        if let Some(log) = &mut self.preallocated {
            log.note(real.get(..read_bytes).unwrap_or_default(), offset_bytes);
        }
        if read_bytes < real_bytes {
            return Ok(read_bytes);
        }
        zeros.fill(0);
        Ok(wanted_bytes)
    }

    fn append_to(
        &mut self,
        buffer: &mut Vec<u8>,
        length_bytes: usize,
        offset_bytes: u64,
    ) -> Result<usize, Problem> {
        let start = buffer.len();
        let room_bytes = buffer.capacity() - start;
        let fits = (length_bytes..=length_bytes + SLACK_BYTES).contains(&room_bytes);
        let mut there_bytes = 0;
        if fits && offset_bytes < self.beyond.end_bytes() && self.preallocated.is_none() {
            // One system call reads all there is, but where a signal or the end of the file comes in.
            let read = retry_on_intr(|| pread(&*self.fd, spare_capacity(buffer), offset_bytes));
            let read = read.map_err(|errno| self.unread(errno))?.min(length_bytes);
            let accepted = self.accept(read, offset_bytes);
            there_bytes = *accepted.as_ref().unwrap_or(&0);
            buffer.truncate(start + there_bytes);
            let is_end = offset_bytes + to_u64(there_bytes) == self.entry.size_bytes;
            if accepted? == 0 || there_bytes < length_bytes && is_end {
                return Ok(there_bytes);
            }
        }
        buffer.resize(start + length_bytes, 0);
        let rest = buffer.get_mut(start + there_bytes..).unwrap_or_default();
        let read = self.read_at(rest, offset_bytes + to_u64(there_bytes));
        let kept_bytes = read.as_ref().map_or(0, |read_bytes| there_bytes + read_bytes);
        buffer.truncate(start + kept_bytes);
        read.map(|_| kept_bytes)
    }

    fn close(self: Box<Self>) -> Option<Problem> {
        let judged = match stat_fd(&*self.fd) {
            Ok(stat) => self.judge(&Marks::of_stat(&stat)),
            Err(errno) => Some(self.problem("stat after reading", errno)),
        };
        if self.reading.drop_cache && self.entry.size_bytes >= ADVISED_BYTES {
            let whole = NonZeroU64::new(self.entry.size_bytes);
            let _ = fadvise(&*self.fd, 0, whole, Advice::DontNeed);
        }
        judged
    }
}

/// Compares a file before and after it was read.
pub(in crate::source) fn judge(
    steadiness: Steadiness,
    before: &Entry,
    now: &Marks,
) -> Option<Problem> {
    let say = |fault, detail: String| Some(Problem { path: before.path.clone(), fault, detail });
    let sizes = || format!("{} to {} bytes", before.size_bytes, now.size_bytes);
    if now.size_bytes < before.size_bytes {
        return say(Fault::Shrunk, format!("went from {} while it was read", sizes()));
    }
    if now.size_bytes > before.size_bytes {
        return match steadiness {
            Steadiness::Appendable => None,
            _ => say(Fault::Changed, format!("grew from {} while it was read", sizes())),
        };
    }
    if now.modified != before.modified {
        return say(Fault::Changed, "was written to while it was read".to_owned());
    }
    // Gaining or losing a name touches nothing but the change time.
    let renamed = now.links != before.links;
    if steadiness == Steadiness::Exact && now.changed != before.changed && !renamed {
        return say(
            Fault::Changed,
            "its attributes or content changed while it was read".to_owned(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::TreePath;

    /// Without a bound a source with such a file would fill the repository.
    #[test]
    fn an_endless_file_ends_somewhere() {
        let fd = std::fs::File::open("/dev/zero").unwrap().into();
        let fd: Arc<OwnedFd> = Arc::new(fd);
        let stat = stat_fd(&*fd).unwrap();
        let entry = entry_of(TreePath::root().join(b"x"), Kind::File, &stat, &Owners::default());
        let reading = Reading {
            cutting: Cutting::Chosen(CutterChoice::Auto),
            steadiness: Steadiness::Exact,
            drop_cache: false,
        };
        let mut file = OpenFile::pinned(fd, Entry { size_bytes: 0, ..entry }, &stat, None, reading);
        file.most_untold_bytes = 100_000;
        let mut read = Vec::new();
        for expected in [60_000, 40_000, 0] {
            let offset_bytes = to_u64(read.len());
            assert_eq!(file.append_to(&mut read, 60_000, offset_bytes), Ok(expected));
        }
        let problem = Box::new(file).close().unwrap();
        assert_eq!(problem.fault, Fault::Changed);
        assert!(problem.detail.contains("goes on after 100000"), "{problem}");
    }
}
