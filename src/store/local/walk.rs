//! Listing a local store: a walk in the order of keys that holds no more than the names of the
//! directories it stands in.
//!
//! Keys are ordered by their bytes, and `/` sorts after `-` and `.`: so a directory is sorted as
//! its name with a slash behind it, which is how its keys go on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Root, failed, is_absent};
use crate::store::{Error, Key, Object, is_component};

/// A walk that has come to some place; asked again, it goes on from there.
pub(super) struct Walk {
    root: PathBuf,
    prefix: String,
    /// For each directory from the root to where we are, the names that remain, the next one last.
    /// A name is a whole key; one that ends with `/` is a directory.
    remaining: Vec<Vec<String>>,
}

impl Root {
    /// Starts a walk over the keys that start with `prefix`.
    pub(super) fn walk(&self, prefix: &str) -> Result<Walk, Error> {
        self.check_exists()?;
        // All keys of this prefix are in the directory that the prefix names, or below it.
        let directory = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        let mut walk =
            Walk { root: self.path.clone(), prefix: prefix.to_owned(), remaining: Vec::new() };
        let is_place = directory.split_terminator('/').all(is_component);
        if is_place {
            walk.enter(directory)?;
        }
        Ok(walk)
    }
}

impl Walk {
    /// Up to `count` objects, and the walk itself while it may have more.
    pub(super) fn next_batch(mut self, count: usize) -> Result<(Vec<Object>, Option<Self>), Error> {
        let mut batch = Vec::new();
        while batch.len() < count {
            match self.next_object()? {
                Some(object) => batch.push(object),
                None => return Ok((batch, None)),
            }
        }
        Ok((batch, Some(self)))
    }

    /// The next object.
    pub(super) fn next_object(&mut self) -> Result<Option<Object>, Error> {
        while let Some(names) = self.remaining.last_mut() {
            let Some(name) = names.pop() else {
                self.remaining.pop();
                continue;
            };
            if name.ends_with('/') {
                self.enter(&name)?;
            } else if let Some(size_bytes) = size_of(&self.root, &name)? {
                let key = Key::new(name);
                return Ok(Some(Object { key, size_bytes }));
            }
        }
        Ok(None)
    }

    /// Reads a directory, named from the root with a slash behind it.
    fn enter(&mut self, directory: &str) -> Result<(), Error> {
        let fail = |error| failed("list", &Key::new(directory), error);
        let entries = match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries,
            // Removed since its name was read, or never there.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let file_name = entry.file_name();
            // What cannot be part of a key is not ours: `lost+found`, an unfinished file.
            let Some(file_name) = file_name.to_str().filter(|name| is_component(name)) else {
                continue;
            };
            let mut name = format!("{directory}{file_name}");
            let kind = entry.file_type().map_err(fail)?;
            // Someone may keep a part of a repository on another disk, behind a link.
            if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
                name.push('/');
            }
            if name.starts_with(&self.prefix) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|left, right| right.cmp(left));
        self.remaining.push(names);
        Ok(())
    }
}

/// The length of a file; none if it has gone since its name was read, or is no file.
fn size_of(root: &Path, name: &str) -> Result<Option<u64>, Error> {
    match fs::metadata(root.join(name)) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(failed("list", &Key::new(name), error)),
    }
}
