//! Whether a log is still the one of the last snapshot: decided from its marker, its numbers and what
//! reading showed. Pure.
//!
//! A marker can be lost, and a volume can be lost, set back or given to another engine. So the marker is
//! only the first witness. What joins snapshots later is the timeline, and a wrong one would replay the
//! writes of two lives. Where in doubt, a new timeline begins: that costs no byte, only the joining.

use std::collections::BTreeSet;

use super::TimelineMarker;
use crate::facts::{EARLIER_KEPT, Timeline, WalFacts};
use crate::source::Compared;

/// The log's timeline and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) timeline: Timeline,
    pub(super) forked_from: Option<(Timeline, u64)>,
    pub(super) earlier: Vec<Timeline>,
}

/// The log as it is now.
#[derive(Debug)]
pub(super) struct Now<'a> {
    pub(super) marker: Option<&'a TimelineMarker>,
    /// Numbers of closed segments.
    pub(super) closed: &'a BTreeSet<u64>,
    /// The greatest number, closed or not.
    pub(super) newest: u64,
    /// What tells the directory from another one.
    pub(super) directory: Option<u64>,
    /// Closed segments with another content than the last snapshot has.
    pub(super) rewritten: &'a BTreeSet<u64>,
    pub(super) compared: &'a Compared,
}

/// Why a log is another one than that of the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The marker names a timeline that was left before.
    OldMarker,
    /// The newest segment comes before one that is stored.
    WentBack { newest: u64, reached: u64 },
    /// A closed segment has another content.
    Rewritten { number: u64 },
    /// Numbers overlap, and no segment is the same.
    NothingShared,
    /// The directory is another one, and no segment is the same.
    OtherDirectory,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) life: Life,
    /// Why a new timeline begins, where no restore began it.
    pub(super) new: Option<Why>,
    /// Segments that were deleted without ever having been stored.
    pub(super) lost: Option<(u64, u64)>,
}

/// Compares the log with what the last snapshot says of it. `minted` names the new timeline, if one begins.
pub(super) fn judge(previous: Option<&WalFacts>, now: &Now<'_>, minted: Timeline) -> Judged {
    let Some(previous) = previous else {
        let life = match now.marker {
            Some(marker) => marked(marker, Vec::new()),
            None => Life { timeline: minted, forked_from: None, earlier: Vec::new() },
        };
        return Judged { life, new: None, lost: None };
    };
    let left = || {
        let mut earlier = vec![previous.timeline];
        earlier.extend(previous.earlier.iter().take(EARLIER_KEPT - 1));
        earlier
    };
    let news = now.marker.filter(|marker| {
        previous.marker != Some(marker.timeline) && previous.timeline != marker.timeline
    });
    let is_old = news.is_some_and(|marker| previous.earlier.contains(&marker.timeline));
    if let Some(marker) = news.filter(|_| !is_old) {
        return Judged { life: marked(marker, left()), new: None, lost: None };
    }
    let new = if is_old { Some(Why::OldMarker) } else { evidence(previous, now) };
    if new.is_some() {
        let forked_from = common(previous, now).map(|after| (previous.timeline, after));
        let life = Life { timeline: minted, forked_from, earlier: left() };
        return Judged { life, new, lost: None };
    }
    let life = Life {
        timeline: previous.timeline,
        forked_from: previous.forked_from,
        earlier: previous.earlier.clone(),
    };
    Judged { life, new: None, lost: lost(previous, now) }
}

fn marked(marker: &TimelineMarker, earlier: Vec<Timeline>) -> Life {
    Life {
        timeline: marker.timeline,
        forked_from: Some((marker.forked_from, marker.forked_after)),
        earlier,
    }
}

fn evidence(previous: &WalFacts, now: &Now<'_>) -> Option<Why> {
    if let Some(&number) = now.rewritten.first() {
        return Some(Why::Rewritten { number });
    }
    if let Some(reached) = previous.reached.filter(|reached| now.newest < *reached) {
        return Some(Why::WentBack { newest: now.newest, reached });
    }
    let overlap = match (previous.first, previous.last, now.closed.first(), now.closed.last()) {
        (Some(was_first), Some(was_last), Some(first), Some(last)) => {
            *first <= was_last && was_first <= *last
        }
        _ => false,
    };
    if overlap && !now.compared.shared && now.compared.complete {
        return Some(Why::NothingShared);
    }
    let is_other = matches!((previous.directory, now.directory), (Some(a), Some(b)) if a != b);
    (is_other && !now.compared.shared).then_some(Why::OtherDirectory)
}

/// The last segment up to which both logs are the same.
fn common(previous: &WalFacts, now: &Now<'_>) -> Option<u64> {
    let (first, last) = (previous.first?, previous.last?);
    let end = now.rewritten.first().map_or(Some(last), |number| number.checked_sub(1))?.min(last);
    let both = (first <= end).then(|| now.closed.range(first..=end).next_back().copied());
    both.flatten().filter(|_| now.compared.shared)
}

