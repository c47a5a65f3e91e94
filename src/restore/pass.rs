//! The first pass over a source's tree: everything but final attributes of directories.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::destination::Destination;
use crate::entry::{Cutter, Entry, Extent, Kind, TreePath};
use crate::patterns::Filter;
use crate::repo::content::{ContentItems, PageSegment};
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::repo::tree::pages::SEGMENT_PAGES;
use crate::repo::{self, Repository};
use crate::restore::existing::{clear, missing};
use crate::restore::fetch::{Fetcher, Shared, finish_pieces, refuse};
use crate::restore::file::RestoredFile;
use crate::restore::layout::{Piece, StreamLayout, segment_pieces};
use crate::restore::links::Links;
use crate::restore::parents::Parents;
use crate::restore::refusals::Refused;
use crate::restore::subtree::{Lost, Step, Subtree};
use crate::restore::wal::LogPlan;
use crate::restore::{Damage, Error, Loss, Names, Progress, Report, blocking};
use crate::units::to_u64;

/// Entries that are restored in one go, directories first.
const ENTRIES_TOGETHER: usize = 512;

/// One source on its way into the destination.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for, or found, by itself")]
pub(super) struct Pass<'a> {
    pub(super) repository: &'a Repository,
    pub(super) source: &'a SourceRecord,
    /// Where the source goes in the destination.
    pub(super) prefix: TreePath,
    /// What of it is wanted.
    pub(super) path: &'a TreePath,
    pub(super) filter: &'a Filter,
    pub(super) destination: &'a Arc<dyn Destination>,
    pub(super) delete: bool,
    /// What is taken of a log; `None` for other sources, and for a part of a log.
    pub(super) log: Option<&'a LogPlan>,
    /// Whether the marker of a new timeline is left out.
    pub(super) keep_timeline: bool,
    pub(super) report: &'a mut Report,
    /// Files with more names than one.
    pub(super) links: Links,
    /// What the destination refused.
    pub(super) refused: Arc<Refused>,
    /// Directories from the root to the entry before.
    pub(super) parents: Parents,
    /// Directories to be made in place of lost ones.
    pub(super) stand_ins: Vec<Entry>,
    /// The root of what is restored.
    pub(super) root_entry: Option<Entry>,
    /// Whether an entry has inode flags, which come last of all.
    pub(super) has_flags: bool,
    /// Whether what would be removed is only counted.
    pub(super) is_dry: bool,
    /// Names in the root that the snapshot does not have and that stay when others are deleted.
    pub(super) extra_names: Option<Names>,
}

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is, or will be, what the snapshot has.
    Written,
    /// What is there stays, and nobody looked at its bytes: no other name may be linked to it.
    LeftAlone,
    /// It is not there.
    Lost,
}

/// Where an entry goes in the destination if `selected` goes to `prefix`.
pub(super) fn place(
    prefix: &TreePath,
    selected: &TreePath,
    path: &TreePath,
    is_directory: bool,
) -> TreePath {
    let skip = if selected.is_root() {
        0
    } else if path == selected && !is_directory {
        // A single file keeps its name.
        return prefix.join(path.name());
    } else {
        selected.components().count()
    };
    path.components().skip(skip).fold(prefix.clone(), |place, name| place.join(name))
}

