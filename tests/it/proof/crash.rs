//! Killed after every call to the store: every older snapshot is untouched, what became visible is
//! whole, and the next backup needs no help and does not store again what was stored.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use backstay::class::Class;
use backstay::repo::Repository;
use backstay::repo::layout;
use backstay::repo::pack::{PackKind, Trailer, open_directory};
use backstay::store::{Key, Store};
use bytes::Bytes;

use super::scene::{
    KeyTexts, backup, database, directory, init, later, noise, objects, open, recall, snapshots,
    store_of, tick, try_backup, try_open,
};
use crate::support::fault::{FailAfter, Fault, Script};
use crate::support::hooked::{Hooked, Step};
use crate::support::kept::Items;

/// How a backup ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// From the call on, all calls fail.
    Fail,
    /// The call fails, and only that one.
    FailOnce,
    /// The process is gone at the call.
    Vanish,
    /// The call is done, but its answer never comes, nor does any later one.
    LostReply,
}

/// A repository with one snapshot, and a tree that has changed since.
struct Before {
    keys: KeyTexts,
    objects: Vec<(Key, Bytes)>,
    /// What the snapshot restores to.
    old: Items,
    /// What a backup that nobody stops restores to, and the file bytes that it stores.
    new: Items,
    new_bytes: u64,
    tree: tempfile::TempDir,
}

impl Before {
    async fn new(make: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> Self {
        let tree = tempfile::tempdir().unwrap();
        make(tree.path());
        tick();
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.recovery).await;
        let first = backup(&repository, tree.path()).await.snapshot;
        let old = recall(&repository, &first).await;
        tick();
        change(tree.path());
        tick();
        let before = objects(&*store).await;
        let report = backup(&repository, tree.path()).await;
        let new = recall(&repository, &report.snapshot).await;
        assert_ne!(old, new);
        let new_bytes = report.stored.new_bytes;
        Self { keys, objects: before, old, new, new_bytes, tree }
    }

    /// Runs a backup that ends at `call`; tells whether it came to its own end before.
    async fn interrupted(&self, store: &Arc<dyn Store>, call: usize, end: End) -> bool {
        let script = match end {
            End::Vanish => return self.vanished(store, call).await,
            End::FailOnce => Script {
                faults: vec![(call, Fault::Before(Class::Interrupted))],
                killed_from: None,
            },
            End::Fail => Script { faults: Vec::new(), killed_from: Some(call) },
            End::LostReply => Script {
                faults: vec![(call, Fault::After(Class::Interrupted))],
                killed_from: Some(call + 1),
            },
        };
        let failing = FailAfter::scripted(Arc::clone(store), script);
        let dying: Arc<dyn Store> = Arc::new(failing.clone());
        let outcome = match try_open(&dying, later(3), &self.keys.agent).await {
            Err(error) => Err(error.class()),
            Ok(repository) => {
                let sources = [directory(self.tree.path())];
                try_backup(&repository, &sources).await.map_err(|error| error.class())
            }
        };
        let failed = failing.calls().len() > call;
        match outcome {
            Ok(_) => assert!(!failed, "a failure was swallowed: {end:?} at call {call}"),
            Err(class) => assert_eq!((class, failed), (Class::Interrupted, true)),
        }
        !failed
    }

    async fn vanished(&self, store: &Arc<dyn Store>, call: usize) -> bool {
        let (gone, went) = tokio::sync::watch::channel(false);
        let hooked = Hooked::new(Arc::clone(store), move |number, _, _| {
            if number < call {
                return Step::Go;
            }
            gone.send_replace(true);
            Step::Hang
        });
        let dying: Arc<dyn Store> = Arc::new(hooked);
        let mut went = went;
        let run = async {
            let repository = open(&dying, 3, &self.keys.agent).await;
            backup(&repository, self.tree.path()).await
        };
        tokio::select! {
            biased;
            _ = went.wait_for(|gone| *gone) => false,
            _ = run => true,
        }
    }

    /// What must hold after any interruption.
    async fn check(&self, store: &Arc<dyn Store>, what: &str) {
        let known: BTreeSet<&Key> = self.objects.iter().map(|(key, _)| key).collect();
        let repository = open(store, 4, &self.keys.recovery).await;
        let kept_bytes = new_data_bytes(&repository, &known).await;
        let visible = snapshots(&repository).await;
        let (oldest, newer) = visible.split_last().unwrap();
        assert_eq!(recall(&repository, oldest).await, self.old, "{what}: the old snapshot");
        assert!(newer.len() <= 1, "{what}");
        for snapshot in newer {
            assert_eq!(recall(&repository, snapshot).await, self.new, "{what}: became visible");
        }
        let agent = open(store, 5, &self.keys.agent).await;
        let report = backup(&agent, self.tree.path()).await;
        assert_eq!(report.problems, [], "{what}");
        let retried = recall(&repository, &report.snapshot).await;
        assert_eq!(retried, self.new, "{what}: the next backup");
        assert_eq!(
            report.stored.new_bytes,
            self.new_bytes - kept_bytes,
            "{what}: {kept_bytes} bytes were stored already"
        );
        assert_eq!(recall(&repository, oldest).await, self.old, "{what}: the old one, afterwards");
    }
}

