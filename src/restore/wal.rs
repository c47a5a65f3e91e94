//! WAL segments: which of a restore point are wanted, which of later restore points go on from there,
//! and the new timeline that a restore begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::destination::Destination;
use crate::entry::{Entry, FileTime, Kind, Seen, TreePath};
use crate::facts::{Facts, Timeline, WalFacts};
use crate::repo::Repository;
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::tree::leaf::StoredEntry;
use crate::restore::fetch::Fetcher;
use crate::restore::pass::Pass;
use crate::restore::subtree::{Lost, Step, Subtree};
use crate::restore::{Damage, Error, Loss, blocking};
use crate::source::wal::{TIMELINE_MARKER_NAME, TimelineMarker, write_timeline_marker_text};
use crate::units::to_u64;

/// How WAL sources are restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalOptions {
    /// The last segment that is wanted; all without it.
    pub until_segment: Option<u64>,
    /// Go on with segments of later restore points, as far as they follow without a gap.
    pub with_later_segments: bool,
    /// Do not leave the marker by which the next backup sees that a new timeline began.
    pub keep_timeline: bool,
}

/// What of a WAL was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredWal {
    /// The source.
    pub source: String,
    /// Number of the first segment, if there is any.
    pub first: Option<u64>,
    /// Number of the last segment.
    pub last: Option<u64>,
    /// Segments that came from later restore points.
    pub later: u64,
    /// Missing numbers in between, as inclusive runs: a replay ends before the first of them.
    pub gaps: Vec<(u64, u64)>,
}

/// The facts of a WAL source; `None` for other sources.
pub(super) fn wal_facts(source: &SourceRecord) -> Option<WalFacts> {
    match source.facts() {
        Some(Facts::Wal(facts)) => Some(facts),
        _ => None,
    }
}

/// Checks that what is asked for is there, before anything is touched.
pub(super) fn check(
    snapshot: &Snapshot,
    sources: &[(&SourceRecord, TreePath)],
    options: &WalOptions,
) -> Result<(), Error> {
    let Some(until) = options.until_segment else {
        return Ok(());
    };
    let not_there = |wanted: String, reason: String| Error::NotThere {
        wanted,
        snapshot: snapshot.short_id(),
        reason,
    };
    let mut logs = sources.iter().filter_map(|(source, _)| wal_facts(source)).peekable();
    if logs.peek().is_none() {
        let reason = "no selected source is a WAL";
        return Err(not_there(format!("segment {until}"), reason.to_owned()));
    }
    for facts in logs {
        let (Some(first), Some(last)) = (facts.first, facts.last) else {
            continue;
        };
        if until < first || (until > last && !options.with_later_segments) {
            let hint = if until > last {
                "; --with-later-segments looks in later snapshots"
            } else {
                "; choose an older snapshot"
            };
            let reason = format!("it has segments {first} to {last}{hint}");
            return Err(not_there(format!("segment {until}"), reason));
        }
    }
    Ok(())
}

/// Whether an entry of a WAL source is wanted; counts segments by their numbers.
pub(super) fn is_wanted(
    facts: &WalFacts,
    options: &WalOptions,
    entry: &Entry,
    numbers: &mut BTreeSet<u64>,
) -> bool {
    let Some(number) = facts.naming.number(entry.path.name()).filter(|_| entry.is_file()) else {
        return true;
    };
    let wanted = options.until_segment.is_none_or(|until| number <= until);
    if wanted {
        numbers.insert(number);
    }
    wanted
}

/// Runs of numbers that are missing between the first and the last.
pub(super) fn gaps(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let following = numbers.iter().zip(numbers.iter().skip(1));
    following.filter(|(a, b)| *a + 1 < **b).map(|(a, b)| (a + 1, b - 1)).collect()
}

