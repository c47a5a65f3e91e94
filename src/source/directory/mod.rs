//! A directory, or a single file, as a source.
//!
//! Plain, it is walked while it is copied: each file is whole or named as a problem, but two files
//! may be of different instants. Pinned, all files are opened first and the listing must stand
//! still, which gives databases made of files that are written once (LSM trees) a consistent copy
//! with no word to the engine and no space on its disk.

mod chosen;
mod cut;
mod files;
mod listing;
mod pin;
mod spill;
#[cfg(test)]
mod tests;
mod volumes;
mod walk;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::RawDir;

use self::chosen::Chosen;
use self::cut::{PinnedCut, WalkingCut};
use self::files::BelowFiles;
use self::walk::Walk;
use super::file::{Cutting, Owners, Reading, Root, Steadiness};
use super::{Cut, CutterChoice, Error, Source};
use crate::entry::TreePath;
use crate::facts::Facts;
use crate::patterns::Exclude;
use crate::source::Previous;
use crate::units::{KIB, MIB};
use crate::world::World;

/// Memory for names while walking; what exceeds it is sorted on disk.
const NAMES_BYTES: usize = 16 * MIB;

/// A directory that `mkfs` makes: a volume with nothing else in it is empty.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// What to back up of a directory and how.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, as the policy document and the command line have them"
)]
pub struct DirectoryOptions {
    /// The name under which a snapshot keeps it.
    pub name: String,
    /// A directory, or a regular file. Links in it are followed once, when the cut begins.
    ///
    /// For a file the source has two entries: as its root the directory that holds the file, and
    /// the file itself under its real name. Patterns do not apply to it.
    pub path: PathBuf,
    /// What of it is backed up, where not all is: these paths from `path` on, all that is below them, and
    /// the directories that hold them. A path that is not there is a problem. Held in memory; what is not
    /// listed is not looked at and costs nothing.
    pub only: Option<Vec<TreePath>>,
    /// Patterns in the manner of gitignore, relative to `path`; the last match wins, `!` takes
    /// back, a trailing `/` means directories only.
    pub exclude: Vec<String>,
    /// Whether directories below `path` that hold a valid `CACHEDIR.TAG` are reduced to it.
    pub exclude_caches: bool,
    /// Whether other file systems are left out; the directories and files that they are mounted on are
    /// kept by their names and marked.
    pub one_file_system: bool,
    /// Whether all files are opened, and the listing stands still, before any is read: for the
    /// directory of a running database.
    pub pin: bool,
    /// How files are cut into chunks.
    pub cutter: CutterChoice,
    /// Whether an empty directory is meant, even if it held something before.
    pub allow_empty: bool,
    /// Whether pages of large files are dropped from the cache after reading. Spares the memory
    /// limit of a container, but slows down whoever else reads the same files.
    pub drop_cache: bool,
    /// Directories of Backstay's own: the repository, the cache. Below the source they are left out.
    pub own: Vec<PathBuf>,
    /// Where directories with very many names are sorted; the system's place for temporary files
    /// where `None`.
    pub scratch: Option<PathBuf>,
}

impl DirectoryOptions {
    /// Everything below `path`, unpinned.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            only: None,
            exclude: Vec::new(),
            exclude_caches: false,
            one_file_system: false,
            pin: false,
            cutter: CutterChoice::Auto,
            allow_empty: false,
            drop_cache: false,
            own: Vec::new(),
            scratch: None,
        }
    }
}

/// A directory, or a single file.
#[derive(Debug)]
pub struct DirectorySource {
    options: DirectoryOptions,
    chosen: Chosen,
    exclude: Exclude,
    names_bytes: usize,
}

impl DirectorySource {
    /// Checks the options; touches no file.
    pub fn new(mut options: DirectoryOptions) -> Result<Self, Error> {
        let chosen = options.only.take().map(Chosen::new).unwrap_or_default();
        let exclude = Exclude::new(&options.exclude)
            .map_err(|reason| Error::Option { name: options.name.clone(), reason })?;
        Ok(Self { options, chosen, exclude, names_bytes: NAMES_BYTES })
    }

