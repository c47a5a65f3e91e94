//! Connections that break, and servers that go away for a while: the caller notices nothing.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay::class::Class;
use backstay::store::{self, Counted, Settings, Store};
use bytes::Bytes;
use futures::future::join_all;

use super::{content, key, names, one_line, open, refusal};
use crate::support::proxy::{Direction, Forwarding, TcpProxy};
use crate::support::sshd::{Kind, Sshd};

const OBJECT_BYTES: usize = 3 << 20;

fn object(number: usize) -> Bytes {
    let mut state = u64::try_from(number).unwrap() + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..OBJECT_BYTES).map(|_| next()).collect()
}

fn counted(server: &Sshd, proxy: &TcpProxy) -> Arc<Counted> {
    let url = server.url_via(proxy.address(), "/./repository");
    store::open(&url, &Settings::with_environment(server.environment_via(proxy.address()))).unwrap()
}

async fn create_all(store: &Arc<Counted>, count: usize) {
    let creating = (0..count).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            store.create(&key(&format!("packs/{number:02}")), vec![object(number)]).await
        })
    });
    for created in join_all(creating).await {
        created.unwrap().unwrap();
    }
}

async fn check_all(store: &Arc<Counted>, count: usize) {
    let reading = (0..count).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            store.get(&key(&format!("packs/{number:02}")), OBJECT_BYTES as u64).await
        })
    });
    for (number, read) in join_all(reading).await.into_iter().enumerate() {
        assert!(read.unwrap().unwrap() == object(number), "object {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_made_anew() {
    const COUNT: usize = 12;
    for kind in [Kind::Plain, Kind::Restricted] {
        let server = Sshd::start(kind);
        let proxy = TcpProxy::start(server.address());
        let store = counted(&server, &proxy);
        proxy.cut_every(Direction::Up, 2 << 20, 8);
        create_all(&store, COUNT).await;
        proxy.cut_every(Direction::Down, 2 << 20, 8);
        check_all(&store, COUNT).await;
        let cuts = store.usage().retries;
        assert!(cuts >= 8, "{kind:?}: only {cuts} retries");
        let expected: Vec<_> = (0..COUNT).map(|number| format!("packs/{number:02}")).collect();
        assert_eq!(names(&*store, "").await, expected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_be_restarted_in_the_midst() {
    const COUNT: usize = 8;
    let server = Sshd::start(Kind::Plain);
    let proxy = TcpProxy::start(server.address());
    let store = counted(&server, &proxy);
    let creating = tokio::spawn({
        let store = Arc::clone(&store);
        async move { create_all(&store, COUNT).await }
    });
    tokio::task::block_in_place(|| {
        proxy.wait_until(|counts| counts.up_bytes > 6 << 20);
        server.server().kill();
        server.server().restart();
    });
    creating.await.unwrap();
    let reading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { check_all(&store, COUNT).await }
    });
    tokio::task::block_in_place(|| {
        proxy.wait_until(|counts| counts.down_bytes > 6 << 20);
        server.server().kill();
        server.server().restart();
    });
    reading.await.unwrap();
    // What the old server's sessions left unfinished was removed through the new one's.
    let left = fs::read_dir(server.local("repository/packs")).unwrap();
    let unfinished = left
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".tmp-"));
    assert_eq!(unfinished.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_named() {
    let server = Sshd::start(Kind::Plain);
    server.server().kill();
    let store = open(&server.url("/./repository"), server.environment());
    let text = refusal(&*store, Class::Transient).await;
    assert!(text.contains(&server.address().to_string()) && text.contains("check host"), "{text}");
    let url = server.url("/srv").replace(&server.address().to_string(), "host.invalid:22");
    let text = refusal(&*open(&url, server.environment()), Class::Transient).await;
    assert!(text.contains("host.invalid") && text.contains("check it in the URL"), "{text}");
}

/// A server that takes few connections gets few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_connections_are_enough() {
    const COUNT: usize = 8;
    let server = Sshd::start(Kind::Plain);
    let proxy = TcpProxy::start(server.address());
    proxy.set_most_connections(2);
    let store = counted(&server, &proxy);
    create_all(&store, COUNT).await;
    check_all(&store, COUNT).await;
    assert_eq!(store.usage().retries, 0);
}

#[tokio::test]
async fn limits_are_kept() {
    let server = Sshd::start(Kind::Plain);
    let mut settings = Settings::with_environment(server.environment());
    settings.limits.upload_bytes_per_second = std::num::NonZeroU64::new(2_000_000);
    settings.limits.download_bytes_per_second = std::num::NonZeroU64::new(2_000_000);
    let store = store::open(&server.url("/./repository"), &settings).unwrap();
    let started = Instant::now();
    store.create(&key("a"), vec![object(1)]).await.unwrap();
    let up = started.elapsed();
    let started = Instant::now();
    store.get(&key("a"), OBJECT_BYTES as u64).await.unwrap();
    let down = started.elapsed();
    for took in [up, down] {
        assert!(took > Duration::from_millis(1_300), "{took:?}");
    }
}

/// The other end is gone without a word: the next attempt finds that out and succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_noticed() {
    let server = Sshd::start(Kind::Plain);
    let proxy = TcpProxy::start(server.address());
    let store = counted(&server, &proxy);
    store.create(&key("a"), content("x")).await.unwrap();
    proxy.set_forwarding(Forwarding::Swallowed);
    let reading = tokio::spawn(async move { store.get(&key("a"), 1).await });
    tokio::time::sleep(Duration::from_secs(75)).await;
    proxy.set_forwarding(Forwarding::On);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
    assert_eq!(read.unwrap_or_else(|error| panic!("{}", one_line(&error, Class::Transient))), "x");
}
