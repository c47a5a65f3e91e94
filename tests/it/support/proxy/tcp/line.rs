//! What all connections of a line share: how it is to behave, and what has passed.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_mins(2);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Whether and how bytes are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    #[default]
    On,
    /// New connections are accepted and hung up on at once.
    Refused,
    /// A black hole that reads what the client sends, and never answers. What it read is lost.
    Swallowed,
    /// A black hole that reads nothing: a cable is out. Connections go on when it is back.
    Stalled,
}

/// How one direction is to behave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LaneSettings {
    pub(super) latency: Duration,
    pub(super) bytes_per_second: Option<u64>,
}

/// How the line is to behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    up: LaneSettings,
    down: LaneSettings,
    pub(super) forwarding: Forwarding,
    pub(super) most_connections: usize,
}

impl Settings {
    pub(super) fn lane(&self, direction: Direction) -> LaneSettings {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    pub(super) fn lane_mut(&mut self, direction: Direction) -> &mut LaneSettings {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// What passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted, those that were hung up on at once included.
    pub connections: u64,
    /// Open now.
    pub open: usize,
    /// The most that were open at a time.
    pub most_open: usize,
    pub up_bytes: u64,
    pub down_bytes: u64,
    /// How often all connections were reset.
    pub cuts: u64,
}

/// When connections are to be reset next.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    every_bytes: u64,
    left_bytes: u64,
    left_times: u64,
}

impl Cuts {
    pub(super) fn new(every_bytes: u64, times: u64) -> Self {
        Self { every_bytes, left_bytes: every_bytes, left_times: times }
    }

    /// How many of `bytes` may pass; then whether everything is to be reset.
    fn pass(&mut self, bytes: usize) -> (usize, bool) {
        let wanted = bytes as u64;
        if self.left_times == 0 || wanted < self.left_bytes {
            self.left_bytes = self.left_bytes.saturating_sub(wanted);
            return (bytes, false);
        }
        let passing = usize::try_from(self.left_bytes).unwrap();
        self.left_bytes = self.every_bytes;
        self.left_times -= 1;
        (passing, true)
    }
}

/// One direction of all connections.
#[derive(Debug)]
pub(super) struct Lane {
    /// When what was read so far is through, at the bandwidth that is set.
    pub(super) free_at: Instant,
    pub(super) cuts: Cuts,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Line {
    settings: watch::Sender<Settings>,
    cut: watch::Sender<u64>,
    lanes: [Mutex<Lane>; 2],
    counts: Mutex<Counts>,
    counted: Condvar,
}

impl Default for Line {
    fn default() -> Self {
        let settings = Settings {
            up: LaneSettings::default(),
            down: LaneSettings::default(),
            forwarding: Forwarding::On,
            most_connections: usize::MAX,
        };
        let lane = || Lane { free_at: Instant::now(), cuts: Cuts::default() }.into();
        Self {
            settings: watch::Sender::new(settings),
            cut: watch::Sender::new(0),
            lanes: [lane(), lane()],
            counts: Mutex::default(),
            counted: Condvar::new(),
        }
    }
}

impl Line {
    pub(super) fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(change);
    }

    pub(super) fn settings(&self) -> watch::Receiver<Settings> {
        self.settings.subscribe()
    }

    pub(super) fn lane(&self, direction: Direction) -> &Mutex<Lane> {
        &self.lanes[direction as usize]
    }

    /// Changes with each cut from now on.
    pub(super) fn cuts_to_come(&self) -> watch::Receiver<u64> {
        self.cut.subscribe()
    }

    pub(super) fn cut(&self) {
        self.count(|counts| counts.cuts += 1);
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// How many of `bytes` may pass, which are counted; then whether everything is to be reset.
    pub(super) fn pass(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let (passing, is_cut) = self.lane(direction).lock().unwrap().cuts.pass(bytes);
        self.count(|counts| match direction {
            Direction::Up => counts.up_bytes += passing as u64,
            Direction::Down => counts.down_bytes += passing as u64,
        });
        (passing, is_cut)
    }

    /// Counts a connection as open until the value is dropped; none if it is not to be.
    pub(super) fn open(&self) -> Option<Open<'_>> {
        let settings = *self.settings.borrow();
        let mut is_welcome = settings.forwarding != Forwarding::Refused;
        self.count(|counts| {
            counts.connections += 1;
            is_welcome &= counts.open < settings.most_connections;
            if is_welcome {
                counts.open += 1;
                counts.most_open = counts.most_open.max(counts.open);
            }
        });
        is_welcome.then(|| Open(self))
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    pub(super) fn wait_until(&self, is_enough: impl Fn(&Counts) -> bool) -> Counts {
        let counts = self.counts.lock().unwrap();
        let missing = |counts: &mut Counts| !is_enough(counts);
        let (counts, end) = self.counted.wait_timeout_while(counts, PATIENCE, missing).unwrap();
        assert!(!end.timed_out(), "in {PATIENCE:?} it came to {counts:?} only");
        *counts
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock().unwrap());
        self.counted.notify_all();
    }
}

/// A connection that is open.
pub(super) struct Open<'a>(&'a Line);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.open -= 1);
    }
}
