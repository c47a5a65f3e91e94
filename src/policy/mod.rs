//! What was asked for: policy documents.
//!
//! A policy is YAML in the style of a Kubernetes object, so that it can live in a `ConfigMap` today
//! and be a custom resource tomorrow. Reading one is strict, because a key that is silently
//! ignored is a source that is silently not backed up: every mistake is one line that names file,
//! line, column and key, and says what to do.
//!
//! The road: text → `secret` (nothing to hide here?) → `node` (YAML with places) → `shape` with
//! `tables` (keys and types) → `document` (values) → [`Policy`]. Pure but for [`Policy::read`].

mod document;
mod error;
mod nearest;
mod node;
mod place;
mod schema;
mod secret;
mod shape;
mod sources;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{Error, Fault, Invalid, Mark};
pub use schema::schema;

use crate::entry::Cutter;
use crate::facts::naming::SegmentNaming;
use crate::store::{LimitsGiven, Prices, SshFiles};
use crate::units::to_u64;

/// No policy is longer than this.
const LIMIT_BYTES: u64 = 1 << 20;

/// What to back up, where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `metadata.name`.
    pub name: String,
    /// Where snapshots go. A relative path in the document is resolved from the policy file's
    /// directory; a URL is as it was written.
    pub repository: Option<String>,
    /// The host that snapshots are filed under; `None` for the machine's own name.
    pub host: Option<String>,
    /// What is backed up; never empty, names differ.
    pub sources: Vec<Source>,
    /// How hard data is compressed.
    pub compression: Compression,
    /// The most memory that a backup may take; `None` for the product's default.
    pub memory_bytes: Option<u64>,
    /// Texts that each snapshot carries.
    pub labels: BTreeMap<String, String>,
    /// What the store may use of the line.
    pub limits: LimitsGiven,
    /// Files for SSH. Relative ones in the document are resolved as the repository is.
    pub ssh: SshFiles,
    /// What the provider asks.
    pub prices: Option<Prices>,
}

/// One thing to back up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name under which snapshots keep it: 1 to 255 bytes, no `/`, no control character, not
    /// beginning with `.`.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory with all below it.
    Directory(Directory),
    /// Closed segments of a write-ahead log.
    Wal(Wal),
}

/// A directory with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the document, and they don't depend on each other"
)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Patterns as in `.gitignore`; those of `spec.exclude` come first.
    pub exclude: Vec<String>,
    /// Leave out directories with a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Hold all files open before the first is copied. Where the document is silent: whether a WAL
    /// names this directory, since a replay needs a state that existed.
    pub pin: bool,
    /// How files are cut; `None` to decide by what each file is.
    pub cutter: Option<Cutter>,
    /// Accept an empty directory where the last snapshot had files.
    pub allow_empty: bool,
}

/// Closed segments of a write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wal {
    /// The directory of the segments.
    pub path: PathBuf,
    /// How segment files are named.
    pub segments: SegmentNaming,
    /// How a closed segment is known.
    pub closed: Closed,
    /// How long a segment must stand still to count as closed.
    pub settle: Duration,
    /// Accept a log without a segment.
    pub allow_empty: bool,
    /// The name of the directory source that this WAL is replayed into.
    pub directory: Option<String>,
}

/// How a closed segment is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// All segments but the one with the highest number.
    AllButNewest,
    /// An open segment has a suffix that it loses when it is closed.
    Renamed {
        /// What an open segment's name ends with.
        open_suffix: String,
    },
    /// A closed segment has a marker file beside it.
    Marker {
        /// What the marker's name has after the segment's.
        suffix: String,
    },
}

/// How hard data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as it is.
    Off,
    /// A zstd level from 1 to 19.
    Level(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Level(3)
    }
}

impl Policy {
    /// Reads the policy in `text`. `file` is its name in messages, and its directory is where
    /// relative paths begin.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        if to_u64(text.len()) > LIMIT_BYTES {
            return Err(Error::TooLong { file: file.to_owned(), limit_bytes: LIMIT_BYTES });
        }
        let directory = file.parent().unwrap_or(Path::new(""));
        document::read(text, directory).map_err(|found| found.in_file(file))
    }

    /// Reads the policy in `file`.
    pub fn read(file: &Path) -> Result<Self, Error> {
        Self::parse(&read_text(file, "the policy")?, file)
    }
}

/// Reads the price list in `file`: the keys of a policy's `spec.prices`, as a document of their own.
pub fn read_prices(file: &Path) -> Result<Prices, Error> {
    let text = read_text(file, "the price list")?;
    document::read_prices(&text).map_err(|found| found.in_file(file))
}

/// The text of a document, which is called `what` in messages.
fn read_text(file: &Path, what: &'static str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(file)
        // One byte too many shows that there is more, without reading it all.
        .and_then(|opened| opened.take(LIMIT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::Read { file: file.to_owned(), what, source })?;
    if to_u64(bytes.len()) > LIMIT_BYTES {
        return Err(Error::TooLong { file: file.to_owned(), limit_bytes: LIMIT_BYTES });
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        Error::NotText {
            file: file.to_owned(),
            line: to_u64(sound.split(|&byte| byte == b'\n').count()),
        }
    })
}
