//! The cut of a WAL: the floor when it begins, the ceiling at the first `next`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;

use super::history::{Judged, Now, Why, judge};
use super::look::{Held, Look, Place, Segment};
use super::segments::{Sorted, gap_problem, gaps, goes_on_elsewhere, not_closed, nothing_closed};
use super::{Before, ClosedRule};
use crate::entry::{Entry, TreePath};
use crate::facts::{Facts, Timeline, WalFacts};
use crate::source::file::{Cutting, Marks, PinnedFiles, Reading, Steadiness};
use crate::source::{Batch, Compared, Cut, Error, Fault, Files, Problem, Reach};
use crate::world::World;

/// Looks at segments that should hold still, each a settle interval after the one before.
const LOOKS: u32 = 5;

/// Entries in a batch, as the seam promises.
const BATCH_ENTRIES: usize = 1_024;

/// A WAL whose segments are held open.
pub(super) struct WalCut {
    world: World,
    place: Arc<Place>,
    before: Before,
    floor: Option<u64>,
    held: Held,
    files: Arc<PinnedFiles>,
    ceiling: Option<Ceiling>,
}

/// What is left to hand out, and what was found.
#[derive(Debug, Default)]
struct Ceiling {
    entries: std::vec::IntoIter<Entry>,
    problems: Vec<Problem>,
    excluded: u64,
    closed: Vec<(u64, Entry)>,
    /// The greatest number, closed or not.
    newest: Option<u64>,
}

impl WalCut {
    pub(super) fn new(world: &World, place: Place, before: Before, look: Look) -> Self {
        let reading = Reading {
            cutting: Cutting::Segments,
            steadiness: Steadiness::Content,
            drop_cache: place.options.drop_cache,
        };
        let files = PinnedFiles::new(Arc::clone(&place.root), reading, HashMap::new());
        Self {
            world: world.clone(),
            place: Arc::new(place),
            before,
            floor: look.sorted.newest(),
            // What went wrong at the floor goes wrong at the ceiling again, or matters no more.
            held: look.held,
            files: Arc::new(files),
            ceiling: None,
        }
    }

    async fn read_ceiling(&self) -> Result<Ceiling, Error> {
        let (place, held) = (Arc::clone(&self.place), self.held.clone());
        let look = self.world.cpu.run(move || place.look(&held)).await?;
        let mut problems = look.problems;
        let newest = look.sorted.newest();
        let mut closed = look.held;
        closed.retain(|number, segment| {
            // One that is gone from the directory was closed if it was followed by another.
            let followed = self.place.options.closed == ClosedRule::AllButNewest
                && newest.is_some_and(|newest| *number < newest);
            segment.closed && !look.sorted.open.contains_key(number) || followed
        });
        self.settle(&mut closed, &mut problems).await;
        problems.extend(self.complaints(&look.sorted, &closed));
        let mut ceiling = self.publish(closed, problems, look.sorted.others)?;
        ceiling.newest = newest;
        Ok(ceiling)
    }

    /// What is wrong with the log as it lies there.
    fn complaints(&self, sorted: &Sorted, closed: &Held) -> Vec<Problem> {
        let options = &self.place.options;
        let mut problems = not_closed(sorted, &options.closed);
        problems.extend(match closed.last_key_value() {
            None => nothing_closed(sorted, &options.naming),
            Some((&last, _)) => goes_on_elsewhere(sorted, last, &options.naming),
        });
        if sorted.newest().is_none() && !options.allow_empty {
            let detail = match sorted.others {
                0 => "the log's directory is empty: is the volume mounted? (allowEmpty if it is meant)"
                    .to_owned(),
                _ => format!(
                    "no file in the log's directory is a segment named {}: wrong directory or \
                     pattern? (allowEmpty if it is meant)",
                    options.naming
                ),
            };
            problems.push(Problem { path: TreePath::root(), fault: Fault::Empty, detail });
        }
        problems.extend(gaps(closed.keys().copied()).into_iter().filter_map(|gap| {
            let (_, before) = closed.range(..gap.0).next_back()?;
            Some(gap_problem(gap, &options.naming, &before.name, "others come before and after"))
        }));
        problems
    }

