//! A directory as destination: a local disk, a mounted volume, a scratch place of a drill.
//!
//! Three promises shape this folder. *Never outside*: every path is walked from the root's
//! descriptor, one component at a time, and no link is followed (`beneath`). *Never half a restore
//! that looks whole*: a marker lies in the root until everything is durable (`marker`). *Never a
//! silent loss*: each attribute is read back, and what differs is a [`Shortfall`] (`attributes`).

mod attributes;
mod beneath;
mod file;
mod holes;
mod marker;
mod node;
mod owners;
mod remove;
mod shortfalls;
mod xattrs;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{self as sys, Mode};
use rustix::io::Errno;

use super::{Destination, Error, Existing, Output, Overwrite, Shortfall};
use crate::entry::{Entry, TreePath};
use beneath::Root;
use owners::Owners;
use shortfalls::Shortfalls;

/// How a directory is to be filled.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The directory; made if it is missing, with its parents.
    pub path: PathBuf,
    /// What to do with what is there already.
    pub overwrite: Overwrite,
    /// Whether [`Destination::remove_extraneous`] removes what the snapshot doesn't have.
    pub delete: bool,
    /// Which restore this is: repository, snapshot, source. An interrupted restore is resumed only
    /// by one with the same words.
    pub identity: String,
    /// Look owners up by name on this system first, and by number only where there is no such
    /// name. Numbers are the default: names of another machine rarely mean the same account.
    pub map_names: bool,
}

/// A [`Destination`] that writes into one directory.
#[derive(Debug)]
pub struct DirectoryDestination {
    shared: Arc<Shared>,
}

/// What the destination and the files that it has open share.
#[derive(Debug)]
struct Shared {
    options: Options,
    shortfalls: Shortfalls,
    owners: Owners,
    begun: OnceLock<Begun>,
    /// The root's own entry: its attributes come last of all, since removing the marker changes
    /// its times and needs it writable.
    root_entry: Mutex<Option<Entry>>,
}

/// What `begin` found and opened.
#[derive(Debug)]
struct Begun {
    root: Root,
    marker: marker::Held,
    rules: marker::Rules,
}

impl DirectoryDestination {
    /// A destination that touches nothing before [`Destination::begin`].
    pub fn new(options: Options) -> Self {
        let owners = Owners::new(options.map_names);
        Self {
            shared: Arc::new(Shared {
                options,
                shortfalls: Shortfalls::default(),
                owners,
                begun: OnceLock::new(),
                root_entry: Mutex::default(),
            }),
        }
    }

    /// Whether `begin` found the marker of the same restore and goes on from there.
    pub fn is_resumed(&self) -> bool {
        let begun = self.shared.begun.get();
        begun.is_some_and(|begun| begun.marker.is_resumed())
    }

    /// How many things could not be restored so far; `finish` lists only the first of very many.
    pub fn shortfall_count(&self) -> u64 {
        self.shared.shortfalls.count()
    }
}

impl Shared {
    fn begun(&self) -> Result<&Begun, Error> {
        self.begun.get().ok_or_else(|| Error::Unusable {
            path: self.options.path.clone(),
            reason: "a mistake in Backstay: a restore must begin before it writes".to_owned(),
        })
    }

    fn error(&self, action: &'static str, path: &TreePath, source: io::Error) -> Error {
        Error::Io { action, path: beneath::join(&self.options.path, path), source }
    }

    fn leave_out_reserved(&self, path: &TreePath) {
        self.shortfalls.add(
            path,
            "entry",
            "left out: the name belongs to Backstay's own marker of an unfinished restore",
        );
    }
}

impl Destination for DirectoryDestination {
    fn begin(&self) -> Result<(), Error> {
        let options = &self.shared.options;
        if options.delete && options.overwrite == Overwrite::Never {
            return Err(Error::Unusable {
                path: options.path.clone(),
                reason: "overwrite `never` keeps what is there and deletion removes it: \
                         choose one of them"
                    .to_owned(),
            });
        }
        let root = Root::open(&options.path)?;
        let (marker, rules) = marker::begin(&root, options)?;
        let begun = Begun { root, marker, rules };
        // A second `begin` cannot come here: the marker's lock is held by the first.
        drop(self.shared.begun.set(begun));
        Ok(())
    }

    fn names(&self, directory: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
        remove::names_in(&self.shared.options.path, directory)
    }

    fn keeps_files(&self) -> bool {
        self.shared.options.overwrite == Overwrite::Never
    }

