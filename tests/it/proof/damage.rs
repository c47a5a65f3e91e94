//! Damage of every kind of object, in every way: what a restore brings is right, what it cannot bring
//! it names, and a backup on top never makes a snapshot that restores wrongly.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backstay::check;
use backstay::class::Class;
use backstay::entry::TreePath;
use backstay::repo::id::RepositoryId;
use backstay::repo::layout;
use backstay::repo::pack::{HEADER_LIMIT_BYTES, Header, PackKind, Trailer};
use backstay::repo::snapshot::Snapshot;
use backstay::repo::{self, Repository};
use backstay::restore::{self, Loss};
use backstay::store::{Key, Store};
use bytes::Bytes;

use super::scene::{
    KeyTexts, backup, database, directory, init, later, noise, objects, open, recall,
    recall_damaged, store_of, tick, try_backup, try_open,
};
use crate::support::kept::Items;

/// Bits that are flipped in each object, spread evenly.
const FLIPS: usize = 64;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Delete,
    Truncate(usize),
    Flip { byte: usize, bit: u8 },
}

impl Harm {
    fn all(length: usize) -> Vec<Self> {
        let truncated = [0, length / 2, length - 1].map(Self::Truncate);
        let flip = |n: usize| {
            let byte = (length - 1) * n / (FLIPS - 1);
            Self::Flip { byte, bit: u8::try_from(n % 8).unwrap() }
        };
        [Self::Delete].into_iter().chain(truncated).chain((0..FLIPS).map(flip)).collect()
    }

    fn apply(self, bytes: &Bytes) -> Option<Bytes> {
        match self {
            Self::Delete => None,
            Self::Truncate(length) => Some(bytes.slice(..length)),
            Self::Flip { byte, bit } => {
                let mut bytes = bytes.to_vec();
                bytes[byte] ^= 1 << bit;
                Some(bytes.into())
            }
        }
    }
}

/// A repository of two snapshots.
struct Sound {
    keys: KeyTexts,
    objects: Vec<(Key, Bytes)>,
    snapshots: Vec<(Snapshot, Items)>,
    tree: tempfile::TempDir,
}

impl Sound {
    async fn new() -> Self {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| fs::write(tree.path().join(name), bytes).unwrap();
        for number in 0..20_u64 {
            write(&format!("small-{number}"), noise(number, 700));
        }
        write("large", noise(100, 1_500_000));
        write("app.db", database(101, 60));
        tick();
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.recovery).await;
        let mut snapshots = Vec::new();
        for round in 0..2_u64 {
            tick();
            write("small-3", noise(200 + round, 5_000));
            write("new", noise(210 + round, 5_000));
            let snapshot = backup(&repository, tree.path()).await.snapshot;
            let items = recall(&repository, &snapshot).await;
            snapshots.push((snapshot, items));
        }
        // What the next backup finds.
        tick();
        write("small-5", noise(300, 5_000));
        write("app.db", database(102, 60));
        tick();
        Self { keys, objects: objects(&*store).await, snapshots, tree }
    }

    async fn harmed(&self, key: &Key, harm: Harm) -> Arc<dyn Store> {
        let harmed = self.objects.iter().filter_map(|(name, bytes)| {
            let bytes = if name == key { harm.apply(bytes) } else { Some(bytes.clone()) };
            bytes.map(|bytes| (name.clone(), bytes))
        });
        store_of(harmed.collect::<Vec<_>>()).await
    }
}

/// Whether a restore of a snapshot must find this harm.
fn must_be_found(key: &Key, bytes: &Bytes, harm: Harm) -> bool {
    let Some(id) = layout::parse_pack(key) else {
        return key.as_str().starts_with(layout::SNAPSHOT);
    };
    let trailer = Trailer::parse(id, bytes, bytes.len() as u64).unwrap();
    let frames_end = trailer.directory_offset_bytes as usize;
    let head = &bytes[..bytes.len().min(usize::try_from(HEADER_LIMIT_BYTES).unwrap())];
    let header = Header::parse(repository_id(bytes), id, head).unwrap();
    let frames = usize::from(header.length_bytes)..frames_end;
    match harm {
        Harm::Delete => true,
        Harm::Truncate(length) => length < frames_end,
        Harm::Flip { byte, .. } => frames.contains(&byte),
    }
}

fn repository_id(pack: &Bytes) -> RepositoryId {
    RepositoryId(pack[12..28].try_into().unwrap())
}

