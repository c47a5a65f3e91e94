//! One refusal does not end a restore: whatever a destination refuses, everything else is there, what was
//! refused is named, and the same command goes on from there. Only a full or failing disk ends it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use backstay::class::Class;
use backstay::destination::Overwrite;
use backstay::destination::directory::{DirectoryDestination, Options as DirectoryTo};
use backstay::entry::TreePath;
use backstay::repo::Repository;
use backstay::repo::snapshot::Snapshot;
use backstay::restore;
use proptest::prelude::*;

use super::scene::{backup, init, noise, open, part, scratch, store_of, try_restore};
use crate::support::refusing::{CALLS, Call, Refusing};
use crate::support::tree::assert_same_tree;

const MARKER: &str = ".backstay-restore";

/// Errors that are about one entry.
const REFUSALS: [i32; 8] = [1, 13, 36, 22, 84, 16, 27, 40];
/// Errors of the disk, or of the process.
const ENDS: [(i32, Class); 5] = [
    (28, Class::Full),
    (122, Class::Full),
    (5, Class::Config),
    (30, Class::Denied),
    (107, Class::Config),
];

struct Stored {
    tree: tempfile::TempDir,
    repository: Repository,
    snapshot: Snapshot,
}

impl Stored {
    async fn new() -> Self {
        let tree = scratch();
        let at = |name: &str| tree.path().join(name);
        for directory in ["a/b/c", "d", "e/empty"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for (number, name) in
            ["a/1", "a/b/2", "a/b/c/3", "d/4", "d/5", "top"].into_iter().enumerate()
        {
            fs::write(at(name), noise(number as u64, 3_000 + number)).unwrap();
        }
        fs::write(at("nothing"), "").unwrap();
        fs::hard_link(at("a/1"), at("d/linked")).unwrap();
        fs::hard_link(at("a/1"), at("e/linked")).unwrap();
        symlink("a/1", at("link")).unwrap();
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let snapshot = backup(&open(&store, 2, &keys.agent).await, tree.path()).await.snapshot;
        let repository = open(&store, 3, &keys.recovery).await;
        Self { tree, repository, snapshot }
    }

    async fn restore(
        &self,
        to: &Path,
        refuse: impl Fn(Call, &TreePath) -> Option<i32> + Send + Sync + 'static,
    ) -> Result<restore::Report, restore::Error> {
        let options =
            DirectoryTo { path: to.to_owned(), overwrite: Overwrite::Always, ..Default::default() };
        let inner = Arc::new(DirectoryDestination::new(options));
        let destination = Arc::new(Refusing::new(inner, refuse));
        let part = part(&TreePath::root());
        try_restore(&self.repository, &self.snapshot, destination, &part).await
    }

    /// Every path of the tree but its top.
    fn paths(&self) -> Vec<TreePath> {
        let mut found = Vec::new();
        let mut waiting = vec![self.tree.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            for item in fs::read_dir(directory).unwrap() {
                let path = item.unwrap().path();
                let below = path.strip_prefix(self.tree.path()).unwrap();
                found.push(TreePath::from_bytes(below.to_str().unwrap()).unwrap());
                if path.is_dir() && !path.is_symlink() {
                    waiting.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// What lies at a path, for comparison.
fn content(root: &Path, path: &TreePath) -> Option<Vec<u8>> {
    let place = root.join(path.to_string());
    let metadata = place.symlink_metadata().ok()?;
    if metadata.is_symlink() {
        return Some(fs::read_link(place).unwrap().into_os_string().into_encoded_bytes());
    }
    Some(if metadata.is_dir() { b"directory".to_vec() } else { fs::read(place).unwrap() })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_else_is_restored(
        plan in prop::collection::vec((any::<prop::sample::Index>(), 0..CALLS.len(), 0..REFUSALS.len()), 1..5)
    ) {
        block_on(async {
            let stored = Stored::new().await;
            let paths = stored.paths();
            let plan: BTreeMap<TreePath, (Call, i32)> = plan
                .iter()
                .map(|(path, call, errno)| {
                    (paths[path.index(paths.len())].clone(), (CALLS[*call], REFUSALS[*errno]))
                })
                .collect();
            let out = scratch();
            let refuses = plan.clone();
            let report = stored
                .restore(out.path(), move |call, path| {
                    refuses.get(path).filter(|(planned, _)| *planned == call).map(|(_, errno)| *errno)
                })
                .await
                .unwrap();
            let refused = &report.refused;
            assert_eq!(refused.count > 0, !refused.listed.is_empty());
            for path in &paths {
                let is_named = refused.listed.iter().any(|refusal| path.starts_with(&refusal.path));
                if !is_named {
                    assert_eq!(content(stored.tree.path(), path), content(out.path(), path), "{path}");
                }
                // Half a file is no file.
                let wrong = content(out.path(), path)
                    .is_some_and(|there| content(stored.tree.path(), path) != Some(there));
                assert!(!wrong, "{path} is there and wrong");
            }
            for refusal in &refused.listed {
                assert!(plan.contains_key(&refusal.path), "{refusal:?} was not planned");
                assert!(refusal.detail.contains("planned failure"), "{refusal:?}");
            }
            assert_eq!(out.path().join(MARKER).exists(), refused.count > 0);
            // The same command goes on from there.
            let again = stored.restore(out.path(), |_, _| None).await.unwrap();
            assert_eq!(again.refused, restore::Refusals::default());
            assert!(!out.path().join(MARKER).exists());
            assert_same_tree(stored.tree.path(), out.path());
        });
    }
}

#[tokio::test]
async fn what_lies_below_a_refused_directory_is_counted_and_not_listed() {
    let stored = Stored::new().await;
    let out = scratch();
    let report = stored
        .restore(out.path(), |call, path| {
            (call == Call::Directory && path.to_string() == "a").then_some(1)
        })
        .await
        .unwrap();
    // a, a/1, a/b, a/b/2, a/b/c, a/b/c/3.
    assert_eq!((report.refused.count, report.refused.listed.len()), (6, 1));
    assert!(!out.path().join("a").exists());
    // The first name of the three is not there, so the second has the content.
    let (one, two) = (out.path().join("d/linked"), out.path().join("e/linked"));
    assert_eq!(fs::read(&one).unwrap(), fs::read(stored.tree.path().join("a/1")).unwrap());
    assert_eq!(one.metadata().unwrap().ino(), two.metadata().unwrap().ino());
}

#[tokio::test]
async fn a_disk_at_its_end_ends_the_restore() {
    let stored = Stored::new().await;
    for (errno, class) in ENDS {
        for call in [Call::Directory, Call::Create, Call::Write, Call::Finish, Call::Seal] {
            let out = scratch();
            let ended = stored
                .restore(out.path(), move |now, path| {
                    (now == call && !path.is_root()).then_some(errno)
                })
                .await
                .unwrap_err();
            assert_eq!(ended.class(), class, "{call:?}: {ended}");
            assert!(out.path().join(MARKER).exists());
        }
    }
}
