//! A repository that goes away midway has lost nothing, and nothing is given up for it; what is really
//! lost of a parent costs work only.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backstay::class::Class;
use backstay::destination::Overwrite;
use backstay::entry::TreePath;
use backstay::repo::pack::PackKind;
use backstay::restore;
use backstay::store::{LocalStore, Store};

use super::scene::{
    backup, init, into_directory, noise, objects, open, part, scratch, store_of, tick, try_restore,
};
use crate::support::hooked::{Hooked, Step};
use crate::support::tree::assert_same_tree;

const FILES: u64 = 12;

fn files() -> impl Iterator<Item = String> {
    (0..FILES).map(|number| format!("file-{number}"))
}

fn write_files(directory: &Path, seed: u64) {
    fs::create_dir_all(directory).unwrap();
    for (name, number) in files().zip(seed..) {
        fs::write(directory.join(name), noise(number, 3 << 20)).unwrap();
    }
}

/// How a volume goes.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// Its mount point is the repository's directory, which stays and is empty.
    LeavesItsDirectory,
    /// It is mounted above.
    Whole,
}

/// An unmounted volume in the midst of a restore over older files: none of them goes.
#[tokio::test]
async fn an_unmounted_volume_costs_no_file() {
    let tree = scratch();
    write_files(tree.path(), 1);
    tick();
    let mounted = scratch();
    let root = mounted.path().join("repository");
    let local: Arc<dyn Store> = Arc::new(LocalStore::new(&root));
    let keys = init(&local, 1).await;
    let snapshot = backup(&open(&local, 2, &keys.agent).await, tree.path()).await.snapshot;
    for gone in [Gone::LeavesItsDirectory, Gone::Whole] {
        let mut call = 0;
        loop {
            let to = scratch();
            write_files(to.path(), 100);
            let away = mounted.path().join("away");
            let (at, from) = (away.clone(), root.clone());
            let unmount = move |number, _: &str, _: &str| {
                if number == call {
                    fs::rename(&from, &at).unwrap();
                    if matches!(gone, Gone::LeavesItsDirectory) {
                        fs::create_dir(&from).unwrap();
                    }
                }
                Step::Go
            };
            let store: Arc<dyn Store> = Arc::new(Hooked::new(Arc::clone(&local), unmount));
            let result = async {
                let repository =
                    super::scene::try_open(&store, super::scene::later(3), &keys.recovery);
                let repository = repository.await?;
                let destination = into_directory(to.path(), Overwrite::Always);
                let options = part(&TreePath::root());
                try_restore(&repository, &snapshot, destination, &options).await
            }
            .await;
            for name in files() {
                assert!(to.path().join(&name).exists(), "{gone:?} at {call}: {name} went");
            }
            if !away.exists() {
                // The restore was over before its turn came.
                let report = result.unwrap();
                assert_eq!(report.damage, []);
                assert_same_tree(tree.path(), to.path());
                break;
            }
            let error: restore::Error = result.unwrap_err();
            let classes = [Class::Transient, Class::Missing];
            assert!(classes.contains(&error.class()), "{gone:?} at {call}: {error}");
            let _ = fs::remove_dir(&root);
            fs::rename(&away, &root).unwrap();
            call += 1;
        }
        assert!(call > 5, "{call} calls prove little");
    }
}

/// The list of a large file's chunks lies in an older pack than the leaf that refers to it, and that pack
/// is lost.
#[tokio::test]
async fn a_lost_list_of_the_parent_ends_no_backup() {
    let tree = scratch();
    let large = tree.path().join("large");
    fs::write(&large, noise(1, 100 << 20)).unwrap();
    fs::write(tree.path().join("neighbour"), "one").unwrap();
    tick();
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    backup(&repository, tree.path()).await;
    let metadata: Vec<_> = objects(&*store)
        .await
        .into_iter()
        .filter(|(key, bytes)| {
            key.as_str().starts_with("pack/") && bytes[8] == PackKind::Metadata as u8
        })
        .collect();
    assert!(!metadata.is_empty());
    fs::write(tree.path().join("neighbour"), "two").unwrap();
    tick();
    backup(&open(&store, 3, &keys.recovery).await, tree.path()).await;
    for (key, _) in &metadata {
        store.delete(key).await.unwrap();
    }
    let mut bytes = fs::read(&large).unwrap();
    bytes[50 << 20] ^= 1;
    fs::write(&large, bytes).unwrap();
    tick();
    let repository = open(&store, 4, &keys.recovery).await;
    let report = backup(&repository, tree.path()).await;
    assert_eq!(report.problems, []);
    let to = scratch();
    super::scene::restore(&repository, &report.snapshot, &to.path().join("out")).await;
    assert_same_tree(tree.path(), &to.path().join("out"));
}
