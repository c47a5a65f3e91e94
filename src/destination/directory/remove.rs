//! Taking away what is in the way or no longer in the snapshot: never what the backup did not look at,
//! without following a link and without leaving the file system.
//!
//! One pure function, [`verdict`], decides on each name; a restore and its dry run walk the same way and
//! ask it the same. A directory goes only when all that is in it went.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags};
use rustix::io::Errno;

use super::super::{Error, Looked, Overwrite, Removed};
use super::attributes::Stat;
use super::beneath::{Directory, Root};
use super::marker;
use super::{Begun, Shared};
use crate::entry::TreePath;
use crate::patterns::is_tagged_cache;

/// What is known of a name that the snapshot does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Where it would be in the source.
    pub(super) source_path: &'a TreePath,
    pub(super) is_directory: bool,
    /// Why it stays whatever is asked for.
    pub(super) guard: Option<Guard>,
}

/// What keeps a name from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Something is mounted there, or it is on another file system than the top of what is restored.
    Foreign,
    /// It is the repository, or the cache.
    Ours,
    /// It is the marker, the `lost+found` of a file system, or a cache that the backup left out.
    Reserved,
}

/// What happens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays with all that is below it: the backup did not look at it.
    Keep,
    /// It goes.
    Remove,
    /// It is a directory, and goes if all that is in it goes.
    LookInside,
}

/// Decides on a name that the snapshot does not have. The backup looked at all that these rules do not
/// name, and did not find it. What the restore is not asked for stays, and so does a directory that is not
/// asked for itself, with all that is in it.
pub(super) fn verdict(candidate: Candidate<'_>, looked: &Looked) -> Verdict {
    let Candidate { source_path, is_directory, guard } = candidate;
    let is_wanted = looked.filter.selects(source_path.as_bytes(), is_directory);
    let is_excluded = looked.exclude.matches(source_path.as_bytes(), is_directory);
    if guard.is_some() || is_excluded || !is_wanted {
        Verdict::Keep
    } else if is_directory {
        Verdict::LookInside
    } else {
        Verdict::Remove
    }
}

impl Shared {
    /// Makes room for an entry at a name that is taken. A link is unlinked itself; a directory goes
    /// only if it is empty, or if deleting was asked for and the backup looked at all that is in it.
    pub(super) fn clear_way(
        &self,
        begun: &Begun,
        parent: &Directory,
        name: &[u8],
        path: &TreePath,
    ) -> Result<(), Error> {
        let root = &begun.root;
        let in_the_way = |reason: &str| {
            Err(Error::InTheWay { path: root.full(path), reason: reason.to_owned() })
        };
        if begun.rules.overwrite == Overwrite::Refuse {
            return in_the_way(
                "it appeared while the restore ran, or the snapshot holds two names that \
                 this file system takes for one: restore into an empty directory that \
                 nobody else writes to",
            );
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
                let holder = path.parent().unwrap_or_default();
                let plan = self.removal(root, false)?.all_of(&holder, vec![name.to_vec()])?;
                if plan.kept > 0 || !plan.refused.is_empty() {
                    return in_the_way(
                        "it is a directory that holds something which the backup did not look at, \
                         and the snapshot has no directory here: move it away",
                    );
                }
                let mut done = self.removal(root, true)?.all_of(&holder, vec![name.to_vec()])?;
                done.refused.pop().map_or(Ok(()), |(_, error)| Err(error))
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => in_the_way(
                "it is a directory that holds something, and the snapshot has no \
                 directory here: move it away, or say --delete",
            ),
            Err(errno) => Err(root.error("remove", path, errno)),
        }
    }

