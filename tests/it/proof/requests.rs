//! What a store is asked for, which is what it bills: counted at the store itself, for machines that keep
//! nothing of the last backup, and for those that do.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backstay::source::Source;
use backstay::store::{Counted, MemoryStore, Store, Usage};

use super::scene::{
    directory_with, init, noise, open, path, restore_part, scratch, scratch_on_disk, tick,
    try_backup,
};

/// A store that counts, with a repository in it.
async fn counted() -> (Arc<Counted>, Arc<dyn Store>, String) {
    let counted = Arc::new(Counted::new(Arc::new(MemoryStore::new())));
    let store: Arc<dyn Store> = Arc::clone(&counted) as Arc<dyn Store>;
    let keys = init(&store, 1).await;
    (counted, store, keys.recovery)
}

fn since(counted: &Counted, before: &Usage) -> [u64; 4] {
    let now = counted.usage();
    [
        now.put_requests - before.put_requests,
        now.get_requests - before.get_requests,
        now.list_requests - before.list_requests,
        now.downloaded_bytes - before.downloaded_bytes,
    ]
}

fn write_files(directory: &Path, count: usize) {
    fs::create_dir(directory).unwrap();
    for number in 0..count {
        let content = format!("{} {number}", directory.display());
        fs::write(directory.join(format!("file-{number:05}")), content).unwrap();
    }
}

#[tokio::test]
async fn ten_sources_that_did_not_change_cost_no_request_each() {
    let (counted, store, key) = counted().await;
    let tree = scratch_on_disk();
    let sources: Vec<Box<dyn Source>> = (0..10)
        .map(|number| {
            let path = tree.path().join(format!("source-{number}"));
            // Each has inner nodes of several levels, or of one.
            write_files(&path, 100 + 500 * number);
            directory_with(&path, |options| options.name = format!("source-{number}"))
        })
        .collect();
    tick();
    let cache = scratch();
    let repository = open(&store, 2, &key).await;
    repository.keep_metadata_in(cache.path()).unwrap();
    try_backup(&repository, &sources).await.unwrap();
    for (kept, most_gets) in [(true, 1), (false, 6)] {
        let before = counted.usage();
        let repository = open(&store, 3, &key).await;
        if kept {
            repository.keep_metadata_in(cache.path()).unwrap();
        }
        let report = try_backup(&repository, &sources).await.unwrap();
        assert_eq!((report.read_files, report.stored.packs), (0, 0));
        let [puts, gets, lists, bytes] = since(&counted, &before);
        // The announcement and the snapshot; the config.
        assert_eq!(puts, 2);
        assert!(gets <= most_gets, "kept {kept}: {gets} GETs");
        assert!(lists <= 5, "{lists} LISTs");
        assert!(bytes < 3 << 20, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_cold_machine_reads_inner_nodes_in_a_few_requests() {
    let (counted, store, key) = counted().await;
    let tree = scratch_on_disk();
    let data = tree.path().join("data");
    write_files(&data, 40_000);
    fs::write(data.join("large"), noise(1, 8 << 20)).unwrap();
    tick();
    let sources = [directory_with(&data, |_| {})];
    try_backup(&open(&store, 2, &key).await, &sources).await.unwrap();
    let mut large = fs::read(data.join("large")).unwrap();
    large[5 << 20] ^= 1;
    fs::write(data.join("large"), large).unwrap();
    tick();
    let before = counted.usage();
    let report = try_backup(&open(&store, 3, &key).await, &sources).await.unwrap();
    assert_eq!(report.read_files, 1);
    let [puts, gets, lists, bytes] = since(&counted, &before);
    assert_eq!(puts, 5, "announcement, two packs, index, snapshot");
    // There are some 1,250 leaves and 20 inner nodes.
    assert!(gets <= 12, "{gets} GETs");
    assert!(lists <= 7, "{lists} LISTs");
    assert!(bytes < 2 << 20, "{bytes} bytes");

    let before = counted.usage();
    let to = scratch();
    let repository = open(&store, 4, &key).await;
    restore_part(&repository, &report.snapshot, &path("file-20000"), to.path()).await;
    assert!(to.path().join("file-20000").exists());
    let [_, gets, lists, bytes] = since(&counted, &before);
    assert!(gets + lists <= 9, "{gets} GETs, {lists} LISTs");
    assert!(bytes < 3 << 20, "{bytes} bytes");
}

#[tokio::test]
async fn a_restore_fetches_each_frame_once() {
    let (counted, store, key) = counted().await;
    let tree = scratch_on_disk();
    let data = tree.path().join("data");
    fs::create_dir(&data).unwrap();
    // More than two windows of pieces that a restore gathers before it asks for them.
    let size_bytes = 144 << 20;
    fs::write(data.join("large"), noise(1, size_bytes)).unwrap();
    tick();
    let sources = [directory_with(&data, |_| {})];
    let report = try_backup(&open(&store, 2, &key).await, &sources).await.unwrap();
    let before = counted.usage();
    let to = scratch();
    let repository = open(&store, 3, &key).await;
    restore_part(&repository, &report.snapshot, &path("large"), to.path()).await;
    let [_, _, _, bytes] = since(&counted, &before);
    let most_bytes = (size_bytes + size_bytes / 100) as u64;
    assert!(bytes < most_bytes, "{bytes} bytes for {size_bytes}");
}
