//! WAL sources on real files: floor and ceiling, engines that delete and rewrite, timelines.

use std::fs::{self, FileTimes};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::entry::{Cutter, Entry};
use crate::facts::Timeline;
use crate::source::{Compared, Fault, Files, Problem, Reach};

struct Read {
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    files: Arc<dyn Files>,
    reach: Reach,
}

impl Read {
    fn facts(&self) -> &WalFacts {
        match &self.reach.facts {
            Facts::Wal(facts) => facts,
            other @ Facts::Directory { .. } => panic!("{other:?}"),
        }
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.path.to_string()).collect()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.path.name() == name.as_bytes()).unwrap();
        let mut open = self.files.open(entry).unwrap();
        assert_eq!(open.cutter().unwrap(), Cutter::Whole);
        let mut bytes = vec![0; 100];
        let length_bytes = open.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(length_bytes);
        assert_eq!(open.close(), None);
        bytes
    }

    fn faults(&self) -> Vec<(String, Fault)> {
        let problems = self.problems.iter().chain(&self.reach.problems);
        problems.map(|problem| (problem.path.to_string(), problem.fault)).collect()
    }
}

fn write(place: &Path, names: &[&str]) {
    for name in names {
        fs::write(place.join(name), name).unwrap();
    }
}

fn naming(pattern: &str) -> SegmentNaming {
    SegmentNaming::parse(pattern).unwrap()
}

async fn begin(place: &Path, previous: Option<&Facts>) -> Result<Box<dyn Cut>, Error> {
    let source = WalSource::new(WalOptions::new("wal", place, naming("{number}.wal"))).unwrap();
    assert!(source.encloses_others());
    let previous = previous.map(|facts| Previous { facts: Some(facts.clone()), entries: 2 });
    source.cut(&World::still(1), previous.as_ref()).await
}

async fn end(mut cut: Box<dyn Cut>) -> Read {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    while let Some(batch) = cut.next().await.unwrap() {
        entries.extend(batch.entries);
        problems.extend(batch.problems);
    }
    assert!(entries.is_sorted_by(|a: &Entry, b| a.path < b.path));
    let files = cut.files();
    let reach = cut.finish(Compared::default()).await.unwrap();
    Read { entries, problems, files, reach }
}

#[tokio::test(start_paused = true)]
async fn closed_segments_from_floor_to_ceiling() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["8.wal", "9.wal", "10.wal", "LOCK"]);
    fs::create_dir(place.path().join("11.wal")).unwrap();
    let cut = begin(place.path(), None).await.unwrap();
    // The engine goes on, and deletes what it needs no more, before the directories are read.
    write(place.path(), &["12.wal"]);
    fs::remove_dir(place.path().join("11.wal")).unwrap();
    write(place.path(), &["11.wal"]);
    fs::remove_file(place.path().join("8.wal")).unwrap();
    let read = end(cut).await;
    assert_eq!(read.names(), ["", "10.wal", "11.wal", "8.wal", "9.wal"]);
    for name in ["8.wal", "9.wal", "10.wal", "11.wal"] {
        assert_eq!(read.content(name), name.as_bytes());
    }
    assert!(read.faults().is_empty(), "{:?}", read.faults());
    let facts = read.facts();
    assert_eq!((facts.first, facts.last, facts.floor), (Some(8), Some(11), Some(10)));
    assert_eq!(facts.naming.suffix, ".wal");
    assert_eq!(facts.forked_from, None);
}

#[tokio::test(start_paused = true)]
async fn a_single_segment_is_open() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal"]);
    let read = end(begin(place.path(), None).await.unwrap()).await;
    assert_eq!(read.names(), [""]);
    let facts = read.facts();
    assert_eq!((facts.first, facts.last, facts.floor), (None, None, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn gaps_are_named() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["w003", "w004", "w007", "w009", "w010"]);
    let source = WalSource::new(WalOptions::new("wal", place.path(), naming("w{number}")));
    let cut = source.unwrap().cut(&World::still(1), None).await.unwrap();
    let read = end(cut).await;
    let expected = [("w005".to_owned(), Fault::Gap), ("w008".to_owned(), Fault::Gap)];
    assert_eq!(read.faults(), expected);
    assert_eq!(read.facts().gaps, [(5, 6), (8, 8)]);
}

/// An empty log takes nothing down: it is named, unless it is meant.
#[tokio::test(start_paused = true)]
async fn a_log_without_segments_is_named() {
    let place = tempfile::tempdir().unwrap();
    let empty = end(begin(place.path(), None).await.unwrap()).await;
    assert_eq!(empty.faults(), [(String::new(), Fault::Empty)]);
    write(place.path(), &["LOCK"]);
    let read = end(begin(place.path(), None).await.unwrap()).await;
    assert_eq!(read.faults(), [(String::new(), Fault::Empty)]);
    assert!(read.problems[0].detail.contains("{number}.wal"), "{:?}", read.problems);
    let options = WalOptions::new("wal", place.path(), naming("{number}.wal"));
    let source = WalSource::new(WalOptions { allow_empty: true, ..options }).unwrap();
    let read = end(source.cut(&World::still(1), None).await.unwrap()).await;
    assert_eq!(read.faults(), []);
    // What was stored before is remembered through it.
    let before = end(begin(place.path(), None).await.unwrap()).await.facts().clone();
    let before = WalFacts { reached: Some(7), ..before };
    let before = Facts::Wal(before);
    let read = end(begin(place.path(), Some(&before)).await.unwrap()).await;
    assert_eq!(read.facts().reached, Some(7));
    write(place.path(), &["10.wal", "11.wal"]);
    let read = end(begin(place.path(), Some(&read.reach.facts)).await.unwrap()).await;
    assert_eq!(read.facts().gaps, [(8, 9)]);
}

