//! Opening the files of a directory that is read while it is walked.

use std::sync::Arc;

use rustix::fs::FileType;

use crate::entry::Entry;
use crate::source::file::{
    OpenFile, Owners, Reading, Root, attributes_of_entry, is_replaced, problem, stat_fd,
};
use crate::source::{Attributes, Content, Fault, Files, Problem};

/// Files below a root, opened by name.
#[derive(Debug)]
pub(super) struct BelowFiles {
    pub(super) root: Arc<Root>,
    pub(super) owners: Arc<Owners>,
    pub(super) reading: Reading,
}

impl Files for BelowFiles {
    fn attributes(&self, entry: &Entry) -> Result<Attributes, Problem> {
        attributes_of_entry(&self.root, entry)
    }

    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem> {
        let fail = |action, errno| problem(&entry.path, action, errno);
        let opened = self.root.open_file(&entry.path);
        let fd = opened.map_err(|errno| fail("open", errno))?;
        let stat = stat_fd(&fd).map_err(|errno| fail("stat", errno))?;
        let file_type = FileType::from_raw_mode(u32::from(stat.stx_mode));
        if file_type != FileType::RegularFile || is_replaced(&fd, &stat, entry) {
            return Err(Problem {
                path: entry.path.clone(),
                fault: Fault::Changed,
                detail: "replaced between listing and opening".to_owned(),
            });
        }
        Ok(Box::new(OpenFile::new(Arc::new(fd), entry, &stat, &self.owners, self.reading)))
    }
}
