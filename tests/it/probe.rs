//! The probe: it says A of stores that keep their promises, B of those that let two win, and nothing good
//! of those that show old or wrong things. And it leaves nothing behind but what it cannot delete.

use std::sync::Arc;

use backstay::class::Class;
use backstay::probe::{self, Deletion, Error, Options, SpeedOptions};
use backstay::store::{Counted, Key, LocalStore, MemoryStore, Store, StoreClass};
use backstay::world::World;
use futures::TryStreamExt;

use crate::support::fault::{FailAfter, Fault, Script};
use crate::support::liar::{Liar, Lie};

const QUICK: Options = Options { skip_listing: true };
const ALL: Options = Options { skip_listing: false };

async fn names(store: &dyn Store) -> Vec<String> {
    let rows: Vec<_> = store.list("").try_collect().await.unwrap();
    rows.iter().map(|row| row.key.as_str().to_owned()).collect()
}

async fn probe(store: &dyn Store) -> Result<probe::Report, Error> {
    probe::run(store, &World::system(), ALL).await
}

#[tokio::test]
async fn honest_stores_are_of_class_a_and_empty_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalStore::new(directory.path().join("repository"));
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::new()), Arc::new(local)];
    for store in stores {
        let report = probe(&*store).await.unwrap();
        assert_eq!(report.class, StoreClass::A, "{report:?}");
        assert_eq!((report.deletion, report.left_objects), (Deletion::Allowed, 0));
        assert!(report.findings.iter().any(|finding| finding.contains("1100 objects")));
        assert!(names(&*store).await.is_empty());
    }
}

#[tokio::test]
async fn stores_that_let_several_win_are_of_class_b() {
    for (lie, word) in [
        (Lie::IgnoresAbsent, "put-if-absent is not honoured"),
        (Lie::LooksFirst, "put-if-absent is not honoured"),
        (Lie::Flatters, "were told that they won"),
    ] {
        let store = Liar::new(lie);
        let report = probe(&store).await.unwrap();
        assert_eq!(report.class, StoreClass::B, "{lie:?}");
        let first = &report.findings[0];
        assert!(first.starts_with("in 5 of 5 races") && first.contains(word), "{lie:?}: {first}");
        let is_late =
            report.findings.iter().any(|finding| finding.contains("when a key was taken"));
        assert_eq!(is_late, lie != Lie::LooksFirst, "{lie:?}");
        assert!(report.class.cost().unwrap().contains("as safe"));
        assert!(names(&store).await.is_empty());
    }
}

#[tokio::test]
async fn stores_that_show_old_or_wrong_things_are_refused() {
    for (lie, word) in [
        (Lie::ListsLate, "a listing shows 0 of 1 objects that were stored before it began"),
        (Lie::ListsOnePage, "1100 objects were stored, and a listing shows 1000"),
        (Lie::ListsBackwards, "or in another order"),
        (Lie::RemembersAbsence, "could not be read right after"),
        (Lie::ShiftsRanges, "of an object came back wrong"),
        (Lie::WrongTail, "the end of an object came back wrong"),
        (Lie::TurnsABit, "came back as something else"),
    ] {
        let store = Liar::new(lie);
        let error = probe(&store).await.unwrap_err();
        assert_eq!(error.class(), Class::Config, "{lie:?}");
        let text = error.to_string();
        assert!(text.starts_with("the liar cannot hold a repository: "), "{text}");
        assert!(text.contains(word), "{lie:?}: {text}");
        assert!(names(&store).await.is_empty(), "{lie:?}");
    }
}

