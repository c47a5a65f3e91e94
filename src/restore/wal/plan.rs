//! Which segments a restore takes, and how far a replay gets with them. Pure: the dry run and the restore
//! decide by it alike.
//!
//! Segments of several snapshots are joined only in one timeline, only where numbers follow without a gap,
//! and only as long as what both have is the same. A replay that silently went on with another life of the
//! log, or stopped early, would be worse than none.

use std::collections::BTreeMap;

use crate::entry::FileTime;
use crate::facts::{Timeline, WalFacts};
use crate::repo::id::ChunkId;
use crate::repo::tree::leaf::StoredEntry;

/// What tells a segment's content from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    size_bytes: u64,
    modified: FileTime,
    chunks: Vec<ChunkId>,
    /// Which secret the ids come from.
    secret: Option<u8>,
}

impl Content {
    pub(super) fn of(stored: &StoredEntry) -> Self {
        let items = &stored.content.items;
        let place = items.first().and_then(|item| item.reference.frame.place());
        Self {
            size_bytes: stored.entry.size_bytes,
            modified: stored.entry.modified,
            chunks: items.iter().map(|item| item.reference.id).collect(),
            secret: place.map(|place| place.pack.secret()),
        }
    }

    /// Ids of different secrets cannot be compared; size and time can.
    fn is_same(&self, other: &Self) -> bool {
        let alike = self.size_bytes == other.size_bytes;
        if self.secret == other.secret {
            alike && self.chunks == other.chunks
        } else {
            alike && self.modified == other.modified
        }
    }
}

/// Segments by number.
pub(super) type Segments = BTreeMap<u64, Content>;

/// The log in a later snapshot of the same series.
#[derive(Debug)]
pub(super) struct Later {
    /// The snapshot's short id.
    pub(super) label: String,
    pub(super) timeline: Timeline,
    pub(super) segments: Segments,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The last segment that is wanted.
    pub(super) until: Option<u64>,
    /// Whether later snapshots were looked at.
    pub(super) with_later: bool,
    /// Whether directories are replayed into: then only what comes from the floor on matters.
    pub(super) has_directories: bool,
}

/// What to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Planned {
    /// Segments of later snapshots: which of these, and the number.
    pub(super) later: Vec<(usize, u64)>,
    /// Runs of numbers that are taken, all snapshots together.
    pub(super) runs: Vec<(u64, u64)>,
    /// The last segment that a replay reaches without a gap.
    pub(super) reached: Option<u64>,
    /// Missing numbers that end a replay.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Why it is less than was asked for.
    pub(super) short: Option<String>,
}

/// Plans the log of one snapshot, and what follows it.
pub(super) fn plan(facts: &WalFacts, base: &Segments, later: &[Later], asked: Asked) -> Planned {
    let wanted = |number: u64| asked.until.is_none_or(|until| number <= until);
    let mut known: BTreeMap<u64, &Content> =
        base.iter().map(|(n, content)| (*n, content)).collect();
    let mut planned = Planned::default();
    let mut next = match known.last_key_value() {
        Some((last, _)) => last.checked_add(1),
        // No segment was closed yet: the log goes on from the one that was open.
        None => facts.floor,
    };
    let mut stop = None;
    for (place, log) in later.iter().enumerate() {
        if log.timeline != facts.timeline {
            continue;
        }
        let differing =
            log.segments.iter().find(|(n, c)| known.get(n).is_some_and(|known| !known.is_same(c)));
        if let Some((number, _)) = differing {
            stop = Some(format!(
                "{} has other content in snapshot {}: the two are not of one log",
                facts.naming.shown_run((*number, *number)),
                log.label
            ));
            break;
        }
        for (number, content) in &log.segments {
            if Some(*number) != next || !wanted(*number) {
                continue;
            }
            planned.later.push((place, *number));
            known.insert(*number, content);
            next = number.checked_add(1);
        }
    }
    known.retain(|number, _| wanted(*number));
    planned.runs = runs(known.keys().copied());
    let floor = facts.floor.filter(|_| asked.has_directories).unwrap_or(0);
    let pairs = planned.runs.iter().zip(planned.runs.iter().skip(1));
    planned.gaps = pairs
        .map(|(before, after)| (before.1 + 1, after.0 - 1))
        .filter(|(_, last)| *last >= floor)
        .collect();
    planned.reached = match planned.gaps.first() {
        Some((first, _)) => first.checked_sub(1),
        None => planned.runs.last().map(|run| run.1),
    };
    planned.short = short(facts, later, asked, planned.reached, stop);
    planned
}

