//! Reads what a plan needs of the logs of a restore point and of later ones, and refuses what cannot be,
//! before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::TreePath;
use crate::facts::WalFacts;
use crate::repo::Repository;
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::tree::leaf::StoredEntry;
use crate::restore::subtree::{Lost, Step, Subtree};
use crate::restore::wal::plan::{Asked, Content, Later, Planned, Segments, plan};
use crate::restore::wal::{LogPlan, RestoredWal, WalOptions, wal_facts};
use crate::restore::{Error, Options};
use crate::units::to_u64;

/// Segments of one log with all that a restore needs.
type Stored = BTreeMap<u64, StoredEntry>;

/// Plans the logs among `sources`, by source. Costs a listing of each log, and with later segments one GET
/// for each later snapshot and a listing of its log.
pub(in crate::restore) async fn prepare(
    repository: &Repository,
    snapshot: &Snapshot,
    sources: &[(&SourceRecord, TreePath)],
    options: &Options,
) -> Result<BTreeMap<String, LogPlan>, Error> {
    let logs: Vec<(&SourceRecord, WalFacts)> = sources
        .iter()
        .filter(|_| options.selection.path.is_root())
        .filter_map(|(source, _)| Some((*source, wal_facts(source)?)))
        .collect();
    if let (Some(until), true) = (&options.wal.until_segment, logs.is_empty()) {
        let reason = "no selected source is a WAL, whole".to_owned();
        return Err(not_there(until, snapshot, reason));
    }
    let later = if options.wal.with_later_segments && !logs.is_empty() {
        repository.later_snapshots(snapshot).await?
    } else {
        (Vec::new(), Vec::new())
    };
    let mut plans = BTreeMap::new();
    for (source, facts) in logs {
        let asked = asked(snapshot, &facts, &options.wal)?;
        // A log can be taken alone only if it is restored alone.
        let is_alone = options.wal.log_alone && options.selection.source.is_some();
        if asked.has_directories && !is_alone {
            check_target(repository, snapshot, source, &facts, asked).await?;
        }
        let log = Log { repository, snapshot, source, facts };
        plans.insert(source.name.clone(), log.plan(&later.0, &later.1, asked).await?);
    }
    Ok(plans)
}

fn not_there(wanted: &str, snapshot: &Snapshot, reason: String) -> Error {
    Error::NotThere { wanted: format!("segment {wanted}"), snapshot: snapshot.short_id(), reason }
}

/// Understands what is asked for, in the way that this log's names are written.
fn asked(snapshot: &Snapshot, facts: &WalFacts, options: &WalOptions) -> Result<Asked, Error> {
    let until = match &options.until_segment {
        None => None,
        Some(text) => Some(facts.naming.number_given(text).ok_or_else(|| Error::Segment {
            text: text.clone(),
            naming: facts.naming.to_string(),
        })?),
    };
    let has_directories = snapshot.sources.iter().any(|source| wal_facts(source).is_none());
    Ok(Asked { until, with_later: options.with_later_segments, has_directories })
}

/// Refuses a target before what the directories hold already: a replay cannot take a write back.
async fn check_target(
    repository: &Repository,
    snapshot: &Snapshot,
    source: &SourceRecord,
    facts: &WalFacts,
    asked: Asked,
) -> Result<(), Error> {
    let (Some(until), Some(ceiling)) = (asked.until, facts.ceiling.or(facts.floor)) else {
        return Ok(());
    };
    if until >= ceiling {
        return Ok(());
    }
    let mut fitting = None;
    for earlier in repository.earlier_snapshots(snapshot).await? {
        let same = earlier.source(&source.name).and_then(wal_facts);
        let has_all = snapshot.sources.iter().all(|source| earlier.source(&source.name).is_some());
        let fits = same.is_some_and(|log| {
            let ceiling = log.ceiling.or(log.floor);
            log.timeline == facts.timeline && ceiling.is_some_and(|ceiling| ceiling <= until)
        });
        if fits && has_all {
            fitting = Some(earlier.short_id());
            break;
        }
    }
    let shown = facts.naming.shown(until);
    let remedy = match fitting {
        Some(id) => {
            format!("take snapshot {id} with --with-later-segments --until-segment {shown}")
        }
        None => "no older snapshot of this timeline fits".to_owned(),
    };
    Err(Error::TooEarly {
        until: shown,
        snapshot: snapshot.short_id(),
        ceiling: facts.naming.shown(ceiling),
        remedy,
    })
}

