//! Which files of a WAL directory are closed segments, decided from listings alone: pure.

use std::collections::BTreeMap;

use crate::entry::TreePath;
use crate::facts::naming::SegmentNaming;
use crate::source::{Fault, Problem};

/// How an engine shows that a segment is closed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ClosedRule {
    /// All but the one with the greatest number are closed. Wrong for engines that create segments
    /// ahead of use, such as `PostgreSQL`.
    #[default]
    AllButNewest,
    /// An open segment has this after its name, such as `.partial`; one without it is closed.
    Renamed {
        /// What an open segment's name ends in.
        open_suffix: String,
    },
    /// A closed segment has a file of the same name with this after it beside it, such as `.ready`.
    Marker {
        /// What the marker's name ends in.
        suffix: String,
    },
}

/// What a listing says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Sorted {
    /// Names of closed segments by number.
    pub(super) closed: BTreeMap<u64, Vec<u8>>,
    /// Names of open segments by number.
    pub(super) open: BTreeMap<u64, Vec<u8>>,
    /// Files that are no segments.
    pub(super) others: u64,
    /// Those of them that are named after a segment that is not there, as a compressed or renamed one is.
    pub(super) strays: BTreeMap<u64, Vec<u8>>,
    /// The newest of them that is a segment of another timeline of `PostgreSQL`.
    pub(super) elsewhere: Option<(u64, Vec<u8>)>,
}

impl Sorted {
    /// The greatest number, closed or not.
    pub(super) fn newest(&self) -> Option<u64> {
        self.closed.last_key_value().max(self.open.last_key_value()).map(|(number, _)| *number)
    }
}

/// Sorts names into closed segments, open ones and others. Two files with the same number are an
/// error: nothing tells which of them is the segment.
pub(super) fn sort<'a>(
    names: impl Iterator<Item = &'a [u8]> + Clone,
    pattern: &SegmentNaming,
    rule: &ClosedRule,
) -> Result<Sorted, String> {
    let mut closed = BTreeMap::new();
    let mut open = BTreeMap::new();
    let mut others = 0;
    let mut strays = BTreeMap::new();
    let mut elsewhere = None;
    for name in names.clone() {
        if let Some(number) = pattern.number(name) {
            insert(&mut closed, number, name)?;
        } else if let ClosedRule::Renamed { open_suffix } = rule
            && let Some(stem) = name.strip_suffix(open_suffix.as_bytes())
            && let Some(number) = pattern.number(stem)
        {
            insert(&mut open, number, name)?;
        } else {
            others += 1;
            let is_marker =
                matches!(rule, ClosedRule::Marker { suffix } if name.ends_with(suffix.as_bytes()));
            if is_marker {
                continue;
            }
            if let Some(number) = pattern.belongs_to(name) {
                strays.entry(number).or_insert_with(|| name.to_vec());
            } else if let Some(number) = pattern.number_elsewhere(name) {
                elsewhere = elsewhere.max(Some((number, name.to_vec())));
            }
        }
    }
    // What stands beside a segment, such as an index, is not the segment.
    strays.retain(|number, _| !closed.contains_key(number) && !open.contains_key(number));
    match rule {
        ClosedRule::AllButNewest => open.extend(closed.pop_last()),
        ClosedRule::Renamed { .. } => {
            // Seen under both names in one listing: the renaming went on meanwhile. It was closed
            // if only the closed name is left, which the next look will tell.
            closed.retain(|number, _| !open.contains_key(number));
        }
        ClosedRule::Marker { suffix } => {
            let marked: std::collections::HashSet<&[u8]> =
                names.filter_map(|name| name.strip_suffix(suffix.as_bytes())).collect();
            let unmarked = closed.extract_if(.., |_, name| !marked.contains(name.as_slice()));
            open.extend(unmarked);
        }
    }
    Ok(Sorted { closed, open, others, strays, elsewhere })
}

