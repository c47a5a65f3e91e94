//! What goes in comes out: trees at random, backed up, edited, backed up again, and both states
//! restored, whole and in part, with every attribute compared.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backstay::backup;
use backstay::entry::{Cutter, TreePath};
use backstay::repo::Repository;
use backstay::repo::snapshot::Snapshot;
use backstay::source::CutterChoice;
use backstay::store::{MemoryStore, Store};
use backstay::world::{Cpu, SystemClock, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::sync::Arc;

use super::edit::{Edit, apply, edit};
use super::scene::{
    self, directory_with, init, job, later, noise, open, recall, restore, restore_part,
    scratch_on_disk, tick,
};
use crate::support::tree::{
    Attributes, Node, Plan, What, assert_same_tree, make_removable, materialise, tree_plan,
};

/// Trees that one run tries; a minimal one is printed if any fails.
const CASES: u32 = 48;
/// Always the same trees, so that a failure is no accident. Others: `BACKSTAY_PROOF_SEED=1`.
const SEED: u64 = 20_260_101;

/// How one case is backed up.
#[derive(Clone, Copy, Debug)]
struct How {
    cutter: CutterChoice,
    read_all: bool,
    /// Work on threads, as in earnest, instead of where it is asked for.
    threads: bool,
    /// By the real clock every file is so young that it is read again.
    young: bool,
}

fn how() -> impl Strategy<Value = How> {
    let cutters = [
        CutterChoice::Auto,
        CutterChoice::Auto,
        CutterChoice::Forced(Cutter::Whole),
        CutterChoice::Forced(Cutter::Pages { page_bytes: 8192 }),
        CutterChoice::Forced(Cutter::Pages { page_bytes: 4096 }),
        CutterChoice::Forced(Cutter::Content { average_bytes: 65_536 }),
    ];
    (select(cutters.to_vec()), prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(cutter, read_all, threads, young)| How { cutter, read_all, threads, young })
}

fn seed() -> u64 {
    std::env::var("BACKSTAY_PROOF_SEED").map_or(SEED, |seed| seed.parse().unwrap())
}

#[test]
fn every_state_comes_back() {
    let seed = seed();
    let config = Config {
        cases: CASES,
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let cases = (tree_plan(), vec(edit(), 0..12), how(), any::<Index>());
    let outcome = TestRunner::new(config).run(&cases, |(plan, edits, how, index)| {
        runtime.block_on(round_trip(&plan, &edits, how, &index));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("BACKSTAY_PROOF_SEED={seed}: {error}"));
}

/// A repository seen by an agent, who backs up, and by who restores.
struct Sides {
    agent: Repository,
    recovery: Repository,
    how: How,
}

impl Sides {
    async fn new(how: How) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let keys = init(&store, 1).await;
        let mut world = later(2);
        if how.threads {
            world = World { cpu: Cpu::threads(2), ..world };
        }
        if how.young {
            world = World { clock: Arc::new(SystemClock), ..world };
        }
        let agent = scene::try_open(&store, world, &keys.agent).await.unwrap();
        Self { agent, recovery: open(&store, 3, &keys.recovery).await, how }
    }

    async fn backup(&self, tree: &Path) -> backup::Report {
        let source = directory_with(tree, |options| {
            options.cutter = self.how.cutter;
            // Edits may well remove everything.
            options.allow_empty = true;
        });
        let options = backup::Options { read_all: self.how.read_all, ..job() };
        let report = backup::run(&self.agent, &[source], &options, Arc::default()).await.unwrap();
        assert_eq!(report.problems, []);
        assert!(!report.snapshot.partial);
        report
    }
}

async fn round_trip(plan: &Plan, edits: &[Edit], how: How, index: &Index) {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    materialise(&tree, plan);
    let sides = Sides::new(how).await;
    tick();
    let first = sides.backup(&tree).await.snapshot;
    let out = place.path().join("first");
    restore(&sides.recovery, &first, &out).await;
    assert_same_tree(&tree, &out);
    let first_items = recall(&sides.recovery, &first).await;

    tick();
    let edited = edits.iter().filter(|edit| apply(&tree, edit)).count();
    tick();
    let report = sides.backup(&tree).await;
    let second = report.snapshot;
    assert_eq!(second.parent, Some(first.id));
    if edited == 0 {
        assert_eq!(report.stored.new_bytes, 0, "nothing had changed");
        let future = |node: &Node| node.attributes.modified.0 >= i64::from(u32::MAX);
        if !how.read_all && !how.young && !plan.nodes.iter().any(future) {
            assert_eq!(report.read_files, 0, "nothing had changed");
        }
    }
    let out = place.path().join("second");
    restore(&sides.recovery, &second, &out).await;
    assert_same_tree(&tree, &out);
    assert_eq!(recall(&sides.recovery, &first).await, first_items, "the older one changed");
    parts_come_back(&sides.recovery, &second, &tree, index).await;
    make_removable(place.path());
}

/// Restores one directory and one file by themselves.
async fn parts_come_back(repository: &Repository, snapshot: &Snapshot, tree: &Path, index: &Index) {
    let items = recall(repository, snapshot).await;
    let of = |want_directory: bool| -> Vec<&TreePath> {
        let kind = |item: &crate::support::kept::Item| {
            if want_directory { item.entry.is_directory() } else { item.entry.is_file() }
        };
        items.iter().filter(|(_, item)| kind(item)).map(|(path, _)| path).collect()
    };
    let place = tempfile::tempdir().unwrap();
    let directories = of(true);
    let chosen = *index.get(&directories);
    let out = place.path().join("directory");
    restore_part(repository, snapshot, chosen, &out).await;
    assert_same_tree(&on_disk(tree, chosen), &out);
    let files = of(false);
    if !files.is_empty() {
        let chosen = *index.get(&files);
        let out = place.path().join("file");
        restore_part(repository, snapshot, chosen, &out).await;
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        let name = TreePath::root().join(chosen.name());
        assert_same_tree(&on_disk(tree, chosen), &on_disk(&out, &name));
    }
    make_removable(place.path());
}

fn on_disk(root: &Path, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// A directory of 10^5 files costs, the second time, what changed in it.
#[tokio::test]
async fn a_crowd_comes_back_and_costs_what_changed() {
    const CROWD: u32 = 100_000;
    let place = scratch_on_disk();
    let tree = place.path().join("tree");
    let plain = Attributes {
        mode: 0o755,
        owner: (0, 0),
        modified: (1_000_000_000, 1),
        xattrs: std::collections::BTreeMap::new(),
    };
    let node = |path: &[u8], what| Node { path: path.to_vec(), what, attributes: plain.clone() };
    let nodes = vec![node(b"", What::Directory), node(b"crowd", What::Crowd { entries: CROWD })];
    materialise(&tree, &Plan { nodes }.for_user());
    let auto = CutterChoice::Auto;
    let sides =
        Sides::new(How { cutter: auto, read_all: false, threads: true, young: false }).await;
    tick();
    let first = sides.backup(&tree).await;
    assert_eq!(first.snapshot.sources[0].entries, u64::from(CROWD) + 2);
    fs::remove_file(tree.join("crowd/000777")).unwrap();
    fs::write(tree.join("crowd/050000"), "changed").unwrap();
    fs::write(tree.join("crowd/new"), "new").unwrap();
    let second = sides.backup(&tree).await;
    assert_eq!(second.read_files, 3, "two files, and the directory for its attributes");
    assert_eq!(second.stored.new_bytes, 10);
    assert!(
        second.stored.stored_bytes * 10 < first.stored.stored_bytes,
        "{} after {}",
        second.stored.stored_bytes,
        first.stored.stored_bytes
    );
    let out = place.path().join("out");
    restore(&sides.recovery, &second.snapshot, &out).await;
    assert_same_tree(&tree, &out);
}

/// A database that changes in place costs its changed pages, also when it grows and shrinks.
#[tokio::test]
async fn a_database_costs_its_changed_pages() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let path = tree.join("app.db");
    // More than two segments of a page map.
    fs::write(&path, scene::database(1, 9_000)).unwrap();
    let auto = CutterChoice::Auto;
    let sides =
        Sides::new(How { cutter: auto, read_all: false, threads: true, young: false }).await;
    let mut snapshots = vec![sides.backup(&tree).await.snapshot];
    let mut kept = vec![fs::read(&path).unwrap()];
    for round in 1..6_u64 {
        tick();
        let file = File::options().write(true).open(&path).unwrap();
        let pages: Vec<u64> = (0..20).map(|n| (n * 433 + round * 37) % 8_000).collect();
        for page in &pages {
            file.write_all_at(&noise(round * 1_000 + page, 4096), page * 4096).unwrap();
        }
        let pages_at_end = [9_000, 9_010, 8_190, 8_195, 9_100][usize::try_from(round).unwrap() - 1];
        file.set_len(pages_at_end * 4096 + round).unwrap();
        let report = sides.backup(&tree).await;
        // The last page is a piece of one, and holes are no data.
        assert!(report.stored.new_bytes <= 21 * 4096, "{}", report.stored.new_bytes);
        snapshots.push(report.snapshot);
        kept.push(fs::read(&path).unwrap());
    }
    for (snapshot, bytes) in snapshots.iter().zip(&kept) {
        let items = recall(&sides.recovery, snapshot).await;
        assert!(items[&scene::path("app.db")].bytes == *bytes, "snapshot {}", snapshot.short_id());
    }
    let out = place.path().join("out");
    restore(&sides.recovery, snapshots.last().unwrap(), &out).await;
    assert_same_tree(&tree, &out);
}

/// Blocks of large attributes count like those of data: they must not hide a hole.
#[tokio::test]
async fn a_hole_beside_large_attributes_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (name, bytes) in [("empty", 944), ("tail", 6_000)] {
        let file = File::create(tree.join(name)).unwrap();
        file.write_all_at(&noise(1, bytes - 944), 0).unwrap();
        file.set_len(u64::try_from(bytes).unwrap() + 4_096).unwrap();
        let label = [7; 600];
        rustix::fs::fsetxattr(&file, "user.label", &label, rustix::fs::XattrFlags::empty())
            .unwrap();
    }
    let auto = CutterChoice::Auto;
    let sides =
        Sides::new(How { cutter: auto, read_all: false, threads: false, young: false }).await;
    let snapshot = sides.backup(&tree).await.snapshot;
    let out = place.path().join("out");
    restore(&sides.recovery, &snapshot, &out).await;
    assert_same_tree(&tree, &out);
}
