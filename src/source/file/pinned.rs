//! Files held open from the instant of the cut on: they stay readable when the engine unlinks
//! them, and a name that is used again cannot slip in another file.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Identity, OpenFile, Reading, Root, attributes_of_entry, attributes_of_fd, problem, stat_fd,
};
use crate::entry::{Entry, TreePath};
use crate::source::{Attributes, Content, Fault, Files, Problem};

/// One pinned file.
#[derive(Clone, Debug)]
pub(in crate::source) struct Pinned {
    pub(in crate::source) fd: Arc<OwnedFd>,
    pub(in crate::source) identity: Identity,
    /// Where written bytes ended in a log that has its final length from birth.
    pub(in crate::source) written_bytes: Option<u64>,
}

/// Access to pinned files; other entries are asked by name.
#[derive(Debug)]
pub(in crate::source) struct PinnedFiles {
    root: Arc<Root>,
    reading: Reading,
    files: RwLock<HashMap<TreePath, Pinned>>,
}

impl PinnedFiles {
    pub(in crate::source) fn new(
        root: Arc<Root>,
        reading: Reading,
        files: HashMap<TreePath, Pinned>,
    ) -> Self {
        Self { root, reading, files: RwLock::new(files) }
    }

    /// Replaces what is pinned.
    pub(in crate::source) fn replace(&self, files: HashMap<TreePath, Pinned>) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
    }

    fn find(&self, path: &TreePath) -> Option<Pinned> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.get(path).cloned()
    }
}

impl Files for PinnedFiles {
    fn attributes(&self, entry: &Entry) -> Result<Attributes, Problem> {
        match self.find(&entry.path) {
            Some(pinned) => Ok(attributes_of_fd(&*pinned.fd, entry)),
            None => attributes_of_entry(&self.root, entry),
        }
    }

    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem> {
        let unpinned = || Problem {
            path: entry.path.clone(),
            fault: Fault::Unreadable,
            detail: "could not be opened when the directory was pinned".to_owned(),
        };
        let pinned = self.find(&entry.path).ok_or_else(unpinned)?;
        let stat = stat_fd(&*pinned.fd).map_err(|errno| problem(&entry.path, "stat", errno))?;
        Ok(Box::new(OpenFile::pinned(
            pinned.fd,
            entry.clone(),
            &stat,
            pinned.written_bytes,
            self.reading,
        )))
    }
}

/// Raises the soft limit of open files to the hard one and returns it; `None` is no limit.
pub(in crate::source) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}
