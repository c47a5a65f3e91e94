//! WAL segments: which of a restore point are wanted, which of later restore points go on from there,
//! and the new timeline that a restore begins.

mod beyond;
mod marker;
mod plan;
mod prepare;

use std::collections::BTreeSet;

use crate::facts::{Facts, Timeline, WalFacts};
use crate::repo::snapshot::SourceRecord;
use crate::repo::tree::leaf::StoredEntry;

pub(super) use beyond::check as check_beyond;
pub(super) use prepare::prepare;

/// How WAL sources are restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct WalOptions {
    /// The last segment that is wanted, by its name or its number as names have it; all without it.
    pub until_segment: Option<String>,
    /// Go on with segments of later restore points, as far as they follow without a gap.
    pub with_later_segments: bool,
    /// The log is not replayed into the directories of its snapshot, so that any segment may be its last.
    pub log_alone: bool,
    /// Do not leave the marker by which the next backup sees that a new timeline began.
    pub keep_timeline: bool,
}

/// What of a WAL is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredWal {
    /// The source.
    pub source: String,
    /// What the snapshot says of the log.
    pub facts: WalFacts,
    /// Runs of segments, inclusive.
    pub runs: Vec<(u64, u64)>,
    /// The last segment that a replay reaches without a gap.
    pub reached: Option<u64>,
    /// The last segment that was asked for.
    pub asked: Option<u64>,
    /// Segments that come from later restore points.
    pub later: u64,
    /// Their sizes together.
    pub later_bytes: u64,
    /// Missing numbers, as inclusive runs: a replay ends before the first of them.
    pub gaps: Vec<(u64, u64)>,
    /// Why a replay gets less far than was asked for.
    pub short: Option<String>,
}

impl RestoredWal {
    /// Number of the first segment, if there is any.
    pub fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.0)
    }

    /// Number of the last segment.
    pub fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.1)
    }

    /// Whether a file of the log's directory is taken. What is no segment is.
    pub fn takes(&self, name: &[u8]) -> bool {
        let number = self.facts.naming.number(name);
        number.is_none_or(|number| self.asked.is_none_or(|until| number <= until))
    }

    /// The timeline, as people see it.
    pub fn timeline(&self) -> String {
        timeline_id(self.facts.timeline)
    }
}

/// The first digits of a timeline's id.
pub fn timeline_id(timeline: Timeline) -> String {
    timeline.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The log of one source on its way: what is taken, and what goes before and after.
#[derive(Debug)]
pub(super) struct LogPlan {
    pub(super) restored: RestoredWal,
    /// Segments of later restore points.
    pub(super) later: Vec<StoredEntry>,
    /// Later restore points that cannot be read: what may be missing, and why.
    pub(super) unreadable: Vec<String>,
    /// All numbers that are taken.
    pub(super) numbers: BTreeSet<u64>,
}

/// The facts of a WAL source; `None` for other sources.
pub(super) fn wal_facts(source: &SourceRecord) -> Option<WalFacts> {
    match source.facts() {
        Some(Facts::Wal(facts)) => Some(facts),
        _ => None,
    }
}
