//! File systems with a peculiarity cost no content and hide nothing: a backup of each, taken as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay::entry::{Kind, Seen, TreePath};
use backstay::source::Fault;

use super::scene::{
    backup, directory_with, init, open, part, path, recall, recall_damaged, store_of, try_backup,
    try_restore,
};
use crate::support::fuse::{Fuse, Oddity, files};
use crate::support::kept::{Items, Kept};

/// Files by path.
fn contents(items: &Items) -> BTreeMap<String, Vec<u8>> {
    let files = items.iter().filter(|(_, item)| item.entry.is_file());
    files.map(|(path, item)| (path.to_string(), item.bytes.clone())).collect()
}

fn expected() -> BTreeMap<String, Vec<u8>> {
    files().into_iter().map(|(path, content)| (path.to_owned(), content)).collect()
}

struct Taken {
    report: backstay::backup::Report,
    /// Each file restored by itself, so that none is taken for another's second name.
    alone: BTreeMap<String, Vec<u8>>,
    items: Items,
    incomplete: Vec<TreePath>,
}

impl Taken {
    fn problems(&self) -> Vec<(String, Fault)> {
        let problems = self.report.problems.iter();
        problems.map(|(_, problem)| (problem.path.to_string(), problem.fault)).collect()
    }
}

/// Backs a file system up; `None` where this machine cannot have it.
async fn take(oddity: Oddity, pin: bool) -> Option<Taken> {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    let _fuse = Fuse::mount(&root, oddity)?;
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    let source = directory_with(&root, |options| options.pin = pin);
    let report = try_backup(&repository, &[source]).await.unwrap();
    let (items, restored) = recall_damaged(&repository, &report.snapshot).await.unwrap();
    assert_eq!(restored.damage, []);
    let mut alone = BTreeMap::new();
    for (name, item) in &items {
        if item.entry.is_file() {
            let kept = Kept::default();
            let destination = Arc::new(kept.clone());
            try_restore(&repository, &report.snapshot, destination, &part(name)).await.unwrap();
            alone.extend(contents(&kept.items()).into_values().map(|b| (name.to_string(), b)));
        }
    }
    Some(Taken { report, alone, items, incomplete: restored.incomplete })
}

#[tokio::test]
async fn odd_sizes_times_and_inode_numbers_cost_no_content() {
    for oddity in [
        Oddity::None,
        Oddity::UnstableInodes,
        Oddity::SharedInode,
        Oddity::SizeZero,
        Oddity::SizeTooLarge,
        Oddity::TimesZero,
    ] {
        for pin in [false, true] {
            let Some(taken) = take(oddity, pin).await else { return };
            assert_eq!(taken.problems(), [], "{oddity:?}, pinned {pin}");
            assert!(taken.alone == expected(), "{oddity:?}, pinned {pin}");
            assert!(!taken.report.snapshot.partial);
        }
    }
}

#[tokio::test]
async fn an_attribute_that_cannot_be_read_costs_no_content() {
    let Some(taken) = take(Oddity::XattrFails, false).await else { return };
    let all: Vec<_> = expected().into_keys().map(|path| (path, Fault::Unreadable)).collect();
    let mut named = taken.problems();
    named.sort();
    assert_eq!(named, all);
    assert!(taken.report.snapshot.partial);
    assert!(contents(&taken.items) == expected());
    let kept = &taken.items[&path("a.txt")].entry.xattrs;
    assert!(kept.iter().any(|xattr| xattr.name == b"user.good"), "{kept:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_costs_no_other() {
    let Some(taken) = take(Oddity::ReadFails, false).await else { return };
    assert_eq!(taken.problems(), [("b.bin".to_owned(), Fault::Unreadable)]);
    let mut others = expected();
    others.remove("b.bin");
    assert!(contents(&taken.items) == others);
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_marked() {
    let Some(listing) = take(Oddity::ListingFails, false).await else { return };
    assert_eq!(listing.problems(), [("sub".to_owned(), Fault::Unreadable)]);
    let mut others = expected();
    others.remove("sub/c.txt");
    assert!(contents(&listing.items) == others, "what was listed is kept");
    assert!(listing.incomplete.contains(&path("sub")), "{:?}", listing.incomplete);

    let Some(lookup) = take(Oddity::LookupFails, false).await else { return };
    assert_eq!(lookup.problems(), [("sub/c.txt".to_owned(), Fault::Unreadable)]);
    assert!(contents(&lookup.items) == others);
    assert!(lookup.incomplete.contains(&path("sub/c.txt")), "{:?}", lookup.incomplete);
}

/// What could not be looked at is looked at again, though nothing shows that it changed.
#[tokio::test]
async fn what_became_readable_is_noticed() {
    for oddity in [Oddity::ListingFails, Oddity::LookupFails, Oddity::XattrFails, Oddity::ReadFails]
    {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.recovery).await;
        let Some(fuse) = Fuse::mount(&root, oddity) else { return };
        assert!(backup(&repository, &root).await.snapshot.partial);
        drop(fuse);
        let Some(_fuse) = Fuse::mount(&root, Oddity::None) else { return };
        let report = backup(&repository, &root).await;
        assert_eq!((report.problems.len(), report.snapshot.partial), (0, false), "{oddity:?}");
        let items = recall(&repository, &report.snapshot).await;
        assert!(contents(&items) == expected(), "{oddity:?}");
        let whole = items
            .values()
            .all(|item| item.entry.seen == Seen::Whole && item.entry.kind != Kind::Unknown);
        assert!(whole, "{oddity:?}");
    }
}
