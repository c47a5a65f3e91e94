//! `--delete` removes only what the backup looked at: nothing that was excluded, unreadable, mounted or a
//! cache ever goes, and everything else that the snapshot does not have does. The dry run counts the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backstay::destination::directory::{DirectoryDestination, Options as DirectoryTo};
use backstay::destination::{Destination, Overwrite};
use backstay::entry::TreePath;
use backstay::repo::Repository;
use backstay::repo::snapshot::Snapshot;
use backstay::restore;
use backstay::source::DirectoryOptions;
use proptest::prelude::*;

use super::scene::{directory_with, init, open, part, scratch, store_of, try_backup, try_restore};

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

fn deleting(path: &Path, change: impl FnOnce(&mut DirectoryTo)) -> Arc<dyn Destination> {
    let mut options = DirectoryTo {
        path: path.to_owned(),
        overwrite: Overwrite::IfChanged,
        delete: true,
        ..Default::default()
    };
    change(&mut options);
    Arc::new(DirectoryDestination::new(options))
}

fn options() -> restore::Options {
    restore::Options { delete: true, ..part(&TreePath::root()) }
}

async fn stored(tree: &Path, change: impl FnOnce(&mut DirectoryOptions)) -> (Repository, Snapshot) {
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let source = directory_with(tree, change);
    let repository = open(&store, 2, &keys.agent).await;
    let snapshot = try_backup(&repository, &[source]).await.unwrap().snapshot;
    (open(&store, 3, &keys.recovery).await, snapshot)
}

/// Everything below a directory, with the bytes of files.
fn all(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, Vec::new());
                waiting.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn put(root: &Path, name: &str) {
    let path = root.join(name);
    // A name may already be there as something else.
    if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
        fs::write(path, name).unwrap();
    }
}

/// Whether a path, or something above it, is what the patterns of the property match.
fn is_excluded(name: &str) -> bool {
    name.split('/').any(|part| part == "skip" || part.strip_suffix(".log").is_some())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let part = prop::sample::select(vec!["a", "b", "skip", "x.log", "cache", "f"]);
    let name = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec(name, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_what_was_looked_at_goes(in_source in names(), in_destination in names(), tagged in any::<bool>()) {
        block_on(async {
            let (tree, out) = (scratch(), scratch());
            put(tree.path(), "always");
            for name in &in_source {
                put(tree.path(), name);
            }
            for name in &in_destination {
                put(out.path(), name);
            }
            if tagged && out.path().join("cache").is_dir() {
                fs::write(out.path().join("cache/CACHEDIR.TAG"), TAG).unwrap();
            }
            let (repository, snapshot) = stored(tree.path(), |options| {
                options.exclude = vec!["skip".to_owned(), "*.log".to_owned()];
                options.exclude_caches = true;
            }).await;
            let before = all(out.path());
            let source = all(tree.path());
            // A snapshot's file in the place of a directory is refused, as elsewhere is proven.
            let counted = restore::dry_run(&repository, &snapshot, deleting(out.path(), |_| {}), &options())
                .await
                .unwrap();
            assert_eq!(all(out.path()), before, "a dry run changes nothing");
            let report = try_restore(&repository, &snapshot, deleting(out.path(), |_| {}), &options())
                .await
                .unwrap();
            let after = all(out.path());
            let is_cache = |name: &str| tagged
                && before.contains_key("cache/CACHEDIR.TAG")
                && name.starts_with("cache/");
            for (name, bytes) in &before {
                if is_excluded(name) || is_cache(name) {
                    assert_eq!(after.get(name), Some(bytes), "{name} was never looked at");
                }
            }
            let stays: BTreeSet<&String> =
                before.keys().filter(|name| is_excluded(name) || is_cache(name)).collect();
            for name in after.keys().filter(|name| !source.contains_key(*name)) {
                let holds = stays.iter().any(|kept| kept.starts_with(&format!("{name}/")));
                // A directory that holds what stays keeps a file of the snapshot out, and that is said.
                let is_refused = report.refused.count > 0 && is_below_a_file(&source, name);
                let is_ours = name.starts_with(".backstay");
                assert!(stays.contains(name) || holds || is_refused || is_ours, "{name} should go");
            }
            if report.refused.count == 0 && !source.keys().any(|name| is_file_over_directory(&before, &source, name)) {
                assert_eq!((counted.removed, counted.kept), (report.removed, report.kept));
            }
        });
    }
}

/// Whether the source has a file where this name needs a directory.
fn is_below_a_file(source: &BTreeMap<String, Vec<u8>>, name: &str) -> bool {
    let files = source.iter().filter(|(_, bytes)| !bytes.is_empty());
    files.map(|(file, _)| format!("{file}/")).any(|file| name.starts_with(&file))
}

/// Whether the two disagree in what a name is: what is below then goes with it, and is not counted.
fn is_file_over_directory(
    before: &BTreeMap<String, Vec<u8>>,
    source: &BTreeMap<String, Vec<u8>>,
    name: &str,
) -> bool {
    match (before.get(name), source.get(name)) {
        (Some(one), Some(other)) => one.is_empty() != other.is_empty(),
        _ => false,
    }
}

/// What could not be listed may hold the only copy of something.
#[tokio::test]
async fn what_the_tree_marks_as_not_looked_at_stays() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let tree = scratch();
    fs::create_dir(tree.path().join("media")).unwrap();
    fs::write(tree.path().join("f"), "f").unwrap();
    let media = tree.path().join("media");
    let mut mount = Command::new("mount");
    assert!(mount.args(["-t", "tmpfs", "none"]).arg(&media).status().unwrap().success());
    fs::write(media.join("photo"), "irreplaceable").unwrap();
    let (repository, snapshot) =
        stored(tree.path(), |options| options.one_file_system = true).await;
    // In place, with the file system there, and elsewhere, where a directory stands for it.
    let elsewhere = scratch();
    fs::create_dir(elsewhere.path().join("media")).unwrap();
    fs::write(elsewhere.path().join("media/photo"), "irreplaceable").unwrap();
    fs::write(tree.path().join("old"), "old").unwrap();
    for to in [tree.path(), elsewhere.path()] {
        let done = try_restore(&repository, &snapshot, deleting(to, |_| {}), &options()).await;
        done.unwrap();
    }
    let photo = fs::read(media.join("photo"));
    assert!(Command::new("umount").arg(&media).status().unwrap().success());
    assert_eq!(photo.unwrap(), b"irreplaceable");
    assert!(elsewhere.path().join("media/photo").exists());
    assert!(!tree.path().join("old").exists());
}