    /// Waits until all closed segments hold still. What does not is no closed segment, nor is any
    /// after it: the log must not seem to reach beyond what we are sure of.
    async fn settle(&self, closed: &mut Held, problems: &mut Vec<Problem>) {
        let mut before = marks(closed, problems);
        for look in 1..=LOOKS {
            tokio::time::sleep(self.place.options.settle).await;
            let now = marks(closed, problems);
            let moving = now.iter().find(|(number, marks)| {
                before.get(number).is_none_or(|before| {
                    before.size_bytes != marks.size_bytes || before.modified != marks.modified
                })
            });
            let Some((&first_moving, _)) = moving else {
                return;
            };
            if look == LOOKS {
                let rest = closed.split_off(&first_moving);
                problems.extend(rest.get(&first_moving).map(|segment| {
                    Problem {
                        path: segment.path(),
                        fault: Fault::Changed,
                        detail: "should be closed but is still written to; \
                             it and later segments are left out"
                            .to_owned(),
                    }
                }));
            }
            before = now;
        }
    }

    fn publish(
        &self,
        closed: Held,
        mut problems: Vec<Problem>,
        excluded: u64,
    ) -> Result<Ceiling, Error> {
        let mut files = HashMap::new();
        let mut numbered = Vec::with_capacity(closed.len());
        for (number, segment) in &closed {
            match self.place.entry(segment) {
                Ok(entry) => {
                    files.insert(entry.path.clone(), segment.pinned.clone());
                    numbered.push((*number, entry));
                }
                Err(problem) => problems.push(problem),
            }
        }
        self.files.replace(files);
        let mut entries = vec![self.place.root_entry()?];
        entries.extend(numbered.iter().map(|(_, entry)| entry.clone()));
        // Numbers are in order, but names need not be: `10.wal` comes before `9.wal`.
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let entries = entries.into_iter();
        Ok(Ceiling { entries, problems, excluded, closed: numbered, newest: None })
    }
}

/// Size and times of each segment; one that cannot be asked is let go.
fn marks(closed: &mut Held, problems: &mut Vec<Problem>) -> std::collections::BTreeMap<u64, Marks> {
    let mut all = std::collections::BTreeMap::new();
    closed.retain(|number, segment: &mut Segment| match segment.marks() {
        Ok(marks) => {
            all.insert(*number, marks);
            true
        }
        Err(problem) => {
            problems.push(problem);
            false
        }
    });
    all
}

#[async_trait]
impl Cut for WalCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if self.ceiling.is_none() {
            self.ceiling = Some(self.read_ceiling().await?);
        }
        let Some(ceiling) = &mut self.ceiling else {
            return Ok(None);
        };
        let entries: Vec<Entry> = ceiling.entries.by_ref().take(BATCH_ENTRIES).collect();
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(Batch {
            entries,
            problems: std::mem::take(&mut ceiling.problems),
            excluded: std::mem::take(&mut ceiling.excluded),
            ..Batch::default()
        }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::<PinnedFiles>::clone(&self.files)
    }

    async fn finish(mut self: Box<Self>, compared: Compared) -> Result<Reach, Error> {
        let ceiling = self.ceiling.take().unwrap_or_default();
        let minted = Timeline(self.world.random.array());
        let directory = self.place.identity();
        let (facts, mut problems) =
            conclude(&self, &ceiling, &compared, Minted { minted, directory });
        let place = Arc::clone(&self.place);
        let closed = ceiling.closed;
        problems.extend(self.world.cpu.run(move || rewritten(&place, closed)).await);
        Ok(Reach { facts: Facts::Wal(facts), problems })
    }
}

/// What the decision needs beside what was read.
struct Minted {
    minted: Timeline,
    directory: Option<u64>,
}

