//! The independent reader (`tests/reader`) restores what the library wrote, and the library restores what
//! the reader's own writer wrote: two programs that share nothing but FORMAT.md agree on every bit.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use backstay::destination::directory::{DirectoryDestination, Options as Into};
use backstay::repo::catalog::Wanted;
use backstay::repo::keyfile::Unlock;
use backstay::repo::tree::pages::Segment;
use backstay::repo::walk::EntryCursor;
use backstay::repo::{InitOptions, NewKeys, Repository};
use backstay::source::{DirectoryOptions, DirectorySource, Source};
use backstay::store::Settings;
use backstay::world::World;
use backstay::{backup, check, restore, store};
use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::support::tools::tool;
use crate::support::tree::{Size, assert_same_tree, is_root, make_removable, nasty_tree};

const PAGE_BYTES: usize = 4096;

fn reader_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader")
}

/// Runs the reader.
fn reader(arguments: &[&OsStr]) -> Output {
    Command::new(tool("python"))
        .arg("-B")
        .arg(reader_directory().join("restore.py"))
        .args(arguments)
        .env_remove("BACKSTAY_PASSPHRASE")
        .output()
        .unwrap()
}

/// The same, where it must work without a word of complaint.
#[track_caller]
fn reader_says(arguments: &[&OsStr]) -> String {
    let output = reader(arguments);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A repository in a directory, with the files of its keys.
struct Made {
    place: tempfile::TempDir,
    repository: Repository,
}

impl Drop for Made {
    fn drop(&mut self) {
        make_removable(self.place.path());
    }
}

impl Made {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store =
            store::open(place.path().join("repository").to_str().unwrap(), &Settings::default())
                .unwrap();
        let made = Repository::init(store, World::system(), InitOptions::default());
        let (repository, NewKeys { recovery, agent }) = made.await.unwrap();
        fs::write(place.path().join("recovery.key"), recovery.unwrap().as_bytes()).unwrap();
        fs::write(place.path().join("agent.key"), agent.as_bytes()).unwrap();
        Self { place, repository }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Backs `tree` up, all of it, and returns the id of the snapshot.
    async fn backup(&self) -> String {
        let options = DirectoryOptions::new("data", self.path("tree"));
        let sources: [Box<dyn Source>; 1] = [Box::new(DirectorySource::new(options).unwrap())];
        let options = backup::Options { host: "host".into(), ..Default::default() };
        let report = backup::run(&self.repository, &sources, &options, Arc::default());
        let report = report.await.unwrap();
        assert_eq!(report.problems, []);
        report.snapshot.id.to_string()
    }

    /// Lets the reader restore a snapshot to a place with that name.
    fn restored(&self, id: &str, name: &str) -> PathBuf {
        let to = self.path(name);
        let (repository, key) = (self.path("repository"), self.path("recovery.key"));
        let words = format!("{id}:data");
        reader_says(&[repository.as_ref(), key.as_ref(), words.as_ref(), to.as_ref()]);
        to
    }
}

/// Things of every kind, more names than a leaf holds, a file that is cut, and one of pages.
fn make_tree(root: &Path) {
    nasty_tree(root, 7, Size { random_nodes: 60, crowd_entries: 2_200 });
    fs::write(root.join("cut"), noise("cut", 5 << 20)).unwrap();
    let mut database = noise("database", 600 * PAGE_BYTES);
    database[..16].copy_from_slice(b"SQLite format 3\0");
    database[16..18].copy_from_slice(&4096_u16.to_be_bytes());
    fs::write(root.join("app.db"), database).unwrap();
}

/// Writes one page anew, so that the next backup has an overlay, and changes a cut file.
fn change_tree(root: &Path) {
    let database = fs::File::options().write(true).open(root.join("app.db")).unwrap();
    database.write_all_at(&noise("page", PAGE_BYTES), 300 * PAGE_BYTES as u64).unwrap();
    fs::write(root.join("cut"), [noise("before", 1000), noise("cut", 5 << 20)].concat()).unwrap();
    fs::write(root.join("new"), "new").unwrap();
}

/// Bytes that do not compress.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Overlays in the page map of `app.db`.
async fn overlays(repository: &Repository, id: &str) -> usize {
    let catalog = repository.catalog().await.unwrap();
    let snapshot = catalog.find(&Wanted::Id(id.to_owned())).await.unwrap();
    let root = &snapshot.source("data").unwrap().root;
    let mut entries = EntryCursor::open(repository, root).await.unwrap();
    let mut found = 0;
    while let Some(stored) = entries.next().await.unwrap() {
        if stored.entry.path.as_bytes() != b"app.db" {
            continue;
        }
        for item in &stored.content.items {
            let segment = repository.node(&item.reference, Segment::decode).await.unwrap();
            found += usize::from(matches!(segment, Segment::Overlay { .. }));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_restores_what_the_library_wrote() {
    let made = Made::new().await;
    let (tree, repository) = (made.path("tree"), made.path("repository"));
    make_tree(&tree);
    let first = made.backup().await;
    assert_same_tree(&tree, &made.restored(&first, "first"));

    change_tree(&tree);
    let second = made.backup().await;
    assert_eq!(overlays(&made.repository, &second).await, 1);
    assert_same_tree(&tree, &made.restored(&second, "second"));
    assert_same_tree(&made.path("first"), &made.restored(&first, "first again"));
    assert_same_tree(&tree, &made.restored("latest", "latest"));

    for key in ["recovery.key", "agent.key"] {
        reader_says(&["check".as_ref(), repository.as_ref(), made.path(key).as_ref()]);
    }
    let agent = made.path("agent.key");
    let listed = reader_says(&["list".as_ref(), repository.as_ref(), agent.as_ref()]);
    assert!(listed.contains(&first) && listed.contains(&second), "{listed}");
    let words = ["ls".as_ref(), repository.as_ref(), agent.as_ref(), "latest:data".as_ref()];
    assert!(reader_says(&words).lines().count() > 2_200);
    let none = made.path("none");
    let output = reader(&[repository.as_ref(), agent.as_ref(), "latest".as_ref(), none.as_ref()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("agent key"));
    assert!(!none.exists());
}

#[test]
fn the_reader_reads_the_frozen_repository() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repo-v1");
    for key in ["keys/recovery.key", "keys/agent.key"] {
        let (repository, key) = (frozen.join("repository"), frozen.join(key));
        reader_says(&["check".as_ref(), repository.as_ref(), key.as_ref()]);
        let listed = reader_says(&["list".as_ref(), repository.as_ref(), key.as_ref()]);
        assert!(listed.contains("job frozen on host first-host"), "{listed}");
        assert!(listed.contains("wal (segments 1 to 5, timeline "), "{listed}");
        assert!(listed.contains("troubled on host other-host"), "{listed}");
        let latest = ["ls".as_ref(), repository.as_ref(), key.as_ref(), "latest".as_ref()];
        let output = reader(&latest);
        assert_eq!(output.status.code(), Some(2), "two series fit");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(complaints.contains("several series fit"), "{complaints}");
    }
}

/// What a path must be, in the words of `manifest.json`.
fn found(path: &Path) -> (&'static str, fs::Metadata) {
    let metadata = path.symlink_metadata().unwrap();
    let kinds = metadata.file_type();
    let kind = match () {
        () if kinds.is_file() => "file",
        () if kinds.is_dir() => "directory",
        () if kinds.is_symlink() => "symlink",
        () if kinds.is_fifo() => "fifo",
        () if kinds.is_socket() => "socket",
        () if kinds.is_char_device() => "character device",
        () => "block device",
    };
    (kind, metadata)
}

/// Compares what stands at `path` with what the manifest states.
fn compare(path: &Path, stated: &Value) {
    let (kind, metadata) = found(path);
    let number = |name: &str| stated[name].as_i64().unwrap();
    assert_eq!(kind, stated["type"], "{}", path.display());
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    assert_eq!(modified, number("mtime"), "{}", path.display());
    if kind != "symlink" {
        assert_eq!(
            format!("{:04o}", metadata.mode() & 0o7777),
            stated["mode"],
            "{}",
            path.display()
        );
    }
    if is_root() {
        let owner = (i64::from(metadata.uid()), i64::from(metadata.gid()));
        assert_eq!(owner, (number("uid"), number("gid")), "{}", path.display());
    }
    if let Some(digest) = stated["sha256"].as_str() {
        let bytes = fs::read(path).unwrap();
        let own = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        assert_eq!(HEXLOWER.encode(own.as_ref()), digest, "{}", path.display());
    }
    if let Some(target) = stated["target_hex"].as_str() {
        let own = fs::read_link(path).unwrap();
        assert_eq!(HEXLOWER.encode(own.as_os_str().as_bytes()), target);
    }
    for (name, value) in stated["xattrs_hex"].as_object().into_iter().flatten() {
        let mut own = [0; 64];
        let length = rustix::fs::getxattr(path, name.as_str(), &mut own).unwrap();
        assert_eq!(HEXLOWER.encode(&own[..length]), *value, "{} of {}", name, path.display());
    }
}

/// Compares a restored source with the manifest: nothing more, nothing less.
fn compare_source(root: &Path, stated: &Value) {
    const NOT_STORED: i64 = 16;
    let not_stored =
        |one: &Value| one["type"] == "file" && one["flags"].as_i64().unwrap() & NOT_STORED != 0;
    let (mut inodes, mut links) = (HashMap::new(), HashMap::new());
    let mut expected = BTreeSet::new();
    for one in stated.as_array().unwrap() {
        let name = HEXLOWER.decode(one["path_hex"].as_str().unwrap().as_bytes()).unwrap();
        let path = root.join(OsStr::from_bytes(&name));
        let device = one["type"].as_str().unwrap().contains("device");
        if one["type"] == "name" || not_stored(one) || device && !is_root() {
            assert!(!path.exists());
            continue;
        }
        compare(&path, one);
        // Equal inodes where the manifest says one file, and nowhere else.
        let alone = one["path_hex"].as_str().unwrap();
        let same = one["same_file"].as_str().unwrap_or(alone);
        let inode = path.symlink_metadata().unwrap().ino();
        assert_eq!(*inodes.entry(same).or_insert(inode), inode, "{}", path.display());
        assert_eq!(*links.entry(inode).or_insert(same), same, "{}", path.display());
        expected.insert(name);
    }
    let mut made = BTreeSet::from([Vec::new()]);
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            // What a restore leaves beside the segments of a log.
            if path.ends_with(".backstay-timeline") {
                continue;
            }
            made.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec());
            if path.symlink_metadata().unwrap().is_dir() {
                directories.push(path);
            }
        }
    }
    assert_eq!(made, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_restores_what_the_readers_writer_wrote() {
    let sample = reader_directory().join("sample");
    let store =
        store::open(sample.join("repository").to_str().unwrap(), &Settings::default()).unwrap();
    let key = fs::read(sample.join("recovery.key")).unwrap();
    let unlock = Unlock::from_file("recovery", &key, None).unwrap();
    let repository = Repository::open(store, World::system(), &unlock).await.unwrap();

    let data = check::Options { read_data: Some(check::Share::All), ..Default::default() };
    let report = check::run(&repository, data, Arc::default()).await.unwrap();
    assert_eq!(report.findings, []);

    let manifest = fs::read(sample.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let catalog = repository.catalog().await.unwrap();
    assert_eq!(
        catalog.snapshots().await.unwrap().snapshots.len(),
        manifest.as_object().unwrap().len()
    );
    for (id, sources) in manifest.as_object().unwrap() {
        let snapshot = catalog.find(&Wanted::Id(id.clone())).await.unwrap();
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let into = DirectoryDestination::new(Into { path: out.clone(), ..Into::default() });
        let options = restore::Options::default();
        let report =
            restore::run(&repository, &snapshot, Arc::new(into), &options, Arc::default()).await;
        assert_eq!(report.unwrap().damage, []);
        for (name, stated) in sources.as_object().unwrap() {
            compare_source(&out.join(name), stated);
        }
    }
}
