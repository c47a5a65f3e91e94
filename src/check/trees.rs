//! The second level: every tree is read, every reference compared with what is known of its pack, and
//! damage carried to the snapshots and files that it touches.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::check::{Check, Condition};
use crate::entry::Cutter;
use crate::repo::id::PackId;
use crate::repo::layout;
use crate::repo::reference::{ChunkRef, Place};
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::tree::content::Extents;
use crate::repo::tree::inner::Child;
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::{self, Repository};

/// A node's place: the same node is read once, however many snapshots share it.
type NodeKey = (PackId, u32, u32);

/// Where a file is.
struct Where<'a> {
    snapshot: &'a str,
    source: &'a str,
}

/// Damage below a node: packs that are lost and files that they touch; kept for nodes that are met
/// again, so that each snapshot hears of it.
#[derive(Clone, Debug, Default)]
struct Touched {
    /// (object, reason, path) of each file.
    files: Vec<(String, String, String)>,
}

struct Trees {
    repository: Repository,
    seen: HashSet<NodeKey>,
    bad: BTreeMap<NodeKey, Touched>,
    used: HashSet<PackId>,
}

impl Trees {
    fn note_use(&mut self, reference: &ChunkRef) {
        if let Some(place) = reference.frame.place() {
            self.used.insert(place.pack);
        }
    }
}

