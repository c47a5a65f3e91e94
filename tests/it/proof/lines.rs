//! Whole backups and restores over lines that break and with servers that die, at real servers: each ends
//! in success with nothing stored twice, or fails with the right class, leaves a valid repository, and the
//! next run uses what was stored.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backstay::class::Class;
use backstay::repo::snapshot::Snapshot;
use backstay::repo::{InitOptions, Repository};
use backstay::store::{self, Counted, Key, Settings, Store};
use backstay::world::World;
use backstay::{backup, check};
use futures::TryStreamExt as _;

use super::scene::{
    KeyTexts, database, directory, init, job, noise, restore, scratch, tick, try_open,
};
use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, Direction, HttpProxy, Mode, Reply, Rule, TcpProxy};
use crate::support::seaweed::Seaweed;
use crate::support::sshd::{Kind, Sshd};
use crate::support::tree::assert_same_tree;

const MIB: usize = 1 << 20;

/// What is backed up: a large file, and small ones.
fn tree(seed: u64, length: usize) -> tempfile::TempDir {
    let tree = scratch();
    fs::write(tree.path().join("large"), noise(seed, length)).unwrap();
    for number in 0..50_u64 {
        fs::write(tree.path().join(format!("small-{number}")), noise(number, 3_000)).unwrap();
    }
    tick();
    tree
}

fn open_store(url: &str, environment: std::collections::BTreeMap<String, String>) -> Arc<Counted> {
    store::open(url, &Settings::with_environment(environment)).unwrap()
}

/// A repository at a place that may fail.
struct At {
    store: Arc<dyn Store>,
    keys: KeyTexts,
}

impl At {
    async fn new(store: Arc<Counted>) -> Self {
        let store: Arc<dyn Store> = store;
        let keys = init(&store, 1).await;
        Self { store, keys }
    }

    async fn open(&self) -> Repository {
        try_open(&self.store, World::system(), &self.keys.recovery).await.unwrap()
    }

    async fn back_up(&self, tree: &Path) -> Result<Snapshot, backup::Error> {
        self.back_up_in(32 * MIB, tree).await
    }

    /// In packs of so many bytes.
    async fn back_up_in(&self, pack_bytes: usize, tree: &Path) -> Result<Snapshot, backup::Error> {
        let mut options = job();
        options.writer.pack_bytes = pack_bytes;
        let repository = self.open().await;
        let report = backup::run(&repository, &[directory(tree)], &options, Arc::default()).await?;
        assert!(!report.snapshot.partial);
        Ok(report.snapshot)
    }

    /// Restores, and compares with the tree.
    async fn prove(&self, snapshot: &Snapshot, tree: &Path) {
        let to = scratch();
        restore(&self.open().await, snapshot, to.path()).await;
        assert_same_tree(tree, &to.path().join(""));
    }

    /// Bytes of all packs.
    async fn pack_bytes(&self) -> u64 {
        let rows: Vec<_> = self.store.list("pack/").try_collect().await.unwrap();
        rows.iter().map(|row| row.size_bytes).sum()
    }

    async fn check(&self) {
        let options = check::Options { read_data: Some(check::Share::All), ..Default::default() };
        let report = check::run(&self.open().await, options, Arc::default()).await.unwrap();
        assert_eq!(report.findings, []);
    }
}

