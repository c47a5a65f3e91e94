//! Writing a file of a local store so that it is either wholly there, durably, or not at all.
//!
//! In order: write under a name that no listing shows, sync the file, rename it without replacing,
//! sync the directory. A crash leaves at most an unfinished file; two writers of one key are
//! settled by the rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Root, UNFINISHED, failed};
use crate::class::Class;
use crate::store::{Error, Key, is_joined};
use crate::world::{Random, SystemRandom};

impl Root {
    pub(super) fn create(&self, key: &Key, parts: &[Bytes]) -> Result<(), Error> {
        let path = self.path_of("create", key)?;
        let directory = path.parent().unwrap_or(&self.path);
        self.make_durable(directory, key)?;
        match write_and_publish(directory, &path, parts) {
            // Someone removed the directory since we last looked, for example with the repository.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.make_durable(directory, key)?;
                write_and_publish(directory, &path, parts)
            }
            outcome => outcome,
        }
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::Exists { key: key.clone() },
            _ => failed("create", key, error),
        })
        .or_else(|error| match error {
            Error::Exists { .. } if self.holds(key, parts)? => Ok(()),
            error => Err(error),
        })
    }

    /// Whether the file is `parts`, joined.
    fn holds(&self, key: &Key, parts: &[Bytes]) -> Result<bool, Error> {
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        match self.get(key, size_bytes) {
            Ok(found) => Ok(is_joined(&found, parts)),
            Err(Error::Length { .. } | Error::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes over an object that a probe made. Answers whether that is allowed.
    pub(super) fn overwrite_probe(&self, key: &Key, content: &Bytes) -> Result<bool, Error> {
        Error::check_probe_key(key)?;
        let path = self.path_of("overwrite", key)?;
        // A link that someone planted there would lead to a file that is none of ours.
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let opened = OpenOptions::new().write(true).truncate(true).custom_flags(no_link).open(path);
        match opened.and_then(|mut file| file.write_all(content)) {
            Ok(()) => Ok(true),
            Err(error) if Class::of_io(&error) == Class::Denied => Ok(false),
            Err(error) => Err(failed("overwrite", key, error)),
        }
    }

    /// Makes `directory`, those above it up to the root, and the root itself (but nothing above
    /// it), and syncs their entries. Also syncs those that exist: whoever made them may not have
    /// come to that yet.
    fn make_durable(&self, directory: &Path, key: &Key) -> Result<(), Error> {
        let known = |directory: &Path| {
            let durable = self.durable.lock();
            durable.unwrap_or_else(PoisonError::into_inner).contains(directory)
        };
        if known(directory) {
            return Ok(());
        }
        self.make_root()?;
        let below_root = directory.strip_prefix(&self.path).unwrap_or(Path::new(""));
        let mut parent = self.path.clone();
        for component in below_root {
            let child = parent.join(component);
            if !known(&child) {
                make_directory(&child)
                    .and_then(|()| sync_directory(&parent))
                    .map_err(|error| failed("create", key, error))?;
                self.remember(child.clone());
            }
            parent = child;
        }
        Ok(())
    }

    fn make_root(&self) -> Result<(), Error> {
        if self.path.is_dir() {
            return Ok(());
        }
        let made = make_directory(&self.path).and_then(|()| match self.path.parent() {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        });
        made.map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.unusable(
                "the directory that should hold it does not exist; check the path, mount its \
                 volume, or make that directory",
                Class::Config,
            ),
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                self.unusable("it, or something above it, is a file", Class::Config)
            }
            _ => self.unusable(&format!("it cannot be made: {error}"), Class::of_io(&error)),
        })
    }

    fn remember(&self, directory: PathBuf) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(directory);
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // A file system that cannot sync directories offers nothing better.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

/// A file under its unfinished name; dropped, it is removed.
struct Unfinished {
    path: PathBuf,
    published: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // Listings ignore what cannot be removed.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn write_and_publish(directory: &Path, path: &Path, parts: &[Bytes]) -> io::Result<()> {
    let random: [u8; 12] = (&SystemRandom as &dyn Random).array();
    let name = format!("{UNFINISHED}{}", HEXLOWER.encode(&random));
    let unfinished_path = directory.join(name);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished_path)?;
    let mut unfinished = Unfinished { path: unfinished_path, published: false };
    write_parts(&mut file, parts)?;
    file.sync_all()?;
    drop(file);
    unfinished.published = publish(&unfinished.path, path)?;
    drop(unfinished);
    sync_directory(directory)
}

/// Gives a file its final name unless that is taken. Answers whether the unfinished name is gone.
fn publish(unfinished: &Path, path: &Path) -> io::Result<bool> {
    match renameat_with(CWD, unfinished, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        // NFS, old kernels and some others: a hard link refuses to replace as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(unfinished, path).map(|()| false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes `parts` one after the other without joining them first.
fn write_parts(file: &mut impl Write, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    // Drops leading empty slices, which would look like a file that takes nothing.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
