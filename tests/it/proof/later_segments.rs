//! Segments of later restore points: they come in order, `--delete` leaves them alone, and what cannot be
//! read of them is said.

use std::fs;
use std::sync::Arc;

use backstay::destination::Overwrite;
use backstay::destination::directory::{DirectoryDestination, Options as Into};
use backstay::facts::naming::SegmentNaming;
use backstay::repo::Repository;
use backstay::repo::id::SessionId;
use backstay::repo::layout::Place;
use backstay::repo::snapshot::Snapshot;
use backstay::restore::{self, Loss};
use backstay::source::{Source, WalOptions, WalSource};
use backstay::store::Store;
use bytes::Bytes;

use super::scene::{init, open, registers, scratch, store_of, tick, try_backup};

struct Log {
    store: Arc<dyn Store>,
    repository: Repository,
    first: Snapshot,
    place: tempfile::TempDir,
}

impl Log {
    /// Two restore points: the first has segments 1 and 2, the second 1 to 4.
    async fn new() -> Self {
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.recovery).await;
        let place = scratch();
        fs::create_dir(place.path().join("wal")).unwrap();
        let mut snapshots = Vec::new();
        for segments in [1..=3, 4..=5] {
            for number in segments {
                let name = format!("wal/{number:04}.log");
                fs::write(place.path().join(name), number.to_string()).unwrap();
            }
            tick();
            let options = WalOptions::new(
                "wal",
                place.path().join("wal"),
                SegmentNaming::parse("{number}.log").unwrap(),
            );
            let sources: [Box<dyn Source>; 1] = [Box::new(WalSource::new(options).unwrap())];
            snapshots.push(try_backup(&repository, &sources).await.unwrap().snapshot);
        }
        let first = snapshots.swap_remove(0);
        Self { store, repository, first, place }
    }

    async fn restore(&self, delete: bool) -> restore::Report {
        let path = self.place.path().join("back");
        let overwrite = if delete { Overwrite::Always } else { Overwrite::Refuse };
        let into = Into { path, overwrite, delete, ..Default::default() };
        let options = restore::Options {
            wal: restore::WalOptions { with_later_segments: true, ..Default::default() },
            delete,
            ..super::scene::part_of("wal")
        };
        let destination = Arc::new(DirectoryDestination::new(into));
        let report =
            super::scene::try_restore(&self.repository, &self.first, destination, &options);
        report.await.unwrap()
    }

    fn segments(&self) -> Vec<String> {
        let names = fs::read_dir(self.place.path().join("back")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

const ALL: [&str; 4] = ["0001.log", "0002.log", "0003.log", "0004.log"];

#[tokio::test]
async fn later_segments_follow_and_deleting_the_rest_leaves_them() {
    let log = Log::new().await;
    let report = log.restore(false).await;
    assert_eq!((report.damage, report.wal[0].later), (vec![], 2));
    assert_eq!(log.segments(), ALL);
    fs::write(log.place.path().join("back/9999.log"), "left over").unwrap();
    let report = log.restore(true).await;
    assert_eq!((report.damage, report.removed), (vec![], 1));
    assert_eq!(log.segments(), ALL);
}

/// Which segments follow is not known where a later register cannot be read. That is said, and nothing is
/// deleted.
#[tokio::test]
async fn an_unreadable_later_restore_point_is_named_and_nothing_deleted() {
    let log = Log::new().await;
    log.restore(false).await;
    fs::write(log.place.path().join("back/9999.log"), "left over").unwrap();
    let newest = registers(&*log.store).await[0];
    let place = Place { sequence: newest.sequence + 1, session: SessionId([9; 12]), ..newest };
    let rubbish = vec![Bytes::from_static(b"rubbish")];
    log.store.create(&place.register_key(), rubbish).await.unwrap();
    let report = log.restore(true).await;
    assert_eq!(report.removed, 0);
    assert!(report.damage.iter().any(|damage| damage.loss == Loss::LaterSegments));
    assert_eq!(log.segments().len(), ALL.len() + 1);
}
