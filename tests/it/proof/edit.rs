//! Random edits of a tree on disk, as a day of work would leave it between two backups.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::sample::Index;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate};

use super::scene::noise;

/// One change; what it hits is chosen among what is there.
#[derive(Clone, Debug)]
pub enum Edit {
    Remove(Index),
    Add {
        parent: Index,
        name: u8,
        length: usize,
        seed: u64,
    },
    MakeDirectory {
        parent: Index,
        name: u8,
    },
    Rename {
        from: Index,
        parent: Index,
        name: u8,
    },
    Overwrite {
        file: Index,
        at: Index,
        length: usize,
        seed: u64,
    },
    Truncate {
        file: Index,
        to: Index,
    },
    Append {
        file: Index,
        length: usize,
        seed: u64,
    },
    Extend {
        file: Index,
        by: u64,
    },
    Chmod {
        what: Index,
        mode: u32,
    },
    Link {
        file: Index,
        parent: Index,
        name: u8,
    },
    Punch {
        file: Index,
        at: Index,
        length: u64,
    },
    /// Other bytes, the same length, and the old modification time put back.
    Disguise {
        file: Index,
        seed: u64,
    },
    Label {
        what: Index,
        value: u8,
    },
}

/// One change at random.
pub fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    let length = || prop_oneof![3 => 0..5_000_usize, 1 => 100_000..300_000_usize];
    prop_oneof![
        2 => index().prop_map(Edit::Remove),
        3 => (index(), any::<u8>(), length(), any::<u64>())
            .prop_map(|(parent, name, length, seed)| Edit::Add { parent, name, length, seed }),
        1 => (index(), any::<u8>()).prop_map(|(parent, name)| Edit::MakeDirectory { parent, name }),
        2 => (index(), index(), any::<u8>())
            .prop_map(|(from, parent, name)| Edit::Rename { from, parent, name }),
        4 => (index(), index(), length(), any::<u64>())
            .prop_map(|(file, at, length, seed)| Edit::Overwrite { file, at, length, seed }),
        2 => (index(), index()).prop_map(|(file, to)| Edit::Truncate { file, to }),
        2 => (index(), length(), any::<u64>())
            .prop_map(|(file, length, seed)| Edit::Append { file, length, seed }),
        1 => (index(), 0..2_000_000_u64).prop_map(|(file, by)| Edit::Extend { file, by }),
        1 => (index(), 0..=0o777_u32).prop_map(|(what, mode)| Edit::Chmod { what, mode }),
        1 => (index(), index(), any::<u8>())
            .prop_map(|(file, parent, name)| Edit::Link { file, parent, name }),
        2 => (index(), index(), 1..200_000_u64)
            .prop_map(|(file, at, length)| Edit::Punch { file, at, length }),
        2 => (index(), any::<u64>()).prop_map(|(file, seed)| Edit::Disguise { file, seed }),
        1 => (index(), any::<u8>()).prop_map(|(what, value)| Edit::Label { what, value }),
    ]
}

/// What is in the tree now.
#[derive(Default)]
struct Inventory {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Inventory {
    fn take(root: &Path) -> Self {
        let mut found = Self { directories: vec![root.to_owned()], ..Self::default() };
        let mut at = 0;
        while let Some(directory) = found.directories.get(at).cloned() {
            at += 1;
            // One that keeps us out is left alone.
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            let mut entries: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let kind = entry.file_type().unwrap();
                let list = if kind.is_dir() {
                    &mut found.directories
                } else if kind.is_file() {
                    &mut found.files
                } else {
                    &mut found.others
                };
                list.push(entry.path());
                assert!(!kind.is_block_device() || !kind.is_file());
            }
        }
        found
    }

    /// Anything but the root.
    fn any(&self, index: Index) -> Option<&Path> {
        let all = self.directories.iter().skip(1).chain(&self.files).chain(&self.others);
        let all: Vec<&PathBuf> = all.collect();
        (!all.is_empty()).then(|| index.get(&all).as_path())
    }

    fn file(&self, index: Index) -> Option<&Path> {
        (!self.files.is_empty()).then(|| index.get(&self.files).as_path())
    }

    fn new_name(&self, parent: Index, name: u8) -> PathBuf {
        let name = OsString::from_vec(vec![b'e', b'd', b'a' + name % 26, b'A' + name / 26]);
        parent.get(&self.directories).join(name)
    }
}