impl Pass<'_> {
    /// Where an entry goes in the destination.
    pub(super) fn place(&self, path: &TreePath, is_directory: bool) -> TreePath {
        place(&self.prefix, self.path, path, is_directory)
    }

    /// The first pass: everything but final attributes of directories.
    pub(super) async fn contents(
        &mut self,
        snapshot: &Snapshot,
        progress: Arc<Progress>,
        damage: mpsc::UnboundedSender<Damage>,
    ) -> Result<(), Error> {
        let destination = Arc::clone(self.destination);
        let mut fetcher = Fetcher::new(
            self.repository,
            destination,
            progress,
            damage.clone(),
            Arc::clone(&self.refused),
        );
        let mut subtree = self.subtree().await?;
        self.look();
        let mut found = false;
        let mut waiting = Vec::new();
        while let Some(step) = subtree.next().await? {
            let entries = match step {
                Step::Entries(entries) => entries,
                Step::Lost(lost) => {
                    found = true;
                    drop(damage.send(self.lose(lost)));
                    continue;
                }
            };
            found |= !entries.is_empty();
            for stored in &entries {
                self.check_parent(&stored.entry, &damage)?;
            }
            waiting.extend(entries);
            if waiting.len() >= ENTRIES_TOGETHER {
                self.entries(&mut fetcher, std::mem::take(&mut waiting), &damage).await?;
            }
        }
        self.entries(&mut fetcher, waiting, &damage).await?;
        // Of several sources one may have all that is selected.
        if !found && self.filter.is_everything() {
            return Err(Error::NotThere {
                wanted: format!("{}/{}", self.source.name, self.path),
                snapshot: snapshot.short_id(),
                reason: format!("backstay ls shows what source {} has", self.source.name),
            });
        }
        if let Some(log) = self.log {
            self.later(&mut fetcher, &damage, log).await?;
        }
        self.make_links(&mut fetcher, &damage).await?;
        self.report.fetched_bytes += fetcher.finish().await?;
        if let Some(log) = self.log {
            self.report.wal.push(log.restored.clone());
            if !self.keep_timeline {
                self.begin_timeline(&log.restored).await?;
            }
        }
        Ok(())
    }

    /// Restores some entries: directories first, all in one go, then what is in them.
    async fn entries(
        &mut self,
        fetcher: &mut Fetcher,
        entries: Vec<StoredEntry>,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<(), Error> {
        let directories = std::mem::take(&mut self.stand_ins);
        let mut directories: Vec<Entry> = directories
            .into_iter()
            .chain(entries.iter().map(|stored| &stored.entry).filter(|e| e.is_directory()).cloned())
            .map(|entry| Entry { path: self.place(&entry.path, true), ..entry })
            .collect();
        directories.sort_by(|one, other| one.path.cmp(&other.path));
        let refused = Arc::clone(&self.refused);
        let make = move |destination: &dyn Destination| {
            directories.iter().try_for_each(|directory| {
                let path = &directory.path;
                if refused.covers(path) {
                    refused.add_below();
                    return Ok(());
                }
                refused.take_in_directory(path, destination.directory(directory))
            })
        };
        blocking(self.repository, self.destination, make).await?;
        for stored in entries {
            if !self.wants(&stored.entry) {
                continue;
            }
            if self.refused.covers(&self.place(&stored.entry.path, stored.entry.is_directory())) {
                if !stored.entry.is_directory() {
                    self.refused.add_below();
                }
                continue;
            }
            self.report.entries += 1;
            self.entry(fetcher, stored, damage).await?;
        }
        Ok(())
    }

    /// Whether an entry is taken: of a log, not every segment is.
    pub(super) fn wants(&self, entry: &Entry) -> bool {
        self.log.is_none_or(|log| !entry.is_file() || log.restored.takes(entry.path.name()))
    }

    pub(super) async fn subtree(&self) -> Result<Subtree, repo::Error> {
        let mut subtree = Subtree::open(self.repository, &self.source.root, self.path).await?;
        subtree.select(self.filter);
        Ok(subtree)
    }

    /// Takes note of entries that are lost. Nothing is deleted then: the names that a directory shall
    /// keep are not all known.
    pub(super) fn lose(&mut self, lost: Lost) -> Damage {
        self.delete = false;
        let Lost { last, error } = lost;
        let after = self.parents.lose(last.clone());
        let after = after.map(|after| self.place(&after, false));
        // The last one may lie behind what is wanted.
        let inside = last.starts_with(self.path);
        let path = if inside { self.place(&last, false) } else { self.prefix.clone() };
        Damage { path, loss: Loss::Entries { after }, detail: error.to_string() }
    }

    /// Makes sure that an entry lies in a directory.
    fn check_parent(
        &mut self,
        entry: &Entry,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<(), Error> {
        let stand_ins = self.parents.enter(entry, self.path).ok_or_else(|| {
            let what = format!("the tree of source {}", self.source.name);
            let reason = format!("{} is out of order, or not in a directory", entry.path);
            repo::Error::damaged(what, reason)
        })?;
        for made in stand_ins {
            let path = self.place(&made.path, true);
            let detail = "what was stored of the directory itself is lost".to_owned();
            drop(damage.send(Damage { path, loss: Loss::Attributes, detail }));
            self.stand_ins.push(made);
        }
        Ok(())
    }

    pub(super) async fn entry(
        &mut self,
        fetcher: &mut Fetcher,
        stored: StoredEntry,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<(), Error> {
        let mut stored = stored;
        let original = stored.entry.path.clone();
        stored.entry.path = self.place(&original, stored.entry.is_directory());
        if stored.fidelity != Fidelity::Exact || stored.lacks_attributes {
            self.report.incomplete.push(original);
        }
        self.has_flags |= stored.entry.inode_flags != 0;
        if stored.entry.path == self.prefix {
            self.root_entry = Some(stored.entry.clone());
        }
        match stored.entry.kind {
            // Made before, or a name only: there is nothing to make.
            Kind::Directory | Kind::Unknown => return Ok(()),
            Kind::File if stored.fidelity == Fidelity::Absent => return Ok(()),
            _ => {}
        }
        let Some(key) = self.link_key(&stored).await? else {
            return self.restore_one(fetcher, stored, damage).await.map(drop);
        };
        let Some(stored) = self.links.put_off(key, stored) else {
            return if self.links.is_full() {
                self.make_links(fetcher, damage).await
            } else {
                Ok(())
            };
        };
        let (path, links) = (stored.entry.path.clone(), stored.entry.links);
        match self.restore_one(fetcher, stored, damage).await? {
            Fate::Written => {
                if self.links.was_kept(key) {
                    self.destination.note_copy(&path);
                }
                self.links.begin(key, path, links);
            }
            Fate::LeftAlone => self.links.keep(key),
            Fate::Lost => {}
        }
        Ok(())
    }

    /// Restores one name with its own content.
    pub(super) async fn restore_one(
        &mut self,
        fetcher: &mut Fetcher,
        stored: StoredEntry,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<Fate, Error> {
        if stored.entry.is_file() {
            return self.file(fetcher, stored, damage).await;
        }
        let entry = Arc::new(stored.entry);
        match self.skip(&entry).await? {
            Some(false) => {}
            Some(true) => return Ok(Fate::LeftAlone),
            None => return Ok(Fate::Lost),
        }
        let make = move |shared: &Shared| {
            let made = shared.destination.special(&entry);
            if shared.refused.take_in(&entry.path, made)?.is_none() && entry.links > 1 {
                shared.refused.lose(&entry.path);
            }
            Ok(())
        };
        fetcher.run(make).await.map(|()| Fate::Written)
    }

    async fn file(
        &mut self,
        fetcher: &mut Fetcher,
        stored: StoredEntry,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<Fate, Error> {
        let StoredEntry { mut entry, content, extents, .. } = stored;
        entry.extents = match self.repository.extents(&extents, entry.size_bytes).await {
            Ok(runs) => runs,
            Err(error) if error.is_loss() => {
                let error = self.repository.confirm_loss(error).await?;
                drop(damage.send(Damage::of_content(entry.path, error)));
                return Ok(Fate::Lost);
            }
            Err(error) => return Err(error.into()),
        };
        let page_bytes = match content.cutter {
            Some(Cutter::Pages { page_bytes }) => Some(page_bytes),
            _ => None,
        };
        let entry = Arc::new(entry);
        match self.skip(&entry).await? {
            Some(false) => {}
            Some(true) => {
                self.report.skipped += 1;
                return Ok(Fate::LeftAlone);
            }
            None => return Ok(Fate::Lost),
        }
        let file = RestoredFile::new(entry, page_bytes);
        let mut items = self.repository.content_items(&content);
        let planned = match page_bytes {
            Some(page_bytes) => self.pages(fetcher, &file, &mut items, page_bytes).await,
            None => self.stream(fetcher, &file, &mut items).await,
        };
        match planned {
            Ok(()) => {}
            Err(Error::Repository(error)) if error.is_loss() => {
                let error = self.repository.confirm_loss(error).await?;
                let path = file.entry.path.clone();
                drop(damage.send(Damage::of_content(path, error)));
                file.spoil();
            }
            Err(Error::Destination(error)) => refuse(&fetcher.shared(), &file, error)?,
            Err(error) => return Err(error),
        }
        let is_whole = !file.is_spoiled();
        if !file.plan_ends() {
            fetcher.run(move |shared| finish_pieces(shared, &file, 1)).await?;
        }
        Ok(if is_whole { Fate::Written } else { Fate::Lost })
    }

    /// Whether what is there must be left alone. Asked only where something may be there. `None` where
    /// the destination refuses to say.
    async fn skip(&self, entry: &Arc<Entry>) -> Result<Option<bool>, Error> {
        if !self.destination.may_hold_files() {
            return Ok(Some(false));
        }
        let (entry, refused) = (Arc::clone(entry), Arc::clone(&self.refused));
        let skip = move |destination: &dyn Destination| {
            refused.take_in(&entry.path, destination.skip(&entry))
        };
        blocking(self.repository, self.destination, skip).await
    }

    async fn stream(
        &self,
        fetcher: &mut Fetcher,
        file: &Arc<RestoredFile>,
        items: &mut ContentItems,
    ) -> Result<(), Error> {
        let size_bytes = file.entry.size_bytes;
        let mut layout = StreamLayout::new(size_bytes, file.entry.extents.as_deref());
        let wrong = || {
            repo::Error::damaged(
                format!("the content of {}", file.entry.path),
                "has not as many bytes as the file",
            )
        };
        while let Some(chunk) = items.next().await? {
            let pieces = layout.place(&chunk).ok_or_else(wrong)?;
            self.want(fetcher, file, pieces, &[]).await?;
        }
        if layout.is_complete() { Ok(()) } else { Err(wrong().into()) }
    }

    async fn pages(
        &self,
        fetcher: &mut Fetcher,
        file: &Arc<RestoredFile>,
        items: &mut ContentItems,
        page_bytes: u32,
    ) -> Result<(), Error> {
        let size_bytes = file.entry.size_bytes;
        let wrong =
            |what: &str| repo::Error::damaged(format!("the page map of {}", file.entry.path), what);
        let segment_bytes = to_u64(SEGMENT_PAGES) * u64::from(page_bytes);
        let mut start_bytes = 0;
        while let Some(reference) = items.next().await? {
            let PageSegment { chunks, pages, .. } =
                self.repository.page_segment(&reference).await?;
            let left_bytes = size_bytes.saturating_sub(start_bytes).min(segment_bytes);
            if to_u64(pages.len()) != left_bytes.div_ceil(u64::from(page_bytes)) {
                return Err(wrong("does not cover the file").into());
            }
            let placed = segment_pieces(&chunks, &pages, page_bytes, start_bytes, size_bytes)
                .ok_or_else(|| wrong("names a page beyond its chunk"))?;
            self.want(fetcher, file, placed.pieces, &placed.zeros).await?;
            start_bytes += segment_bytes;
        }
        if start_bytes < size_bytes {
            return Err(wrong("does not cover the file").into());
        }
        Ok(())
    }

    /// Asks for pieces, except those that are right already.
    async fn want(
        &self,
        fetcher: &mut Fetcher,
        file: &Arc<RestoredFile>,
        pieces: Vec<Piece>,
        zeros: &[Extent],
    ) -> Result<(), Error> {
        let mut pieces = pieces;
        if self.destination.may_hold_files() {
            let shared = fetcher.shared();
            let repository = self.repository.clone();
            let file = Arc::clone(file);
            let zeros = zeros.to_vec();
            let compare = move || {
                let Some(mut existing) = shared.destination.existing(&file.entry)? else {
                    return Ok(pieces);
                };
                clear(&shared, &file, &mut *existing, &zeros)?;
                missing(&repository, &file, &mut *existing, pieces)
            };
            pieces = self.repository.world().cpu.run(compare).await.map_err(|e: Error| e)?;
        }
        for piece in pieces {
            fetcher.want(file, piece).await?;
        }
        Ok(())
    }
}
