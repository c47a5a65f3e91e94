//! A restore that is interrupted anywhere goes on where it was: the second run brings the rest, and
//! fetches again at most what was on its way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use backstay::class::Class;
use backstay::destination::Overwrite;
use backstay::entry::TreePath;
use backstay::repo::snapshot::Snapshot;
use backstay::restore;
use backstay::store::{Counted, Store};

use super::scene::{
    KeyTexts, backup, database, init, into_directory, noise, open, part, scratch, store_of, tick,
    try_restore,
};
use crate::support::hooked::{Hooked, Step};
use crate::support::tree::{assert_same_tree, compare};

/// Longest GET of a restore.
const GET_BYTES: u64 = 8 << 20;

struct Stored {
    store: Arc<dyn Store>,
    keys: KeyTexts,
    snapshot: Snapshot,
    tree: tempfile::TempDir,
}

impl Stored {
    async fn new() -> Self {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("d")).unwrap();
        for number in 0..300_u64 {
            let path = tree.path().join(format!("d/small-{number}"));
            fs::write(path, noise(number, 2_000)).unwrap();
        }
        fs::hard_link(tree.path().join("d/small-1"), tree.path().join("link")).unwrap();
        fs::write(tree.path().join("large"), noise(1_000, 40 << 20)).unwrap();
        fs::write(tree.path().join("app.db"), database(1_001, 3_000)).unwrap();
        let readable = fs::Permissions::from_mode(0o555);
        fs::set_permissions(tree.path().join("d"), readable).unwrap();
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let repository = open(&store, 2, &keys.agent).await;
        let snapshot = backup(&repository, tree.path()).await.snapshot;
        Self { store, keys, snapshot, tree }
    }

    /// Restores and returns the bytes that were downloaded, the report unless it was cut off at
    /// `call`, and how many calls it took.
    async fn restore(
        &self,
        to: &Path,
        call: usize,
        overwrite: Overwrite,
    ) -> (u64, usize, Option<Result<restore::Report, restore::Error>>) {
        let counted = Arc::new(Counted::new(Arc::clone(&self.store)));
        let (gone, mut went) = tokio::sync::watch::channel(false);
        let hooked = Hooked::new(Arc::clone(&counted) as Arc<dyn Store>, move |number, _, _| {
            if number < call {
                return Step::Go;
            }
            gone.send_replace(true);
            Step::Hang
        });
        let store: Arc<dyn Store> = Arc::new(hooked.clone());
        let destination = into_directory(to, overwrite);
        let alive = Arc::downgrade(&destination);
        let run = async {
            let repository = open(&store, 3, &self.keys.recovery).await;
            try_restore(&repository, &self.snapshot, destination, &part(&TreePath::root())).await
        };
        let report = tokio::select! {
            biased;
            _ = went.wait_for(|gone| *gone) => None,
            report = run => Some(report),
        };
        // Tasks of a run that was cut off let go of the destination when the runtime gets to them.
        while alive.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        (counted.usage().downloaded_bytes, hooked.calls(), report)
    }
}

#[tokio::test]
async fn an_interrupted_restore_goes_on() {
    let stored = Stored::new().await;
    let place = scratch();
    let whole = place.path().join("whole");
    let (total_bytes, calls, report) = stored.restore(&whole, usize::MAX, Overwrite::Refuse).await;
    assert_eq!(report.unwrap().unwrap().damage, []);
    assert_same_tree(stored.tree.path(), &whole);
    assert!(calls > 10, "{calls} calls prove little");
    let mut saved = 0;
    for call in 0..calls {
        let out = place.path().join(format!("at-{call}"));
        let (first_bytes, _, cut_off) = stored.restore(&out, call, Overwrite::Refuse).await;
        assert!(cut_off.is_none());
        let (second_bytes, _, report) = stored.restore(&out, usize::MAX, Overwrite::Refuse).await;
        let report = report.unwrap().unwrap();
        assert_eq!((report.damage, report.shortfalls.listed), (vec![], vec![]), "call {call}");
        assert_same_tree(stored.tree.path(), &out);
        // Keys and tree are read twice; they are small here.
        let limit = total_bytes + GET_BYTES + (1 << 20);
        let fetched = first_bytes + second_bytes;
        assert!(fetched <= limit, "call {call}: {fetched} of {total_bytes} bytes");
        saved = saved.max(total_bytes - second_bytes.min(total_bytes));
        fs::remove_dir_all(&out).unwrap();
    }
    assert!(saved > total_bytes / 2, "no interrupted run was of much use: {saved}");
}

/// What each way of overwriting does with files that are the same, older, newer, or not ours.
#[tokio::test]
async fn overwriting_does_what_was_asked_for() {
    let stored = Stored::new().await;
    let place = scratch();
    for overwrite in [Overwrite::Refuse, Overwrite::IfChanged, Overwrite::Always, Overwrite::Never]
    {
        let out = place.path().join(format!("{overwrite:?}"));
        stored.restore(&out, usize::MAX, Overwrite::Refuse).await.2.unwrap().unwrap();
        tick();
        // Other bytes under the same size and time: only reading finds that.
        let disguised = out.join("app.db");
        let modified = disguised.metadata().unwrap().modified().unwrap();
        let mut bytes = fs::read(&disguised).unwrap();
        bytes[5_000] ^= 1;
        fs::write(&disguised, bytes).unwrap();
        let times = fs::FileTimes::new().set_modified(modified);
        fs::File::open(&disguised).unwrap().set_times(times).unwrap();
        fs::remove_file(out.join("link")).unwrap();
        fs::remove_file(out.join("d/small-7")).unwrap();
        fs::write(out.join("d/small-8"), "other").unwrap();
        fs::write(out.join("stranger"), "stranger").unwrap();

        let (fetched_bytes, _, report) = stored.restore(&out, usize::MAX, overwrite).await;
        let mut differ: Vec<String> = compare(stored.tree.path(), &out)
            .into_iter()
            .map(|difference| String::from_utf8(difference.path).unwrap())
            .collect();
        differ.dedup();
        match overwrite {
            Overwrite::Refuse => {
                assert_eq!(report.unwrap().unwrap_err().class(), Class::Refused);
                assert!(out.join("stranger").exists() && !out.join("link").exists());
                continue;
            }
            // Nobody looked at the bytes of d/small-1, so it gets no further name: link is a copy.
            Overwrite::IfChanged => assert_eq!(differ, ["app.db", "link", "stranger"]),
            Overwrite::Always => assert_eq!(differ, ["stranger"]),
            Overwrite::Never => {
                assert_eq!(differ, ["app.db", "d/small-8", "link", "stranger"]);
            }
        }
        let report = report.unwrap().unwrap();
        let copies = u64::from(overwrite != Overwrite::Always);
        assert_eq!((report.damage, report.shortfalls.count()), (vec![], copies));
        assert!(fetched_bytes < 16 << 20, "{overwrite:?} fetched {fetched_bytes}");
    }
}
