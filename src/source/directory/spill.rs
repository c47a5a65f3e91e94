//! Sorted runs of names in an unlinked temporary file, and their merge.
//!
//! A run is a sequence of names, each a `u16` length (little endian) and its bytes with the closing
//! NUL. The file has no name from the start, so no crash leaves it behind.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::listing::Held;
use crate::units::{KIB, MIB, to_u64, to_usize};

/// Read buffers of all runs together, unless there are so many that each gets the least.
const BUFFERS_BYTES: usize = 2 * MIB;
const LEAST_BUFFER_BYTES: usize = 4 * KIB;
const MOST_BUFFER_BYTES: usize = 64 * KIB;

/// Runs that are being written.
#[derive(Debug)]
pub(super) struct Spill {
    file: BufWriter<File>,
    end_bytes: u64,
    runs: Vec<Range<u64>>,
}

impl Spill {
    /// Opens the temporary file.
    pub(super) fn create(scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(64 * KIB, unlinked_file(scratch)?),
            end_bytes: 0,
            runs: Vec::new(),
        })
    }

    /// Writes sorted names as one more run and empties them.
    pub(super) fn write_run(&mut self, names: &mut Held) -> io::Result<()> {
        let start_bytes = self.end_bytes;
        for name in names.iter() {
            let length = u16::try_from(name.len()).map_err(io::Error::other)?;
            self.file.write_all(&length.to_le_bytes())?;
            self.file.write_all(name)?;
            self.end_bytes += 2 + u64::from(length);
        }
        if self.end_bytes > start_bytes {
            self.runs.push(start_bytes..self.end_bytes);
        }
        names.clear();
        Ok(())
    }

    /// Ends writing and begins reading all runs as one.
    pub(super) fn merge(self) -> io::Result<Merge> {
        let file = Arc::new(self.file.into_inner().map_err(io::IntoInnerError::into_error)?);
        let buffer_bytes =
            (BUFFERS_BYTES / self.runs.len().max(1)).clamp(LEAST_BUFFER_BYTES, MOST_BUFFER_BYTES);
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for run in self.runs {
            let mut reader = Run {
                name: Vec::new(),
                file: Arc::clone(&file),
                left: run,
                buffer: vec![0; buffer_bytes],
                filled: 0..0,
            };
            if reader.advance()? {
                heads.push(Reverse(reader));
            }
        }
        let memory_bytes = heads.len() * (buffer_bytes + size_of::<Run>());
        Ok(Merge { heads, current: Vec::new(), memory_bytes })
    }
}

/// All runs read as one sorted list, each name once.
#[derive(Debug)]
pub(super) struct Merge {
    heads: BinaryHeap<Reverse<Run>>,
    current: Vec<u8>,
    memory_bytes: usize,
}

impl Merge {
    pub(super) fn next(&mut self) -> io::Result<Option<&CStr>> {
        loop {
            let Some(mut head) = self.heads.peek_mut() else {
                return Ok(None);
            };
            let repeated = head.0.name == self.current;
            std::mem::swap(&mut self.current, &mut head.0.name);
            if !head.0.advance()? {
                PeekMut::pop(head);
            }
            if !repeated {
                break;
            }
        }
        CStr::from_bytes_with_nul(&self.current).map(Some).map_err(io::Error::other)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// One run, read from the front; ordered by the name that comes next.
#[derive(Debug)]
struct Run {
    name: Vec<u8>,
    file: Arc<File>,
    /// What was not yet read into the buffer.
    left: Range<u64>,
    buffer: Vec<u8>,
    /// What of the buffer was not yet taken.
    filled: Range<usize>,
}

impl Run {
    /// Moves on to the next name; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.filled.is_empty() && self.left.is_empty() {
            return Ok(false);
        }
        let mut length = [0; 2];
        self.take(&mut length)?;
        let mut name = std::mem::take(&mut self.name);
        name.resize(usize::from(u16::from_le_bytes(length)), 0);
        let taken = self.take(&mut name);
        self.name = name;
        taken.map(|()| true)
    }

    fn take(&mut self, mut wanted: &mut [u8]) -> io::Result<()> {
        while !wanted.is_empty() {
            if self.filled.is_empty() {
                let left_bytes = self.left.end - self.left.start;
                let length_bytes = to_usize(left_bytes.min(to_u64(self.buffer.len())));
                let part = self.buffer.get_mut(..length_bytes).unwrap_or_default();
                if part.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.file.read_exact_at(part, self.left.start)?;
                self.left.start += to_u64(length_bytes);
                self.filled = 0..length_bytes;
            }
            let have = self.buffer.get(self.filled.clone()).unwrap_or_default();
            let length_bytes = have.len().min(wanted.len());
            let (now, later) = wanted.split_at_mut(length_bytes);
            now.copy_from_slice(have.get(..length_bytes).unwrap_or_default());
            self.filled.start += length_bytes;
            wanted = later;
        }
        Ok(())
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

/// A file without a name. Where the file system has no such files, one that loses its name at once.
fn unlinked_file(scratch: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, scratch, flags | OFlags::TMPFILE, mode) {
        Ok(fd) => return Ok(File::from(fd)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    let process = std::process::id();
    for attempt in 0_u32..1_000 {
        let path = scratch.join(format!(".backstay-names-{process}-{attempt}"));
        match openat(CWD, &path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(fd) => {
                unlinkat(CWD, &path, AtFlags::empty())?;
                return Ok(File::from(fd));
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