/// All of `length` random bytes, and little else.
fn assert_stored_once(stored_bytes: u64, length: usize) {
    let most = length as u64 + length as u64 / 50 + MIB as u64;
    assert!(stored_bytes <= most, "{stored_bytes} bytes of packs for {length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_needs_no_right_to_overwrite_or_delete() {
    let proxy = HttpProxy::start(moto().endpoint());
    proxy.set_mode(Mode::LeastRights);
    let environment = Moto::environment_via(proxy.address());
    let at = At::new(open_store(&Moto::url("lines-rights"), environment)).await;
    let tree = tree(1, 40 * MIB);
    let first = at.back_up(tree.path()).await.unwrap();
    fs::write(tree.path().join("small-1"), "changed").unwrap();
    tick();
    let second = at.back_up(tree.path()).await.unwrap();
    assert_ne!(first.id, second.id);
    at.prove(&second, tree.path()).await;
    at.check().await;
    for request in proxy.requests() {
        assert_ne!(request.method, "DELETE", "{request:?}");
        assert_ne!(request.status, Some(403), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_put_if_absent_is_backed_up_to_as_well() {
    let proxy = HttpProxy::start(moto().endpoint());
    proxy.set_mode(Mode::Liar);
    let environment = Moto::environment_via(proxy.address());
    let at = At::new(open_store(&Moto::url("lines-liar"), environment)).await;
    let tree = tree(2, 2 * MIB);
    let snapshot = at.back_up(tree.path()).await.unwrap();
    at.prove(&snapshot, tree.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_server_is_killed_and_restarted() {
    let seaweed = Arc::new(Seaweed::start());
    let proxy = HttpProxy::start(seaweed.endpoint());
    let environment = Seaweed::environment_via(proxy.address());
    let at = At::new(open_store(&Seaweed::url("lines-killed"), environment)).await;
    let length = 150 * MIB;
    let tree = tree(3, length);
    let killer = |puts: usize, gets: usize| {
        let (seaweed, before) = (Arc::clone(&seaweed), proxy.requests().len());
        let proxy = &proxy;
        move || {
            proxy.wait_until(|requests| {
                let since = requests.iter().skip(before);
                let count = |method: &str| since.clone().filter(|r| r.method == method).count();
                count("PUT") >= puts && count("GET") >= gets
            });
            seaweed.server().restart();
        }
    };
    let snapshot = std::thread::scope(|scope| {
        scope.spawn(killer(3, 0));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(at.back_up(tree.path()))
        })
    });
    let snapshot = snapshot.unwrap();
    assert_stored_once(at.pack_bytes().await, length);
    std::thread::scope(|scope| {
        scope.spawn(killer(0, 8));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(at.prove(&snapshot, tree.path()));
        });
    });
    at.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_revoked_and_space_runs_out_midway() {
    for (number, (status, code, class)) in [
        (403, "InvalidAccessKeyId", Class::Denied),
        (403, "AccessDenied", Class::Denied),
        (507, "XMinioStorageFull", Class::Full),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = HttpProxy::start(moto().endpoint());
        let environment = Moto::environment_via(proxy.address());
        let at = At::new(open_store(&Moto::url(&format!("lines-midway-{number}")), environment));
        let at = at.await;
        let length = 100 * MIB;
        let tree = tree(4, length);
        // The announcement and two packs pass.
        let reply = Reply::error(status, code);
        proxy.add(Rule::new(Action::Answer(reply)).method("PUT").skip(3));
        let error = at.back_up(tree.path()).await.unwrap_err();
        assert_eq!(error.class(), class, "{code}: {error:?}");
        proxy.clear();
        at.check().await;
        let before = at.pack_bytes().await;
        assert!(before >= 60 * MIB as u64, "{code}: {before}");
        let snapshot = at.back_up(tree.path()).await.unwrap();
        assert_stored_once(at.pack_bytes().await, length);
        at.prove(&snapshot, tree.path()).await;
    }
}

/// A repository at an SSH server behind a line.
async fn over_ssh(kind: Kind) -> (Sshd, TcpProxy, At) {
    let sshd = Sshd::start(kind);
    let line = TcpProxy::start(sshd.address());
    let url = sshd.url_via(line.address(), &format!("{}/repository", sshd.home()));
    let at = At::new(open_store(&url, sshd.environment_via(line.address()))).await;
    (sshd, line, at)
}

/// With packs that are shorter than the line lives; a longer one would never get through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_disconnects_in_a_backup_and_in_a_restore_over_ssh() {
    for kind in [Kind::Plain, Kind::Restricted] {
        let (_sshd, line, at) = over_ssh(kind).await;
        // Pages are stored in frames of 1 MiB, of which each fills a pack.
        let length = 160 * MIB;
        let tree = scratch();
        fs::write(tree.path().join("app.db"), database(5, length / 4096)).unwrap();
        tick();
        line.cut_every(Direction::Up, 2 * MIB as u64 - 400_000, 100);
        let snapshot = at.back_up_in(MIB, tree.path()).await.unwrap();
        assert_eq!(line.counts().cuts, 100, "{kind:?}");
        assert_stored_once(at.pack_bytes().await, length);
        line.cut_every(Direction::Down, 2 * MIB as u64 - 400_000, 100);
        at.prove(&snapshot, tree.path()).await;
        assert_eq!(line.counts().cuts, 200, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ssh_server_is_killed_and_restarted() {
    let (sshd, line, at) = over_ssh(Kind::Plain).await;
    let length = 150 * MIB;
    let tree = tree(7, length);
    let killer = |up: u64, down: u64| {
        let (sshd, line, before) = (&sshd, &line, line.counts());
        move || {
            line.wait_until(|counts| {
                counts.up_bytes >= before.up_bytes + up
                    && counts.down_bytes >= before.down_bytes + down
            });
            sshd.server().kill();
            line.cut_now();
            sshd.server().restart();
        }
    };
    let snapshot = std::thread::scope(|scope| {
        scope.spawn(killer(50 * MIB as u64, 0));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(at.back_up(tree.path()))
        })
    });
    let snapshot = snapshot.unwrap();
    assert_stored_once(at.pack_bytes().await, length);
    std::thread::scope(|scope| {
        scope.spawn(killer(0, 50 * MIB as u64));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(at.prove(&snapshot, tree.path()));
        });
    });
}

/// A real disk, which fills up while packs are written, and has room again when something is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_an_ssh_server_is_full_midway() {
    for kind in [Kind::Plain, Kind::Restricted] {
        let Some(sshd) = Sshd::start_with_disk(kind, 160) else {
            eprintln!("not tried: nobody may mount here");
            return;
        };
        let other = open_store(&sshd.url(&format!("{}/other", sshd.home())), sshd.environment());
        let ballast = Key::new("ballast");
        other.create(&ballast, vec![vec![7; 60 * MIB].into()]).await.unwrap();
        let url = sshd.url(&format!("{}/repository", sshd.home()));
        let at = At::new(open_store(&url, sshd.environment())).await;
        let length = 120 * MIB;
        let tree = tree(9, length);
        let error = at.back_up(tree.path()).await.unwrap_err();
        // Without an extension the server does not say why it fails.
        if kind == Kind::Plain {
            assert_eq!(error.class(), Class::Full, "{error:?}");
        }
        assert!(at.pack_bytes().await >= 30 * MIB as u64, "{kind:?}");
        at.check().await;
        other.delete(&ballast).await.unwrap();
        let snapshot = at.back_up(tree.path()).await.unwrap();
        assert_stored_once(at.pack_bytes().await, length);
        at.prove(&snapshot, tree.path()).await;
        at.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ssh_server_that_is_read_only_and_keys_that_are_revoked() {
    let (sshd, line, at) = over_ssh(Kind::Plain).await;
    let tree = tree(8, 100 * MIB);
    let revoker = || {
        let before = line.counts().up_bytes;
        line.wait_until(|counts| counts.up_bytes >= before + 70 * MIB as u64);
        sshd.revoke();
        line.cut_now();
    };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(revoker);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(at.back_up(tree.path()))
        })
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error:?}");

    let read_only = Sshd::start(Kind::ReadOnly);
    let url = read_only.url(&format!("{}/repository", read_only.home()));
    let store: Arc<dyn Store> = open_store(&url, read_only.environment());
    let made = Repository::init(store, World::system(), InitOptions::default()).await;
    assert_eq!(made.unwrap_err().class(), Class::Denied);
}
