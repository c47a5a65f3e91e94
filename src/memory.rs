//! How much memory a backup takes as a whole, and how much of that its buffers may have. One place, for the
//! command line and for policies.
//!
//! A process takes more than its buffers: the program itself, what it remembers of chunks, compressors, and room
//! that the allocator cannot give back because something small lies in it. The figures are measured with the page
//! cutter, whose short-lived buffers leave the most such room, on a store that is slow, so that all buffers fill.

use crate::units::{MIB, to_u64, to_usize};

/// Taken once.
const FIXED_BYTES: usize = 104 * MIB;
/// Taken by each thread that compresses, at the default level.
const THREAD_BYTES: usize = 24 * MIB;
/// Buffers below this cannot hold one pack and what is being read.
pub const LEAST_BUFFERS_BYTES: usize = 56 * MIB;
/// Less is never enough: one thread at the default level.
pub const LEAST_BYTES: u64 = to_u64(FIXED_BYTES + THREAD_BYTES + LEAST_BUFFERS_BYTES);

/// How a backup keeps to its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What its buffers may have.
    pub buffers_bytes: usize,
    /// How many threads may compress at a time.
    pub threads: usize,
}

impl Share {
    /// The share of a process that may take `memory_bytes`. Fewer than `most_threads` compress where there is no
    /// memory for all of them. `level` is that of zstd; `None` if nothing is compressed.
    ///
    /// # Errors
    /// The least that would do, where it is too little.
    pub fn of(memory_bytes: u64, level: Option<i32>, most_threads: usize) -> Result<Self, u64> {
        let each = THREAD_BYTES + compressor_bytes(level);
        let least = FIXED_BYTES + each + LEAST_BUFFERS_BYTES;
        let memory = to_usize(memory_bytes);
        let spare = memory.checked_sub(least).ok_or_else(|| to_u64(least))?;
        let threads = (1 + spare / each).min(most_threads).max(1);
        Ok(Self { buffers_bytes: memory - FIXED_BYTES - threads * each, threads })
    }
}

/// What a compressor of a level takes beyond that of the default level.
fn compressor_bytes(level: Option<i32>) -> usize {
    match level {
        None | Some(..=3) => 0,
        Some(4..=9) => 12 * MIB,
        Some(10..) => 64 * MIB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_buffers_and_the_rest_take_is_the_whole() {
        for level in [None, Some(1), Some(3), Some(9), Some(19)] {
            for threads in [1, 2, 8, 64] {
                for memory in (0..2048).map(|mib| to_u64(mib * MIB)) {
                    let Ok(share) = Share::of(memory, level, threads) else { continue };
                    assert!(share.buffers_bytes >= LEAST_BUFFERS_BYTES, "{memory} {share:?}");
                    assert!((1..=threads).contains(&share.threads), "{memory} {share:?}");
                    let each = THREAD_BYTES + compressor_bytes(level);
                    let rest = FIXED_BYTES + share.threads * each;
                    assert_eq!(to_u64(share.buffers_bytes + rest), memory);
                }
            }
        }
    }

    #[test]
    fn the_least_is_what_is_enough() {
        assert!(Share::of(LEAST_BYTES, Some(3), 2).is_ok());
        assert_eq!(Share::of(LEAST_BYTES - 1, Some(3), 2), Err(LEAST_BYTES));
        for level in [Some(9), Some(19)] {
            let least = Share::of(LEAST_BYTES, level, 2).unwrap_err();
            assert!(Share::of(least, level, 2).is_ok());
        }
    }
}
