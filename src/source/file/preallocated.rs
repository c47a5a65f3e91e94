//! Log files that an engine gives their final length at birth: the tail is a hole that fills up.
//!
//! Neither length nor time tells whether such a file only grew or was changed in place. So its end
//! of written bytes is noted when it is pinned, bytes beyond it are read as the zeros that they were,
//! and if its time has changed after reading, what was read is compared with what is there now.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread, retry_on_intr};

use crate::entry::Extent;
use crate::units::{KIB, to_u64, to_usize};

const STEP_BYTES: usize = 64 * KIB;

/// A log's last block may hold zeros; a long run of them that was written is no log's.
const MOST_ZEROS_BYTES: u64 = 1 << 20;

/// More runs of data than this, and it is no log.
const MOST_RUNS: u32 = 1_000;

/// Where written bytes end in a file whose tail is a hole; `None` for other files.
pub(in crate::source) fn written_bytes(fd: BorrowedFd<'_>, size_bytes: u64) -> Option<u64> {
    let last = size_bytes.checked_sub(1)?;
    if seek(fd, SeekFrom::Data(last)) != Err(Errno::NXIO) {
        return None;
    }
    let mut end = 0;
    for _ in 0..MOST_RUNS {
        match seek(fd, SeekFrom::Data(end)) {
            Ok(start) => end = seek(fd, SeekFrom::Hole(start)).ok()?,
            Err(Errno::NXIO) => return true_end(fd, end.min(size_bytes), size_bytes),
            Err(_) => return None,
        }
    }
    None
}

/// Corrects an end that was found by asking for holes: back over zeros, or onward over what is not zero.
/// Where a block has no place on disk yet, some kernels have called it a hole while it was being written;
/// reading always shows what is there.
fn true_end(fd: BorrowedFd<'_>, end: u64, size_bytes: u64) -> Option<u64> {
    let mut end = without_zeros(fd, end)?;
    let mut buffer = vec![0; STEP_BYTES];
    loop {
        let length_bytes = to_usize((size_bytes - end).min(to_u64(STEP_BYTES)));
        let part = buffer.get_mut(..length_bytes)?;
        fill(fd, part, end)?;
        match part.iter().rposition(|&byte| byte != 0) {
            Some(place) => end += to_u64(place) + 1,
            None => return Some(end),
        }
    }
}

/// The runs of data of a log's segment, decided by what it holds: all up to the block with the last byte that is
/// not zero. Where the blocks of a file lie says nothing about it: a part that was allocated and never written is
/// a hole or not, as the kernel has its pages in memory or not. `None` where it ends with data.
pub(in crate::source) fn runs_by_content(
    fd: BorrowedFd<'_>,
    size_bytes: u64,
) -> Option<Vec<Extent>> {
    let block = to_u64(STEP_BYTES);
    let end = back_over_zeros(fd, size_bytes, 0)?.next_multiple_of(block).min(size_bytes);
    if end == size_bytes {
        return None;
    }
    let whole = Extent { offset_bytes: 0, length_bytes: end };
    Some(if end == 0 { Vec::new() } else { vec![whole] })
}

/// Moves `end` back over a few zeros.
fn without_zeros(fd: BorrowedFd<'_>, end: u64) -> Option<u64> {
    back_over_zeros(fd, end, end.saturating_sub(MOST_ZEROS_BYTES))
}

/// Moves `end` back over zeros, but not beyond `stop`.
fn back_over_zeros(fd: BorrowedFd<'_>, mut end: u64, stop: u64) -> Option<u64> {
    let mut buffer = vec![0; STEP_BYTES];
    while end > stop {
        let length_bytes = to_usize((end - stop).min(to_u64(STEP_BYTES)));
        let start = end - to_u64(length_bytes);
        let part = buffer.get_mut(..length_bytes)?;
        fill(fd, part, start)?;
        if let Some(place) = part.iter().rposition(|&byte| byte != 0) {
            return Some(start + to_u64(place) + 1);
        }
        end = start;
    }
    Some(end)
}

fn fill(fd: BorrowedFd<'_>, mut buffer: &mut [u8], mut offset_bytes: u64) -> Option<()> {
    while !buffer.is_empty() {
        let length_bytes = retry_on_intr(|| pread(fd, &mut *buffer, offset_bytes)).ok()?;
        if length_bytes == 0 {
            return None;
        }
        buffer = buffer.get_mut(length_bytes..)?;
        offset_bytes += to_u64(length_bytes);
    }
    Some(())
}