#[tokio::test]
async fn without_the_right_to_delete_the_many_keys_are_made_once() {
    for (lie, deletion) in
        [(Lie::DeniesDelete, Deletion::Denied), (Lie::IgnoresDelete, Deletion::Ignored)]
    {
        let store = Arc::new(Liar::new(lie));
        let first = probe(&*store).await.unwrap();
        assert_eq!((first.class, first.deletion), (StoreClass::A, deletion));
        let left = names(&*store).await.len() as u64;
        assert_eq!(first.left_objects, left);
        assert_eq!(left, 1_110);

        let inner = Arc::<Liar>::clone(&store);
        let counted = Counted::new(inner);
        let second = probe(&counted).await.unwrap();
        assert!(counted.usage().put_requests < 100, "{:?}", counted.usage());
        assert_eq!(names(&*store).await.len() as u64, left + second.left_objects);
        assert!(second.findings.iter().any(|finding| finding.contains("earlier probe")));
        let all = names(&*store).await;
        assert!(all.iter().all(|name| name.starts_with("probe/")), "{all:?}");

        // Some of them were deleted by someone who may.
        let lost = all.iter().find(|name| name.starts_with("probe/listing-")).unwrap();
        if lie == Lie::DeniesDelete {
            let honest = MemoryStore::new();
            for name in all.iter().filter(|name| *name != lost) {
                let content = store.get(&Key::new(name), 1 << 20).await.unwrap();
                honest.create(&Key::new(name), vec![content]).await.unwrap();
            }
            assert_eq!(probe(&honest).await.unwrap().class, StoreClass::A);
        }
    }
}

#[tokio::test]
async fn what_may_not_be_written_to_is_said_to_be_denied() {
    let error = probe(&Liar::new(Lie::DeniesCreate)).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied);
}

#[tokio::test]
async fn two_probes_do_not_disturb_each_other() {
    for lie in [Lie::Honest, Lie::DeniesDelete] {
        let store = Liar::new(lie);
        let (one, other) = tokio::join!(probe(&store), probe(&store));
        assert_eq!(one.unwrap().class, StoreClass::A);
        assert_eq!(other.unwrap().class, StoreClass::A);
    }
}

/// Whichever call fails, the failure comes out as what it is, and all objects are gone.
#[tokio::test]
async fn a_probe_that_fails_tidies_up() {
    let calls = FailAfter::scripted(Arc::new(MemoryStore::new()), Script::default());
    probe::run(&calls, &World::system(), QUICK).await.unwrap();
    let calls = calls.calls();
    let first_sweep = calls.iter().rposition(|call| call.method != "delete").unwrap() + 1;
    assert!(first_sweep > 100, "{first_sweep}");
    for call in 0..first_sweep {
        for fault in [Fault::Before(Class::Transient), Fault::After(Class::Transient)] {
            let store = FailAfter::once(Arc::new(MemoryStore::new()), call, fault);
            match probe::run(&store, &World::system(), QUICK).await {
                Err(error) => assert_eq!(error.class(), Class::Transient, "call {call}: {error}"),
                // What is refused as it should be has no answer that could be lost.
                Ok(_) => assert_eq!(fault, Fault::After(Class::Transient), "call {call}"),
            }
            assert!(names(&*store.healed()).await.is_empty(), "call {call}");
        }
    }
}

#[tokio::test]
async fn a_probe_that_is_killed_leaves_nothing_elsewhere() {
    for calls in [1, 5, 50, 90, 100] {
        let store = FailAfter::kill(Arc::new(MemoryStore::new()), calls);
        let error = probe::run(&store, &World::system(), QUICK).await.unwrap_err();
        assert_eq!(error.class(), Class::Interrupted);
        let left = names(&*store.healed()).await;
        assert!(left.iter().all(|name| name.starts_with("probe/")), "{left:?}");
    }
}

#[tokio::test]
async fn a_test_measures_and_tells_what_the_credential_could() {
    let options = SpeedOptions { transfer_bytes: 1 << 20 };
    for (lie, may_overwrite, left) in [
        (Lie::Honest, true, 0..1),
        (Lie::DeniesDelete, false, 1_100..1_150),
        (Lie::Flatters, false, 0..1),
    ] {
        let store = Liar::new(lie);
        let test = probe::test(&store, &World::system(), options).await.unwrap();
        assert_eq!(test.may_overwrite, may_overwrite, "{lie:?}");
        let upload = test.speed.upload.unwrap();
        assert_eq!(upload.bytes, 1 << 20, "{lie:?}");
        assert!(upload.bytes_per_second() > 0.0);
        assert_eq!(test.speed.download.bytes, upload.bytes, "{lie:?}");
        let names = names(&store).await;
        assert!(left.contains(&(names.len() as u64)), "{lie:?}: {}", names.len());
        assert_eq!(test.report.left_objects, names.len() as u64, "{lie:?}");
        if lie == Lie::DeniesDelete {
            let again = probe::test(&store, &World::system(), options).await.unwrap();
            assert_eq!(again.speed.upload, None);
            assert_eq!(again.speed.download.bytes, 1 << 20);
        }
    }
}
