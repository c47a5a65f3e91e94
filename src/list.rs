//! `snapshots` and `ls`: what a repository holds, read from metadata alone, so that an agent key is
//! enough.

use crate::entry::TreePath;
use crate::repo::catalog::{Snapshots, Unreadable};
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::walk::EntryCursor;
use crate::repo::{Error, Repository};

/// Which snapshots are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct SnapshotsOptions {
    /// Only those of this machine.
    pub host: Option<String>,
    /// Only those of this job.
    pub job: Option<String>,
    /// Only those that have a source of this name.
    pub source: Option<String>,
    /// Only those that carry all of these labels: key, and value where it matters.
    pub labels: Vec<(String, Option<String>)>,
}

impl SnapshotsOptions {
    fn admit(&self, snapshot: &Snapshot) -> bool {
        self.host.as_ref().is_none_or(|host| *host == snapshot.host)
            && self.job.as_ref().is_none_or(|job| *job == snapshot.job)
            && self.source.as_ref().is_none_or(|source| snapshot.source(source).is_some())
            && self.labels.iter().all(|(key, value)| {
                let found = snapshot.labels.as_ref().and_then(|labels| labels.get(key));
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            })
    }
}

/// What `snapshots` found.
#[derive(Debug, Default)]
pub struct SnapshotsReport {
    /// Oldest first. Their lists of packs are left out, as they can be long.
    pub snapshots: Vec<Snapshot>,
    /// Those that are there but cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// Lists snapshots. Costs a GET for each.
pub async fn snapshots(
    repository: &Repository,
    options: &SnapshotsOptions,
) -> Result<SnapshotsReport, Error> {
    let Snapshots { mut snapshots, unreadable } = repository.catalog().await?.snapshots().await?;
    snapshots.retain(|snapshot| options.admit(snapshot));
    for snapshot in &mut snapshots {
        snapshot.packs = Vec::new();
    }
    Ok(SnapshotsReport { snapshots, unreadable })
}

/// What of a snapshot to list.
#[derive(Clone, Debug, Default)]
pub struct EntriesOptions {
    /// One source, or all of them.
    pub source: Option<String>,
    /// A path in that source; empty for all of it.
    pub path: TreePath,
    /// Everything below, not only what stands directly in the directory.
    pub recursive: bool,
    /// The directory itself too.
    pub with_top: bool,
}

/// Yields entries one after the other: a tree may have more of them than fit into memory.
#[derive(Debug)]
pub struct Entries<'a> {
    repository: &'a Repository,
    snapshot: &'a Snapshot,
    options: EntriesOptions,
    /// Sources that are not begun.
    rest: std::vec::IntoIter<&'a SourceRecord>,
    walk: Option<Walk<'a>>,
}

#[derive(Debug)]
struct Walk<'a> {
    source: &'a SourceRecord,
    cursor: EntryCursor,
    /// Whether the entry at the path itself was seen.
    begun: bool,
}

/// One entry and the source that it belongs to.
#[derive(Debug)]
pub struct Listed<'a> {
    /// The source.
    pub source: &'a SourceRecord,
    /// The entry.
    pub stored: StoredEntry,
}

impl<'a> Entries<'a> {
    /// Prepares a listing. Reads nothing yet.
    pub fn new(
        repository: &'a Repository,
        snapshot: &'a Snapshot,
        options: EntriesOptions,
    ) -> Result<Self, Error> {
        let sources = match &options.source {
            Some(name) => vec![snapshot.require_source(name)?],
            None => snapshot.sources.iter().collect(),
        };
        Ok(Self { repository, snapshot, options, rest: sources.into_iter(), walk: None })
    }

    /// The next entry. In a listing of several sources each begins with its root.
    pub async fn next(&mut self) -> Result<Option<Listed<'a>>, Error> {
        loop {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.rest.next() {
                    Some(source) => self.begin(source).await?,
                    None => return Ok(None),
                },
            };
            let stored = walk.cursor.next().await?;
            let stored = stored.filter(|stored| stored.entry.path.starts_with(&self.options.path));
            let Some(stored) = stored else {
                if walk.begun {
                    continue;
                }
                return Err(self.snapshot.no_such_path(&walk.source.name, &self.options.path));
            };
            let is_top = !walk.begun;
            walk.begun = true;
            if is_top && self.options.source.is_none() && !self.options.recursive {
                // Of several sources the roots are enough.
                return Ok(Some(Listed { source: walk.source, stored }));
            }
            let is_named = self.options.source.is_some() && !self.options.with_top;
            if is_top && is_named && stored.entry.is_directory() {
                self.walk = Some(walk);
                continue;
            }
            if !is_top && !self.options.recursive && stored.entry.is_directory() {
                walk.cursor.leave(&stored.entry.path).await?;
            }
            let source = walk.source;
            self.walk = Some(walk);
            return Ok(Some(Listed { source, stored }));
        }
    }

    async fn begin(&self, source: &'a SourceRecord) -> Result<Walk<'a>, Error> {
        let mut cursor = EntryCursor::open(self.repository, &source.root).await?;
        cursor.seek(&self.options.path).await?;
        Ok(Walk { source, cursor, begun: false })
    }
}
