//! Two backups of one job at the same time, interleaved at every call to the store in many ways: both
//! stand afterwards, and the repository is as if they had come one after the other.

use std::fs;
use std::sync::Arc;

use backstay::repo::layout;
use backstay::store::Store;

use super::scene::{backup, init, noise, objects, open, recall, snapshots, store_of, tick};
use crate::support::hooked::{Hooked, Step};

/// Ways to interleave.
const SEEDS: u64 = 60;

/// A store that lets other tasks go first, as often as the seed says.
fn shuffled(store: &Arc<dyn Store>, seed: u64) -> Arc<dyn Store> {
    let turns = noise(seed, 4_096);
    let hook = move |number: usize, _: &'static str, _: &str| {
        Step::Yield(usize::from(turns[number % turns.len()] % 8))
    };
    Arc::new(Hooked::new(Arc::clone(store), hook))
}

#[tokio::test]
async fn two_backups_of_one_job_both_stand() {
    let tree = tempfile::tempdir().unwrap();
    for number in 0..10_u64 {
        fs::write(tree.path().join(format!("file-{number}")), noise(number, 30_000)).unwrap();
    }
    fs::write(tree.path().join("large"), noise(100, 2_000_000)).unwrap();
    tick();
    for seed in 0..SEEDS {
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let recovery = open(&store, 2, &keys.recovery).await;
        // Half of the time there is a parent.
        if seed % 2 == 0 {
            backup(&recovery, tree.path()).await;
            tick();
            fs::write(tree.path().join("changed"), noise(1_000 + seed, 50_000)).unwrap();
            tick();
        }
        let one = open(&shuffled(&store, seed), 10 + seed, &keys.agent).await;
        let two = open(&shuffled(&store, seed + 1_000), 1_010 + seed, &keys.agent).await;
        let (one, two) = tokio::join!(backup(&one, tree.path()), backup(&two, tree.path()));
        assert_ne!(one.snapshot.id, two.snapshot.id, "seed {seed}");
        let one_items = recall(&recovery, &one.snapshot).await;
        assert_eq!(recall(&recovery, &two.snapshot).await, one_items, "seed {seed}");
        let visible = snapshots(&recovery).await;
        assert_eq!(visible.len(), if seed % 2 == 0 { 3 } else { 2 }, "seed {seed}");
        for report in [&one, &two] {
            assert!(visible.iter().any(|snapshot| snapshot.id == report.snapshot.id));
        }
        let third = backup(&recovery, tree.path()).await;
        assert_eq!(third.stored.new_bytes, 0, "seed {seed}");
        assert_eq!(recall(&recovery, &third.snapshot).await, one_items, "seed {seed}");
        // Every pack belongs to a snapshot: nothing was left over.
        let named: Vec<_> = snapshots(&recovery)
            .await
            .iter()
            .flat_map(|snapshot| snapshot.packs.iter().map(|pack| layout::pack(pack.id)))
            .collect();
        let stored = objects(&*store).await;
        let packs = stored.iter().filter(|(key, _)| layout::parse_pack(key).is_some());
        assert!(packs.into_iter().all(|(key, _)| named.contains(key)), "seed {seed}");
    }
}
