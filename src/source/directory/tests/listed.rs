//! A walk that follows a list of paths: what it sees, and what it says of what it did not look at.

use std::fs;
use std::path::Path;

use super::{make, read_with};
use crate::entry::{Seen, TreePath};
use crate::source::Fault;

async fn read_listed(place: &Path, list: &[&str], pin: bool) -> super::Read {
    let paths = list.iter().map(|text| TreePath::from_bytes(*text).unwrap()).collect();
    read_with(place, |options| {
        options.only = Some(paths);
        options.pin = pin;
    })
    .await
}

/// A directory of which only some names were looked at says so, or a restore would take what it does not
/// have for deleted.
#[tokio::test]
async fn directories_of_a_list_say_that_they_were_not_seen_whole() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["a/b/c", "a/b/d", "a/whole/e", "f", "not/g"]);
    for pin in [false, true] {
        let read = read_listed(place.path(), &["a/b/c", "a/whole", "f"], pin).await;
        assert_eq!(read.paths(), ["", "a", "a/b", "a/b/c", "a/whole", "a/whole/e", "f"]);
        for path in ["", "a", "a/b"] {
            assert_eq!(read.entry(path).seen, Seen::LeftOut, "{path}");
        }
        for path in ["a/b/c", "a/whole", "a/whole/e", "f"] {
            assert_eq!(read.entry(path).seen, Seen::Whole, "{path}");
        }
        assert!(read.problems.is_empty(), "{:?}", read.problems);
    }
}

#[tokio::test]
async fn what_is_beside_a_single_file_was_not_looked_at() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["a", "b"]);
    let read = read_with(&place.path().join("a"), |_| {}).await;
    assert_eq!(read.paths(), ["", "a"]);
    assert_eq!(read.entry("").seen, Seen::LeftOut);
    let whole = read_with(place.path(), |_| {}).await;
    assert_eq!(whole.entry("").seen, Seen::Whole);
}

/// Each listed path is there or named, whatever became of the directories on the way; and a pinned
/// directory stands still although something lacks.
#[tokio::test]
async fn every_listed_path_is_there_or_named() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["a/b", "file", "excluded/x"]);
    fs::create_dir(place.path().join("empty")).unwrap();
    let list = ["a/b", "a/no", "file/no", "no/x/y", "no/x/z", "empty", "excluded/x"];
    for pin in [false, true] {
        let paths = list.iter().map(|text| TreePath::from_bytes(*text).unwrap()).collect();
        let read = read_with(place.path(), |options| {
            options.only = Some(paths);
            options.pin = pin;
            options.exclude = vec!["excluded/".to_owned()];
        })
        .await;
        assert_eq!(read.paths(), ["", "a", "a/b", "empty"]);
        let missing: Vec<String> =
            read.problems.iter().map(|problem| problem.path.to_string()).collect();
        assert_eq!(missing, ["a/no", "file/no", "no/x/y", "no/x/z"]);
        assert!(read.problems.iter().all(|problem| problem.fault == Fault::Missing));
        assert_eq!(read.excluded, 1);
    }
}
