//! Directory sources on real files: order, what is left out, odd names, deep and wide trees.

mod listed;
mod races;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::*;
use crate::entry::{Entry, Extent, Kind};
use crate::source::{Fault, Files, Problem};
use crate::units::to_usize;

struct Read {
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    excluded: u64,
    files: Arc<dyn Files>,
}

impl Read {
    fn paths(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.path.to_string()).collect()
    }

    fn entry(&self, path: &str) -> &Entry {
        self.entries
            .iter()
            .find(|entry| entry.path.as_bytes() == path.as_bytes())
            .unwrap_or_else(|| panic!("no entry {path} in {:?}", self.paths()))
    }

    fn content(&self, path: &str) -> Result<Vec<u8>, Problem> {
        content(&*self.files, self.entry(path))
    }
}

fn content(files: &dyn Files, entry: &Entry) -> Result<Vec<u8>, Problem> {
    let mut open = files.open(entry)?;
    let mut bytes = vec![0; to_usize(open.entry().size_bytes) + 1];
    let length_bytes = open.read_at(&mut bytes, 0)?;
    bytes.truncate(length_bytes);
    open.close().map_or(Ok(bytes), Err)
}

async fn drain(mut cut: Box<dyn Cut>) -> Read {
    let mut read =
        Read { entries: Vec::new(), problems: Vec::new(), excluded: 0, files: cut.files() };
    while let Some(batch) = cut.next().await.unwrap() {
        assert!(batch.entries.len() <= 1024);
        read.entries.extend(batch.entries);
        read.problems.extend(batch.problems);
        read.excluded += batch.excluded;
    }
    cut.finish(crate::source::Compared::default()).await.unwrap();
    assert!(read.entries[0].path.is_root());
    assert!(read.entries.is_sorted_by(|a, b| a.path < b.path), "{:?}", read.paths());
    read
}

async fn cut(source: &DirectorySource) -> Result<Box<dyn Cut>, Error> {
    source.cut(&World::still(1), None).await
}

async fn read_with(path: &Path, adjust: impl FnOnce(&mut DirectoryOptions)) -> Read {
    let mut options = DirectoryOptions::new("test", path);
    adjust(&mut options);
    drain(cut(&DirectorySource::new(options).unwrap()).await.unwrap()).await
}

fn make(root: &Path, files: &[&str]) {
    for file in files {
        if let Some(directory) = file.strip_suffix('/') {
            fs::create_dir_all(root.join(directory)).unwrap();
            continue;
        }
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

#[tokio::test]
async fn entries_come_in_path_order_with_all_that_is_known() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["a/z", "a.b", "a/b/c", "b", "empty/", "a0"]);
    symlink("a/z", place.path().join("link")).unwrap();
    fs::hard_link(place.path().join("b"), place.path().join("b2")).unwrap();
    fs::write(place.path().join(OsStr::from_bytes(b"\xFF\xFE")), "odd").unwrap();
    let long = "n".repeat(255);
    fs::write(place.path().join(&long), "long").unwrap();
    rustix::fs::mknodat(CWD, place.path().join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
    let read = read_with(place.path(), |_| {}).await;
    assert_eq!(
        read.paths(),
        [
            "",
            "a",
            "a/b",
            "a/b/c",
            "a/z",
            "a.b",
            "a0",
            "b",
            "b2",
            "empty",
            "link",
            &long,
            "pipe",
            "socket",
            "\u{FFFD}\u{FFFD}"
        ]
    );
    assert!(read.problems.is_empty() && read.excluded == 0);
    let file = read.entry("a/b/c");
    let real = fs::metadata(place.path().join("a/b/c")).unwrap();
    assert_eq!((file.size_bytes, file.inode, file.device), (5, real.ino(), real.dev()));
    assert_eq!((file.mode, file.modified.seconds), (real.mode() & 0o7777, real.mtime()));
    assert_eq!(read.entry("b").inode, read.entry("b2").inode);
    assert_eq!(read.entry("b").links, 2);
    assert_eq!(read.entry("link").kind, Kind::Symlink { target: b"a/z".to_vec() });
    assert_eq!(read.entry("pipe").kind, Kind::Fifo);
    assert_eq!(read.entry("socket").kind, Kind::Socket);
    assert_eq!(read.content("a/b/c").unwrap(), b"a/b/c");
    assert_eq!(content(&*read.files, read.entries.last().unwrap()).unwrap(), b"odd");
    assert_eq!(read.content(&long).unwrap(), b"long");
    assert_eq!(read.content("link").unwrap_err().fault, Fault::Changed);
}

#[tokio::test]
async fn patterns_and_caches_are_left_out() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["x.tmp", "keep.tmp", "d/y.tmp", "d/z", "build/x", "c/data", "f/data"]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# a comment";
    fs::write(place.path().join("c/CACHEDIR.TAG"), tag).unwrap();
    fs::write(place.path().join("f/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f0688").unwrap();
    let read = read_with(place.path(), |options| {
        options.exclude = ["*.tmp", "!keep.tmp", "build/"].map(str::to_owned).to_vec();
        options.exclude_caches = true;
    })
    .await;
    assert_eq!(
        read.paths(),
        ["", "c", "c/CACHEDIR.TAG", "d", "d/z", "f", "f/CACHEDIR.TAG", "f/data", "keep.tmp"]
    );
    assert_eq!(read.excluded, 4);
    let mut options = DirectoryOptions::new("test", place.path());
    options.exclude = vec!["[".to_owned()];
    assert!(matches!(DirectorySource::new(options), Err(Error::Option { .. })));
}

#[tokio::test]
async fn a_single_file_has_its_directory_as_root() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["file", "other"]);
    symlink("file", place.path().join("link")).unwrap();
    for name in ["file", "link"] {
        for pin in [false, true] {
            let read = read_with(&place.path().join(name), |options| options.pin = pin).await;
            assert_eq!(read.paths(), ["", "file"]);
            assert_eq!(read.content("file").unwrap(), b"file");
        }
    }
}