fn is_damage(class: Class) -> bool {
    matches!(class, Class::Damaged | Class::Missing)
}

/// Restores a snapshot from a harmed repository; true if anything was found wrong. Whatever came must
/// be right.
async fn restores_right(
    repository: &Repository,
    snapshot: &Snapshot,
    right: &Items,
    what: &str,
) -> bool {
    match recall_damaged(repository, snapshot).await {
        Ok((items, report)) => {
            judge(&items, &report, right, what);
            !report.damage.is_empty()
        }
        Err(error) => {
            assert!(is_damage(error.class()), "{what}: {error}");
            true
        }
    }
}

/// Every file that came is right, every one that did not come is named, and nothing is named that came
/// but directories that stand in for what is lost.
fn judge(items: &Items, report: &restore::Report, right: &Items, what: &str) {
    let is_lost = |path: &TreePath, damage: &restore::Damage| match &damage.loss {
        Loss::Entries { after } => {
            after.as_ref().is_none_or(|after| after < path) && *path <= damage.path
        }
        Loss::Content => damage.path == *path,
        _ => false,
    };
    for (path, item) in right {
        let lost = report.damage.iter().any(|damage| is_lost(path, damage));
        let stand_in = report
            .damage
            .iter()
            .any(|damage| damage.loss == Loss::Attributes && damage.path == *path);
        match items.get(path) {
            Some(found) if stand_in => {
                assert!(lost && found.entry.is_directory(), "{what}: {path} stands in for nothing");
            }
            Some(_) if lost => panic!("{what}: {path} is called damaged, and there"),
            Some(found) => assert!(found == item, "{what}: {path} is wrong and not named"),
            None => assert!(lost, "{what}: {path} is missing and not named"),
        }
    }
    assert!(items.keys().all(|path| right.contains_key(path)), "{what}: something was made up");
}

/// A backup on top: what it made restores rightly. It may fail with a word only where what is harmed
/// rules the repository.
async fn backup_is_right(
    sound: &Sound,
    store: &Arc<dyn Store>,
    key: &Key,
    right: &Items,
    what: &str,
) {
    let agent = match try_open(store, later(5), &sound.keys.agent).await {
        Ok(agent) => agent,
        Err(error) => return assert_open_error(&error, what),
    };
    match try_backup(&agent, &[directory(sound.tree.path())]).await {
        Ok(report) => {
            assert_eq!(report.problems, [], "{what}");
            let Ok(repository) = try_open(store, later(6), &sound.keys.recovery).await else {
                // The envelope is what is damaged: an agent does not need it.
                return;
            };
            restores_right(&repository, &report.snapshot, right, what).await;
        }
        Err(error) => {
            let rules = key.as_str().starts_with(layout::CONFIG);
            assert!(rules && is_damage(error.class()), "{what}: {error}");
        }
    }
}

fn assert_open_error(error: &repo::Error, what: &str) {
    let classes = [Class::Damaged, Class::Missing, Class::Denied, Class::Newer];
    assert!(classes.contains(&error.class()), "{what}: {error}");
}

/// Harms the objects under a prefix in every way.
async fn every_harm(prefix: &str, kind: Option<PackKind>) {
    let sound = Sound::new().await;
    let whole = store_of(sound.objects.clone()).await;
    let repository = open(&whole, 7, &sound.keys.recovery).await;
    let report = backup(&repository, sound.tree.path()).await;
    let next = recall(&repository, &report.snapshot).await;
    let (mut harms, mut found) = (0, 0);
    for (key, bytes) in &sound.objects {
        let is_kind = kind.is_none_or(|kind| bytes[8] == kind as u8);
        if !key.as_str().starts_with(prefix) || !is_kind {
            continue;
        }
        for harm in Harm::all(bytes.len()) {
            harms += 1;
            let what = format!("{key} {harm:?}");
            let store = sound.harmed(key, harm).await;
            found += usize::from(look(&sound, &store, key, bytes, harm, &what).await);
            backup_is_right(&sound, &store, key, &next, &what).await;
        }
    }
    assert!(harms >= FLIPS, "{harms} harms under {prefix}");
    println!("{prefix}: {found} of {harms} harms were found by a restore");
}

