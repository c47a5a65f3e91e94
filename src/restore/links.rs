//! Hard links. Two names are one file only where their entries agree in all that one file has: volume and
//! inode number, content, size, modification time, owner, mode, attributes. Inode numbers alone prove
//! nothing: file systems without numbers of their own share or exchange them, and what they say must never
//! cost a file its content. What disagrees becomes a file of its own; the tree has the content with each
//! name.
//!
//! The time of the last change (ctime) is not compared: making a further name moves it, and a backup may
//! read one name before that and one after.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::destination::{Destination, Linked};
use crate::entry::{Cutter, Kind, TreePath};
use crate::repo::tree::content::Extents;
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::repo::{self, Repository};
use crate::restore::fetch::Fetcher;
use crate::restore::pass::{Fate, Pass};
use crate::restore::{Damage, Error, blocking};
use crate::units::to_u64;

/// Memory for names that wait for their file to be finished; then all of them are linked.
const WAITING_BYTES: usize = 8 << 20;

/// What entries must share to be one file.
type Key = [u8; 16];

/// Files with more names than one.
#[derive(Debug, Default)]
pub(super) struct Links {
    firsts: HashMap<Key, First>,
    /// Files of which a name was there already and stays as it is.
    kept: HashSet<Key>,
    waiting: Vec<Further>,
    waiting_bytes: usize,
}

/// The first name of a file, and how many names are still to come.
#[derive(Debug)]
struct First {
    path: Arc<TreePath>,
    to_come: u64,
}

/// A further name, and the one that it is to be linked to.
#[derive(Debug)]
pub(super) struct Further {
    stored: StoredEntry,
    first: Arc<TreePath>,
    key: Key,
}

impl Links {
    /// Notes the first name of a file that this restore writes.
    pub(super) fn begin(&mut self, key: Key, path: TreePath, links: u64) {
        self.firsts.insert(key, First { path: Arc::new(path), to_come: links.saturating_sub(1) });
    }

    /// Notes that a name of a file was left alone.
    pub(super) fn keep(&mut self, key: Key) {
        self.kept.insert(key);
    }

    /// Whether a name of a file was left alone, so that the next one is a copy.
    pub(super) fn was_kept(&self, key: Key) -> bool {
        self.kept.contains(&key)
    }

    /// Puts a further name off until its file is there; gives the entry back if it is the first.
    pub(super) fn put_off(&mut self, key: Key, stored: StoredEntry) -> Option<StoredEntry> {
        let Some(first) = self.firsts.get_mut(&key) else {
            return Some(stored);
        };
        let path = Arc::clone(&first.path);
        first.to_come = first.to_come.saturating_sub(1);
        if first.to_come == 0 {
            self.firsts.remove(&key);
        }
        let attributes = stored.entry.xattrs.iter().map(|x| x.name.len() + x.value.len());
        self.waiting_bytes += size_of::<Further>()
            + stored.entry.path.as_bytes().len()
            + attributes.sum::<usize>()
            + 128 * stored.content.items.len();
        self.waiting.push(Further { stored, first: path, key });
        None
    }

    /// Whether no more names may wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes >= WAITING_BYTES
    }

    fn take(&mut self) -> Vec<Further> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Pass<'_> {
    /// What other names of the same file share with this entry; `None` if it has no other name, or if its
    /// content cannot be told.
    pub(super) async fn link_key(&self, stored: &StoredEntry) -> Result<Option<Key>, Error> {
        let entry = &stored.entry;
        if entry.links < 2 || entry.is_directory() {
            return Ok(None);
        }
        let Some(mut hasher) = shared_attributes(stored) else {
            return Ok(None);
        };
        match put_content(self.repository, stored, &mut hasher).await {
            Ok(()) => {}
            // Restoring the file by itself tells what is wrong with it.
            Err(error) if error.is_loss() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        Ok(Some(key))
    }

    /// Makes the further names that wait, once their files are there. Where the destination cannot link
    /// two names, or the first one is not there, the name gets its own content.
    pub(super) async fn make_links(
        &mut self,
        fetcher: &mut Fetcher,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<(), Error> {
        let mut waiting = self.links.take();
        while !waiting.is_empty() {
            fetcher.drain().await?;
            let refused = fetcher.shared();
            let (orphans, ready): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|further| refused.refused.has_lost(&further.first));
            let link = move |destination: &dyn Destination| {
                let mut copies = Vec::new();
                for Further { stored, first, .. } in ready {
                    let entry = &stored.entry;
                    let linked = destination.link(entry, &first);
                    if refused.refused.take_in(&entry.path, linked)? == Some(Linked::NeedsCopy) {
                        copies.push(stored);
                    }
                }
                Ok(copies)
            };
            for stored in blocking(self.repository, self.destination, link).await? {
                self.restore_one(fetcher, stored, damage).await?;
            }
            waiting = self.replace_firsts(fetcher, orphans, damage).await?;
        }
        Ok(())
    }

    /// Restores one name of each file whose first name is not there; the others wait for that one.
    async fn replace_firsts(
        &mut self,
        fetcher: &mut Fetcher,
        orphans: Vec<Further>,
        damage: &mpsc::UnboundedSender<Damage>,
    ) -> Result<Vec<Further>, Error> {
        let mut firsts: HashMap<Key, Arc<TreePath>> = HashMap::new();
        let mut waiting = Vec::new();
        for mut orphan in orphans {
            if let Some(first) = firsts.get(&orphan.key) {
                orphan.first = Arc::clone(first);
                waiting.push(orphan);
                continue;
            }
            let path = Arc::new(orphan.stored.entry.path.clone());
            if self.restore_one(fetcher, orphan.stored, damage).await? == Fate::Written {
                if let Some(first) = self.links.firsts.get_mut(&orphan.key) {
                    first.path = Arc::clone(&path);
                }
                firsts.insert(orphan.key, path);
            }
        }
        Ok(waiting)
    }
}