    /// Opens the root and makes sure that there is something to walk. Blocks.
    fn prepare(&self, previous: Option<&Previous>) -> Result<Walk, Error> {
        let options = &self.options;
        let unusable = |reason: String| Error::Unusable {
            name: options.name.clone(),
            path: options.path.clone(),
            reason,
        };
        let real = options.path.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let metadata = real.metadata().map_err(|error| unusable(error.to_string()))?;
        let (directory, only) = if metadata.is_dir() {
            (real.as_path(), None)
        } else if self.chosen.is_a_list() {
            return Err(unusable("is not a directory, so it has no listed paths".to_owned()));
        } else if metadata.is_file() {
            parent_and_name(&real)
                .ok_or_else(|| unusable("has no directory that holds it".to_owned()))?
        } else {
            return Err(unusable(
                "is neither a directory nor a regular file; name one of these".to_owned(),
            ));
        };
        let root = Root::open(directory)
            .map_err(|errno| unusable(std::io::Error::from(errno).to_string()))?;
        let volumes_before = match previous.and_then(|previous| previous.facts.as_ref()) {
            Some(Facts::Directory(facts)) => facts.volumes.clone(),
            _ => Vec::new(),
        };
        self.exclude
            .check_against(&options.path, &real, directory)
            .map_err(|reason| Error::Option { name: options.name.clone(), reason })?;
        let walk = Walk {
            volumes_before,
            own: self.own_below(directory)?,
            path: options.path.clone(),
            allow_empty: options.allow_empty || only.is_some(),
            name: options.name.clone(),
            root: Arc::new(root),
            only,
            chosen: self.chosen.clone(),
            exclude: self.exclude.clone(),
            exclude_caches: options.exclude_caches,
            one_file_system: options.one_file_system,
            scratch: options.scratch.clone().unwrap_or_else(std::env::temp_dir),
            names_bytes: self.names_bytes,
            owners: Arc::new(Owners::default()),
        };
        if let Some(before) = previous.map(|previous| previous.entries)
            && walk.only.is_none()
            && !options.allow_empty
        {
            self.refuse_emptied(&walk.root, before)?;
        }
        Ok(walk)
    }

    /// Backstay's own directories, from the root.
    fn own_below(&self, root: &Path) -> Result<Vec<TreePath>, Error> {
        let mut below = Vec::new();
        for own in &self.options.own {
            let Ok(own) = own.canonicalize() else {
                // It is not there yet.
                continue;
            };
            if root.starts_with(&own) {
                return Err(Error::Option {
                    name: self.options.name.clone(),
                    reason: format!(
                        "{} lies in {}, which is Backstay's own: name another path",
                        self.options.path.display(),
                        own.display()
                    ),
                });
            }
            let path = own.strip_prefix(root).ok();
            below.extend(path.and_then(|path| TreePath::from_bytes(path.as_os_str().as_bytes())));
        }
        Ok(below)
    }

    /// A volume that is not mounted looks like an empty directory.
    fn refuse_emptied(&self, root: &Root, before: u64) -> Result<(), Error> {
        let io = |errno: rustix::io::Errno| Error::Io {
            name: self.options.name.clone(),
            action: "list",
            path: self.options.path.clone(),
            source: errno.into(),
        };
        let fd = root.open_directory(&TreePath::root()).map_err(io)?;
        let mut buffer = Vec::with_capacity(4 * KIB);
        let mut names = RawDir::new(&fd, buffer.spare_capacity_mut());
        let mut present = 1;
        while let Some(entry) = names.next() {
            let entry = entry.map_err(io)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                LOST_AND_FOUND => present += 1,
                _ => return Ok(()),
            }
        }
        if before <= present {
            return Ok(());
        }
        Err(Error::Emptied { name: self.options.name.clone(), path: self.options.path.clone() })
    }

    fn reading(&self) -> Reading {
        Reading {
            cutting: Cutting::Chosen(self.options.cutter),
            steadiness: if self.options.pin { Steadiness::Appendable } else { Steadiness::Exact },
            drop_cache: self.options.drop_cache,
        }
    }

    fn clone_for_pool(&self) -> Self {
        Self {
            options: self.options.clone(),
            chosen: self.chosen.clone(),
            exclude: self.exclude.clone(),
            names_bytes: self.names_bytes,
        }
    }

    fn begin(&self, previous: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        let walk = self.prepare(previous)?;
        let reading = self.reading();
        if self.options.pin {
            let pinned = pin::pin(&walk)?;
            return Ok(Box::new(PinnedCut::new(&walk, pinned, reading)));
        }
        let files =
            BelowFiles { root: Arc::clone(&walk.root), owners: Arc::clone(&walk.owners), reading };
        Ok(Box::new(WalkingCut::new(walk, Arc::new(files))))
    }
}

#[async_trait]
impl Source for DirectorySource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn location(&self) -> String {
        self.options.path.display().to_string()
    }

    async fn cut(&self, world: &World, previous: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        let source = self.clone_for_pool();
        let previous = previous.cloned();
        world.cpu.run(move || source.begin(previous.as_ref())).await
    }
}

fn parent_and_name(path: &Path) -> Option<(&Path, Option<CString>)> {
    let name = CString::new(path.file_name()?.as_bytes()).ok()?;
    Some((path.parent()?, Some(name)))
}
