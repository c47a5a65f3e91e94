//! Whatever answers where a store should: gateways, web servers, listings without an end. None of it passes for a
//! loss, ends the process, or hides what is there.

use std::sync::Arc;
use std::time::Duration;

use backstay::class::Class;
use backstay::store::{self, Counted, Error, Key, Object, Settings, Store};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::support::azurite::{Azurite, azurite};
use crate::support::gcs::{Gcs, gcs};
use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};

/// Every dialect behind a proxy of its own, with so much patience.
fn clouds(prefix: &str, retry_for: Duration) -> Vec<(&'static str, HttpProxy, Arc<Counted>)> {
    let [s3, google, azure] = [moto().endpoint(), gcs().endpoint(), azurite().endpoint()];
    let [s3, google, azure] = [s3, google, azure].map(HttpProxy::start);
    let clouds = [
        ("s3", Moto::environment_via(s3.address()), Moto::url(prefix), s3),
        ("gcs", gcs().environment_via(google.address()), Gcs::url(prefix), google),
        ("azure", Azurite::environment_via(azure.address()), Azurite::url(prefix), azure),
    ];
    let open = |(name, environment, url, proxy): (_, _, String, _)| {
        let mut settings = Settings::with_environment(environment);
        settings.limits.retry_for = retry_for;
        (name, proxy, store::open(&url, &settings).unwrap())
    };
    clouds.into_iter().map(open).collect()
}

/// Of those whose failure is expected.
const SHORT: Duration = Duration::from_millis(200);

fn page(status: u16) -> Reply {
    let reply = Reply::new(status).header("Content-Type", "text/html");
    reply.body("<html><title>404 Not Found</title>nginx</html>")
}

fn text(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_store_restarts_loses_nothing() {
    for (name, proxy, store) in clouds("gateway", Duration::from_mins(1)) {
        let key = Key::new("pack/a");
        for reply in [page(404), Reply::new(404)] {
            let content = Bytes::from_static(b"content");
            for _ in 0..2 {
                let hits = proxy.add(Rule::new(Action::Answer(reply.clone())).times(2));
                // The first time it is made, then found to be the same.
                store.create(&key, vec![content.clone()]).await.unwrap();
                assert_eq!(hits.count(), 2, "{name}");
                proxy.add(Rule::new(Action::Answer(reply.clone())).times(2));
                assert_eq!(store.get(&key, 100).await.unwrap(), content, "{name}");
                proxy.add(Rule::new(Action::Answer(reply.clone())).times(2));
                assert!(store.first("pack/").await.unwrap().is_some(), "{name}");
            }
        }
        let missing = store.get(&Key::new("pack/b"), 100).await.unwrap_err();
        assert_eq!(missing.class(), Class::Missing, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_is_no_store() {
    for (name, proxy, store) in clouds("web", SHORT) {
        for (status, class) in [(404, Class::Transient), (400, Class::Config), (405, Class::Config)]
        {
            proxy.add(Rule::new(Action::Answer(page(status))));
            for error in [
                store.first("config/").await.unwrap_err(),
                store.get(&Key::new("a"), 1).await.unwrap_err(),
                store.create(&Key::new("a"), vec![]).await.unwrap_err(),
            ] {
                assert_eq!(error.class(), class, "{name} {status}: {error:?}");
                assert!(text(&error).contains("not as a store does"), "{name}: {error:?}");
            }
            proxy.clear();
        }
    }
}

/// The refusal is known by its status, however much follows.
#[tokio::test]
async fn a_long_refusal_is_one() {
    for (name, proxy, store) in clouds("long", SHORT) {
        let reply = page(403).body(vec![b' '; 1 << 20]);
        proxy.add(Rule::new(Action::Answer(reply)));
        let error = store.get(&Key::new("a"), 1).await.unwrap_err();
        assert_eq!(error.class(), Class::Denied, "{name}: {error:?}");
    }
}

/// Answers every request with `head` and then with `body` for ever, or hangs up if there is none.
async fn serve(head: &'static str, body: &'static [u8]) -> Arc<Counted> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let mut connection = BufReader::new(connection);
            let mut line = String::new();
            while !line.ends_with("\r\n\r\n") {
                assert_ne!(connection.read_line(&mut line).await.unwrap(), 0);
            }
            connection.write_all(head.as_bytes()).await.unwrap();
            while !body.is_empty() && connection.write_all(body).await.is_ok() {}
        }
    });
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut settings = Settings::with_environment(environment);
    settings.limits.retry_for = SHORT;
    store::open("s3://bucket/prefix", &settings).unwrap()
}

/// One header must not end the process, nor one server fill its memory.
#[tokio::test]
async fn no_answer_is_longer_than_it_may_be() {
    const HUGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n";
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const RANGE: &str = "HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-9/10\r\n\
        Content-Length: 10\r\nETag: \"e\"\r\nLast-Modified: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n";
    // A chunk of 64 KiB.
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(7 + (64 << 10), b' ');
    chunk.extend(b"\r\n");
    let chunk: &'static [u8] = chunk.leak();
    for (head, body) in [(HUGE, &b""[..]), (HUGE, chunk), (ENDLESS, chunk)] {
        let error = serve(head, body).await.first("config/").await.unwrap_err();
        assert_eq!(error.class(), Class::Transient, "{error:?}");
    }
    let error = serve(RANGE, chunk).await.get_range(&Key::new("a"), 0..10).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error:?}");
}

/// A page that goes on with itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_comes_to_an_end() {
    let (_, proxy, store) = clouds("endless", SHORT).remove(0);
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    proxy.add(Rule::new(Action::Answer(Reply::new(200).body(page))));
    let listed: Result<Vec<Object>, _> = store.list("config/").try_collect().await;
    for error in [listed.unwrap_err(), store.first("config/").await.unwrap_err()] {
        assert_eq!(error.class(), Class::Transient, "{error:?}");
        assert!(text(&error).contains("goes on where it was"), "{error:?}");
    }
}

/// Whoever may put anything may put what no listing of ours can name. It hides nothing.
#[tokio::test]
async fn an_odd_key_hides_nothing() {
    let (_, _proxy, store) = clouds("spoilt", SHORT).remove(0);
    let key = Key::new("config/a");
    store.create(&key, vec![Bytes::from_static(b"x")]).await.unwrap();
    for odd in ["config//x", "config/./x", "config/%01", "config/a/", "config//"] {
        let made = moto().send("PUT", &format!("backstay/spoilt/{odd}"), &[], b"x");
        assert_eq!(made.status, 200, "{odd}");
    }
    let listed: Vec<Object> = store.list("").try_collect().await.unwrap();
    assert_eq!(listed, [Object { key: key.clone(), size_bytes: 1 }]);
    assert_eq!(store.first("config/").await.unwrap().unwrap().key, key);
}
