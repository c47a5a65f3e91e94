//! Random lives of a log: written, cut at the back, lost, set back, restored, its marker lost, backed up
//! in between. A ledger knows what was ever written in one line. No restore may have segments of two lines,
//! and none may get less far than asked without saying so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay::destination::directory::{DirectoryDestination, Options as Into};
use backstay::facts::naming::SegmentNaming;
use backstay::repo::Repository;
use backstay::repo::snapshot::Snapshot;
use backstay::restore::{self, RestoredWal};
use backstay::source::wal::TIMELINE_MARKER_NAME;
use backstay::source::{Source, WalOptions, WalSource};
use proptest::prelude::*;

use super::scene::{init, open, part_of, store_of, try_backup, try_restore};

/// What happens to a log.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The engine closes so many segments.
    Write(u64),
    /// It deletes the oldest closed segments, so many at most.
    Delete(u64),
    Backup,
    /// The volume is lost, and the engine begins anew in another directory.
    Lose,
    /// The volume is set back to what it was at a backup.
    SetBack(prop::sample::Index),
    /// A snapshot is restored in place, and the engine goes on from there.
    Restore(prop::sample::Index, bool),
    /// Somebody deletes the marker.
    LoseMarker,
    /// The log is copied to another volume, and goes on there.
    Move,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..4_u64).prop_map(Event::Write),
        2 => (1..4_u64).prop_map(Event::Delete),
        6 => Just(Event::Backup),
        1 => Just(Event::Lose),
        1 => any::<prop::sample::Index>().prop_map(Event::SetBack),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, l)| Event::Restore(i, l)),
        1 => Just(Event::LoseMarker),
        1 => Just(Event::Move),
    ]
}

/// All segments of one line, deleted ones too.
type Line = BTreeMap<u64, String>;

/// The engine's volume, and what the ledger knows.
struct World {
    place: tempfile::TempDir,
    repository: Repository,
    writer: u64,
    moves: u64,
    /// The line that is being written, with the open segment.
    line: Line,
    /// Every line, as far as it came.
    lines: Vec<Line>,
    /// Every backup: the snapshot, and the volume as it was.
    backups: Vec<(Snapshot, BTreeMap<String, Vec<u8>>, Line)>,
    /// Whether the log was set back and not backed up since: what both lives have must stay until then.
    is_set_back: bool,
}

fn name(number: u64) -> String {
    format!("{number}.wal")
}

