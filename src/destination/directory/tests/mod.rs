//! A restore through the trait, on real files. What needs root is tested as root; as another user
//! the same tests expect the shortfalls instead.

mod attributes;
mod begin;
mod escape;
mod extraneous;
mod files;
mod trust;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::entry::{Extent, FileTime, Kind, Xattr};

/// A time with nanoseconds, in the past.
const THEN: FileTime = FileTime { seconds: 1_111_111_111, nanoseconds: 123_456_789 };

/// A place to restore into, with a place beside it that must stay as it is.
struct Place {
    base: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("outside")).unwrap();
        fs::write(base.path().join("outside/secret"), "secret").unwrap();
        Self { base }
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn outside(&self) -> PathBuf {
        self.base.path().join("outside")
    }

    fn assert_outside_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read(self.outside().join("secret")).unwrap(), b"secret");
        assert_eq!(fs::metadata(self.outside().join("secret")).unwrap().nlink(), 1);
    }

    fn options(&self, overwrite: Overwrite) -> Options {
        Options {
            path: self.root(),
            overwrite,
            identity: "snapshot 1 source a".to_owned(),
            ..Options::default()
        }
    }

    /// A destination that has begun.
    fn begin(&self, overwrite: Overwrite) -> DirectoryDestination {
        begun(self.options(overwrite))
    }
}

fn begun(options: Options) -> DirectoryDestination {
    let destination = DirectoryDestination::new(options);
    destination.begin().unwrap();
    destination
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn path(text: &str) -> TreePath {
    TreePath::from_bytes(text).unwrap()
}

fn entry(text: &str, kind: Kind, mode: u32) -> Entry {
    Entry {
        path: path(text),
        kind,
        mode,
        user_id: rustix::process::geteuid().as_raw(),
        group_id: rustix::process::getegid().as_raw(),
        user_name: None,
        group_name: None,
        modified: THEN,
        changed: THEN,
        device: 1,
        inode: 1,
        links: 1,
        size_bytes: 0,
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: crate::entry::Seen::Whole,
    }
}

fn directory(text: &str) -> Entry {
    entry(text, Kind::Directory, 0o755)
}

fn file(text: &str, size_bytes: u64) -> Entry {
    Entry { size_bytes, ..entry(text, Kind::File, 0o644) }
}

fn symlink(text: &str, target: &str) -> Entry {
    let target = target.as_bytes().to_vec();
    entry(text, Kind::Symlink { target }, 0o777)
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() }
}

fn extent(offset_bytes: u64, length_bytes: u64) -> Extent {
    Extent { offset_bytes, length_bytes }
}

/// Writes a whole file.
fn restore_file(destination: &dyn Destination, entry: &Entry, bytes: &[u8]) {
    let output = destination.create(entry).unwrap();
    output.write_at(bytes, 0).unwrap();
    output.finish().unwrap();
}

fn restore(destination: &dyn Destination, text: &str, content: &str) {
    let size_bytes = u64::try_from(content.len()).unwrap();
    restore_file(destination, &file(text, size_bytes), content.as_bytes());
}

/// Ends a restore that must have given everything.
fn finish(destination: &dyn Destination) {
    assert_eq!(destination.finish().unwrap(), Shortfalls::default());
}

fn modified(path: impl AsRef<Path>) -> FileTime {
    let metadata = fs::symlink_metadata(path).unwrap();
    FileTime {
        seconds: metadata.mtime(),
        nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap(),
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