/// Opens and restores a harmed repository. True if anything was found wrong.
async fn look(
    sound: &Sound,
    store: &Arc<dyn Store>,
    key: &Key,
    bytes: &Bytes,
    harm: Harm,
    what: &str,
) -> bool {
    let repository = match try_open(store, later(4), &sound.keys.recovery).await {
        Ok(repository) => repository,
        Err(error) => {
            assert!(key.as_str().starts_with(layout::CONFIG), "{what}: {error}");
            assert_open_error(&error, what);
            return true;
        }
    };
    assert!(!key.as_str().starts_with(layout::CONFIG), "{what}: a harmed config was opened");
    let mut found = false;
    for (snapshot, right) in &sound.snapshots {
        let place = super::scene::registers(&**store)
            .await
            .into_iter()
            .find(|place| place.session == snapshot.id);
        let Some(place) = place else {
            assert_eq!(harm, Harm::Delete, "{what}");
            found = true;
            continue;
        };
        let read = repo::session::read_register(&repository, &place).await;
        let repo::session::Register::Snapshot(stored) = (match read {
            Ok(read) => read,
            Err(error) => {
                assert_eq!(place.register_key(), *key, "{what}: {error}");
                assert!(is_damage(error.class()), "{what}: {error}");
                assert!(error.to_string().contains(key.as_str()), "{what}: {error}");
                found = true;
                continue;
            }
        }) else {
            panic!("{what}: became an abort record")
        };
        found |= restores_right(&repository, &stored, right, what).await;
    }
    checked(&repository, sound, store, key, harm, found, what).await;
    if must_be_found(key, bytes, harm) {
        assert!(found, "{what}: nobody noticed");
    }
    if [layout::SESSION, layout::INDEX].iter().any(|prefix| key.as_str().starts_with(prefix)) {
        assert!(!found, "{what}: a restore needs it");
    }
    found
}

/// `check` finds what a restore finds and more: any change of a byte of a pack or an index table, and
/// says so with either key. What it cannot miss is what nothing speaks of any more.
async fn checked(
    repository: &Repository,
    sound: &Sound,
    store: &Arc<dyn Store>,
    key: &Key,
    harm: Harm,
    found: bool,
    what: &str,
) {
    let agent = open(store, 8, &sound.keys.agent).await;
    let kind = |prefix: &str| key.as_str().starts_with(prefix);
    let unspoken = kind(layout::SESSION)
        || harm == Harm::Delete && (kind(layout::SNAPSHOT) || kind(layout::INDEX));
    let levels = [
        check::Options { names_only: true, read_data: None },
        check::Options { names_only: false, read_data: None },
        check::Options { names_only: false, read_data: Some(check::Share::All) },
    ];
    let mut before = 0;
    for (level, options) in levels.into_iter().enumerate() {
        for repository in [repository, &agent] {
            let report = check::run(repository, options, Arc::default()).await.unwrap();
            let names = |finding: &check::Finding| {
                finding.object.contains(key.as_str()) || finding.reason.contains(key.as_str())
            };
            let named = report.findings.iter().any(names);
            let what = format!("{what}, level {level}");
            assert_eq!(report.findings.is_empty(), !named, "{what}: {:?}", report.findings);
            assert!(usize::from(named) >= before, "{what}: a deeper look sees less");
            if unspoken {
                assert!(!named, "{what}");
            } else if level == 2 {
                assert!(named, "{what}: check found nothing");
            }
            if level == 2 && found && kind(layout::PACK) {
                let touched = report.findings.iter().flat_map(|f| &f.snapshots).next();
                assert!(touched.is_some(), "{what}: names no snapshot");
            }
            before = before.max(usize::from(named));
        }
    }
}

#[tokio::test]
async fn harmed_configs_sessions_and_snapshots() {
    for prefix in [layout::CONFIG, layout::SESSION, layout::SNAPSHOT] {
        every_harm(prefix, None).await;
    }
}

#[tokio::test]
async fn harmed_index_tables() {
    every_harm(layout::INDEX, None).await;
}

#[tokio::test]
async fn harmed_data_packs() {
    every_harm(layout::PACK, Some(PackKind::Data)).await;
}

#[tokio::test]
async fn harmed_metadata_packs() {
    every_harm(layout::PACK, Some(PackKind::Metadata)).await;
}