/// The facts of the log, and what is wrong with its history.
fn conclude(
    cut: &WalCut,
    ceiling: &Ceiling,
    compared: &Compared,
    minted: Minted,
) -> (WalFacts, Vec<Problem>) {
    let naming = &cut.place.options.naming;
    let (marker, previous) = (cut.before.marker.as_ref(), cut.before.previous.as_ref());
    let numbers = ceiling.closed.iter().map(|(number, _)| *number);
    let closed: BTreeSet<u64> = numbers.clone().collect();
    let of_paths = compared.rewritten.iter().filter_map(|path| naming.number(path.name()));
    let rewritten = of_paths.filter(|number| closed.contains(number)).collect();
    let now = Now {
        marker,
        closed: &closed,
        // Of an empty log nothing can be judged: it neither went back nor lost anything.
        newest: ceiling.newest.unwrap_or(u64::MAX),
        directory: ceiling.newest.and(minted.directory),
        rewritten: &rewritten,
        compared,
    };
    let Judged { life, new, lost } = judge(previous, &now, minted.minted);
    let lost = lost.filter(|_| ceiling.newest.is_some());
    let kept = previous.filter(|previous| previous.timeline == life.timeline);
    let reached = closed.last().copied().max(kept.and_then(|previous| previous.reached));
    let facts = WalFacts {
        timeline: life.timeline,
        forked_from: life.forked_from,
        earlier: life.earlier,
        first: closed.first().copied(),
        last: closed.last().copied(),
        floor: cut.floor,
        ceiling: ceiling.newest,
        gaps: lost.into_iter().chain(gaps(numbers)).collect(),
        naming: naming.clone(),
        reached,
        directory: now.directory.or(kept.and_then(|previous| previous.directory)),
        marker: marker
            .map(|marker| marker.timeline)
            .or(previous.and_then(|previous| previous.marker)),
    };
    let mut problems: Vec<Problem> = Vec::new();
    problems.extend(new.map(|why| timeline_problem(&why, cut, ceiling)));
    problems.extend(lost.map(|gap| {
        let neighbour = ceiling.closed.first().map(|(_, entry)| entry.path.name());
        let why = "deleted before they were ever stored; run the backup more often, or let the \
                   engine keep segments for longer";
        gap_problem(gap, naming, neighbour.unwrap_or_default(), why)
    }));
    (facts, problems)
}

/// Tells that a new timeline begins without a restore. Said once: the next backup compares with this one.
fn timeline_problem(why: &Why, cut: &WalCut, ceiling: &Ceiling) -> Problem {
    let naming = &cut.place.options.naming;
    let mut path = TreePath::root();
    let reason = match why {
        Why::OldMarker => {
            "its marker names a timeline that was left before: was the volume set back?".to_owned()
        }
        Why::WentBack { newest, reached } => format!(
            "its newest segment is {}, but {} is stored already",
            naming.shown(*newest),
            naming.shown(*reached)
        ),
        Why::Rewritten { number } => {
            let entry = ceiling.closed.iter().find(|(closed, _)| closed == number);
            path = entry.map(|(_, entry)| entry.path.clone()).unwrap_or_default();
            format!(
                "closed segment {} has other content than in the last snapshot",
                naming.shown(*number)
            )
        }
        Why::NothingShared => "no segment is the same as in the last snapshot".to_owned(),
        Why::OtherDirectory => {
            "it lies in another directory than before, and no segment is the same".to_owned()
        }
    };
    let detail = format!(
        "{reason}; it is taken for another log in the same place: a new timeline begins, and restores \
         do not join it with the one before"
    );
    Problem { path, fault: Fault::Timeline, detail }
}

/// Closed segments that were written to, or replaced, after they were listed.
fn rewritten(place: &Place, closed: Vec<(u64, Entry)>) -> Vec<Problem> {
    closed.into_iter().filter_map(|(_, entry)| place.rewritten(&entry)).collect()
}