fn insert(segments: &mut BTreeMap<u64, Vec<u8>>, number: u64, name: &[u8]) -> Result<(), String> {
    match segments.insert(number, name.to_vec()) {
        None => Ok(()),
        Some(other) => Err(format!(
            "{} and {} are both segment {number}: remove one, or give a narrower segment pattern",
            String::from_utf8_lossy(&other),
            String::from_utf8_lossy(name),
        )),
    }
}

/// The numbers that are missing between the first and the last, as inclusive runs.
pub(super) fn gaps(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut before: Option<u64> = None;
    for number in numbers {
        if let Some(before) = before
            && number - before > 1
        {
            gaps.push((before + 1, number - 1));
        }
        before = Some(number);
    }
    gaps
}

/// Tells of a gap under the name that its first segment would have.
pub(super) fn gap_problem(
    gap: (u64, u64),
    naming: &SegmentNaming,
    neighbour: &[u8],
    why: &str,
) -> Problem {
    let is = if gap.0 == gap.1 { "is" } else { "are" };
    Problem {
        path: TreePath::root().join(naming.name_like(gap.0, neighbour).as_bytes()),
        fault: Fault::Gap,
        detail: format!("{} {is} missing: {why}", naming.shown_run(gap)),
    }
}

/// Segments that should be closed and are not.
pub(super) fn not_closed(sorted: &Sorted, rule: &ClosedRule) -> Vec<Problem> {
    let remedy = match rule {
        ClosedRule::AllButNewest => return Vec::new(),
        ClosedRule::Renamed { open_suffix } => format!("its name still ends in {open_suffix}"),
        ClosedRule::Marker { suffix } => format!("it has no marker ending in {suffix}"),
    };
    let newest = sorted.newest().unwrap_or_default();
    let older = sorted.open.range(..newest);
    older
        .map(|(_, name)| Problem {
            path: TreePath::root().join(name),
            fault: Fault::NotClosed,
            detail: format!("does not count as closed though it is not the newest: {remedy}"),
        })
        .collect()
}

/// What is wrong with a log in which nothing is closed though something was, or seems to be.
pub(super) fn nothing_closed(sorted: &Sorted, naming: &SegmentNaming) -> Option<Problem> {
    let stray = sorted.strays.values().next();
    let stray = stray.or(sorted.elsewhere.as_ref().map(|(_, name)| name))?;
    Some(Problem {
        path: TreePath::root().join(stray),
        fault: Fault::NotClosed,
        detail: format!(
            "no segment counts as closed, but this file is named after one: does the pattern \
             {naming}, or the rule for closed segments, still fit?"
        ),
    })
}

