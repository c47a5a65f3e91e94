//! Files that change, vanish, shrink or cannot be read while a backup reads them: each is counted and
//! named, the snapshot is partial and never looks clean, all other files are right, and the next backup
//! makes good.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use backstay::entry::TreePath;
use backstay::repo::Repository;
use backstay::source::{DirectoryOptions, DirectorySource, Fault, Problem, Source};

use super::scene::{
    DATA, backup, database, init, noise, open, path, recall, recall_damaged, scratch, snapshots,
    store_of, tick, try_backup,
};
use crate::support::watched::{Moment, Watched};

/// A file that something happens to: in a batch with others, in pieces, page by page.
const VICTIMS: [&str; 3] = ["b-small", "b-large", "b.db"];

/// What happens to it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    VanishesBeforeOpening,
    ReplacedBeforeOpening,
    BecomesALinkBeforeOpening,
    CannotBeOpened,
    CannotBeReadFromTheStart,
    CannotBeReadToTheEnd,
    Shrinks,
    ChangesAtItsEnd,
    GrowsAtItsEnd,
    GetsAnotherMode,
}

const RACES: [Race; 10] = [
    Race::VanishesBeforeOpening,
    Race::ReplacedBeforeOpening,
    Race::BecomesALinkBeforeOpening,
    Race::CannotBeOpened,
    Race::CannotBeReadFromTheStart,
    Race::CannotBeReadToTheEnd,
    Race::Shrinks,
    Race::ChangesAtItsEnd,
    Race::GrowsAtItsEnd,
    Race::GetsAnotherMode,
];

impl Race {
    fn fault(self) -> Fault {
        match self {
            Self::VanishesBeforeOpening => Fault::Vanished,
            Self::CannotBeOpened | Self::CannotBeReadFromTheStart | Self::CannotBeReadToTheEnd => {
                Fault::Unreadable
            }
            Self::Shrinks => Fault::Shrunk,
            _ => Fault::Changed,
        }
    }

    /// Whether the snapshot has bytes of the file, though perhaps of two states.
    fn leaves_bytes(self) -> bool {
        matches!(
            self,
            Self::ChangesAtItsEnd | Self::GrowsAtItsEnd | Self::GetsAnotherMode | Self::Shrinks
        )
    }

    /// Lets it happen, if this is the moment.
    fn at(self, moment: &Moment, victim: &TreePath, tree: &Path) -> Result<(), Problem> {
        let file = tree.join(victim.to_string());
        let unreadable = || {
            let path = victim.clone();
            Err(Problem { path, fault: Fault::Unreadable, detail: "input/output error".into() })
        };
        match (self, moment) {
            (_, Moment::Opening(path)) if path == victim => match self {
                Self::VanishesBeforeOpening => fs::remove_file(&file).unwrap(),
                Self::ReplacedBeforeOpening => {
                    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
                    fs::write(tree.join("../other"), noise(9, size)).unwrap();
                    fs::rename(tree.join("../other"), &file).unwrap();
                }
                Self::BecomesALinkBeforeOpening => {
                    fs::remove_file(&file).unwrap();
                    std::os::unix::fs::symlink("a-first", &file).unwrap();
                }
                Self::CannotBeOpened => return unreadable(),
                _ => {}
            },
            (Self::CannotBeReadFromTheStart, Moment::Reading(path, _)) if path == victim => {
                return unreadable();
            }
            (Self::CannotBeReadToTheEnd, Moment::Reading(path, offset))
                if path == victim && (*offset > 0 || victim.name() == b"b-small") =>
            {
                return unreadable();
            }
            (Self::Shrinks, Moment::Reading(path, _)) if path == victim => {
                File::options().write(true).open(&file).unwrap().set_len(1_000).unwrap();
            }
            (_, Moment::Closing(path)) if path == victim => self.at_the_end(&file),
            _ => {}
        }
        Ok(())
    }