    /// Removes the names of a directory that are not in `keep`; only counts them unless `acts`.
    pub(super) fn remove_extraneous(
        &self,
        root: &Root,
        path: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
        acts: bool,
    ) -> Result<Removed, Error> {
        let removal = self.removal(root, acts)?;
        let directory = root.directory(path)?;
        let stat = directory.handle().stat();
        let stat = stat.map_err(|errno| root.error("read the attributes of", path, errno))?;
        let mut names = list(root, &directory, path)?;
        names.retain(|name| !keep.contains(name));
        let is_top = *path == removal.looked.top;
        let is_cache = removal.looked.exclude_caches && !is_top && is_tagged_cache(&*directory);
        if stat.device() != removal.device || is_cache {
            let kept = u64::try_from(names.len()).unwrap_or(u64::MAX);
            return Ok(Removed { kept, ..Removed::default() });
        }
        drop(directory);
        removal.all_of(path, names)
    }

    /// Counts what would be removed, and changes nothing.
    pub(super) fn count_extraneous(
        &self,
        root: &Root,
        path: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<Removed, Error> {
        match self.remove_extraneous(root, path, keep, false) {
            // The directory is not there yet.
            Err(Error::InTheWay { .. }) => Ok(Removed::default()),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Removed::default())
            }
            counted => counted,
        }
    }

    fn removal<'a>(&self, root: &'a Root, acts: bool) -> Result<Removal<'a>, Error> {
        let looked = Arc::clone(&self.lock_looked());
        // Before the top is made, nothing below it can be there.
        let device = match root.directory(&looked.top) {
            Ok(top) => {
                let stat = top.handle().stat();
                stat.map_err(|errno| root.error("read the attributes of", &looked.top, errno))?
                    .device()
            }
            Err(_) => root.device(),
        };
        Ok(Removal { root, looked, device, acts, removed: Removed::default() })
    }
}

/// A directory on the way down, and the names in it that were not decided on yet.
struct Level {
    path: TreePath,
    names: Vec<Vec<u8>>,
    /// Something in it stays.
    keeps: bool,
}

/// A walk over what is to be removed.
struct Removal<'a> {
    root: &'a Root,
    looked: Arc<Looked>,
    /// The file system of the top of what is restored.
    device: (u32, u32),
    /// Whether anything is removed, or only counted.
    acts: bool,
    removed: Removed,
}

impl Removal<'_> {
    /// Removes names of a directory, with everything below them. Of any depth: directories on the way are
    /// held by their paths, and opened again when the walk returns to them.
    fn all_of(mut self, path: &TreePath, names: Vec<Vec<u8>>) -> Result<Removed, Error> {
        let mut levels = vec![Level { path: path.clone(), names, keeps: false }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                let Some(Level { path, keeps, .. }) = levels.pop() else { break };
                let Some(above) = levels.last_mut() else { break };
                let gone = !keeps && self.take(&path, AtFlags::REMOVEDIR)?;
                above.keeps |= !gone;
                continue;
            };
            let child = level.path.join(&name);
            let verdict = self.judge(&level.path, &name, &child);
            match self.note(&child, verdict)? {
                None | Some(Some(Verdict::Keep)) => level.keeps = true,
                // Someone else removed it just now.
                Some(None) => {}
                Some(Some(Verdict::Remove)) => {
                    let gone = self.take(&child, AtFlags::empty())?;
                    level.keeps |= !gone;
                }
                Some(Some(Verdict::LookInside)) => {
                    let inside = self.enter(child.clone());
                    match self.note(&child, inside)? {
                        Some(inside) => levels.push(inside),
                        None => level.keeps = true,
                    }
                }
            }
        }
        Ok(self.removed)
    }

    fn judge(
        &mut self,
        holder: &TreePath,
        name: &[u8],
        path: &TreePath,
    ) -> Result<Option<Verdict>, Error> {
        let parent = self.root.directory(holder)?;
        let Some(there) = self.root.stat(&parent, name, path)? else {
            return Ok(None);
        };
        let is_tagged = || {
            let directory = self.root.directory(path);
            directory.is_ok_and(|directory| is_tagged_cache(&*directory))
        };
        let is_foreign = there.is_mount() || there.device() != self.device;
        let is_cache =
            self.looked.exclude_caches && there.is_directory() && !is_foreign && is_tagged();
        let guard = if is_foreign {
            Some(Guard::Foreign)
        } else if self.root.is_protected(&there) {
            Some(Guard::Ours)
        } else if is_cache || self.is_reserved(holder, name, &there) {
            Some(Guard::Reserved)
        } else {
            None
        };
        let source_path = &self.looked.source_path(path);
        let candidate = Candidate { source_path, is_directory: there.is_directory(), guard };
        let verdict = verdict(candidate, &self.looked);
        self.removed.kept += u64::from(verdict == Verdict::Keep && name != marker::NAME);
        Ok(Some(verdict))
    }

    /// The marker, and what `mkfs` makes at the top of a file system.
    fn is_reserved(&self, holder: &TreePath, name: &[u8], there: &Stat) -> bool {
        let is_at_top = holder.is_root() || *holder == self.looked.top;
        (holder.is_root() && name == marker::NAME)
            || (is_at_top && name == marker::LOST_AND_FOUND && there.is_directory())
    }

    /// Opens a directory to be emptied, with the rights to do so.
    fn enter(&mut self, path: TreePath) -> Result<Level, Error> {
        if self.acts {
            self.root.make_usable(&path)?;
        }
        let directory = self.root.directory(&path)?;
        let names = list(self.root, &directory, &path)?;
        Ok(Level { path, names, keeps: false })
    }

    /// Removes one name. False if it stays.
    fn take(&mut self, path: &TreePath, flags: AtFlags) -> Result<bool, Error> {
        if self.acts {
            self.root.forget(path);
            let removed = self.root.parent(path).and_then(|(parent, name)| {
                match sys::unlinkat(&parent, name, flags) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(errno) => Err(self.root.error("remove", path, errno)),
                }
            });
            if self.note(path, removed)?.is_none() {
                return Ok(false);
            }
        }
        self.removed.names += 1;
        Ok(true)
    }

    /// Notes what could not be done at one name; passes on what ends the restore.
    fn note<T>(&mut self, path: &TreePath, outcome: Result<T, Error>) -> Result<Option<T>, Error> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.ends_restore() => Err(error),
            Err(error) => {
                self.removed.refused.push((path.clone(), error));
                Ok(None)
            }
        }
    }
}