/// Damage on disk: the file that lost bytes is named and absent, its further names too, all others are
/// there, and the marker of an unfinished restore stays.
#[tokio::test]
async fn a_damaged_file_is_named_with_all_its_names() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a-lost"), noise(1, 2_000_000)).unwrap();
    fs::write(tree.path().join("b-kept"), noise(2, 3_000)).unwrap();
    fs::hard_link(tree.path().join("a-lost"), tree.path().join("c-lost-too")).unwrap();
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    // A pack for each, so that only one is lost.
    let lost = backup(&repository, tree.path()).await.snapshot;
    let data = lost.packs.iter().map(|pack| layout::pack(pack.id));
    let all = objects(&*store).await;
    let pack = all.iter().find(|(key, bytes)| data.clone().any(|d| d == *key) && bytes[8] == 1);
    let (key, bytes) = pack.unwrap();
    let trailer =
        Trailer::parse(layout::parse_pack(key).unwrap(), bytes, bytes.len() as u64).unwrap();
    // In the middle of the frames: those of the large file.
    let byte = trailer.directory_offset_bytes as usize / 2;
    let harmed: Vec<_> = all
        .iter()
        .map(|(name, bytes)| {
            let flip = Harm::Flip { byte, bit: 0 };
            let bytes = if name == key { flip.apply(bytes).unwrap() } else { bytes.clone() };
            (name.clone(), bytes)
        })
        .collect();
    let store = store_of(harmed).await;
    let repository = open(&store, 3, &keys.recovery).await;
    let out = tempfile::tempdir().unwrap();
    let destination =
        super::scene::into_directory(out.path(), backstay::destination::Overwrite::Refuse);
    let options = super::scene::part(&TreePath::root());
    let report =
        super::scene::try_restore(&repository, &lost, destination, &options).await.unwrap();
    let mut named: Vec<String> = report.damage.iter().map(|d| d.path.to_string()).collect();
    named.sort();
    assert_eq!(named, ["a-lost", "c-lost-too"]);
    let there = |name: &str| Path::exists(&out.path().join(name));
    assert!(!there("a-lost") && !there("c-lost-too"));
    assert_eq!(fs::read(out.path().join("b-kept")).unwrap(), noise(2, 3_000));
}

/// A tree of many leaves of which one frame is damaged: what other leaves say is restored.
#[tokio::test]
async fn a_damaged_leaf_costs_only_its_own_entries() {
    let tree = super::scene::scratch();
    fs::create_dir(tree.path().join("crowd")).unwrap();
    for number in 0..40_000 {
        fs::write(tree.path().join(format!("crowd/file-with-a-long-name-{number:06}")), "")
            .unwrap();
    }
    fs::write(tree.path().join("last"), "last").unwrap();
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    let snapshot = backup(&repository, tree.path()).await.snapshot;
    let right = recall(&repository, &snapshot).await;
    let harmed = objects(&*store).await.into_iter().map(|(key, bytes)| {
        let is_metadata =
            layout::parse_pack(&key).is_some() && bytes[8] == PackKind::Metadata as u8;
        let flip = Harm::Flip { byte: 5_000, bit: 0 };
        let bytes = if is_metadata { flip.apply(&bytes).unwrap() } else { bytes };
        (key, bytes)
    });
    let store = store_of(harmed.collect::<Vec<_>>()).await;
    let repository = open(&store, 3, &keys.recovery).await;
    let (items, report) = recall_damaged(&repository, &snapshot).await.unwrap();
    assert_ne!(report.damage, []);
    assert!(items.len() > 5_000, "{} of {} entries came", items.len(), right.len());
    assert!(items[&super::scene::path("last")] == right[&super::scene::path("last")]);
}

/// What the runbook for a damaged pack says: move it away, read everything again. The next snapshot is
/// whole then, whatever the pack held.
#[tokio::test]
async fn a_lost_pack_is_made_up_for_by_reading_all() {
    let sound = Sound::new().await;
    let sane = open(&store_of(sound.objects.clone()).await, 10, &sound.keys.recovery).await;
    let right = recall(&sane, &backup(&sane, sound.tree.path()).await.snapshot).await;
    let mut packs = 0;
    for (key, _) in &sound.objects {
        if !key.as_str().starts_with(layout::PACK) {
            continue;
        }
        packs += 1;
        let store = sound.harmed(key, Harm::Delete).await;
        let agent = open(&store, 11, &sound.keys.agent).await;
        let options = backstay::backup::Options { read_all: true, ..super::scene::job() };
        let sources = [directory(sound.tree.path())];
        let report = backstay::backup::run(&agent, &sources, &options, Arc::default()).await;
        let owner = open(&store, 12, &sound.keys.recovery).await;
        let whole = recall(&owner, &report.unwrap().snapshot).await;
        assert!(whole == right, "{key}");
    }
    assert!(packs >= 4);
}
