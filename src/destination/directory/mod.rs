//! A directory as destination: a local disk, a mounted volume, a scratch place of a drill.
//!
//! Four promises shape this folder. *Never outside*: every path is walked from the root's
//! descriptor, one component at a time, and no link is followed (`beneath`). *Never half a restore
//! that looks whole*: a marker lies in the root until everything is durable (`marker`). *Never a
//! silent loss*: each attribute is read back, and what differs is a shortfall (`attributes`).
//! *Never for other eyes*: files are made new and for us alone, and nothing is reused that someone
//! else may hold open (`present`, `made`).

mod attributes;
mod beneath;
mod file;
mod flags;
mod holes;
mod made;
mod marker;
mod node;
mod overlap;
mod owners;
mod present;
mod remove;
mod shortfalls;
mod xattrs;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs as sys;
use rustix::io::Errno;

use super::{
    Destination, Error, Existing, Linked, Looked, Output, Overwrite, Removed, ShortfallKind,
    Shortfalls,
};
use crate::entry::{Entry, TreePath};
use beneath::Root;
use owners::Owners;
use shortfalls::Collector;

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
    /// Directories that must neither lie in the destination nor hold it: the repository.
    pub keep_apart: Vec<PathBuf>,
    /// Directories that are never removed, wherever they are: the cache.
    pub keep: Vec<PathBuf>,
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
    shortfalls: Collector,
    owners: Owners,
    /// The user that restores.
    user_id: u32,
    begun: OnceLock<Begun>,
    /// The root of a dry run.
    seen: OnceLock<Root>,
    /// The root's own entry: its attributes come last of all, since removing the marker changes
    /// its times and needs it writable.
    root_entry: Mutex<Option<Entry>>,
    /// What the backup of the source that is restored looked at.
    looked: Mutex<Arc<Looked>>,
    /// What was found at the names of files that are on their way.
    found: Mutex<HashMap<TreePath, present::Found>>,
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
                shortfalls: Collector::default(),
                owners,
                user_id: rustix::process::geteuid().as_raw(),
                begun: OnceLock::new(),
                seen: OnceLock::new(),
                root_entry: Mutex::default(),
                looked: Mutex::default(),
                found: Mutex::default(),
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
            ShortfallKind::Marker,
            "left out: the name belongs to Backstay's own marker of an unfinished restore",
        );
    }
}

impl Shared {
    /// What can be refused before anything is opened.
    fn check_options(&self) -> Result<(), Error> {
        let options = &self.options;
        if options.delete && options.overwrite == Overwrite::Never {
            return Err(Error::Unusable {
                path: options.path.clone(),
                reason: "overwrite `never` keeps what is there and deletion removes it: \
                         choose one of them"
                    .to_owned(),
            });
        }
        overlap::refuse(&options.path, &options.keep_apart)
    }
}

impl Destination for DirectoryDestination {
    fn begin(&self) -> Result<(), Error> {
        let options = &self.shared.options;
        self.shared.check_options()?;
        let make = std::fs::create_dir_all(&options.path);
        make.map_err(|source| self.shared.error("make directory", &TreePath::root(), source))?;
        let root = Root::open(&options.path, options.keep_apart.iter().chain(&options.keep))?;
        root.judge_top()?;
        let (marker, rules) = marker::begin(&root, options)?;
        let begun = Begun { root, marker, rules };
        // A second `begin` cannot come here: the marker's lock is held by the first.
        drop(self.shared.begun.set(begun));
        Ok(())
    }

    fn look(&self) -> Result<(), Error> {
        let options = &self.shared.options;
        self.shared.check_options()?;
        match Root::open(&options.path, options.keep_apart.iter().chain(&options.keep)) {
            Ok(root) => {
                marker::look(&root, options)?;
                drop(self.shared.seen.set(root));
                Ok(())
            }
            // It will be made, and nothing is in it.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn names(&self, directory: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
        remove::names_in(&self.shared.options.path, directory)
    }

    fn keeps_files(&self) -> bool {
        self.shared.options.overwrite == Overwrite::Never
    }

    fn directory(&self, entry: &Entry) -> Result<(), Error> {
        self.shared.directory(entry)
    }

    fn special(&self, entry: &Entry) -> Result<(), Error> {
        self.shared.special(entry)
    }

    fn link(&self, entry: &Entry, first: &TreePath) -> Result<Linked, Error> {
        self.shared.link(entry, first)
    }

    fn note_copy(&self, path: &TreePath) {
        let detail = "is a copy: another name of the file was there and is left as it is";
        self.shared.shortfalls.add(path, ShortfallKind::Link, detail);
    }

    fn existing(&self, entry: &Entry) -> Result<Option<Box<dyn Existing>>, Error> {
        let existing = present::existing(&self.shared, entry)?;
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
        self.shared.lock_found().remove(&entry.path);
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

    fn looked_at(&self, looked: Looked) {
        *self.shared.lock_looked() = Arc::new(looked);
    }

    fn remove_extraneous(
        &self,
        directory: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<Removed, Error> {
        if !self.shared.options.delete || marker::is_reserved(directory) {
            return Ok(Removed::default());
        }
        match (self.shared.begun.get(), self.shared.seen.get()) {
            (Some(begun), _) => self.shared.remove_extraneous(&begun.root, directory, keep, true),
            (None, Some(root)) => self.shared.count_extraneous(root, directory, keep),
            (None, None) => Ok(Removed::default()),
        }
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

    fn protect(&self, entry: &Entry) -> Result<(), Error> {
        self.shared.protect(entry)
    }

    fn write_back(&self) -> Result<(), Error> {
        self.shared.begun()?.root.sync_own_file_system()
    }

    /// One `syncfs` for each file system, since an `fsync` for each file costs 0.24 ms at best and
    /// a hundred thousand files would take minutes: 200 files of 5 bytes took 0.05 ms each and
    /// 31 ms for the one `syncfs`, measured on ext4.
    fn finish(&self) -> Result<Shortfalls, Error> {
        let begun = self.shared.begun()?;
        let root_entry = self.shared.lock_root_entry().take();
        if let Some(entry) = &root_entry {
            self.shared.apply(begun.root.top().handle(), entry)?;
        }
        begun.root.sync_file_systems()?;
        let modified = root_entry.as_ref().map(|entry| entry.modified);
        begun.marker.remove(&begun.root, modified)?;
        if let Some(entry) = &root_entry {
            self.shared.set_flags(begun.root.top(), entry);
        }
        begun.root.sync_root()?;
        Ok(self.shared.shortfalls.take())
    }

    fn suspend(&self) -> Result<Shortfalls, Error> {
        let begun = self.shared.begun()?;
        if let Some(entry) = self.shared.lock_root_entry().take() {
            self.shared.apply(begun.root.top().handle(), &entry)?;
        } else {
            begun.marker.give_mode_back(&begun.root);
        }
        begun.root.sync_file_systems()?;
        begun.root.sync_root()?;
        Ok(self.shared.shortfalls.take())
    }
}

impl Shared {
    fn lock_root_entry(&self) -> MutexGuard<'_, Option<Entry>> {
        self.root_entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_looked(&self) -> MutexGuard<'_, Arc<Looked>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_found(&self) -> MutexGuard<'_, HashMap<TreePath, present::Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