fn unlink(root: &Root, parent: &Directory, name: &[u8], path: &TreePath) -> Result<(), Error> {
    match sys::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(root.error("remove", path, errno)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::{Exclude, Filter};

    #[test]
    fn only_what_the_backup_looked_at_goes() {
        let exclude = Exclude::new(&["*.log".to_owned(), "build/".to_owned()]).unwrap();
        let looked = Looked { exclude, ..Looked::default() };
        let decide = |name: &str, is_directory, guard| {
            let source_path = &TreePath::from_bytes(name).unwrap();
            verdict(Candidate { source_path, is_directory, guard }, &looked)
        };
        assert_eq!(decide("a/b", false, None), Verdict::Remove);
        assert_eq!(decide("a/b", true, None), Verdict::LookInside);
        assert_eq!(decide("a/b.log", false, None), Verdict::Keep);
        assert_eq!(decide("a/build", true, None), Verdict::Keep);
        assert_eq!(decide("a/build", false, None), Verdict::Remove);
        let filter = Filter::new(&["*.b".to_owned(), "in/".to_owned()], &["*.log".to_owned()]);
        let part = Looked { filter: filter.unwrap(), ..looked.clone() };
        let decide_part = |name: &str, is_directory| {
            let source_path = &TreePath::from_bytes(name).unwrap();
            verdict(Candidate { source_path, is_directory, guard: None }, &part)
        };
        assert_eq!(decide_part("a/x.b", false), Verdict::Remove);
        assert_eq!(decide_part("in/x", false), Verdict::Remove);
        assert_eq!(decide_part("in/x", true), Verdict::LookInside);
        for (name, is_directory) in [("a/b", false), ("a", true), ("in/x.log", false)] {
            assert_eq!(decide_part(name, is_directory), Verdict::Keep, "{name}");
        }
        for is_directory in [false, true] {
            for guard in [Guard::Foreign, Guard::Ours, Guard::Reserved] {
                assert_eq!(decide("a", is_directory, Some(guard)), Verdict::Keep);
            }
        }
    }
}
