//! The second pass over a source's tree: what is to be removed, and the final attributes of directories.

use std::sync::Arc;

use crate::destination::{self, Destination, Looked, Removed};
use crate::entry::{Entry, Seen};
use crate::facts::Facts;
use crate::patterns::Exclude;
use crate::restore::pass::Pass;
use crate::restore::subtree::Step;
use crate::restore::{Error, Names, blocking};

/// Directories that get their final attributes in one call.
const CLOSED_TOGETHER: usize = 64;

impl Pass<'_> {
    /// Says what the backup looked at. Where that cannot be told, nothing is removed.
    pub(super) fn look(&mut self) {
        let Some(Facts::Directory(facts)) = self.source.facts() else {
            let (top, source_path) = (self.prefix.clone(), self.path.clone());
            let filter = self.filter.clone();
            self.destination.looked_at(Looked { top, source_path, filter, ..Looked::default() });
            return;
        };
        let exclude = Exclude::new(&facts.exclude).unwrap_or_else(|reason| {
            if self.delete {
                self.delete = false;
                let error = destination::Error::InTheWay {
                    path: self.prefix.to_string().into(),
                    reason: format!("nothing is removed, since {reason}"),
                };
                self.refused.add(&self.prefix, &error);
            }
            Exclude::default()
        });
        self.destination.looked_at(Looked {
            top: self.prefix.clone(),
            source_path: self.path.clone(),
            exclude,
            exclude_caches: facts.exclude_caches,
            filter: self.filter.clone(),
        });
    }

    /// The second pass: the attributes of directories, deepest first, and what is to be removed.
    pub(super) async fn seal(&mut self) -> Result<(), Error> {
        let mut subtree = self.subtree().await?;
        // Directories whose end has not come yet, from the root down, with the names in them.
        let mut open: Vec<(Entry, Names)> = Vec::new();
        let mut closed = Vec::new();
        while let Some(step) = subtree.next().await? {
            let entries = match step {
                Step::Entries(entries) => entries,
                Step::Lost(lost) => {
                    // Named in the first pass, unless it could still be read then.
                    if !self.parents.has_lost(&lost.last) {
                        let damage = self.lose(lost);
                        self.report.damage.push(damage);
                    }
                    continue;
                }
            };
            for stored in entries {
                if !self.wants(&stored.entry) {
                    continue;
                }
                let is_directory = stored.entry.is_directory();
                let place = self.place(&stored.entry.path, is_directory);
                while let Some(done) = open.pop_if(|(last, _)| !place.starts_with(&last.path)) {
                    closed.push(done);
                }
                if let Some((_, names)) = open.last_mut().filter(|_| self.delete) {
                    names.insert(place.name().to_vec());
                }
                if is_directory {
                    let is_top = place == self.prefix;
                    let names = if is_top { self.extra_names.take() } else { None };
                    let entry = Entry { path: place, ..stored.entry };
                    open.push((entry, names.unwrap_or_default()));
                }
            }
            if closed.len() >= CLOSED_TOGETHER {
                self.close(std::mem::take(&mut closed)).await?;
            }
        }
        open.reverse();
        closed.extend(open);
        self.close(closed).await
    }

    async fn close(&mut self, directories: Vec<(Entry, Names)>) -> Result<(), Error> {
        let (delete, is_dry) = (self.delete, self.is_dry);
        let refused = Arc::clone(&self.refused);
        let seal = move |destination: &dyn Destination| {
            let mut removed = Removed::default();
            for (entry, names) in &directories {
                let path = &entry.path;
                if refused.covers(path) {
                    continue;
                }
                // Elsewhere not every name is known that must stay.
                if delete && entry.seen == Seen::Whole {
                    let outcome = destination.remove_extraneous(path, names);
                    if let Some(Removed { names, kept, refused: failed }) =
                        refused.take_in(path, outcome)?
                    {
                        removed.names += names;
                        removed.kept += kept;
                        for (path, error) in &failed {
                            refused.add(path, error);
                        }
                    }
                }
                if !is_dry {
                    refused.take_in(path, destination.seal_directory(entry))?;
                }
            }
            Ok(removed)
        };
        let removed = blocking(self.repository, self.destination, seal).await?;
        self.report.removed += removed.names;
        self.report.kept += removed.kept;
        Ok(())
    }
}