#[tokio::test]
async fn an_emptied_source_is_refused() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("lost+found")).unwrap();
    let begin = async |previous_entries, allow_empty| {
        let mut options = DirectoryOptions::new("test", place.path());
        options.allow_empty = allow_empty;
        let previous: Option<u64> = previous_entries;
        let previous = previous.map(|entries| Previous { facts: None, entries });
        let source = DirectorySource::new(options).unwrap();
        source.cut(&World::still(1), previous.as_ref()).await.map(|_| ())
    };
    assert!(matches!(begin(Some(3), false).await, Err(Error::Emptied { .. })));
    assert!(begin(Some(3), true).await.is_ok());
    assert!(begin(Some(2), false).await.is_ok());
    assert!(begin(None, false).await.is_ok());
    fs::write(place.path().join("x"), "").unwrap();
    assert!(begin(Some(1_000), false).await.is_ok());
    let missing = DirectoryOptions::new("test", place.path().join("missing"));
    let missing = DirectorySource::new(missing).unwrap();
    assert!(matches!(cut(&missing).await.map(|_| ()), Err(Error::Unusable { .. })));
}

#[tokio::test]
async fn many_names_are_sorted_on_disk() {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut expected: Vec<String> = (0..3_000_u32)
        .map(|number| format!("{:x}-{}", number.wrapping_mul(2_654_435_761), number % 7))
        .collect();
    for name in &expected {
        File::create(place.path().join(name)).unwrap();
    }
    expected.sort();
    expected.insert(0, String::new());
    let mut source = DirectorySource::new(DirectoryOptions::new("test", place.path())).unwrap();
    source.names_bytes = 4_000;
    let read = drain(cut(&source).await.unwrap()).await;
    assert_eq!(read.paths(), expected);
}

#[tokio::test]
async fn deep_trees_need_few_descriptors_and_no_short_paths() {
    let place = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let mut directory = openat(CWD, place.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..300 {
        mkdirat(&directory, &*name, Mode::RWXU).unwrap();
        let inner = openat(&directory, &*name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let after = openat(&directory, "z", OFlags::CREATE | OFlags::RDWR, Mode::RUSR).unwrap();
        File::from(after).write_all_at(b"deep", 0).unwrap();
        directory = inner;
    }
    let read = read_with(place.path(), |_| {}).await;
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    assert_eq!(read.entries.len(), 601);
    let deepest = read.entries.iter().max_by_key(|entry| entry.path.as_bytes().len()).unwrap();
    assert_eq!(deepest.path.as_bytes().len(), 300 * 201 - 1);
    assert_eq!(read.files.attributes(deepest).unwrap().lacking, None);
    let file = read.entries.iter().find(|entry| entry.is_file()).unwrap();
    assert!(file.path.as_bytes().len() > 4_096);
    assert_eq!(content(&*read.files, file).unwrap(), b"deep");
}

#[tokio::test]
async fn holes_are_found() {
    let place = tempfile::tempdir().unwrap();
    let sparse = File::create(place.path().join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(&[1; 4096], 65_536).unwrap();
    File::create(place.path().join("hollow")).unwrap().set_len(1 << 20).unwrap();
    fs::write(place.path().join("dense"), vec![0; 100_000]).unwrap();
    let read = read_with(place.path(), |_| {}).await;
    let extents = |path| read.files.open(read.entry(path)).unwrap().extents().unwrap();
    let run = Extent { offset_bytes: 65_536, length_bytes: 4_096 };
    assert_eq!(extents("sparse"), Some(vec![run]));
    assert_eq!(extents("hollow"), Some(vec![]));
    assert_eq!(extents("dense"), None);
}

#[tokio::test]
async fn attributes_are_read_through_no_link() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["file", "directory/"]);
    symlink("file", place.path().join("link")).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(place.path().join(path), name, value, flags)
    };
    if set("file", "user.b", b"2").is_err() {
        return; // This file system has none.
    }
    set("file", "user.a", &[7; 3_000]).unwrap();
    set("directory", "user.d", b"").unwrap();
    let read = read_with(place.path(), |_| {}).await;
    let names = |path| {
        let attributes = read.files.attributes(read.entry(path)).unwrap();
        assert_eq!(attributes.lacking, None);
        attributes
            .xattrs
            .into_iter()
            .map(|xattr| (String::from_utf8(xattr.name).unwrap(), xattr.value.len()))
            .filter(|(name, _)| !name.starts_with("security."))
            .collect::<Vec<_>>()
    };
    let expected = [("user.a".to_owned(), 3_000), ("user.b".to_owned(), 1)];
    assert_eq!(names("file"), expected);
    assert_eq!(names("directory"), [("user.d".to_owned(), 0)]);
    assert_eq!(names("link"), []);
    let mut open = read.files.open(read.entry("file")).unwrap();
    assert_eq!(open.attributes(), read.files.attributes(read.entry("file")).unwrap());
    // Only a privileged process may set these on a link.
    if set("link", "trusted.l", b"on the link").is_ok() {
        assert_eq!(names("link"), [("trusted.l".to_owned(), 11)]);
    }
}