    fn at_the_end(self, file: &Path) {
        tick();
        match self {
            Self::ChangesAtItsEnd => {
                let file = File::options().write(true).open(file).unwrap();
                file.write_all_at(b"changed", 500).unwrap();
            }
            Self::GrowsAtItsEnd => {
                File::options().append(true).open(file).unwrap().write_all(b"more").unwrap();
            }
            Self::GetsAnotherMode => {
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
            _ => {}
        }
    }
}

fn make_tree(tree: &Path) {
    fs::create_dir(tree).unwrap();
    fs::write(tree.join("a-first"), noise(1, 5_000)).unwrap();
    fs::write(tree.join("z-last"), noise(2, 5_000)).unwrap();
    fs::write(tree.join("z-large"), noise(3, 2_000_000)).unwrap();
    fs::write(tree.join("b-small"), noise(4, 5_000)).unwrap();
    fs::write(tree.join("b-large"), noise(5, 6_000_000)).unwrap();
    fs::write(tree.join("b.db"), database(6, 1_500)).unwrap();
}

async fn happens(race: Race, victim: &str, has_parent: bool) {
    let what = format!("{victim} {race:?}, parent {has_parent}");
    let place = scratch();
    let tree = place.path().join("tree");
    make_tree(&tree);
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    let repository = open(&store, 2, &keys.recovery).await;
    tick();
    if has_parent {
        backup(&repository, &tree).await;
        tick();
        // So that it is read again.
        File::options().append(true).open(tree.join(victim)).unwrap().write_all(b"+").unwrap();
        tick();
    }
    let path = path(victim);
    let source = DirectorySource::new(DirectoryOptions::new(DATA, &tree)).unwrap();
    let raced = {
        let (path, tree) = (path.clone(), tree.clone());
        Watched::boxed(source, move |moment| race.at(moment, &path, &tree))
    };
    is_partial(&repository, raced, race, &path, &what).await;

    // The next one finds the file as it is now, and is clean.
    tick();
    let next = backup(&repository, &tree).await;
    assert_eq!((next.problems, next.snapshot.partial), (vec![], false), "{what}");
    let items = recall(&repository, &next.snapshot).await;
    for entry in fs::read_dir(&tree).unwrap() {
        let entry = entry.unwrap();
        let name = TreePath::from_bytes(entry.file_name().into_encoded_bytes()).unwrap();
        if entry.file_type().unwrap().is_file() {
            let right = fs::read(entry.path()).unwrap();
            assert!(items[&name].bytes == right, "{what}: {name} next time");
        }
    }
    let there = fs::symlink_metadata(tree.join(victim)).is_ok();
    assert_eq!(items.contains_key(&path), there, "{what}");
}

async fn is_partial(
    repository: &Repository,
    raced: Box<dyn Source>,
    race: Race,
    victim: &TreePath,
    what: &str,
) {
    let report = try_backup(repository, &[raced]).await.unwrap();
    let named: Vec<_> =
        report.problems.iter().map(|(source, p)| (source.as_str(), &p.path, p.fault)).collect();
    assert_eq!(named, [(DATA, victim, race.fault())], "{what}");
    // What is stored says the same as the report.
    let stored = snapshots(repository).await.remove(0);
    assert_eq!(stored.id, report.snapshot.id);
    let record = stored.source(DATA).unwrap();
    assert!(stored.partial && record.partial, "{what}");
    assert_eq!((record.problem_count, record.problems.len()), (1, 1), "{what}");
    assert_eq!(record.problems[0].path, victim.as_bytes(), "{what}");
    assert_eq!(record.problems[0].fault, race.fault().as_str(), "{what}");

    let (items, restored) = recall_damaged(repository, &stored).await.unwrap();
    assert_eq!(restored.damage, [], "{what}");
    let incomplete: &[TreePath] =
        if race == Race::VanishesBeforeOpening { &[] } else { std::slice::from_ref(victim) };
    assert_eq!(restored.incomplete, incomplete, "{what}");
    assert_eq!(items.contains_key(victim), race.leaves_bytes(), "{what}");
    for (name, right) in [("a-first", noise(1, 5_000)), ("z-last", noise(2, 5_000))] {
        assert!(items[&path(name)].bytes == right, "{what}: {name}");
    }
    assert!(items[&path("z-large")].bytes == noise(3, 2_000_000), "{what}");
}

#[tokio::test]
async fn every_race_is_named_and_made_good() {
    for victim in VICTIMS {
        for race in RACES {
            for has_parent in [false, true] {
                happens(race, victim, has_parent).await;
            }
        }
    }
}