impl Check<'_> {
    /// Reads all trees.
    pub(super) async fn trees(&mut self) -> Result<(), repo::Error> {
        let mut trees = Trees {
            repository: self.repository.clone(),
            seen: HashSet::new(),
            bad: BTreeMap::new(),
            used: HashSet::new(),
        };
        let snapshots: Vec<Snapshot> = std::mem::take(&mut self.snapshots);
        for snapshot in &snapshots {
            for source in &snapshot.sources {
                let id = snapshot.short_id();
                let place = Where { snapshot: &id, source: &source.name };
                self.tree(&mut trees, source, &place).await?;
            }
        }
        for (id, condition) in &self.packs {
            if !trees.used.contains(id)
                && let Condition::Listed(bytes) = condition
            {
                self.report.unused_packs += 1;
                self.report.unused_bytes += bytes;
            }
        }
        Ok(())
    }

    async fn tree(
        &mut self,
        trees: &mut Trees,
        source: &SourceRecord,
        place: &Where<'_>,
    ) -> Result<(), repo::Error> {
        let mut waiting = vec![(source.root.clone(), None::<u8>, String::from("everything"))];
        while let Some((node, level, what)) = waiting.pop() {
            let Some(key) = node_key(&node) else {
                continue;
            };
            if !trees.seen.insert(key) {
                let touched = trees.bad.get(&key).cloned().unwrap_or_default();
                for (object, reason, path) in touched.files {
                    self.touch(place, object, &reason, &path);
                }
                // Children of a sound inner node may be damaged: they are asked again.
                if level == Some(0) {
                    continue;
                }
            }
            trees.note_use(&node);
            let touched = if level == Some(0) {
                self.leaf(trees, &node).await?
            } else {
                self.inner(trees, &node, level, &mut waiting).await?
            };
            let mut touched = touched;
            for (_, _, path) in &mut touched.files {
                if path.is_empty() {
                    path.clone_from(&what);
                }
            }
            for (object, reason, path) in &touched.files {
                self.touch(place, object.clone(), reason, path);
            }
            if !touched.files.is_empty() {
                trees.bad.insert(key, touched);
            }
        }
        Ok(())
    }

    fn touch(&mut self, place: &Where<'_>, object: String, reason: &str, path: &str) {
        let file = format!("{}:{}/{path}", place.snapshot, place.source);
        self.touches(object, reason, place.snapshot, Some(file));
    }

    async fn inner(
        &mut self,
        trees: &mut Trees,
        node: &ChunkRef,
        level: Option<u8>,
        waiting: &mut Vec<(ChunkRef, Option<u8>, String)>,
    ) -> Result<Touched, repo::Error> {
        match trees.repository.inner(node, level).await {
            Ok(inner) => {
                self.report.nodes += 1;
                let mut first = String::from("the start");
                for Child { last_path, reference, .. } in inner.children {
                    let what = format!("[all from {first} to {last_path}]");
                    waiting.push((reference, Some(inner.level - 1), what));
                    first = last_path.to_string();
                }
                Ok(Touched::default())
            }
            Err(error) if error.is_loss() => {
                let error = trees.repository.confirm_loss(error).await?;
                Ok(lost_node(node, &error))
            }
            Err(error) => Err(error),
        }
    }

    async fn leaf(&mut self, trees: &mut Trees, node: &ChunkRef) -> Result<Touched, repo::Error> {
        let entries = match trees.repository.leaf(node).await {
            Ok(entries) => entries,
            Err(error) if error.is_loss() => {
                let error = trees.repository.confirm_loss(error).await?;
                return Ok(lost_node(node, &error));
            }
            Err(error) => return Err(error),
        };
        self.report.nodes += 1;
        let mut touched = Touched::default();
        for stored in &entries {
            self.report.entries += 1;
            self.file(trees, stored, &mut touched).await?;
        }
        Ok(touched)
    }

    async fn file(
        &mut self,
        trees: &mut Trees,
        stored: &StoredEntry,
        touched: &mut Touched,
    ) -> Result<(), repo::Error> {
        let mut lost = BTreeSet::new();
        match self.content(trees, stored, &mut lost).await {
            Ok(()) => {}
            Err(error) if error.is_loss() => {
                let path = stored.entry.path.to_string();
                touched.files.push((format!("metadata of {path}"), error.to_string(), path));
            }
            Err(error) => return Err(error),
        }
        for (object, reason) in lost {
            touched.files.push((object, reason, stored.entry.path.to_string()));
        }
        Ok(())
    }

    /// Looks at all that a file refers to.
    async fn content(
        &mut self,
        trees: &mut Trees,
        stored: &StoredEntry,
        lost: &mut BTreeSet<(String, String)>,
    ) -> Result<(), repo::Error> {
        let repository = trees.repository.clone();
        if let Extents::Nodes(nodes) = &stored.extents {
            for node in nodes {
                trees.note_use(node);
            }
            repository.extents(&stored.extents, stored.entry.size_bytes).await?;
        }
        let paged = matches!(stored.content.cutter, Some(Cutter::Pages { .. }));
        for item in stored.content.items.iter().filter(|_| stored.content.level > 0) {
            trees.note_use(&item.reference);
        }
        let mut items = repository.content_items(&stored.content);
        while let Some(reference) = items.next().await? {
            trees.note_use(&reference);
            if !paged {
                self.chunk(&reference, lost);
                continue;
            }
            let segment = repository.page_segment(&reference).await?;
            if let Some(base) = &segment.base {
                trees.note_use(base);
            }
            for chunk in &segment.chunks {
                trees.note_use(chunk);
                self.chunk(chunk, lost);
            }
        }
        Ok(())
    }

    /// Compares a reference with what is known of its pack.
    fn chunk(&self, reference: &ChunkRef, lost: &mut BTreeSet<(String, String)>) {
        let Some(place) = reference.frame.place() else {
            return;
        };
        let object = || layout::pack(place.pack).as_str().to_owned();
        match self.packs.get(&place.pack) {
            None => drop(lost.insert((object(), "is missing".to_owned()))),
            Some(Condition::Lost(reason)) => drop(lost.insert((object(), reason.clone()))),
            Some(Condition::Torn(frames, reason)) if frames.contains(&place.offset_bytes) => {
                lost.insert((object(), reason.clone()));
            }
            Some(Condition::Listed(bytes)) if !fits(&place, *bytes) => {
                lost.insert((object(), "is too short for what refers to it".to_owned()));
            }
            Some(Condition::Listed(_) | Condition::Torn(..)) => {}
        }
    }
}

fn fits(place: &Place, pack_bytes: u64) -> bool {
    place.end_bytes() <= pack_bytes
}

fn node_key(node: &ChunkRef) -> Option<NodeKey> {
    let place = node.frame.place()?;
    Some((place.pack, place.offset_bytes, node.offset_bytes))
}

/// A node that cannot be read: everything below it is touched; the caller knows what that is.
fn lost_node(node: &ChunkRef, error: &repo::Error) -> Touched {
    let object = node
        .frame
        .place()
        .map_or_else(String::new, |place| layout::pack(place.pack).as_str().to_owned());
    Touched { files: vec![(object, error.to_string(), String::new())] }
}
