//! How far a file was read, and what that makes of its size and of its runs of data.
//!
//! A size is a hint: the end of a file is where reading it ended.

use std::collections::VecDeque;

use crate::entry::{Entry, Extent};
use crate::source::{self, Problem};
use crate::units::{to_u64, to_usize};

/// What of a file is yet to be read, from front to back.
#[derive(Debug)]
pub(super) struct Course {
    /// Runs of data; the first one may have been begun. The last one of a file without holes has no
    /// end.
    left: VecDeque<Extent>,
    /// Where reading came to an end, if it did before a run's own.
    ended_bytes: Option<u64>,
}

impl Course {
    /// All of a file: its runs of data, or everything up to its end where it has no holes.
    pub(super) fn new(runs: Option<&[Extent]>) -> Self {
        let whole = [Extent { offset_bytes: 0, length_bytes: u64::MAX }];
        let runs = runs.unwrap_or(&whole).iter().filter(|run| run.length_bytes > 0).copied();
        Self { left: runs.collect(), ended_bytes: None }
    }

    /// Whether all of it was read.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Appends the next bytes to `buffer`, as many as come at once and `most_bytes` at most.
    pub(super) fn advance(
        &mut self,
        content: &mut dyn source::Content,
        buffer: &mut Vec<u8>,
        most_bytes: usize,
    ) -> Result<(), Problem> {
        let Some(run) = self.left.front_mut() else {
            return Ok(());
        };
        let wanted = to_usize(run.length_bytes.min(to_u64(most_bytes)));
        let read = content.append_to(buffer, wanted, run.offset_bytes)?;
        run.offset_bytes += to_u64(read);
        run.length_bytes -= to_u64(read);
        if read < wanted {
            self.ended_bytes = Some(run.offset_bytes);
            self.left.clear();
        } else if run.length_bytes == 0 {
            self.left.pop_front();
        }
        Ok(())
    }

    /// The entry and its runs as they were read.
    pub(super) fn as_read(
        &self,
        mut entry: Entry,
        runs: Option<Vec<Extent>>,
    ) -> (Entry, Option<Vec<Extent>>) {
        let Some(ended_bytes) = self.ended_bytes else {
            return (entry, runs);
        };
        entry.size_bytes = ended_bytes;
        (entry, runs.map(|runs| clipped(runs, ended_bytes)))
    }
}

/// Where a file has bytes at all. Asked from front to back.
#[derive(Debug)]
pub(super) struct Layout {
    /// Runs of data that do not end before where it was last asked; `None` for a file without holes.
    runs: Option<VecDeque<Extent>>,
    size_bytes: u64,
}

impl Layout {
    pub(super) fn new(runs: Option<&[Extent]>, size_bytes: u64) -> Self {
        Self { runs: runs.map(|runs| runs.iter().copied().collect()), size_bytes }
    }

    /// How many bytes there are at most from `at_bytes` on. Only a file with holes is sure of its size:
    /// what has holes is on a file system that counts.
    pub(super) fn most_bytes(&self, at_bytes: u64) -> u64 {
        self.runs.as_ref().map_or(u64::MAX, |_| self.size_bytes.saturating_sub(at_bytes))
    }

    /// How long the hole is that `at_bytes` lies in; 0 where there is data.
    pub(super) fn hole_bytes(&mut self, at_bytes: u64) -> u64 {
        let Some(runs) = &mut self.runs else {
            return 0;
        };
        let is_past = |run: &mut Extent| run.offset_bytes + run.length_bytes <= at_bytes;
        while runs.pop_front_if(is_past).is_some() {}
        let next_bytes = runs.front().map_or(self.size_bytes, |run| run.offset_bytes);
        next_bytes.saturating_sub(at_bytes)
    }
}

/// Runs of a file that ended there.
pub(super) fn clipped(runs: Vec<Extent>, ended_bytes: u64) -> Vec<Extent> {
    let clip = |run: Extent| {
        let length_bytes = ended_bytes.saturating_sub(run.offset_bytes).min(run.length_bytes);
        (length_bytes > 0).then_some(Extent { length_bytes, ..run })
    };
    runs.into_iter().filter_map(clip).collect()
}
