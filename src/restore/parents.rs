//! The directories that an entry lies in. A tree in which something lies below what is no directory would
//! make the destination follow a link, if it ever did that. Directories whose own entries are lost are
//! made anew, for nobody but their owner, so that what is in them has a place.

use crate::entry::{Entry, Kind, Seen, TreePath};

/// Directories from the root to the entry before, and what is known to be lost.
#[derive(Debug, Default)]
pub(super) struct Parents {
    directories: Vec<Entry>,
    last_path: Option<TreePath>,
    /// Parts of the tree that cannot be read: the last entry before, and the last in it.
    lost: Vec<(Option<TreePath>, TreePath)>,
}

impl Parents {
    /// Takes note that all entries up to `last` are lost; returns the last one before them.
    pub(super) fn lose(&mut self, last: TreePath) -> Option<TreePath> {
        let after = self.last_path.replace(last.clone());
        self.lost.push((after.clone(), last));
        after
    }

    /// Whether the entries up to `last` are known to be lost.
    pub(super) fn has_lost(&self, last: &TreePath) -> bool {
        self.lost.iter().any(|(_, known)| known == last)
    }

    /// Goes on to an entry below `top`. Returns directories to be made in place of lost ones, from the
    /// outermost on; `None` if the entry comes too late, or lies in something that is no directory.
    pub(super) fn enter(&mut self, entry: &Entry, top: &TreePath) -> Option<Vec<Entry>> {
        if self.last_path.as_ref().is_some_and(|last| entry.path <= *last) {
            return None;
        }
        while self.directories.last().is_some_and(|last| !is_below(&entry.path, &last.path)) {
            self.directories.pop();
        }
        let mut missing = Vec::new();
        let mut above = entry.path.parent();
        while let Some(path) = above.filter(|_| entry.path != *top) {
            let is_known = self.directories.last().is_some_and(|last| last.path == path);
            if is_known || !path.starts_with(top) {
                break;
            }
            above = path.parent();
            missing.push(path);
        }
        let mut made = Vec::new();
        for path in missing.into_iter().rev() {
            if !self.is_lost(&path) {
                return None;
            }
            let stand_in = stand_in(entry, self.directories.last(), path);
            self.directories.push(stand_in.clone());
            made.push(stand_in);
        }
        if entry.is_directory() {
            self.directories.push(entry.clone());
        }
        self.last_path = Some(entry.path.clone());
        Some(made)
    }

    fn is_lost(&self, path: &TreePath) -> bool {
        self.lost
            .iter()
            .any(|(after, last)| after.as_ref().is_none_or(|after| after < path) && path <= last)
    }
}

fn is_below(path: &TreePath, directory: &TreePath) -> bool {
    path != directory && path.starts_with(directory)
}

/// A directory in place of one whose entry is lost, with the owner of the one that it is in, or of what
/// was found in it.
fn stand_in(found: &Entry, above: Option<&Entry>, path: TreePath) -> Entry {
    let owner = above.unwrap_or(found);
    Entry {
        path,
        kind: Kind::Directory,
        mode: 0o700,
        size_bytes: 0,
        links: 1,
        xattrs: Vec::new(),
        extents: None,
        inode_flags: 0,
        seen: Seen::Whole,
        ..owner.clone()
    }
}