/// What was read of such a file.
#[derive(Debug)]
pub(in crate::source) struct Preallocated {
    /// Where written bytes ended when it was pinned.
    pub(in crate::source) written_bytes: u64,
    reads: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    offset_bytes: u64,
    length_bytes: usize,
    hash: blake3::Hash,
}

impl Preallocated {
    pub(in crate::source) fn new(written_bytes: u64) -> Self {
        Self { written_bytes, reads: Vec::new() }
    }

    /// Remembers what was read.
    pub(in crate::source) fn note(&mut self, bytes: &[u8], offset_bytes: u64) {
        if !bytes.is_empty() {
            self.reads.push(Seen {
                offset_bytes,
                length_bytes: bytes.len(),
                hash: blake3::hash(bytes),
            });
        }
    }

    /// Whether all that was read is still there as it was read.
    pub(in crate::source) fn still_holds(&self, fd: BorrowedFd<'_>) -> bool {
        let mut buffer = vec![0; STEP_BYTES];
        self.reads.iter().all(|seen| {
            let mut hasher = blake3::Hasher::new();
            let mut done_bytes = 0;
            while done_bytes < seen.length_bytes {
                let length_bytes = (seen.length_bytes - done_bytes).min(STEP_BYTES);
                let part = buffer.get_mut(..length_bytes).unwrap_or_default();
                if fill(fd, part, seen.offset_bytes + to_u64(done_bytes)).is_none() {
                    return false;
                }
                hasher.update(part);
                done_bytes += length_bytes;
            }
            hasher.finalize() == seen.hash
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_end_of_written_bytes_is_found() {
        let file = tempfile::tempfile().unwrap();
        let written = |size_bytes| {
            file.set_len(size_bytes).unwrap();
            written_bytes(file.as_fd(), size_bytes)
        };
        assert_eq!(written(0), None);
        assert_eq!(written(1 << 20), Some(0));
        file.write_all_at(&[1; 5_000], 0).unwrap();
        assert_eq!(written(1 << 20), Some(5_000));
        file.write_all_at(&[1; 10], 200_000).unwrap();
        assert_eq!(written(1 << 20), Some(200_010));
        assert_eq!(written(200_010), None);
    }

    /// Written zeros, allocated blocks and holes are alike.
    #[test]
    fn the_layout_of_a_segment_does_not_matter() {
        let runs = |file: &std::fs::File, size| runs_by_content(file.as_fd(), size);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 5_000], 0).unwrap();
        assert_eq!(runs(&file, 5_000), None);
        file.set_len(1 << 20).unwrap();
        let expected = Some(vec![Extent { offset_bytes: 0, length_bytes: 65_536 }]);
        assert_eq!(runs(&file, 1 << 20), expected);
        file.write_all_at(&vec![0; 900_000], 5_000).unwrap();
        assert_eq!(runs(&file, 1 << 20), expected);
        file.write_all_at(&[1], (1 << 20) - 1).unwrap();
        assert_eq!(runs(&file, 1 << 20), None);
        let empty = tempfile::tempfile().unwrap();
        empty.set_len(1 << 20).unwrap();
        assert_eq!(runs(&empty, 1 << 20), Some(vec![]));
    }

    #[test]
    fn a_hole_that_is_none_hides_nothing() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&vec![1; 300_000], 0).unwrap();
        for said in [0, 1, 4_096, 299_999, 300_000, 300_001, 1 << 20] {
            assert_eq!(true_end(file.as_fd(), said, 1 << 20), Some(300_000), "{said}");
        }
        file.write_all_at(&vec![1; 1 << 20], 0).unwrap();
        assert_eq!(true_end(file.as_fd(), 5, 1 << 20), Some(1 << 20));
    }

    #[test]
    fn appending_holds_and_overwriting_does_not() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![1; 100_000], 0).unwrap();
        let mut seen = Preallocated::new(100_000);
        seen.note(&vec![1; 70_000], 0);
        seen.note(&vec![1; 30_000], 70_000);
        file.write_all_at(&[2; 10], 100_000).unwrap();
        assert!(seen.still_holds(file.as_fd()));
        file.write_all_at(&[2; 1], 99_999).unwrap();
        assert!(!seen.still_holds(file.as_fd()));
        file.set_len(10).unwrap();
        assert!(!seen.still_holds(file.as_fd()));
    }
}
