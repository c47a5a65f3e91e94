//! The cut of a WAL: the floor when it begins, the ceiling at the first `next`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::look::{Held, Look, Place, Segment};
use super::segments::{gap_problem, gaps};
use super::{ClosedRule, Life};
use crate::entry::Entry;
use crate::facts::{Facts, WalFacts};
use crate::source::file::{Cutting, Marks, PinnedFiles, Reading, Steadiness};
use crate::source::{Batch, Cut, Error, Fault, Files, Problem, Reach};
use crate::world::World;

/// Looks at segments that should hold still, each a settle interval after the one before.
const LOOKS: u32 = 5;

/// Entries in a batch, as the seam promises.
const BATCH_ENTRIES: usize = 1_024;

/// A WAL whose segments are held open.
pub(super) struct WalCut {
    world: World,
    place: Arc<Place>,
    life: Life,
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
}

impl WalCut {
    pub(super) fn new(world: &World, place: Arc<Place>, life: Life, look: Look) -> Self {
        let reading = Reading {
            cutting: Cutting::Segments,
            steadiness: Steadiness::Content,
            drop_cache: place.options.drop_cache,
        };
        let files = PinnedFiles::new(Arc::clone(&place.root), reading, HashMap::new());
        Self {
            world: world.clone(),
            place,
            life,
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
        let numbers = gaps(closed.keys().copied());
        problems.extend(numbers.into_iter().filter_map(|gap| {
            let (_, before) = closed.range(..gap.0).next_back()?;
            Some(gap_problem(gap, &self.place.pattern, &before.name))
        }));
        self.publish(closed, problems, look.sorted.others)
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
        Ok(Ceiling { entries: entries.into_iter(), problems, excluded, closed: numbered })
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
        }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::<PinnedFiles>::clone(&self.files)
    }

    async fn finish(self: Box<Self>) -> Result<Reach, Error> {
        let closed = self.ceiling.unwrap_or_default().closed;
        let facts = WalFacts {
            epoch: self.life.epoch,
            forked_from: self.life.forked_from,
            first: closed.first().map(|(number, _)| *number),
            last: closed.last().map(|(number, _)| *number),
            floor: self.floor,
            gaps: gaps(closed.iter().map(|(number, _)| *number)),
            naming: self.place.pattern.naming(),
        };
        let place = Arc::clone(&self.place);
        let problems = self.world.cpu.run(move || rewritten(&place, closed)).await;
        Ok(Reach { facts: Facts::Wal(facts), problems })
    }
}

/// Closed segments that were written to, or replaced, after they were listed.
fn rewritten(place: &Place, closed: Vec<(u64, Entry)>) -> Vec<Problem> {
    closed.into_iter().filter_map(|(_, entry)| place.rewritten(&entry)).collect()
}