struct Log<'a> {
    repository: &'a Repository,
    snapshot: &'a Snapshot,
    source: &'a SourceRecord,
    facts: WalFacts,
}

impl Log<'_> {
    async fn plan(
        self,
        later: &[Snapshot],
        unreadable: &[crate::repo::Error],
        asked: Asked,
    ) -> Result<LogPlan, Error> {
        let mut lost: Vec<String> =
            unreadable.iter().map(|error| format!("a later snapshot: {error}")).collect();
        // What is lost of this restore point itself is told when it is restored.
        let (base, _) = self.read(self.source, &self.facts).await?;
        let mut logs = Vec::new();
        let mut stored = Vec::new();
        for snapshot in later {
            let Some(record) = snapshot.source(&self.source.name) else {
                continue;
            };
            let Some(facts) = wal_facts(record) else {
                continue;
            };
            let is_same = facts.timeline == self.facts.timeline;
            let (segments, damage) = if is_same {
                self.read(record, &facts).await?
            } else {
                (Stored::new(), Vec::new())
            };
            let label = snapshot.short_id();
            lost.extend(damage.into_iter().map(|error| format!("snapshot {label}: {error}")));
            logs.push(Later { label, timeline: facts.timeline, segments: contents(&segments) });
            stored.push(segments);
        }
        let planned = plan(&self.facts, &contents(&base), &logs, asked);
        if let (Some(until), None) = (asked.until, planned.reached) {
            let shown = self.facts.naming.shown(until);
            let reason = planned.short.unwrap_or_else(|| "choose an older snapshot".to_owned());
            return Err(not_there(&shown, self.snapshot, reason));
        }
        let mut taken = Vec::new();
        for (place, number) in &planned.later {
            taken.extend(stored.get_mut(*place).and_then(|log| log.remove(number)));
        }
        Ok(self.finish(planned, taken, lost, asked))
    }

    fn finish(
        self,
        planned: Planned,
        later: Vec<StoredEntry>,
        unreadable: Vec<String>,
        asked: Asked,
    ) -> LogPlan {
        let numbers: BTreeSet<u64> =
            planned.runs.iter().flat_map(|(first, last)| *first..=*last).collect();
        let restored = RestoredWal {
            source: self.source.name.clone(),
            facts: self.facts,
            runs: planned.runs,
            reached: planned.reached,
            asked: asked.until,
            later: to_u64(later.len()),
            later_bytes: later.iter().map(|stored| stored.entry.size_bytes).sum(),
            gaps: planned.gaps,
            short: planned.short,
        };
        LogPlan { restored, later, unreadable, numbers }
    }

    /// The segments of a log, and what of it cannot be read.
    async fn read(
        &self,
        record: &SourceRecord,
        facts: &WalFacts,
    ) -> Result<(Stored, Vec<crate::repo::Error>), Error> {
        let (mut segments, mut lost) = (Stored::new(), Vec::new());
        let opened = Subtree::open(self.repository, &record.root, &TreePath::root()).await;
        let mut subtree = match opened {
            Err(error) if error.is_loss() => return Ok((segments, vec![error])),
            other => other?,
        };
        while let Some(step) = subtree.next().await? {
            let entries = match step {
                Step::Entries(entries) => entries,
                Step::Lost(Lost { error, .. }) => {
                    lost.push(error);
                    continue;
                }
            };
            for stored in entries.into_iter().filter(|stored| stored.entry.is_file()) {
                if let Some(number) = facts.naming.number(stored.entry.path.name()) {
                    segments.insert(number, stored);
                }
            }
        }
        Ok((segments, lost))
    }
}

fn contents(segments: &Stored) -> Segments {
    segments.iter().map(|(number, stored)| (*number, Content::of(stored))).collect()
}
