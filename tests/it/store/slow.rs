//! Slowness is no failure: what is given up is silence. A line of 1 Mbit/s, over HTTP and over SSH, with what the
//! kernels on its way hold back.

use std::sync::Arc;
use std::time::Duration;

use backstay::store::{self, Counted, Key, Settings, Store as _};
use bytes::Bytes;

use super::sshd;
use crate::support::proxy::{Direction, TcpProxy};
use crate::support::seaweed::{Seaweed, seaweed};
use crate::support::sshd::Kind;

/// 1 Mbit/s.
const BYTES_PER_SECOND: u64 = 125_000;

/// Stores behind lines.
fn lines(name: &str) -> Vec<(TcpProxy, Arc<Counted>)> {
    let open = |url: &str, environment| {
        store::open(url, &Settings::with_environment(environment)).unwrap()
    };
    let http = TcpProxy::start(seaweed().endpoint());
    let over_http = open(&Seaweed::url(name), Seaweed::environment_via(http.address()));
    let server = sshd(Kind::Plain);
    let ssh = TcpProxy::start(server.address());
    let url = server.url_via(ssh.address(), &format!("{}/{name}", server.home()));
    let over_ssh = open(&url, server.environment_via(ssh.address()));
    vec![(http, over_http), (ssh, over_ssh)]
}

/// An object goes there while another comes back, each sent once.
async fn passes(name: &str, length_bytes: usize) {
    let content = Bytes::from(vec![7; length_bytes]);
    let trips = lines(name).into_iter().map(|(line, store)| {
        let content = content.clone();
        async move {
            let [there, back] = ["pack/there", "pack/back"].map(Key::new);
            store.create(&back, vec![content.clone()]).await.unwrap();
            line.set_bandwidth(Direction::Up, Some(BYTES_PER_SECOND));
            line.set_bandwidth(Direction::Down, Some(BYTES_PER_SECOND));
            line.set_round_trip(Duration::from_millis(50));
            let put = store.create(&there, vec![content.clone()]);
            let (put, got) = tokio::join!(put, store.get(&back, content.len() as u64));
            put.unwrap();
            assert!(got.unwrap() == content);
            assert_eq!(store.usage().retries, 0, "{}", store.place());
        }
    });
    futures::future::join_all(trips).await;
}

/// Longer than any silence is borne.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_may_take_longer_than_silence_may() {
    passes("slow", 9 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes"]
async fn a_whole_pack_may_take_minutes() {
    passes("slow-pack", 32 << 20).await;
}
