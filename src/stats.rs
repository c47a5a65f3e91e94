//! `stats`: how much a repository holds and what that takes. Counted from listings and snapshots,
//! never from what some run remembers.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use crate::repo::catalog::Unreadable;
use crate::repo::snapshot::Snapshot;
use crate::repo::{Error, Repository, layout};

/// Objects of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many there are.
    pub objects: u64,
    /// Their lengths together.
    pub size_bytes: u64,
}

/// What the newest snapshot of a job holds.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The snapshot, without its list of packs.
    pub snapshot: Snapshot,
    /// Snapshots of the same job.
    pub snapshots: u64,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects by the first part of their name: `pack`, `index`, `snapshot` …; `other` for what
    /// is not Backstay's.
    pub kinds: BTreeMap<String, Kind>,
    /// Snapshots that can be restored.
    pub snapshots: u64,
    /// Those of them that lack something.
    pub partial: u64,
    /// Those that are there but cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Bytes that restoring every snapshot would write.
    pub restore_bytes: u64,
    /// The newest snapshot of each job.
    pub jobs: Vec<Newest>,
}

impl Report {
    /// All objects together.
    pub fn total(&self) -> Kind {
        self.kinds.values().fold(Kind::default(), |sum, kind| Kind {
            objects: sum.objects + kind.objects,
            size_bytes: sum.size_bytes + kind.size_bytes,
        })
    }
}

/// Sum of the sizes of a snapshot's files.
pub fn size_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(|source| source.size_bytes).sum()
}

const KINDS: [&str; 7] = [
    layout::CONFIG,
    layout::CHECKPOINT,
    layout::SESSION,
    layout::SNAPSHOT,
    layout::PACK,
    layout::INDEX,
    layout::PROBE,
];

/// Counts. Costs a listing of everything and a GET per snapshot.
pub async fn run(repository: &Repository) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut listing = repository.store().list("");
    while let Some(object) = listing.try_next().await? {
        let name = object.key.as_str();
        let kind = KINDS.iter().find(|kind| name.starts_with(**kind));
        let kind = kind.map_or("other", |kind| kind.trim_end_matches('/'));
        let row = report.kinds.entry(kind.to_owned()).or_default();
        row.objects += 1;
        row.size_bytes += object.size_bytes;
    }
    let all = repository.catalog().await?.snapshots().await?;
    report.unreadable = all.unreadable;
    let mut jobs: BTreeMap<String, Newest> = BTreeMap::new();
    for mut snapshot in all.snapshots {
        snapshot.packs = Vec::new();
        report.snapshots += 1;
        report.partial += u64::from(snapshot.partial);
        report.restore_bytes += size_bytes(&snapshot);
        // They come oldest first.
        let before = jobs.get(&snapshot.job).map_or(0, |job| job.snapshots);
        jobs.insert(snapshot.job.clone(), Newest { snapshot, snapshots: before + 1 });
    }
    report.jobs = jobs.into_values().collect();
    Ok(report)
}
