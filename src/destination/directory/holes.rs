//! Arithmetic on the runs of data of a sparse file. Pure, and safe with any numbers that a damaged
//! repository may hold.

use std::ops::Range;

use crate::entry::Extent;

/// Whether runs are ascending, disjoint, non-empty and inside the file: only then may what lies
/// between them be left out.
pub(super) fn are_sound(extents: &[Extent], size_bytes: u64) -> bool {
    let mut free_from = 0;
    extents.iter().all(|extent| {
        let end = extent.offset_bytes.checked_add(extent.length_bytes);
        let sound = extent.length_bytes > 0
            && extent.offset_bytes >= free_from
            && end.is_some_and(|end| end <= size_bytes);
        free_from = end.unwrap_or(u64::MAX);
        sound
    })
}

/// The gaps between sound runs, as ranges of the file.
pub(super) fn gaps(extents: &[Extent], size_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::once(0).chain(extents.iter().map(end_of));
    let ends = extents.iter().map(|extent| extent.offset_bytes).chain(std::iter::once(size_bytes));
    starts.zip(ends).map(|(start, end)| start..end).filter(|gap| gap.start < gap.end)
}

/// The parts of a piece at `offset_bytes` that hold data, as ranges of the piece.
pub(super) fn data_of(
    extents: &[Extent],
    offset_bytes: u64,
    length: usize,
) -> impl Iterator<Item = Range<usize>> {
    let piece_end = offset_bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    let first = extents.partition_point(|extent| end_of(extent) <= offset_bytes);
    extents
        .get(first..)
        .unwrap_or_default()
        .iter()
        .take_while(move |extent| extent.offset_bytes < piece_end)
        .filter_map(move |extent| {
            let start = extent.offset_bytes.max(offset_bytes) - offset_bytes;
            let end = end_of(extent).min(piece_end) - offset_bytes;
            Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        })
}

fn end_of(extent: &Extent) -> u64 {
    extent.offset_bytes.saturating_add(extent.length_bytes)
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn extents(runs: &[(u64, u64)]) -> Vec<Extent> {
        let extent = |&(offset_bytes, length_bytes)| Extent { offset_bytes, length_bytes };
        runs.iter().map(extent).collect()
    }

    #[test]
    fn pieces_are_split_at_borders() {
        let runs = extents(&[(10, 10), (30, 5)]);
        let data = |offset, length| data_of(&runs, offset, length).collect::<Vec<_>>();
        assert_eq!(data(0, 10), []);
        assert_eq!(data(0, 40), [10..20, 30..35]);
        assert!(data(15, 3).into_iter().eq(iter::once(0..3)));
        assert_eq!(data(15, 20), [0..5, 15..20]);
        assert_eq!(data(20, 10), []);
        assert!(data(34, 100).into_iter().eq(iter::once(0..1)));
        assert_eq!(data(35, 100), []);
        assert_eq!(data_of(&[], 0, 9).count(), 0);
    }

    #[test]
    fn gaps_are_what_runs_leave() {
        let runs = extents(&[(10, 10), (30, 5)]);
        assert_eq!(gaps(&runs, 40).collect::<Vec<_>>(), [0..10, 20..30, 35..40]);
        assert_eq!(gaps(&extents(&[(0, 40)]), 40).count(), 0);
        assert!(gaps(&[], 40).eq(iter::once(0..40)));
        assert_eq!(gaps(&[], 0).count(), 0);
    }

    #[test]
    fn damaged_runs_are_recognised() {
        assert!(are_sound(&extents(&[(0, 1), (1, 1), (5, 5)]), 10));
        for bad in
            [&[(0, 0)][..], &[(5, 6)], &[(5, 2), (6, 1)], &[(5, 1), (1, 1)], &[(u64::MAX, 2)]]
        {
            assert!(!are_sound(&extents(bad), 10), "{bad:?}");
        }
    }
}