/// What a file holds. Of a file in pages these are the pages: where they lie depends on what each name had
/// in the snapshot before.
async fn put_content(
    repository: &Repository,
    stored: &StoredEntry,
    hasher: &mut blake3::Hasher,
) -> Result<(), repo::Error> {
    let page_bytes = match stored.content.cutter {
        Some(Cutter::Pages { page_bytes }) => Some(page_bytes),
        _ => None,
    };
    put(hasher, &page_bytes.unwrap_or_default().to_le_bytes());
    let mut items = repository.content_items(&stored.content);
    while let Some(item) = items.next().await? {
        if page_bytes.is_none() {
            put(hasher, &item.id.0);
            continue;
        }
        for page in repository.page_segment(&item).await?.pages {
            put(hasher, &page.hash);
        }
    }
    Ok(())
}

fn put(hasher: &mut blake3::Hasher, value: &[u8]) {
    hasher.update(&to_u64(value.len()).to_le_bytes());
    hasher.update(value);
}

/// All but the content that names of one file share; `None` for what has one name only.
fn shared_attributes(stored: &StoredEntry) -> Option<blake3::Hasher> {
    let entry = &stored.entry;
    let mut hasher = blake3::Hasher::new();
    let kind = match &entry.kind {
        Kind::File => (1, 0, 0),
        Kind::Fifo => (2, 0, 0),
        Kind::Socket => (3, 0, 0),
        Kind::CharacterDevice { major, minor } => (4, *major, *minor),
        Kind::BlockDevice { major, minor } => (5, *major, *minor),
        Kind::Symlink { .. } => (6, 0, 0),
        Kind::Directory | Kind::Unknown => return None,
    };
    for value in [
        entry.volume,
        entry.inode,
        kind.0,
        kind.1.into(),
        kind.2.into(),
        entry.mode.into(),
        entry.user_id.into(),
        entry.group_id.into(),
        entry.size_bytes,
        entry.modified.seconds.cast_unsigned(),
        entry.modified.nanoseconds.into(),
        entry.inode_flags.into(),
        u64::from(stored.fidelity == Fidelity::Exact),
    ] {
        put(&mut hasher, &value.to_le_bytes());
    }
    let mut bytes = |value: &[u8]| put(&mut hasher, value);
    if let Kind::Symlink { target } = &entry.kind {
        bytes(target);
    }
    for xattr in &entry.xattrs {
        bytes(&xattr.name);
        bytes(&xattr.value);
    }
    match &stored.extents {
        Extents::None => {}
        Extents::Inline(runs) => {
            for run in runs {
                bytes(&run.offset_bytes.to_le_bytes());
                bytes(&run.length_bytes.to_le_bytes());
            }
        }
        Extents::Nodes(nodes) => nodes.iter().for_each(|node| bytes(&node.id.0)),
    }
    Some(hasher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Extent, FileTime, Seen, Xattr};

    fn stored() -> StoredEntry {
        StoredEntry::bare(Entry {
            path: TreePath::from_bytes("a").unwrap(),
            kind: Kind::File,
            mode: 0o644,
            user_id: 1,
            group_id: 2,
            user_name: None,
            group_name: None,
            modified: FileTime { seconds: 3, nanoseconds: 4 },
            changed: FileTime { seconds: 5, nanoseconds: 6 },
            device: 7,
            volume: 8,
            inode: 9,
            links: 2,
            size_bytes: 10,
            xattrs: Vec::new(),
            extents: None,
            inode_flags: 0,
            seen: Seen::Whole,
        })
    }

    /// Whether an entry with a change is another name of the same file.
    fn is_same(change: impl FnOnce(&mut StoredEntry)) -> bool {
        let key = |stored: &StoredEntry| shared_attributes(stored).map(|hasher| hasher.finalize());
        let mut other = stored();
        change(&mut other);
        key(&stored()) == key(&other)
    }

    #[test]
    fn names_of_one_file_agree_in_all_that_a_file_has() {
        assert!(is_same(|_| {}));
        assert!(is_same(|stored| stored.entry.path = TreePath::from_bytes("b").unwrap()));
        assert!(is_same(|stored| stored.entry.device = 0), "numbers of devices change");
        assert!(is_same(|stored| stored.entry.changed.seconds += 1), "a new name moves it");
        assert!(!is_same(|stored| stored.entry.volume += 1));
        assert!(!is_same(|stored| stored.entry.inode += 1));
        assert!(!is_same(|stored| stored.entry.kind = Kind::Fifo));
        assert!(!is_same(|stored| stored.entry.mode = 0o600));
        assert!(!is_same(|stored| stored.entry.user_id += 1));
        assert!(!is_same(|stored| stored.entry.group_id += 1));
        assert!(!is_same(|stored| stored.entry.size_bytes += 1));
        assert!(!is_same(|stored| stored.entry.modified.seconds += 1));
        assert!(!is_same(|stored| stored.entry.modified.nanoseconds += 1));
        assert!(!is_same(|stored| stored.entry.inode_flags = 0x40));
        assert!(!is_same(|stored| stored.fidelity = Fidelity::Changed));
        let xattr = Xattr { name: b"user.a".to_vec(), value: Vec::new() };
        assert!(!is_same(|stored| stored.entry.xattrs.push(xattr)));
        let hole = Extent { offset_bytes: 0, length_bytes: 5 };
        assert!(!is_same(|stored| stored.extents = Extents::Inline(vec![hole])));
    }
}
