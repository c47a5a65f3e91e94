//! `check`: is everything there, and is it what was written?
//!
//! Three levels, each with those before: *names* compares listings with what snapshots and index tables
//! say of packs; *structure* reads every tree; *data* reads packs, whole or a share of them, and checks
//! every seal and every chunk that the key opens. Damage is named to the snapshots and files that it
//! touches. Nothing is changed.

mod names;
mod packs;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::repo::id::PackId;
use crate::repo::snapshot::Snapshot;
use crate::repo::{self, Repository};

/// Files that a finding names; the rest is only counted.
pub const FILES_NAMED: usize = 20;

/// Which packs `check` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All.
    All,
    /// Part `part` of `parts`, from 1: different parts are different packs, and all parts are all.
    Part {
        /// From 1 to `parts`.
        part: u64,
        /// How many parts.
        parts: u64,
    },
}

impl Share {
    fn includes(self, pack: &PackId) -> bool {
        match self {
            Self::All => true,
            Self::Part { part, parts } => {
                let mut head = [0; 8];
                head.copy_from_slice(&pack.0[16..24]);
                u64::from_be_bytes(head) % parts.max(1) == part.saturating_sub(1)
            }
        }
    }
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Names and sizes only: no tree is read.
    pub names_only: bool,
    /// Read packs too.
    pub read_data: Option<Share>,
}

/// Counters of a run.
#[derive(Debug, Default)]
pub struct Progress {
    packs: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Packs read so far.
    pub fn packs(&self) -> u64 {
        self.packs.load(Ordering::Relaxed)
    }

    /// Bytes read from packs so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub reason: String,
    /// Snapshots that it touches, by short id.
    pub snapshots: BTreeSet<String>,
    /// The first files that it touches: `snapshot:source/path`.
    pub files: Vec<String>,
    /// How many files it touches.
    pub file_count: u64,
}

/// What a check saw.
#[derive(Debug, Default)]
pub struct Report {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs there are.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Bytes of these.
    pub read_bytes: u64,
    /// Packs whose frames were opened and compared with their chunk ids; with an agent key only
    /// metadata packs are.
    pub packs_opened: u64,
    /// Tree nodes read.
    pub nodes: u64,
    /// Entries of trees looked at.
    pub entries: u64,
    /// Objects that no rule knows.
    pub strangers: Vec<String>,
    /// Packs that no snapshot's trees refer to, and their bytes; known only if trees were read.
    pub unused_packs: u64,
    /// Their bytes.
    pub unused_bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What is known of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// It is listed with this length; nothing bad is known.
    Listed(u64),
    /// All of it is lost.
    Lost(String),
    /// Some frames, by offset, are lost.
    Torn(BTreeSet<u32>, String),
}

/// What a check knows so far.
struct Check<'a> {
    repository: &'a Repository,
    packs: BTreeMap<PackId, Condition>,
    snapshots: Vec<Snapshot>,
    /// Findings by object.
    findings: BTreeMap<String, Finding>,
    report: Report,
}

impl Check<'_> {
    fn found(&mut self, object: impl Into<String>, reason: impl Into<String>) -> &mut Finding {
        let object = object.into();
        self.findings.entry(object.clone()).or_insert_with(|| Finding {
            object,
            reason: reason.into(),
            snapshots: BTreeSet::new(),
            files: Vec::new(),
            file_count: 0,
        })
    }

    fn touches(&mut self, object: String, reason: &str, snapshot: &str, file: Option<String>) {
        let finding = self.found(object, reason);
        finding.snapshots.insert(snapshot.to_owned());
        if let Some(file) = file {
            finding.file_count += 1;
            if finding.files.len() < FILES_NAMED {
                finding.files.push(file);
            }
        }
    }
}

/// Checks a repository.
pub async fn run(
    repository: &Repository,
    options: Options,
    progress: Arc<Progress>,
) -> Result<Report, repo::Error> {
    let mut check = Check {
        repository,
        packs: BTreeMap::new(),
        snapshots: Vec::new(),
        findings: BTreeMap::new(),
        report: Report::default(),
    };
    check.names().await?;
    if let Some(share) = options.read_data {
        check.read_packs(share, &progress).await?;
    }
    if !options.names_only {
        check.trees().await?;
    }
    let Check { findings, mut report, .. } = check;
    report.findings = findings.into_values().collect();
    Ok(report)
}
