//! Hard links: two names become one file only where the snapshot shows one file, and only by what this
//! restore wrote. What inode numbers say must never cost content.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backstay::destination::directory::{DirectoryDestination, Options as DirectoryTo};
use backstay::destination::{Destination, Overwrite, ShortfallKind};
use backstay::entry::TreePath;
use backstay::restore;

use super::scene::{backup, init, into_directory, open, part, scratch, store_of, try_restore};
use crate::support::refusing::{Call, Refusing};

async fn stored(tree: &Path) -> impl AsyncFn(Arc<dyn Destination>) -> restore::Report {
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let snapshot = backup(&open(&store, 2, &keys.agent).await, tree).await.snapshot;
    let repository = open(&store, 3, &keys.recovery).await;
    async move |destination| {
        let part = part(&TreePath::root());
        try_restore(&repository, &snapshot, destination, &part).await.unwrap()
    }
}

/// The names of a directory by inode, each group in order.
fn groups(root: &Path) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for item in fs::read_dir(root).unwrap() {
        let item = item.unwrap();
        let name = item.file_name().into_string().unwrap();
        groups.entry(item.metadata().unwrap().ino()).or_default().push(name);
    }
    let mut groups: Vec<Vec<String>> = groups
        .into_values()
        .map(|mut names| {
            names.sort();
            names
        })
        .collect();
    groups.sort();
    groups
}

#[tokio::test]
async fn names_of_one_file_come_back_as_one_file() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    for name in ["a", "k"] {
        fs::write(at(name), name).unwrap();
    }
    for (first, further) in [("a", "b"), ("k", "c"), ("k", "d"), ("k", "z")] {
        fs::hard_link(at(first), at(further)).unwrap();
    }
    let restore = stored(tree.path()).await;
    let out = scratch();
    let report = restore(into_directory(out.path(), Overwrite::Refuse)).await;
    assert_eq!(report.shortfalls.count(), 0);
    assert_eq!(groups(out.path()), [vec!["a", "b"], vec!["c", "d", "k", "z"]]);
}

/// A database that changed between two backups, and got another name: one name is stored as what changed,
/// the other as a whole.
#[tokio::test]
async fn a_new_name_of_a_file_in_pages_comes_back_as_a_link() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    let mut database: Vec<u8> =
        (0..3 << 18).flat_map(|n: u32| (n ^ 0x5A5A).to_le_bytes()).collect();
    database[..18].copy_from_slice(b"SQLite format 3\0\x10\x00");
    fs::write(at("a"), &database).unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let agent = open(&store, 2, &keys.agent).await;
    backup(&agent, tree.path()).await;
    database[70_000] ^= 1;
    fs::write(at("a"), &database).unwrap();
    fs::rename(at("b"), at("c")).unwrap();
    let snapshot = backup(&agent, tree.path()).await.snapshot;
    let repository = open(&store, 3, &keys.recovery).await;
    let out = scratch();
    let destination = into_directory(out.path(), Overwrite::Refuse);
    let part = part(&TreePath::root());
    try_restore(&repository, &snapshot, destination, &part).await.unwrap();
    assert_eq!(groups(out.path()), [vec!["a", "c"]]);
    assert_eq!(fs::read(out.path().join("a")).unwrap(), database);
}

/// The user's own file stays as it is, and gets no further name.
#[tokio::test]
async fn a_missing_name_is_not_linked_to_a_kept_file() {
    let tree = scratch();
    fs::write(tree.path().join("a"), "from the backup").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(tree.path().join("a"), tree.path().join(name)).unwrap();
    }
    let restore = stored(tree.path()).await;
    for overwrite in [Overwrite::Never, Overwrite::IfChanged] {
        let out = scratch();
        let own = out.path().join("a");
        fs::write(&own, "the user's own!").unwrap();
        let modified = fs::metadata(tree.path().join("a")).unwrap().modified().unwrap();
        let times = fs::FileTimes::new().set_modified(modified);
        fs::File::options().write(true).open(&own).unwrap().set_times(times).unwrap();
        let report = restore(into_directory(out.path(), overwrite)).await;
        assert_eq!(fs::read(&own).unwrap(), b"the user's own!", "{overwrite:?}");
        assert_eq!(fs::read(out.path().join("b")).unwrap(), b"from the backup", "{overwrite:?}");
        assert_eq!(groups(out.path()), [vec!["a"], vec!["b", "c"]], "{overwrite:?}");
        // That they are no links is said.
        let kinds: Vec<_> = report.shortfalls.counts.into_iter().collect();
        assert_eq!(kinds, [(ShortfallKind::Link, 1)], "{overwrite:?}");
    }
}

/// A file that cannot be written costs its other names nothing.
#[tokio::test]
async fn a_refused_first_name_costs_the_others_no_content() {
    let tree = scratch();
    fs::write(tree.path().join("a"), "content").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(tree.path().join("a"), tree.path().join(name)).unwrap();
    }
    let restore = stored(tree.path()).await;
    for call in [Call::Create, Call::Write, Call::Finish] {
        let out = scratch();
        let inner = into_directory(out.path(), Overwrite::Refuse);
        let refuse =
            move |now, path: &TreePath| (now == call && path.to_string() == "a").then_some(1);
        let report = restore(Arc::new(Refusing::new(inner, refuse))).await;
        assert_eq!(report.refused.count, 1, "{call:?}");
        assert_eq!(fs::read(out.path().join("b")).unwrap(), b"content", "{call:?}");
        let others: Vec<_> =
            groups(out.path()).into_iter().filter(|g| g.contains(&"b".into())).collect();
        assert_eq!(others, [vec!["b", "c"]], "{call:?}");
    }
}

/// Across two volumes a copy is made, and named.
#[tokio::test]
async fn a_link_across_volumes_becomes_a_copy() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let tree = scratch();
    fs::create_dir(tree.path().join("wal")).unwrap();
    fs::write(tree.path().join("a"), "content").unwrap();
    fs::hard_link(tree.path().join("a"), tree.path().join("wal/a")).unwrap();
    let restore = stored(tree.path()).await;
    let out = scratch();
    let volume = out.path().join("wal");
    fs::create_dir(&volume).unwrap();
    let mut mount = Command::new("mount");
    assert!(mount.args(["-t", "tmpfs", "none"]).arg(&volume).status().unwrap().success());
    let options = DirectoryTo {
        path: out.path().to_owned(),
        overwrite: Overwrite::IfChanged,
        ..Default::default()
    };
    let report = restore(Arc::new(DirectoryDestination::new(options))).await;
    let copy = fs::read(volume.join("a"));
    assert!(Command::new("umount").arg(&volume).status().unwrap().success());
    assert_eq!(copy.unwrap(), b"content");
    assert_eq!(report.refused.count, 0);
    assert_eq!(report.shortfalls.listed[0].kind, ShortfallKind::Link);
    assert_eq!(report.shortfalls.listed[0].path.to_string(), "wal/a");
}