/// Renamed, compressed, another rule: files that look like segments, and none counts as closed.
#[tokio::test(start_paused = true)]
async fn segments_that_do_not_count_as_closed_are_named() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal.zst", "2.wal.zst", "3.wal"]);
    let read = end(begin(place.path(), None).await.unwrap()).await;
    assert_eq!(read.faults(), [("1.wal.zst".to_owned(), Fault::NotClosed)]);
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal", "1.wal.ready", "2.wal", "3.wal", "3.wal.ready", "4.wal"]);
    let options = WalOptions::new("wal", place.path(), naming("{number}.wal"));
    let closed = ClosedRule::Marker { suffix: ".ready".to_owned() };
    let source = WalSource::new(WalOptions { closed, ..options }).unwrap();
    let read = end(source.cut(&World::still(1), None).await.unwrap()).await;
    let expected = [("2.wal".to_owned(), Fault::NotClosed), ("2.wal".to_owned(), Fault::Gap)];
    assert_eq!(read.faults(), expected);
}

#[tokio::test(start_paused = true)]
async fn two_files_of_a_number_are_an_error() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal", "01.wal"]);
    let error = begin(place.path(), None).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Option { .. }));
    let mut options = WalOptions::new("wal", place.path(), naming("{number}.wal"));
    options.closed = ClosedRule::Renamed { open_suffix: String::new() };
    assert!(matches!(WalSource::new(options), Err(Error::Option { .. })));
}

#[tokio::test(start_paused = true)]
async fn closed_segments_that_change_are_told() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    write(place.path(), &["1.wal", "2.wal", "3.wal", "4.wal"]);
    let mut cut = begin(place.path(), None).await.unwrap();
    fs::write(path("new"), "another").unwrap();
    fs::rename(path("new"), path("1.wal")).unwrap();
    let batch = cut.next().await.unwrap().unwrap();
    assert_eq!(batch.problems.len(), 1);
    assert_eq!(batch.problems[0].fault, Fault::Rewritten);
    let times = FileTimes::new().set_modified(UNIX_EPOCH);
    fs::File::open(path("2.wal")).unwrap().set_times(times).unwrap();
    fs::remove_file(path("3.wal")).unwrap();
    let read = end(cut).await;
    assert_eq!(read.faults(), [("2.wal".to_owned(), Fault::Rewritten)]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_does_not_settle_ends_the_log() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal", "2.wal", "3.wal", "4.wal"]);
    let cut = begin(place.path(), None).await.unwrap();
    let busy = place.path().join("2.wal");
    // Time is paused: it only moves, and this task only runs, while the cut waits.
    let writer = tokio::spawn(async move {
        for seconds in 1.. {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let times = FileTimes::new().set_modified(time);
            fs::File::open(&busy).unwrap().set_times(times).unwrap();
            tokio::time::sleep(SETTLE / 2).await;
        }
    });
    let read = end(cut).await;
    writer.abort();
    assert_eq!(read.names(), ["", "1.wal"]);
    assert_eq!(read.faults(), [("2.wal".to_owned(), Fault::Changed)]);
    assert_eq!(read.facts().last, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_timeline_lasts_until_a_restore() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &["1.wal", "2.wal"]);
    let first = end(begin(place.path(), None).await.unwrap()).await;
    let next = end(begin(place.path(), Some(&first.reach.facts)).await.unwrap()).await;
    assert_eq!(first.facts().timeline, next.facts().timeline);
    let marker = TimelineMarker {
        timeline: Timeline([9; 16]),
        forked_from: first.facts().timeline,
        forked_after: 1,
    };
    let path = place.path().join(TIMELINE_MARKER_NAME);
    fs::write(&path, write_timeline_marker_text(&marker)).unwrap();
    let forked = end(begin(place.path(), Some(&next.reach.facts)).await.unwrap()).await;
    assert_eq!(forked.facts().timeline, marker.timeline);
    assert_eq!(forked.facts().forked_from, Some((marker.forked_from, 1)));
    assert_eq!(forked.names(), ["", "1.wal"]);
    fs::write(&path, "timeline: nonsense\n").unwrap();
    let error = begin(place.path(), Some(&next.reach.facts)).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("1.wal", &path).unwrap();
    assert!(begin(place.path(), None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn renamed_segments_are_closed_even_the_newest() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    write(place.path(), &["1.wal", "2.wal", "3.wal.partial"]);
    let mut options = WalOptions::new("wal", place.path(), naming("{number}.wal"));
    options.closed = ClosedRule::Renamed { open_suffix: ".partial".to_owned() };
    let source = WalSource::new(options).unwrap();
    let cut = source.cut(&World::still(1), None).await.unwrap();
    fs::rename(path("3.wal.partial"), path("3.wal")).unwrap();
    write(place.path(), &["4.wal.partial"]);
    let read = end(cut).await;
    assert_eq!(read.names(), ["", "1.wal", "2.wal", "3.wal"]);
    assert_eq!((read.facts().last, read.facts().floor), (Some(3), Some(3)));
    assert_eq!(read.content("3.wal"), b"3.wal.partial");
    assert!(read.faults().is_empty(), "{:?}", read.faults());
}