/// Segments of later restore points of the same WAL and timeline, that follow without a gap. Restore points
/// that cannot be read are passed over and come second: others may have the same segments.
async fn later_segments(
    repository: &Repository,
    later: &[Snapshot],
    source: &str,
    facts: &WalFacts,
    last: u64,
    until: Option<u64>,
) -> Result<(Vec<(u64, StoredEntry)>, Vec<String>), Error> {
    let mut found: Vec<(u64, StoredEntry)> = Vec::new();
    let mut unreadable = Vec::new();
    let mut next = last.checked_add(1);
    for snapshot in later {
        let Some(record) = snapshot.source(source) else {
            continue;
        };
        let Some(of_record) = wal_facts(record).filter(|of| of.timeline == facts.timeline) else {
            continue;
        };
        let mut segments = BTreeMap::new();
        let subtree = Subtree::open(repository, &record.root, &TreePath::root()).await;
        let mut subtree = match subtree {
            Err(error) if error.is_loss() => {
                unreadable.push(format!("restore point {}: {error}", snapshot.short_id()));
                continue;
            }
            other => other?,
        };
        while let Some(step) = subtree.next().await? {
            let entries = match step {
                Step::Entries(entries) => entries,
                Step::Lost(Lost { error, .. }) => {
                    unreadable.push(format!("restore point {}: {error}", snapshot.short_id()));
                    continue;
                }
            };
            for stored in entries {
                let number = of_record.naming.number(stored.entry.path.name());
                let later = |n: &u64| next.is_some_and(|next| *n >= next);
                if let Some(number) = number.filter(|n| later(n) && stored.entry.is_file()) {
                    segments.insert(number, stored);
                }
            }
        }
        for (number, stored) in segments {
            if Some(number) != next || until.is_some_and(|until| number > until) {
                break;
            }
            found.push((number, stored));
            next = number.checked_add(1);
        }
    }
    Ok((found, unreadable))
}

impl Pass<'_> {
    /// Restores segments of later restore points after those of this one.
    pub(super) async fn later(
        &mut self,
        fetcher: &mut Fetcher,
        damage: &mpsc::UnboundedSender<Damage>,
        facts: &WalFacts,
        later: &[Snapshot],
    ) -> Result<u64, Error> {
        let Some(last) = self.numbers.last().copied() else {
            return Ok(0);
        };
        let until = self.wal.until_segment;
        let name = &self.source.name;
        let found = later_segments(self.repository, later, name, facts, last, until).await?;
        let (found, unreadable) = found;
        // What shall stay is not known then.
        self.delete &= unreadable.is_empty();
        for reason in unreadable {
            let detail = format!("segments after {last} may be missing: {reason}");
            let path = self.prefix.clone();
            drop(damage.send(Damage { path, loss: Loss::LaterSegments, detail }));
        }
        let count = to_u64(found.len());
        for (number, stored) in found {
            self.numbers.insert(number);
            // The snapshot's own tree does not have it, and `--delete` goes by that.
            if let Some(names) = &mut self.extra_names {
                names.insert(stored.entry.path.name().to_vec());
            }
            self.report.entries += 1;
            self.entry(fetcher, stored, damage).await?;
        }
        Ok(count)
    }

    /// Leaves the marker of the timeline that begins with this restore: the engine will write segments
    /// with numbers that the repository knows, and other content.
    pub(super) async fn begin_timeline(&mut self, facts: &WalFacts) -> Result<(), Error> {
        let Some(last) = self.numbers.last().copied() else {
            return Ok(());
        };
        let marker = TimelineMarker {
            timeline: Timeline(self.repository.world().random.array()),
            forked_from: facts.timeline,
            forked_after: last,
        };
        let text = write_timeline_marker_text(&marker);
        let entry = self.marker_entry(text.len());
        let write = move |destination: &dyn Destination| {
            let output: Arc<dyn crate::destination::Output> = destination.create(&entry)?.into();
            output.write_at(text.as_bytes(), 0)?;
            output.finish()
        };
        if let Some(names) = &mut self.extra_names {
            names.insert(TIMELINE_MARKER_NAME.as_bytes().to_vec());
        }
        blocking(self.repository, self.destination, write).await
    }

    fn marker_entry(&self, length: usize) -> Entry {
        let root = self.root_entry.as_ref();
        let modified = FileTime::from_nanoseconds(self.repository.now());
        Entry {
            path: self.prefix.join(TIMELINE_MARKER_NAME.as_bytes()),
            kind: Kind::File,
            mode: 0o644,
            user_id: root.map_or(0, |root| root.user_id),
            group_id: root.map_or(0, |root| root.group_id),
            user_name: root.and_then(|root| root.user_name.clone()),
            group_name: root.and_then(|root| root.group_name.clone()),
            modified,
            changed: modified,
            device: 0,
            inode: 0,
            links: 1,
            size_bytes: to_u64(length),
            xattrs: Vec::new(),
            extents: None,
            volume: 0,
            inode_flags: 0,
            seen: Seen::Whole,
        }
    }
}
