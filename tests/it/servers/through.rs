//! Servers behind proxies, as tests of stores put them there.

use backstay::class::Class;
use backstay::store::{self, Key, Settings, Store as _};
use bytes::Bytes;

use crate::support::azurite::{Azurite, azurite};
use crate::support::gcs::gcs;
use crate::support::moto::{Moto, moto};
use crate::support::proxy::{
    Action, Direction, Forwarding, HttpProxy, Mode, Reply, Rule, TcpProxy,
};
use crate::support::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed, seaweed};

#[tokio::test]
async fn signatures_stay_good_on_their_way() {
    let line = TcpProxy::start(seaweed().endpoint());
    let proxy = HttpProxy::start(line.address());
    let environment = Seaweed::environment_via(proxy.address());
    let store =
        store::open(&Seaweed::url("through-signed"), &Settings::with_environment(environment))
            .unwrap();
    let content = Bytes::from(vec![7; 32 << 20]);
    let key = Key::new("a");
    store.create(&key, vec![content.clone()]).await.unwrap();
    assert!(store.get(&key, 32 << 20).await.unwrap() == content);
    let traffic = proxy.traffic();
    let requests = [("GET", 1), ("PUT", 1)].map(|(method, count)| (method.to_owned(), count));
    assert_eq!(traffic.requests, requests.into());
    // Heads are the same on both sides, so each byte is counted twice.
    let counts = line.counts();
    assert_eq!((counts.up_bytes, counts.down_bytes), (traffic.up_bytes, traffic.down_bytes));
    let requests = format!("{:?}", proxy.requests());
    assert!(!requests.contains(ACCESS_KEY) && !requests.contains(SECRET_KEY));
}

#[tokio::test]
async fn a_store_with_least_rights_creates_only() {
    let proxy = HttpProxy::start(moto().endpoint());
    proxy.set_mode(Mode::LeastRights);
    let environment = Moto::environment_via(proxy.address());
    let store =
        store::open(&Moto::url("through-least"), &Settings::with_environment(environment)).unwrap();
    let key = Key::new("a");
    store.create(&key, vec![Bytes::from_static(b"old")]).await.unwrap();
    store.create(&key, vec![Bytes::from_static(b"new")]).await.unwrap_err();
    let error = store.delete(&key).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error}");
    assert_eq!(store.get(&key, 3).await.unwrap(), "old");

    proxy.set_mode(Mode::Liar);
    store.create(&key, vec![Bytes::from_static(b"new")]).await.unwrap();
    assert_eq!(store.get(&key, 3).await.unwrap(), "new");
}

#[tokio::test]
async fn credentials_are_revoked_midway() {
    let proxy = HttpProxy::start(moto().endpoint());
    let reply = Reply::error(403, "InvalidAccessKeyId");
    let hits = proxy.add(Rule::new(Action::Answer(reply)).skip(1));
    let environment = Moto::environment_via(proxy.address());
    let store =
        store::open(&Moto::url("through-revoked"), &Settings::with_environment(environment))
            .unwrap();
    store.create(&Key::new("a"), vec![]).await.unwrap();
    let error = store.create(&Key::new("b"), vec![]).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error}");
    assert_eq!(hits.count(), 1);
}

#[test]
fn every_cloud_can_be_behind_a_proxy() {
    let proxy = HttpProxy::start(gcs().endpoint());
    let file = &gcs().environment_via(proxy.address())["GOOGLE_APPLICATION_CREDENTIALS"];
    let account = std::fs::read_to_string(file).unwrap();
    assert!(account.contains(&format!("http://{}\"", proxy.address())), "{account}");
    let proxy = HttpProxy::start(azurite().endpoint());
    let endpoint = &Azurite::environment_via(proxy.address())["AZURE_STORAGE_ENDPOINT"];
    assert!(endpoint.starts_with(&format!("http://{}/", proxy.address())), "{endpoint}");
    let line = TcpProxy::start(proxy.address());
    line.cut_every(Direction::Up, 1, 1);
    line.set_forwarding(Forwarding::Refused);
    assert_eq!(line.counts().connections, 0);
}
