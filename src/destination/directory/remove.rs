//! Taking away what is in the way or no longer in the snapshot, without following a link and
//! without leaving the file system.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags};
use rustix::io::Errno;

use super::super::{Error, Overwrite};
use super::beneath::{Directory, Root, open_below};
use super::marker;
use super::{Begun, Shared};
use crate::entry::TreePath;

impl Shared {
    /// Makes room for an entry at a name that is taken. A link is unlinked itself; a directory goes
    /// only if it is empty or deleting was asked for.
    pub(super) fn clear_way(
        &self,
        begun: &Begun,
        parent: &Directory,
        name: &[u8],
        path: &TreePath,
    ) -> Result<(), Error> {
        let root = &begun.root;
        if begun.rules.overwrite == Overwrite::Refuse {
            return Err(Error::InTheWay {
                path: root.full(path),
                reason: "it appeared while the restore ran, or the snapshot holds two names that \
                         this file system takes for one: restore into an empty directory that \
                         nobody else writes to"
                    .to_owned(),
            });
        }
        let Some(there) = root.stat(parent, name, path)? else {
            return Ok(());
        };
        if !there.is_directory() {
            return unlink(root, parent, name, path);
        }
        root.forget(path);
        match sys::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.options.delete => {
                remove_directory(root, parent, name, path).map(drop)
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Error::InTheWay {
                path: root.full(path),
                reason: "it is a directory that holds something, and the snapshot has no \
                         directory here: move it away, or say --delete"
                    .to_owned(),
            }),
            Err(errno) => Err(root.error("remove", path, errno)),
        }
    }
}

/// Removes the names of a directory that are not in `keep`, with all that is below them. Returns
/// how many names went. The marker stays, and so does the root's `lost+found`.
pub(super) fn extraneous(
    root: &Root,
    path: &TreePath,
    keep: &BTreeSet<Vec<u8>>,
) -> Result<u64, Error> {
    let directory = root.directory(path)?;
    let mut removed = 0;
    for name in list(root, &directory, path)? {
        let is_ours = path.is_root() && [marker::NAME, marker::LOST_AND_FOUND].contains(&&*name);
        if is_ours || keep.contains(&name) {
            continue;
        }
        removed += remove(root, &directory, &name, &path.join(&name))?;
    }
    Ok(removed)
}

/// Removes a name, be it a directory with everything below it. Returns how many names went.
fn remove(root: &Root, parent: &Directory, name: &[u8], path: &TreePath) -> Result<u64, Error> {
    match root.stat(parent, name, path)? {
        None => Ok(0),
        Some(there) if there.is_directory() => {
            root.forget(path);
            remove_directory(root, parent, name, path)
        }
        Some(_) => unlink(root, parent, name, path).map(|()| 1),
    }
}

fn unlink(root: &Root, parent: &Directory, name: &[u8], path: &TreePath) -> Result<(), Error> {
    match sys::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(root.error("remove", path, errno)),
    }
}

/// Removes a tree of any depth with two descriptors and no recursion: each directory found in it
/// is first moved up to its top, where it is taken apart in turn. Stopped half way, it leaves a
/// flatter tree that is still to be removed.
fn remove_directory(
    root: &Root,
    parent: &Directory,
    name: &[u8],
    path: &TreePath,
) -> Result<u64, Error> {
    let top = open_to_empty(root, parent, name, path)?;
    let mut removed = 0;
    let mut moved: u64 = 0;
    loop {
        let names = list(root, &top, path)?;
        if names.is_empty() {
            break;
        }
        for child in names {
            let child_path = path.join(&child);
            let is_directory =
                root.stat(&top, &child, &child_path)?.is_some_and(|there| there.is_directory());
            if is_directory {
                removed += take_apart(root, &top, &child, &child_path, &mut moved)?;
            } else {
                unlink(root, &top, &child, &child_path)?;
                removed += 1;
            }
        }
    }
    remove_empty(root, parent, name, path)?;
    Ok(removed + 1)
}

/// Removes one directory right below `top`, having moved its directories up into `top`.
fn take_apart(
    root: &Root,
    top: &Directory,
    name: &[u8],
    path: &TreePath,
    moved: &mut u64,
) -> Result<u64, Error> {
    let directory = open_to_empty(root, top, name, path)?;
    let mut removed = 0;
    for child in list(root, &directory, path)? {
        let child_path = path.join(&child);
        let is_directory =
            root.stat(&directory, &child, &child_path)?.is_some_and(|there| there.is_directory());
        if !is_directory {
            unlink(root, &directory, &child, &child_path)?;
            removed += 1;
            continue;
        }
        // Moving a directory needs the right to write it, since its `..` changes.
        drop(open_to_empty(root, &directory, &child, &child_path)?);
        loop {
            *moved += 1;
            let free = format!(".backstay-removed-{moved}");
            match sys::renameat(&directory, &*child, top, free.as_bytes()) {
                Ok(()) => break,
                // Taken; had it been an empty directory, that would have been no loss.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(errno) => return Err(root.error("remove", &child_path, errno)),
            }
        }
    }
    remove_empty(root, top, name, path)?;
    Ok(removed + 1)
}

fn remove_empty(
    root: &Root,
    parent: &Directory,
    name: &[u8],
    path: &TreePath,
) -> Result<(), Error> {
    match sys::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(root.error("remove", path, errno)),
    }
}

/// Opens a directory whose content is to be removed, with the rights to do so.
fn open_to_empty(
    root: &Root,
    parent: &Directory,
    name: &[u8],
    path: &TreePath,
) -> Result<std::sync::Arc<Directory>, Error> {
    let failed = |errno| root.error("remove", path, errno);
    let open = || open_below(parent, name).map_err(failed);
    let directory = open()?;
    let stat = directory.handle().stat().map_err(failed)?;
    let outside = parent.handle().stat().map_err(failed)?;
    if stat.is_mount() || stat.device() != outside.device() {
        return Err(Error::InTheWay {
            path: root.full(path),
            reason: "a file system is mounted there, and what it holds is not removed: \
                     unmount it first"
                .to_owned(),
        });
    }
    if stat.mode() & 0o700 == 0o700 {
        return Ok(directory);
    }
    // Whether that was enough shows at the next step.
    let _ = directory.handle().set_mode(stat.mode() | 0o700);
    open()
}

fn list(root: &Root, directory: &Directory, path: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
    let failed = |errno| root.error("list", path, errno);
    let mut names = Vec::new();
    for item in sys::Dir::read_from(directory).map_err(failed)? {
        let item = item.map_err(failed)?;
        let name = item.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// The names in a directory below `root`, without a restore having begun; none where it is missing.
pub(super) fn names_in(root: &Path, path: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
    let Some(root) = Root::open_if_there(root)? else {
        return Ok(Vec::new());
    };
    match root.directory(path) {
        Ok(directory) => list(&root, &directory, path),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