/// A file system that is mounted in the destination, whatever the tree says of its place.
#[tokio::test]
async fn nothing_on_another_file_system_goes() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let (tree, out) = (scratch(), scratch());
    fs::create_dir(tree.path().join("there")).unwrap();
    let (repository, snapshot) = stored(tree.path(), |_| {}).await;
    let mut mounts = Vec::new();
    for name in ["there", "old/deep/strange"] {
        let point = out.path().join(name);
        fs::create_dir_all(&point).unwrap();
        let mut mount = Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "none"]).arg(&point).status().unwrap().success());
        fs::write(point.join("photo"), "irreplaceable").unwrap();
        mounts.push(point);
    }
    fs::write(out.path().join("old/deep/file"), "").unwrap();
    let done = try_restore(&repository, &snapshot, deleting(out.path(), |_| {}), &options()).await;
    let photos: Vec<_> = mounts.iter().map(|point| fs::read(point.join("photo")).ok()).collect();
    for point in &mounts {
        assert!(Command::new("umount").arg(point).status().unwrap().success());
    }
    assert_eq!(photos, [Some(b"irreplaceable".to_vec()), Some(b"irreplaceable".to_vec())]);
    assert_eq!((done.unwrap().removed, out.path().join("old/deep/file").exists()), (1, false));
}

#[tokio::test]
async fn the_cache_is_never_removed_and_the_repository_must_lie_elsewhere() {
    let (tree, out) = (scratch(), scratch());
    fs::write(tree.path().join("f"), "f").unwrap();
    let (repository, snapshot) = stored(tree.path(), |_| {}).await;
    for name in ["old/cache", "old/other", "repository/pack"] {
        fs::create_dir_all(out.path().join(name)).unwrap();
        fs::write(out.path().join(name).join("object"), "sealed").unwrap();
    }
    let beside = |to: &Path| {
        deleting(to, |options| options.keep_apart = vec![out.path().join("repository")])
    };
    for to in ["", "repository", "repository/pack", "repository/new"] {
        let destination = beside(&out.path().join(to));
        let refused = try_restore(&repository, &snapshot, destination, &options()).await;
        assert_eq!(refused.unwrap_err().class(), backstay::class::Class::Refused, "{to}");
        let destination = beside(&out.path().join(to));
        let refused = restore::dry_run(&repository, &snapshot, destination, &options()).await;
        assert_eq!(refused.unwrap_err().class(), backstay::class::Class::Refused, "{to}");
    }
    assert!(!out.path().join("f").exists() && !out.path().join(".backstay-restore").exists());
    let destination =
        deleting(out.path(), |options| options.keep = vec![out.path().join("old/cache")]);
    try_restore(&repository, &snapshot, destination, &options()).await.unwrap();
    let left: Vec<String> = all(out.path()).into_keys().collect();
    assert_eq!(left, ["f", "old", "old/cache", "old/cache/object"]);
}
