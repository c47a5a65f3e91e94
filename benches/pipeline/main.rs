//! The pipeline in memory, as a share of what this computer could do at best: `cargo bench --bench pipeline`.
//!
//! Divan times the loops of one core (cut, hash, compress, verify, seal; and the way back) and the whole
//! pipelines around them. Then a table says how near a pipeline comes to the loop times the cores, which
//! it could only reach if nothing had to be handed over, gathered or listed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops and prints")]

mod ideal;
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay::repo::catalog::Wanted;
use backstay::repo::keyfile::Unlock;
use backstay::repo::{InitOptions, Repository};
use backstay::source::Source;
use backstay::store::MemoryStore;
use backstay::world::World;
use backstay::{backup, restore};
use divan::Bencher;
use divan::counter::BytesCount;

use ideal::Ideal;
use memory::{Data, MemorySource, Nowhere, WithoutPacks};

const KINDS: [Data; 4] = [Data::Random, Data::Text, Data::Database, Data::Pages];
/// Each measurement is the best of so many.
const ROUNDS: usize = 5;

fn main() {
    divan::main();
    shares();
}

#[divan::bench(args = KINDS, sample_count = 5, sample_size = 1)]
fn one_core_stores(bencher: Bencher, kind: Data) {
    let ideal = Ideal::new();
    let counted = bencher.counter(BytesCount::of_slice(kind.bytes()));
    counted.bench_local(|| ideal.store(kind.bytes()));
}

#[divan::bench(args = KINDS, sample_count = 5, sample_size = 1)]
fn one_core_restores(bencher: Bencher, kind: Data) {
    let ideal = Ideal::new();
    let frames = ideal.store(kind.bytes());
    let counted = bencher.counter(BytesCount::of_slice(kind.bytes()));
    counted.bench_local(|| ideal.restore(&frames));
}

#[divan::bench(args = KINDS, sample_count = 5, sample_size = 1)]
fn backup_of_one_file(bencher: Bencher, kind: Data) {
    let runtime = runtime();
    let counted = bencher.counter(BytesCount::of_slice(kind.bytes()));
    counted.bench_local(|| runtime.block_on(back_up(kind)));
}

#[divan::bench(args = KINDS, sample_count = 5, sample_size = 1)]
fn restore_of_one_file(bencher: Bencher, kind: Data) {
    let runtime = runtime();
    let repository = runtime.block_on(stored(kind));
    let counted = bencher.counter(BytesCount::of_slice(kind.bytes()));
    counted.bench_local(|| runtime.block_on(bring_back(&repository)));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// A backup whose packs are thrown away.
async fn back_up(kind: Data) {
    let store = Arc::new(WithoutPacks::default());
    let made = Repository::init(store, World::system(), InitOptions::default()).await;
    run(&made.unwrap().0, kind).await;
}

async fn run(repository: &Repository, kind: Data) {
    let sources: [Box<dyn Source>; 1] = [Box::new(MemorySource(kind))];
    let options = backup::Options { host: "host".into(), ..Default::default() };
    let report = backup::run(repository, &sources, &options, Arc::default()).await.unwrap();
    assert!(report.read_bytes == kind.bytes().len() as u64 && report.problems.is_empty());
}

/// A repository that holds the data, opened with its recovery key.
async fn stored(kind: Data) -> Repository {
    let store: Arc<dyn backstay::store::Store> = Arc::new(MemoryStore::new());
    let made = Repository::init(Arc::clone(&store), World::system(), InitOptions::default()).await;
    let (repository, keys) = made.unwrap();
    run(&repository, kind).await;
    let key = keys.recovery.unwrap();
    let unlock = Unlock::from_file("key", key.as_bytes(), None).unwrap();
    Repository::open(store, World::system(), &unlock).await.unwrap()
}

/// A restore to nowhere.
async fn bring_back(repository: &Repository) {
    let snapshot = repository.catalog().await.unwrap().find(&Wanted::Latest).await.unwrap();
    let options = restore::Options::default();
    let destination = Arc::new(Nowhere);
    let report = restore::run(repository, &snapshot, destination, &options, Arc::default());
    assert!(report.await.unwrap().damage.is_empty());
}

/// Prints how much of the ideal is reached.
fn shares() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\nMB/s of plaintext, best of {ROUNDS}; ideal = one core's loop times {cores} cores");
    println!("{:<20} {:>8} {:>9} {:>8} {:>6}", "", "one core", "pipeline", "ideal", "share");
    let runtime = runtime();
    let ideal = Ideal::new();
    for kind in KINDS {
        let bytes = kind.bytes();
        let frames = ideal.store(bytes);
        let one_core = best(|| drop(ideal.store(bytes)));
        let pipeline = best(|| runtime.block_on(back_up(kind)));
        row(&format!("{kind} backup"), bytes.len(), one_core, pipeline, cores);
        let one_core = best(|| ideal.restore(&frames));
        let repository = runtime.block_on(stored(kind));
        let pipeline = best(|| runtime.block_on(bring_back(&repository)));
        row(&format!("{kind} restore"), bytes.len(), one_core, pipeline, cores);
    }
}

fn best(mut run: impl FnMut()) -> Duration {
    let round = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

fn row(what: &str, bytes: usize, one_core: Duration, pipeline: Duration, cores: usize) {
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    let ideal = rate(one_core) * cores as f64;
    let share = rate(pipeline) / ideal * 100.0;
    println!(
        "{what:<20} {:>8.0} {:>9.0} {ideal:>8.0} {share:>5.0} %",
        rate(one_core),
        rate(pipeline)
    );
}