    fn directory(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.shared.begun()?;
        if entry.path.is_root() {
            return begun.root.make_usable(&entry.path);
        }
        if marker::is_reserved(&entry.path) {
            self.shared.leave_out_reserved(&entry.path);
            return Ok(());
        }
        let (parent, name) = begun.root.parent(&entry.path)?;
        match sys::mkdirat(&parent, name, Mode::RWXU) {
            // A default ACL of the destination may keep even us out of what we made.
            Ok(()) => return begun.root.make_usable(&entry.path),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(begun.root.error("make directory", &entry.path, errno)),
        }
        let there = begun.root.stat(&parent, name, &entry.path)?;
        if there.is_some_and(|there| there.is_directory()) {
            return begun.root.make_usable(&entry.path);
        }
        // A link is replaced itself and never looked behind. `if-changed` is not enough: someone
        // may have moved the directory to a bigger disk and left the link on purpose.
        if there.is_some() && !begun.rules.replaces_links {
            return Err(Error::InTheWay {
                path: begun.root.full(&entry.path),
                reason: "the snapshot has a directory here, and links are never followed: \
                         move it away, or say --overwrite always"
                    .to_owned(),
            });
        }
        self.shared.clear_way(begun, &parent, name, &entry.path)?;
        sys::mkdirat(&parent, name, Mode::RWXU)
            .map_err(|errno| begun.root.error("make directory", &entry.path, errno))?;
        begun.root.make_usable(&entry.path)
    }

    fn special(&self, entry: &Entry) -> Result<(), Error> {
        self.shared.special(entry)
    }

    fn link(&self, entry: &Entry, first: &TreePath) -> Result<(), Error> {
        self.shared.link(entry, first)
    }

    fn existing(&self, entry: &Entry) -> Result<Option<Box<dyn Existing>>, Error> {
        let existing = file::existing(&self.shared, entry)?;
        Ok(existing.map(|existing| Box::new(existing) as Box<dyn Existing>))
    }

    fn may_hold_files(&self) -> bool {
        let begun = self.shared.begun.get();
        begun.is_none_or(|begun| {
            begun.marker.is_resumed() || self.shared.options.overwrite != Overwrite::Refuse
        })
    }

    fn discard(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.shared.begun()?;
        if marker::is_reserved(&entry.path) {
            return Ok(());
        }
        let Some((parent, name)) = begun.root.parent_if_there(&entry.path)? else {
            return Ok(());
        };
        match sys::unlinkat(&parent, name, sys::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(begun.root.error("remove", &entry.path, errno)),
        }
    }

    fn skip(&self, entry: &Entry) -> Result<bool, Error> {
        let begun = self.shared.begun()?;
        let is_always_made = entry.is_directory()
            || entry.path.is_root()
            || marker::is_reserved(&entry.path)
            || matches!(begun.rules.overwrite, Overwrite::Refuse | Overwrite::Always);
        if is_always_made {
            return Ok(false);
        }
        let Some((parent, name)) = begun.root.parent_if_there(&entry.path)? else {
            return Ok(false);
        };
        let Some(there) = begun.root.stat(&parent, name, &entry.path)? else {
            return Ok(false);
        };
        Ok(begun.rules.overwrite == Overwrite::Never
            || (entry.is_file()
                && there.is_file()
                && there.size_bytes() == entry.size_bytes
                && there.modified() == entry.modified))
    }

    fn create(&self, entry: &Entry) -> Result<Box<dyn Output>, Error> {
        if marker::is_reserved(&entry.path) {
            self.shared.leave_out_reserved(&entry.path);
            return Ok(Box::new(file::Nowhere));
        }
        Ok(Box::new(file::create(&self.shared, entry)?))
    }

    fn remove_extraneous(
        &self,
        directory: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<u64, Error> {
        let begun = self.shared.begun()?;
        if !self.shared.options.delete || marker::is_reserved(directory) {
            return Ok(0);
        }
        remove::extraneous(&begun.root, directory, keep)
    }

    fn seal_directory(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.shared.begun()?;
        if entry.path.is_root() {
            let mut root_entry = self.shared.lock_root_entry();
            *root_entry = Some(entry.clone());
            return Ok(());
        }
        if marker::is_reserved(&entry.path) {
            return Ok(());
        }
        let directory = begun.root.directory(&entry.path)?;
        self.shared.apply(directory.handle(), entry)?;
        // Its mode may now refuse us; a later use must find that out anew.
        begun.root.forget(&entry.path);
        Ok(())
    }

    fn write_back(&self) -> Result<(), Error> {
        self.shared.begun()?.root.sync_own_file_system()
    }

    /// One `syncfs` for each file system, since an `fsync` for each file costs 0.24 ms at best and
    /// a hundred thousand files would take minutes: 200 files of 5 bytes took 0.05 ms each and
    /// 31 ms for the one `syncfs`, measured on ext4.
    fn finish(&self) -> Result<Vec<Shortfall>, Error> {
        let begun = self.shared.begun()?;
        let root_entry = self.shared.lock_root_entry().take();
        if let Some(entry) = &root_entry {
            self.shared.apply(begun.root.top().handle(), entry)?;
        }
        begun.root.sync_file_systems()?;
        let modified = root_entry.map(|entry| entry.modified);
        begun.marker.remove(&begun.root, modified)?;
        begun.root.sync_root()?;
        Ok(self.shared.shortfalls.take())
    }
}

impl Shared {
    fn lock_root_entry(&self) -> std::sync::MutexGuard<'_, Option<Entry>> {
        self.root_entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