/// Why a replay gets less far than was asked for.
fn short(
    facts: &WalFacts,
    later: &[Later],
    asked: Asked,
    reached: Option<u64>,
    stop: Option<String>,
) -> Option<String> {
    let naming = &facts.naming;
    let of_timeline = || later.iter().filter(|log| log.timeline == facts.timeline);
    let beyond = of_timeline()
        .flat_map(|log| log.segments.keys().copied())
        .filter(|number| reached.is_none_or(|reached| *number > reached))
        .min();
    let is_less = match asked.until {
        Some(until) => reached != Some(until),
        None => asked.with_later && (beyond.is_some() || stop.is_some()),
    };
    if !is_less {
        return None;
    }
    if stop.is_some() {
        return stop;
    }
    let next = reached.map_or(facts.floor, |reached| reached.checked_add(1))?;
    if !asked.with_later {
        let hint = "--with-later-segments looks for more in later snapshots";
        return Some(format!("the snapshot has no segment {}; {hint}", naming.shown(next)));
    }
    let left = later.iter().find(|log| log.timeline != facts.timeline);
    Some(match (beyond, left) {
        (Some(beyond), _) => format!(
            "{} not stored in any snapshot of this timeline",
            match naming.shown_run((next, beyond.saturating_sub(1).max(next))) {
                one if next + 1 >= beyond => format!("{one} is"),
                several => format!("{several} are"),
            }
        ),
        (None, Some(left)) => format!(
            "segment {} was not backed up before the log became another timeline (snapshot {})",
            naming.shown(next),
            left.label
        ),
        (None, None) => format!("segment {} is not backed up yet", naming.shown(next)),
    })
}

/// Ascending numbers as inclusive runs.
fn runs(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.1.checked_add(1) == Some(number) => run.1 = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::naming::SegmentNaming;

    const ONE: Timeline = Timeline([1; 16]);
    const TWO: Timeline = Timeline([2; 16]);

    fn facts(floor: u64) -> WalFacts {
        WalFacts {
            timeline: ONE,
            forked_from: None,
            earlier: Vec::new(),
            first: None,
            last: None,
            floor: Some(floor),
            ceiling: Some(floor),
            gaps: Vec::new(),
            naming: SegmentNaming::parse("{number}.wal").unwrap(),
            reached: None,
            directory: None,
            marker: None,
        }
    }

    fn segments(numbers: impl IntoIterator<Item = u64>, life: u8) -> Segments {
        let content = |number: u64| Content {
            size_bytes: number,
            modified: FileTime::default(),
            chunks: vec![ChunkId([life; 24])],
            secret: Some(0),
        };
        numbers.into_iter().map(|number| (number, content(number))).collect()
    }

    fn later(numbers: impl IntoIterator<Item = u64>, timeline: Timeline, life: u8) -> Later {
        Later { label: "5f".to_owned(), timeline, segments: segments(numbers, life) }
    }

    fn asked(until: Option<u64>) -> Asked {
        Asked { until, with_later: true, has_directories: true }
    }

    #[test]
    fn segments_follow_through_later_snapshots() {
        let logs = [later(2..=5, ONE, 1), later(6..=8, ONE, 1)];
        let planned = plan(&facts(4), &segments(1..=3, 1), &logs, asked(None));
        assert_eq!(planned.later, [(0, 4), (0, 5), (1, 6), (1, 7), (1, 8)]);
        assert_eq!((planned.runs.as_slice(), planned.short), ([(1, 8)].as_slice(), None));
        let planned = plan(&facts(4), &segments(1..=3, 1), &logs, asked(Some(5)));
        assert_eq!((planned.reached, planned.short), (Some(5), None));
    }

    /// Nothing was closed when the directories were copied: the log goes on from the open segment.
    #[test]
    fn the_floor_is_where_a_log_without_closed_segments_goes_on() {
        let logs = [later(1..=5, ONE, 1)];
        let planned = plan(&facts(4), &segments([], 1), &logs, asked(None));
        assert_eq!(planned.later, [(0, 4), (0, 5)]);
        let alone = Asked { with_later: false, ..asked(Some(4)) };
        let planned = plan(&facts(4), &segments([], 1), &[], alone);
        assert!(planned.short.unwrap().contains("--with-later-segments"));
    }

    #[test]
    fn less_than_asked_is_said() {
        for (base, logs, until, reached, word) in [
            (1..=4, vec![], 9999, 4, "segment 5 is not backed up yet"),
            (1..=4, vec![later(9..=11, ONE, 1)], 9999, 4, "segments 5 to 8 are not stored"),
            (1..=4, vec![later(6..=7, ONE, 1)], 7, 4, "segment 5 is not stored"),
            (1..=4, vec![later(5..=7, TWO, 1)], 7, 4, "another timeline"),
            (1..=4, vec![later(4..=7, ONE, 2)], 7, 4, "other content"),
        ] {
            let planned = plan(&facts(1), &segments(base, 1), &logs, asked(Some(until)));
            assert_eq!(planned.reached, Some(reached));
            let short = planned.short.unwrap();
            assert!(short.contains(word), "{short}");
        }
        // A later log that differs somewhere is of no use anywhere, nor is what comes after it.
        let logs = [later(4..=7, ONE, 2), later(5..=9, ONE, 1)];
        let planned = plan(&facts(1), &segments(1..=4, 1), &logs, asked(None));
        assert_eq!((planned.later, planned.reached), (vec![], Some(4)));
        assert!(planned.short.is_some());
    }

    #[test]
    fn a_gap_matters_from_the_floor_on() {
        let base = segments([1, 2, 4, 5], 1);
        let planned = plan(&facts(5), &base, &[], asked(None));
        assert_eq!((planned.gaps, planned.reached), (vec![], Some(5)));
        let alone = Asked { has_directories: false, ..asked(None) };
        let planned = plan(&facts(5), &base, &[], alone);
        assert_eq!((planned.gaps, planned.reached), (vec![(3, 3)], Some(2)));
        let planned = plan(&facts(2), &base, &[], asked(Some(3)));
        assert_eq!((planned.reached, planned.short.is_some()), (Some(2), true));
    }
}