/// Plain bytes in data packs other than `known`.
async fn new_data_bytes(repository: &Repository, known: &BTreeSet<&Key>) -> u64 {
    let mut sum = 0;
    for (key, bytes) in objects(repository.store()).await {
        let Some(id) = layout::parse_pack(&key).filter(|_| !known.contains(&key)) else {
            continue;
        };
        if repository.pack_header(id).await.unwrap().kind != PackKind::Data {
            continue;
        }
        let trailer = Trailer::parse(id, &bytes, bytes.len() as u64).unwrap();
        let start = trailer.directory_offset_bytes as usize;
        let sealed = &bytes[start..start + trailer.directory_bytes as usize];
        let keys = repository.secrets().get(id.secret()).unwrap();
        let frames =
            open_directory(keys, repository.id(), id, sealed, trailer.directory_offset_bytes);
        sum += frames.unwrap().iter().map(|f| u64::from(f.place.plain_bytes)).sum::<u64>();
    }
    sum
}

fn small_tree(tree: &Path) {
    for number in 0..12_u64 {
        fs::write(tree.join(format!("small-{number}")), noise(number, 3_000)).unwrap();
    }
    fs::write(tree.join("large"), noise(100, 3_000_000)).unwrap();
    fs::write(tree.join("app.db"), database(101, 300)).unwrap();
}

fn small_change(tree: &Path) {
    fs::write(tree.join("small-3"), noise(203, 5_000)).unwrap();
    fs::remove_file(tree.join("small-4")).unwrap();
    fs::write(tree.join("small-new"), noise(204, 5_000)).unwrap();
    let mut large = noise(100, 3_000_000);
    large.splice(1_000_000..1_000_010, noise(205, 400_000));
    fs::write(tree.join("large"), large).unwrap();
    let mut database = database(101, 310);
    database[40 * 4096..44 * 4096].copy_from_slice(&noise(206, 4 * 4096));
    fs::write(tree.join("app.db"), database).unwrap();
}

async fn every_call(end: End) {
    let before = Before::new(small_tree, small_change).await;
    let mut calls = 0;
    loop {
        let store = store_of(before.objects.iter().cloned()).await;
        let ended = before.interrupted(&store, calls, end).await;
        before.check(&store, &format!("{end:?} at call {calls}")).await;
        if ended {
            break;
        }
        calls += 1;
    }
    assert!(calls > 15, "a backup of {calls} calls proves little");
}

#[tokio::test]
async fn every_call_may_be_the_last() {
    every_call(End::Fail).await;
}

#[tokio::test]
async fn no_failure_is_swallowed() {
    every_call(End::FailOnce).await;
}

#[tokio::test]
async fn at_every_call_the_process_may_vanish() {
    every_call(End::Vanish).await;
}

#[tokio::test]
async fn every_reply_may_be_lost() {
    every_call(End::LostReply).await;
}

/// With several packs, each that was stored before the end is used by the next run.
#[tokio::test]
async fn packs_of_an_interrupted_backup_are_not_stored_again() {
    const MIB: usize = 1 << 20;
    let make = |tree: &Path| fs::write(tree.join("first"), "first").unwrap();
    let change = |tree: &Path| {
        fs::write(tree.join("a"), noise(1, 45 * MIB)).unwrap();
        fs::write(tree.join("b.db"), database(2, 25 * MIB / 4096)).unwrap();
    };
    let before = Before::new(make, change).await;
    let mut packs = 0;
    let mut creates = 0;
    loop {
        let store = store_of(before.objects.iter().cloned()).await;
        let counted = std::sync::atomic::AtomicUsize::new(0);
        let (gone, mut went) = tokio::sync::watch::channel(false);
        let hooked = Hooked::new(Arc::clone(&store), move |_, method, _| {
            let number = match method {
                "create" => counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                _ => 0,
            };
            if method != "create" || number < creates {
                return Step::Go;
            }
            gone.send_replace(true);
            Step::Hang
        });
        let dying: Arc<dyn Store> = Arc::new(hooked);
        let agent = open(&dying, 3, &before.keys.agent).await;
        let ended = tokio::select! {
            biased;
            _ = went.wait_for(|gone| *gone) => false,
            _ = backup(&agent, before.tree.path()) => true,
        };
        let stored = objects(&*store).await;
        let is_pack = |(key, _): &&(Key, Bytes)| layout::parse_pack(key).is_some();
        packs = packs.max(stored.iter().filter(is_pack).count());
        before.check(&store, &format!("gone at creation {creates}")).await;
        if ended {
            break;
        }
        creates += 1;
    }
    assert!(packs >= 5, "{packs} packs prove little");
}