impl World {
    async fn new() -> Self {
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.recovery).await;
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("wal")).unwrap();
        let mut world = Self {
            place,
            repository,
            writer: 0,
            moves: 0,
            line: Line::new(),
            lines: Vec::new(),
            backups: Vec::new(),
            is_set_back: false,
        };
        world.begin();
        world
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("wal")
    }

    /// Another writer takes the log over and opens the next segment.
    fn begin(&mut self) {
        self.writer += 1;
        let next = self.line.last_key_value().map_or(1, |(last, _)| last + 1);
        self.open(next);
    }

    fn open(&mut self, number: u64) {
        let text = format!("writer {} segment {number}", self.writer);
        fs::write(self.log().join(name(number)), &text).unwrap();
        self.line.insert(number, text);
        self.lines.push(self.line.clone());
    }

    fn on_disk(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.log()).unwrap().map(|entry| entry.unwrap());
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        };
        entries.map(read).collect()
    }

    /// Lays files into the log, in the same directory or in another one.
    fn lay(&mut self, files: &BTreeMap<String, Vec<u8>>, is_other: bool) {
        if is_other {
            // Kept, so that its inode number is not used again.
            self.moves += 1;
            let old = self.place.path().join(format!("old-{}", self.moves));
            fs::rename(self.log(), old).unwrap();
            fs::create_dir(self.log()).unwrap();
        }
        for name in self.on_disk().into_keys() {
            fs::remove_file(self.log().join(name)).unwrap();
        }
        for (name, bytes) in files {
            fs::write(self.log().join(name), bytes).unwrap();
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Write(count) => {
                for _ in 0..count {
                    let next = self.line.last_key_value().unwrap().0 + 1;
                    self.open(next);
                }
            }
            Event::Delete(count) => {
                let open = *self.line.last_key_value().unwrap().0;
                let closed = self.line.keys().copied().filter(|number| *number < open);
                for number in closed.take(to_usize(count)).filter(|_| !self.is_set_back) {
                    drop(fs::remove_file(self.log().join(name(number))));
                }
            }
            Event::Backup => self.back_up().await,
            Event::Lose => {
                self.lay(&BTreeMap::new(), true);
                self.line = Line::new();
                self.begin();
            }
            Event::SetBack(which) if !self.backups.is_empty() => {
                let (_, files, line) = which.get(&self.backups).clone();
                self.lay(&files, false);
                self.line = line;
                // The engine drops its open segment and begins another.
                let (open, _) = self.line.pop_last().unwrap();
                drop(fs::remove_file(self.log().join(name(open))));
                self.writer += 1;
                self.is_set_back = true;
                self.open(open);
            }
            Event::Restore(which, with_later) if !self.backups.is_empty() => {
                let snapshot = which.get(&self.backups).0.clone();
                self.lay(&BTreeMap::new(), true);
                let log = self.restore(&snapshot, &self.log(), with_later, None).await.unwrap();
                let files = self.on_disk();
                let restored = segments(&files);
                self.check(&restored, &log);
                self.line = restored;
                self.begin();
            }
            Event::LoseMarker => drop(fs::remove_file(self.log().join(TIMELINE_MARKER_NAME))),
            Event::Move => {
                let files = self.on_disk();
                self.lay(&files, true);
            }
            Event::SetBack(_) | Event::Restore(..) => {}
        }
    }

    async fn back_up(&mut self) {
        let naming = SegmentNaming::parse("{number}.wal").unwrap();
        let options = WalOptions {
            settle: std::time::Duration::ZERO,
            ..WalOptions::new("wal", self.log(), naming)
        };
        let sources: [Box<dyn Source>; 1] = [Box::new(WalSource::new(options).unwrap())];
        let report = try_backup(&self.repository, &sources).await.unwrap();
        self.backups.push((report.snapshot, self.on_disk(), self.line.clone()));
        self.is_set_back = false;
    }

    async fn restore(
        &self,
        snapshot: &Snapshot,
        to: &Path,
        with_later: bool,
        until: Option<u64>,
    ) -> Result<RestoredWal, restore::Error> {
        let wal = restore::WalOptions {
            until_segment: until.map(|until| until.to_string()),
            with_later_segments: with_later,
            ..Default::default()
        };
        let options = restore::Options { wal, ..part_of("wal") };
        let into = Into { path: to.to_owned(), ..Into::default() };
        let destination = Arc::new(DirectoryDestination::new(into));
        let mut report = try_restore(&self.repository, snapshot, destination, &options).await?;
        assert_eq!(report.damage, []);
        Ok(report.wal.remove(0))
    }

    /// What was restored is of one line, and says how far it gets.
    #[track_caller]
    fn check(&self, restored: &Line, log: &RestoredWal) {
        let of_one_line = self
            .lines
            .iter()
            .any(|line| restored.iter().all(|(number, text)| line.get(number) == Some(text)));
        assert!(of_one_line, "two lives: {restored:?}");
        let numbers: Vec<u64> = restored.keys().copied().collect();
        let runs: Vec<u64> = log.runs.iter().flat_map(|run| run.0..=run.1).collect();
        assert_eq!(numbers, runs);
        let is_whole = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(is_whole || !log.gaps.is_empty(), "a gap that is not named: {log:?}");
        if let (Some(asked), None) = (log.asked, &log.short) {
            assert_eq!((log.reached, restored.contains_key(&asked)), (Some(asked), true));
        }
    }

    /// Restores each snapshot in each way.
    async fn restore_all(&self, until: u64) {
        for (number, (snapshot, ..)) in self.backups.iter().enumerate() {
            for (way, with_later, until) in
                [("alone", false, None), ("later", true, None), ("until", true, Some(until))]
            {
                let to = self.place.path().join(format!("{way}-{number}"));
                match self.restore(snapshot, &to, with_later, until).await {
                    Ok(log) => {
                        let files = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
                        let read = |path: PathBuf| {
                            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                            (name, fs::read(path).unwrap())
                        };
                        self.check(&segments(&files.map(read).collect()), &log);
                    }
                    Err(restore::Error::NotThere { .. }) => assert!(until.is_some()),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn segments(files: &BTreeMap<String, Vec<u8>>) -> Line {
    let number = |name: &str| name.strip_suffix(".wal")?.parse().ok();
    let texts = files.iter().map(|(name, text)| (name, String::from_utf8_lossy(text).into_owned()));
    texts.filter_map(|(name, text)| Some((number(name)?, text))).collect()
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_restore_has_two_lives(
        events in prop::collection::vec(event(), 4..24),
        until in 1..14_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in events {
                world.happen(event).await;
            }
            world.restore_all(until).await;
        });
    }
}
