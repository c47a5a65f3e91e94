//! Pinning a directory: open every file, list again, until the listing stands still.
//!
//! In a database made of files that are written once, a table that its manifest names must be in
//! the copy. Between two equal listings no file came or went, so the files that we hold are one
//! state of the directory. Lengths are of that state too:
//!
//! - a file that *names others* (`MANIFEST-…`, `CURRENT`, …) gets its length from the earlier
//!   listing: whatever it names at that moment was complete before the later one;
//! - all others get theirs from the later listing: tables are complete, logs at their longest.
//!
//! Growth after that is not read and is no problem; neither is it in a log that has its final length
//! from birth and a hole for a tail.
//!
//! A log that is being written may end in the midst of a record, as after a loss of power: a write becomes
//! visible page by page. Its engine drops that record, which nobody was told of yet.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::walk::Walk;
use crate::entry::{Entry, Kind, TreePath};
use crate::source::file::{
    Identity, Magic, Pinned, is_replaced, problem, raise_descriptor_limit, stat_fd, written_bytes,
};
use crate::source::{Batch, Error, Fault, Problem, Volume};
use crate::units::to_u64;

/// Listings before we give up.
const ATTEMPTS: u32 = 100;

/// Descriptors that the rest of the process needs.
const RESERVED_DESCRIPTORS: u64 = 64;

/// A directory tree that stands still in our hands.
#[derive(Debug, Default)]
pub(super) struct PinnedTree {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) excluded: u64,
    pub(super) volumes: Vec<Volume>,
    pub(super) doubted: Vec<TreePath>,
    pub(super) files: HashMap<TreePath, Pinned>,
}

/// Pins what `walk` describes. Blocks.
pub(super) fn pin(walk: &Walk) -> Result<PinnedTree, Error> {
    let limit = raise_descriptor_limit();
    let mut files = HashMap::new();
    let mut before: Option<Batch> = None;
    for _ in 0..ATTEMPTS {
        let now = list(walk)?;
        if let Some(before) = before.take()
            && stands_still(&before, &now, Magic::of(walk.root.fd()).has_unstable_inodes())
            && all_linked(&files)
        {
            return Ok(settle(before, now, files));
        }
        let needed = to_u64(now.entries.iter().filter(|entry| entry.is_file()).count());
        let enough = limit.is_none_or(|limit| needed + RESERVED_DESCRIPTORS <= limit);
        if !enough {
            return Err(descriptors(walk, needed, limit));
        }
        let held = hold(walk, &now, &mut files);
        match held {
            Ok(true) => before = Some(now),
            Ok(false) => {}
            Err(()) => return Err(descriptors(walk, needed, limit)),
        }
    }
    Err(Error::Restless { name: walk.name.clone(), attempts: ATTEMPTS })
}

fn descriptors(walk: &Walk, needed: u64, limit: Option<u64>) -> Error {
    Error::Descriptors {
        name: walk.name.clone(),
        needed: needed + RESERVED_DESCRIPTORS,
        limit: limit.unwrap_or(u64::MAX),
    }
}

/// One listing, as a single batch.
fn list(walk: &Walk) -> Result<Batch, Error> {
    let mut all = Batch::default();
    walk.run(&mut |batch| {
        all.entries.extend(batch.entries);
        all.problems.extend(batch.problems);
        all.excluded += batch.excluded;
        all.volumes.extend(batch.volumes);
        all.doubted.extend(batch.doubted);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Opens the files that are new and lets go of those that are gone. `Ok(false)` if the directory
/// changed under our hands, `Err` if descriptors ran out.
fn hold(walk: &Walk, listing: &Batch, files: &mut HashMap<TreePath, Pinned>) -> Result<bool, ()> {
    let mut steady = true;
    let mut held = HashMap::with_capacity(files.len());
    for entry in listing.entries.iter().filter(|entry| entry.is_file()) {
        let identity = Identity::of_entry(entry);
        if let Some(pinned) = files.remove(&entry.path)
            && pinned.identity == identity
        {
            held.insert(entry.path.clone(), pinned);
            continue;
        }
        match walk.root.open_file(&entry.path) {
            Ok(fd) => match stat_fd(&fd) {
                Ok(stat) if !is_replaced(&fd, &stat, entry) => {
                    let fd = Arc::new(fd);
                    let pinned = Pinned { fd, identity, written_bytes: None };
                    held.insert(entry.path.clone(), pinned);
                }
                _ => steady = false,
            },
            Err(Errno::MFILE | Errno::NFILE) => return Err(()),
            Err(errno) => {
                // What cannot be read will be reported when it is read; it does not move.
                steady &= problem(&entry.path, "open", errno).fault == Fault::Unreadable;
            }
        }
    }
    *files = held;
    Ok(steady)
}

/// Whether two listings show the same things in the same places, sizes and times aside.
fn stands_still(before: &Batch, now: &Batch, has_unstable_inodes: bool) -> bool {
    let same = |(a, b): (&Entry, &Entry)| {
        a.path == b.path
            && (has_unstable_inodes || Identity::of_entry(a) == Identity::of_entry(b))
            && std::mem::discriminant(&a.kind) == std::mem::discriminant(&b.kind)
    };
    let moved = |batch: &Batch| {
        // These look the same each time.
        let still = |problem: &Problem| matches!(problem.fault, Fault::Unreadable | Fault::Missing);
        !batch.problems.iter().all(still)
    };
    !moved(before)
        && !moved(now)
        && before.entries.len() == now.entries.len()
        && before.entries.iter().zip(&now.entries).all(same)
}

/// Whether no file that we hold lost its name: an inode number that was used again would look the
/// same in a listing.
fn all_linked(files: &HashMap<TreePath, Pinned>) -> bool {
    files.values().all(|pinned| stat_fd(&*pinned.fd).is_ok_and(|stat| stat.stx_nlink > 0))
}

fn settle(before: Batch, now: Batch, mut files: HashMap<TreePath, Pinned>) -> PinnedTree {
    for entry in now.entries.iter().filter(|entry| entry.is_file()) {
        if let Some(pinned) = files.get_mut(&entry.path) {
            pinned.written_bytes = written_bytes(pinned.fd.as_fd(), entry.size_bytes);
        }
    }
    let earlier = before.entries.into_iter();
    let entries = earlier.zip(now.entries).map(|(earlier, later)| {
        let grew = later.kind == Kind::File && later.size_bytes > earlier.size_bytes;
        if grew && names_others(later.path.name()) { earlier } else { later }
    });
    PinnedTree {
        entries: entries.collect(),
        problems: now.problems,
        excluded: now.excluded,
        volumes: now.volumes,
        doubted: now.doubted,
        files,
    }
}

/// Whether a file is one that says which other files belong to the database.
fn names_others(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [b"manifest".as_slice(), b"current", b"version", b"catalog"]
        .iter()
        .any(|word| name.windows(word.len()).any(|part| part == *word))
}