/// Applies an edit; false where there was nothing for it to hit, or it cannot be.
pub fn apply(root: &Path, edit: &Edit) -> bool {
    match try_apply(root, edit) {
        Ok(done) => done,
        Err(error) => {
            use io::ErrorKind::{
                AlreadyExists, DirectoryNotEmpty, InvalidInput, IsADirectory, NotADirectory,
                PermissionDenied, TooManyLinks,
            };
            let cannot_be = [
                AlreadyExists,
                DirectoryNotEmpty,
                InvalidInput,
                IsADirectory,
                NotADirectory,
                PermissionDenied,
                TooManyLinks,
            ];
            let too_long =
                error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error());
            assert!(cannot_be.contains(&error.kind()) || too_long, "{edit:?}: {error}");
            false
        }
    }
}

fn try_apply(root: &Path, edit: &Edit) -> io::Result<bool> {
    let there = Inventory::take(root);
    let writable = |file: Index| {
        let path = there.file(file);
        path.map(|path| {
            Ok::<_, io::Error>((File::options().write(true).open(path)?, path.metadata()?))
        })
        .transpose()
    };
    match edit {
        Edit::Remove(what) => return remove(there.any(*what)),
        Edit::Add { parent, name, length, seed } => {
            let path = there.new_name(*parent, *name);
            File::options().write(true).create_new(true).open(&path)?;
            fs::write(path, noise(*seed, *length))?;
        }
        Edit::MakeDirectory { parent, name } => fs::create_dir(there.new_name(*parent, *name))?,
        Edit::Rename { from, parent, name } => {
            let Some(from) = there.any(*from) else { return Ok(false) };
            fs::rename(from, there.new_name(*parent, *name))?;
        }
        Edit::Overwrite { file, at, length, seed } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            file.write_all_at(&noise(*seed, *length), place(*at, metadata.len()))?;
        }
        Edit::Truncate { file, to } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            file.set_len(place(*to, metadata.len()))?;
        }
        Edit::Append { file, length, seed } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            file.write_all_at(&noise(*seed, *length), metadata.len())?;
        }
        Edit::Extend { file, by } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            file.set_len(metadata.len() + by)?;
        }
        Edit::Punch { file, at, length } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&file, flags, place(*at, metadata.len()), *length)?;
        }
        Edit::Disguise { file, seed } => {
            let Some((file, metadata)) = writable(*file)? else { return Ok(false) };
            file.write_all_at(
                &noise(*seed, usize::try_from(metadata.len()).unwrap().min(3_000)),
                0,
            )?;
            // Some systems cannot say the time of a file from before 1970 this way.
            let modified = metadata.modified().unwrap_or(UNIX_EPOCH + Duration::from_nanos(7));
            file.set_times(FileTimes::new().set_modified(modified))?;
        }
        Edit::Chmod { what, mode } => return chmod(there.any(*what), *mode),
        Edit::Link { file, parent, name } => {
            let Some(file) = there.file(*file) else { return Ok(false) };
            fs::hard_link(file, there.new_name(*parent, *name))?;
        }
        Edit::Label { what, value } => {
            let Some(what) = there.any(*what) else { return Ok(false) };
            let labelled = what.symlink_metadata()?.is_file() || what.symlink_metadata()?.is_dir();
            if labelled {
                rustix::fs::lsetxattr(what, "user.label", &[*value], XattrFlags::empty())?;
            }
            return Ok(labelled);
        }
    }
    Ok(true)
}

/// A byte of a file, its end included.
fn place(index: Index, length: u64) -> u64 {
    index.index(usize::try_from(length).unwrap() + 1) as u64
}

fn remove(what: Option<&Path>) -> io::Result<bool> {
    let Some(what) = what else { return Ok(false) };
    if what.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(what)?;
    } else {
        fs::remove_file(what)?;
    }
    Ok(true)
}

fn chmod(what: Option<&Path>, mode: u32) -> io::Result<bool> {
    let Some(what) = what else { return Ok(false) };
    let metadata = what.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(false);
    }
    // Whoever runs this must still be able to read and list.
    let readable = if metadata.is_dir() { 0o700 } else { 0o400 };
    fs::set_permissions(what, fs::Permissions::from_mode(mode | readable))?;
    Ok(true)
}
