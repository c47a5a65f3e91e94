//! Which entries are read again though they look as they did: where what a listing shows proves
//! nothing. Pure.

use crate::entry::{Entry, FileTime, TreePath};
use crate::source::Volume;

/// A change may share its time stamp with an earlier one for so long. Kernels stamp with the clock of
/// their last tick, which is at most 10 ms old.
const YOUNG_NANOSECONDS: i64 = 100_000_000;
/// The same where a file system keeps times in steps of up to 2 s, or has the clock of a server.
const YOUNG_FOR_LONG_NANOSECONDS: i64 = 2_000_000_000;
/// A time that is a multiple of this was rounded by such a file system, as all but a few are.
const STEP_NANOSECONDS: u32 = 1_000_000;

/// From the first to the last of these times, both included.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: FileTime,
    to: FileTime,
}

impl Window {
    /// The times of changes that a run begun at `stored` may have missed, as a run begun at
    /// `started` sees it.
    ///
    /// An earlier change was stored as it was. A later time than the clock has reached was set by a
    /// clock that was wrong, or by hand: the next change sets another one. Where the clock went back
    /// in between, it may pass the same times once more.
    fn new(stored: i64, started: i64, margin: i64) -> Self {
        let latest = FileTime { seconds: i64::MAX, nanoseconds: 0 };
        let time = FileTime::from_nanoseconds;
        if started < stored {
            return Self { from: time(started.saturating_sub(margin)), to: latest };
        }
        let (from, to) = (stored.saturating_sub(margin), started.saturating_add(margin));
        Self { from: time(from), to: time(to) }
    }

    fn has(&self, time: FileTime) -> bool {
        self.from <= time && time <= self.to
    }
}

/// What is believed of the parent snapshot.
#[derive(Debug)]
pub(super) struct Belief {
    exact: Window,
    stepped: Window,
    read_all: bool,
    volumes: Vec<Volume>,
    doubted: Vec<TreePath>,
}

impl Belief {
    /// For a run that began at `started`, of a snapshot whose run began at `stored`; in nanoseconds
    /// since 1970. With `read_all` nothing is believed.
    pub(super) fn new(stored: i64, started: i64, read_all: bool) -> Self {
        Self {
            exact: Window::new(stored, started, YOUNG_NANOSECONDS),
            stepped: Window::new(stored, started, YOUNG_FOR_LONG_NANOSECONDS),
            read_all,
            volumes: Vec::new(),
            doubted: Vec::new(),
        }
    }

    /// Whether anything is believed at all.
    pub(super) fn is_blind(&self) -> bool {
        self.read_all
    }

    /// Takes note of what a listing came to.
    pub(super) fn learn(&mut self, volumes: Vec<Volume>, doubted: Vec<TreePath>) {
        self.volumes.extend(volumes);
        self.doubted.extend(doubted);
    }

    /// Whether an entry is read even if the parent has one that looks the same.
    pub(super) fn must_read(&self, entry: &Entry) -> bool {
        let volume = self.volumes.iter().find(|volume| volume.number == entry.volume);
        self.read_all
            || volume.is_some_and(|volume| !volume.is_believed)
            || self.is_young(entry, volume.is_some_and(|volume| volume.has_local_clock))
            || self.doubted.iter().any(|doubted| entry.path.starts_with(doubted))
    }

    fn is_young(&self, entry: &Entry, has_local_clock: bool) -> bool {
        let never = FileTime::default();
        if entry.changed == never && entry.modified == never {
            // A file system without times.
            return true;
        }
        let is_stepped = entry.changed.nanoseconds.is_multiple_of(STEP_NANOSECONDS);
        let window = if has_local_clock && !is_stepped { &self.exact } else { &self.stepped };
        window.has(entry.changed) || window.has(entry.modified)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Kind, Seen};

    /// A file that changes at `changes`, under a clock that may jump; a run stores the state that it finds
    /// at its own time, and the next believes it or not. What it believes is so.
    fn is_caught(first: (i64, i64), second: (i64, i64), changes: &[(i64, i64)]) -> bool {
        // The state and time stamp at an instant of real time; stamps lag by up to a tick.
        let state = |at: i64| {
            let made = changes.iter().filter(|(real, _)| *real <= at);
            made.enumerate().last().map(|(number, (_, stamp))| (number, *stamp))
        };
        let (Some(stored), Some(seen)) = (state(first.0), state(second.0)) else {
            return true;
        };
        let looks_same = stored.1 == seen.1;
        let window = Window::new(first.1, second.1, YOUNG_NANOSECONDS);
        stored.0 == seen.0 || !looks_same || window.has(FileTime::from_nanoseconds(seen.1))
    }

    proptest! {
        /// With a clock that runs on, and one that jumps by `jump` between two runs.
        #[test]
        fn no_change_is_missed(
            mut real in prop::collection::vec(0_i64..10_000_000_000, 1..8),
            listed in 1_000_000_000_i64..5_000_000_000,
            pause in 0_i64..5_000_000_000,
            jump in prop_oneof![Just(0), -8_000_000_000_i64..0],
            tick in prop_oneof![Just(1), Just(4_000_000), Just(10_000_000_i64)],
        ) {
            real.sort_unstable();
            let second = listed + pause + 1;
            // The clock jumps right after the first run.
            let clock = |at: i64| if at > listed { at + jump } else { at };
            let changes: Vec<_> =
                real.iter().map(|&at| (at, clock(at).div_euclid(tick) * tick)).collect();
            // The first run begins a while before it looks.
            let began = listed - 500_000_000;
            prop_assert!(is_caught((listed, began), (second, clock(second)), &changes));
        }
    }

    fn entry_at(changed: i64) -> Entry {
        let time = FileTime::from_nanoseconds(changed);
        Entry {
            path: TreePath::root(),
            kind: Kind::File,
            mode: 0,
            user_id: 0,
            group_id: 0,
            user_name: None,
            group_name: None,
            modified: FileTime { seconds: 1, nanoseconds: 1 },
            changed: time,
            device: 0,
            volume: 0,
            inode: 0,
            links: 1,
            size_bytes: 0,
            inode_flags: 0,
            seen: Seen::Whole,
            xattrs: Vec::new(),
            extents: None,
        }
    }

    #[test]
    fn times_far_off_neither_hide_nor_repeat() {
        const HOUR: i64 = 3_600_000_000_000;
        let (stored, started) = (100 * HOUR + 1, 200 * HOUR + 1);
        let belief = Belief::new(stored, started, false);
        let must_read = |changed| belief.must_read(&entry_at(changed));
        assert!(!must_read(99 * HOUR) && must_read(100 * HOUR + 7) && must_read(199 * HOUR));
        assert!(!must_read(201 * HOUR), "a time in the future is not read each time");
        let back = Belief::new(started, stored, false);
        assert!(back.must_read(&entry_at(101 * HOUR)) && !back.must_read(&entry_at(99 * HOUR)));
        assert!(belief.must_read(&Entry {
            modified: FileTime::default(),
            changed: FileTime::default(),
            ..entry_at(0)
        }));
    }
}