/// What seems to go on with a log whose last closed segment is `last` under names that the pattern does not
/// fit: segments that are compressed now, or those of a new timeline of `PostgreSQL`. One file named after the
/// segment to come is taken for its making.
pub(super) fn goes_on_elsewhere(
    sorted: &Sorted,
    last: u64,
    naming: &SegmentNaming,
) -> Option<Problem> {
    let newest = sorted.newest().unwrap_or(last).max(last);
    let strays = sorted.strays.range(last.checked_add(1)?..);
    let stray = strays
        .map(|(number, name)| (*number, name))
        .find(|(number, _)| *number <= newest || *number > newest.saturating_add(1));
    let elsewhere = sorted.elsewhere.as_ref().map(|(number, name)| (*number, name));
    let (_, name) = stray.or(elsewhere.filter(|(number, _)| *number > last))?;
    Some(Problem {
        path: TreePath::root().join(name),
        fault: Fault::NotClosed,
        detail: format!(
            "it comes after the last closed segment and is not stored: does the pattern {naming} still fit?"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str], rule: &ClosedRule) -> Result<(Vec<u64>, Vec<u64>, u64), String> {
        let pattern = SegmentNaming::parse("{number}.wal").unwrap();
        let names = names.iter().map(|name| name.as_bytes());
        let sorted = sort(names, &pattern, rule)?;
        Ok((
            sorted.closed.keys().copied().collect(),
            sorted.open.keys().copied().collect(),
            sorted.others,
        ))
    }

    #[test]
    fn the_newest_is_found_by_number_not_by_name() {
        let rule = ClosedRule::AllButNewest;
        assert_eq!(
            sorted(&["9.wal", "10.wal", "8.wal", "LOCK"], &rule),
            Ok((vec![8, 9], vec![10], 1))
        );
        assert_eq!(sorted(&["5.wal"], &rule), Ok((vec![], vec![5], 0)));
        assert_eq!(sorted(&[], &rule), Ok((vec![], vec![], 0)));
        assert!(sorted(&["5.wal", "05.wal"], &rule).unwrap_err().contains("both segment 5"));
    }

    #[test]
    fn renamed_and_marked_segments() {
        let rule = ClosedRule::Renamed { open_suffix: ".partial".to_owned() };
        let names = ["1.wal", "2.wal", "3.wal.partial", "2.wal.partial"];
        assert_eq!(sorted(&names, &rule), Ok((vec![1], vec![2, 3], 0)));
        let rule = ClosedRule::Marker { suffix: ".ready".to_owned() };
        let names = ["1.wal", "1.wal.ready", "2.wal", "3.wal", "3.wal.ready"];
        assert_eq!(sorted(&names, &rule), Ok((vec![1, 3], vec![2], 2)));
    }

    #[test]
    fn a_log_that_goes_on_under_other_names_is_named() {
        let found = |pattern: &str, last: u64, names: &[&str]| {
            let pattern = SegmentNaming::parse(pattern).unwrap();
            let names = names.iter().map(|name| name.as_bytes());
            let sorted = sort(names, &pattern, &ClosedRule::AllButNewest).unwrap();
            goes_on_elsewhere(&sorted, last, &pattern).map(|problem| problem.path.to_string())
        };
        let found_in_wal = |last, names: &[&str]| found("{number}.wal", last, names);
        assert_eq!(
            found_in_wal(2, &["1.wal", "2.wal", "3.wal.zst", "4.wal"]),
            Some("3.wal.zst".to_owned())
        );
        assert_eq!(
            found_in_wal(1, &["1.wal", "2.wal", "3.wal.zst", "4.wal.zst"]),
            Some("4.wal.zst".to_owned())
        );
        for quiet in [
            &["1.wal", "2.wal", "3.wal"][..],
            &["0.wal.zst", "1.wal", "2.wal", "3.wal"],
            &["1.wal", "2.wal", "2.wal.index", "3.wal", "3.wal.index"],
            &["1.wal", "2.wal", "3.wal", "4.wal.new"],
        ] {
            assert_eq!(found_in_wal(2, quiet), None, "{quiet:?}");
        }
        let postgresql = |names: &[&str]| found("00000001{number:postgresql}", 1, names);
        let old = ["000000010000000000000001", "000000010000000000000002"];
        assert_eq!(postgresql(&old), None);
        let promoted = "000000020000000000000002";
        let names = [&old[..], &[promoted, "00000002.history"]].concat();
        assert_eq!(postgresql(&names), Some(promoted.to_owned()));
        // A directory may hold two logs.
        let names = ["shard-1-1.wal", "shard-1-2.wal", "shard-2-9.wal"];
        assert_eq!(found("shard-1-{number}.wal", 1, &names), None);
    }

    #[test]
    fn gaps_are_inclusive_runs() {
        assert_eq!(gaps([].into_iter()), []);
        assert_eq!(gaps([7].into_iter()), []);
        assert_eq!(gaps([7, 8, 10, 14].into_iter()), [(9, 9), (11, 13)]);
        assert_eq!(gaps([0, u64::MAX].into_iter()), [(1, u64::MAX - 1)]);
    }
}