/// Numbers between the last segment that is stored and the first one that is here.
fn lost(previous: &WalFacts, now: &Now<'_>) -> Option<(u64, u64)> {
    let wanted = match previous.reached {
        Some(reached) => reached.checked_add(1)?,
        None => previous.floor?,
    };
    let here = now.closed.range(wanted..).next().copied().unwrap_or(now.newest);
    (here > wanted).then(|| (wanted, here - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::naming::SegmentNaming;

    const OLD: Timeline = Timeline([1; 16]);
    const NEW: Timeline = Timeline([2; 16]);

    fn previous(first: u64, last: u64) -> WalFacts {
        WalFacts {
            timeline: OLD,
            forked_from: None,
            earlier: vec![Timeline([7; 16])],
            first: Some(first),
            last: Some(last),
            floor: Some(last + 1),
            ceiling: Some(last + 1),
            gaps: Vec::new(),
            naming: SegmentNaming::default(),
            reached: Some(last),
            directory: Some(5),
            marker: None,
        }
    }

    struct Case {
        marker: Option<TimelineMarker>,
        closed: BTreeSet<u64>,
        newest: u64,
        directory: Option<u64>,
        rewritten: BTreeSet<u64>,
        shared: bool,
    }

    impl Case {
        fn of(closed: std::ops::RangeInclusive<u64>, shared: bool) -> Self {
            Self {
                marker: None,
                newest: closed.end() + 1,
                closed: closed.collect(),
                directory: Some(5),
                rewritten: BTreeSet::new(),
                shared,
            }
        }

        fn judge(&self, previous: &WalFacts) -> Judged {
            let compared = Compared { shared: self.shared, rewritten: Vec::new(), complete: true };
            let now = Now {
                marker: self.marker.as_ref(),
                closed: &self.closed,
                newest: self.newest,
                directory: self.directory,
                rewritten: &self.rewritten,
                compared: &compared,
            };
            judge(Some(previous), &now, NEW)
        }
    }

    #[test]
    fn a_log_that_goes_on_stays() {
        for case in [Case::of(1..=5, true), Case::of(4..=9, true), Case::of(6..=9, false)] {
            let judged = case.judge(&previous(1, 5));
            assert_eq!((judged.life.timeline, judged.new, judged.lost), (OLD, None, None));
        }
        // A volume that was copied: another directory, the same segments.
        let copied = Case { directory: Some(6), ..Case::of(4..=9, true) };
        assert_eq!(copied.judge(&previous(1, 5)).new, None);
    }

    #[test]
    fn what_was_deleted_unstored_is_named() {
        assert_eq!(Case::of(9..=11, false).judge(&previous(1, 4)).lost, Some((5, 8)));
        let open_only = Case { closed: BTreeSet::new(), newest: 8, ..Case::of(1..=1, false) };
        assert_eq!(open_only.judge(&previous(1, 4)).lost, Some((5, 7)));
        let mut floor_only = previous(1, 4);
        (floor_only.first, floor_only.last, floor_only.reached) = (None, None, None);
        assert_eq!(Case::of(7..=9, false).judge(&floor_only).lost, Some((5, 6)));
    }

    #[test]
    fn another_life_is_told_by_what_it_did() {
        let back = Case::of(1..=3, true).judge(&previous(1, 6));
        assert_eq!(back.new, Some(Why::WentBack { newest: 4, reached: 6 }));
        assert_eq!(back.life.forked_from, Some((OLD, 3)));
        let rewritten = Case { rewritten: [3, 4].into(), ..Case::of(1..=9, true) };
        let rewritten = rewritten.judge(&previous(1, 6));
        assert_eq!(rewritten.new, Some(Why::Rewritten { number: 3 }));
        assert_eq!(rewritten.life.forked_from, Some((OLD, 2)));
        assert_eq!(rewritten.life.earlier, [OLD, Timeline([7; 16])]);
        let odd = Case { closed: [2, 4].into(), newest: 9, ..Case::of(1..=1, false) };
        assert_eq!(odd.judge(&previous(1, 5)).new, Some(Why::NothingShared));
        let moved = Case { directory: Some(6), ..Case::of(6..=9, false) };
        assert_eq!(moved.judge(&previous(1, 5)).new, Some(Why::OtherDirectory));
    }

    #[test]
    fn a_marker_is_believed_once() {
        let marker = |byte| {
            Some(TimelineMarker {
                timeline: Timeline([byte; 16]),
                forked_from: OLD,
                forked_after: 4,
            })
        };
        let restored = Case { marker: marker(9), ..Case::of(1..=5, true) }.judge(&previous(1, 5));
        assert_eq!((restored.life.timeline, restored.new), (Timeline([9; 16]), None));
        let set_back = Case { marker: marker(7), ..Case::of(1..=5, true) };
        let judged = set_back.judge(&previous(1, 5));
        assert_eq!((judged.life.timeline, judged.new), (NEW, Some(Why::OldMarker)));
        let seen = WalFacts { marker: Some(Timeline([7; 16])), ..previous(1, 5) };
        assert_eq!(set_back.judge(&seen).new, None);
    }
}
