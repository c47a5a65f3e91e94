//! Frozen repositories of every released format: later versions must read them, bit for bit. The one of
//! format 1 has small and large files, a page map with an overlay, holes, links, odd names, a log, and one
//! snapshot of what could not be read. `tests/fixtures/make-repo-v1` makes it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay::destination::directory::{DirectoryDestination, Options as Into};
use backstay::repo::Repository;
use backstay::repo::catalog::Wanted;
use backstay::repo::keyfile::Unlock;
use backstay::store::Settings;
use backstay::world::World;
use backstay::{check, restore, store};
use data_encoding::HEXLOWER;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repo-v1")
}

async fn open(key: &str) -> Repository {
    let store =
        store::open(fixture().join("repository").to_str().unwrap(), &Settings::default()).unwrap();
    let key = std::fs::read(fixture().join("keys").join(key)).unwrap();
    let unlock = Unlock::from_file("key", &key, None).unwrap();
    Repository::open(store, World::system(), &unlock).await.unwrap()
}

/// What a restore made: `type mode size mtime content` by the hex of the path.
fn found(root: &Path, directory: &Path, rows: &mut BTreeMap<String, String>) {
    let entries = match std::fs::read_dir(directory) {
        // One that could not be listed when it was backed up either; root can.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        entries => entries.unwrap(),
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.ends_with(".backstay-timeline") {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        let (kind, size, content) = if metadata.is_dir() {
            ("directory", 0, "-".to_owned())
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            ("symlink", 0, HEXLOWER.encode(target.as_os_str().as_bytes()))
        } else if metadata.is_file() {
            let digest = aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA256,
                &std::fs::read(&path).unwrap(),
            );
            ("file", metadata.len(), HEXLOWER.encode(digest.as_ref()))
        } else {
            ("fifo", 0, "-".to_owned())
        };
        let nanoseconds = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        let modified = if metadata.is_dir() { "-".to_owned() } else { nanoseconds.to_string() };
        let mode = metadata.permissions().mode() & 0o7777;
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let row = format!("{kind} {mode:o} {size} {modified} {content}");
        rows.insert(HEXLOWER.encode(name), row);
        if metadata.is_dir() {
            found(root, &path, rows);
        }
    }
}

/// A snapshot's id, and what a restore of it has to give.
fn expected(number: u8) -> (String, BTreeMap<String, String>) {
    let expected = fixture().join(format!("expected-{number}.txt"));
    let expected = std::fs::read_to_string(expected).unwrap();
    let mut lines = expected.lines();
    let id = lines.next().unwrap().strip_prefix("snapshot ").unwrap().to_owned();
    let rows = lines.map(|line| line.split_once(' ').unwrap());
    (id, rows.map(|(path, row)| (path.to_owned(), row.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn format_1_restores_bit_for_bit() {
    let repository = open("recovery.key").await;
    let catalog = repository.catalog().await.unwrap();
    for number in 1..=3 {
        let (id, rows) = expected(number);
        let snapshot = catalog.find(&Wanted::Id(id)).await.unwrap();
        let place = tempfile::tempdir().unwrap();
        let into = Into { path: place.path().join("out"), ..Into::default() };
        let into = Arc::new(DirectoryDestination::new(into));
        let options = restore::Options::default();
        let report =
            restore::run(&repository, &snapshot, into, &options, Arc::default()).await.unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        let is_partial = number == 3;
        assert_eq!(snapshot.partial, is_partial);
        assert_eq!(report.incomplete.is_empty(), !is_partial, "{report:?}");
        let mut restored = BTreeMap::new();
        let out = place.path().join("out");
        found(&out, &out, &mut restored);
        assert_eq!(restored, rows, "snapshot {number}");
        if !is_partial {
            let inode = |path: &str| out.join(path).symlink_metadata().unwrap().ino();
            assert_eq!(inode("data/file-002"), inode("data/deep/hard"));
            assert_eq!(inode("data/link"), inode("data/link-again"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn format_1_is_whole_and_the_agent_key_lists_it() {
    let data = check::Options { read_data: Some(check::Share::All), ..Default::default() };
    let report = check::run(&open("recovery.key").await, data, Arc::default()).await.unwrap();
    assert_eq!((report.findings.len(), report.snapshots), (0, 3));
    let agent = open("agent.key").await;
    assert!(!agent.reads_content());
    let report = check::run(&agent, check::Options::default(), Arc::default()).await.unwrap();
    assert_eq!(report.findings, []);
    assert!(report.entries > 100);
}
