//! Writing key files: each of them new, for its owner alone, and on the disk before anything depends on
//! it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use crate::class::Class;

/// Fails if something is at `file`, before anything is made that would need it.
pub(super) fn refuse_existing(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(exists(file)),
        Err(error) => Err(failed(file, &error)),
    }
}

fn exists(file: &Path) -> Failure {
    let reason = "it exists already, and keys are never overwritten; choose another place";
    Failure::new(Exit::Refused, format!("{}: {reason}", file.display()))
}

fn failed(file: &Path, error: &io::Error) -> Failure {
    let exit = if Class::of_io(error) == Class::Full { Exit::Full } else { Exit::Usage };
    let advice = "nothing was changed; choose another place for the key";
    Failure::new(exit, format!("{}: {error}; {advice}", file.display()))
}

/// Key files that were written.
pub(super) struct Written {
    pub(super) files: Vec<PathBuf>,
}

impl Written {
    /// Removes them again: they are keys to nothing.
    pub(super) fn take_back(&self) {
        for file in &self.files {
            if let Err(error) = std::fs::remove_file(file) {
                tracing::warn!("{}: {error}; remove it, it is the key to nothing", file.display());
            }
        }
    }
}

/// Writes key files and makes them durable, all of them or none.
pub(super) fn write_keys(
    directory: &Path,
    keys: &[(&Path, Option<&[u8]>)],
) -> Result<Written, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory, &error))?;
    let mut written = Written { files: Vec::new() };
    for (file, text) in keys {
        let Some(text) = text else {
            continue;
        };
        let outcome = write_key(file, text, &mut written);
        if let Err(error) = outcome {
            written.take_back();
            return Err(match error.kind() {
                ErrorKind::AlreadyExists => exists(file),
                _ => failed(file, &error),
            });
        }
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| {
        written.take_back();
        failed(directory, &error)
    })?;
    Ok(written)
}

fn write_key(path: &Path, text: &[u8], written: &mut Written) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    written.files.push(path.to_owned());
    file.write_all(text)?;
    file.sync_all()
}
