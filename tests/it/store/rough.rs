//! Clouds over lines and with servers that do what they like: each failure passes unnoticed, or ends in
//! the right class with a word that helps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay::class::Class;
use backstay::store::{self, Counted, Error, Key, Settings, Store};
use bytes::Bytes;

use crate::support::azurite::{Azurite, azurite};
use crate::support::gcs::{Gcs, gcs};
use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};

/// A cloud behind a proxy.
struct Behind {
    name: &'static str,
    proxy: HttpProxy,
    store: Arc<Counted>,
}

/// Every dialect, each under `prefix` and behind a proxy of its own.
fn clouds(prefix: &str) -> Vec<Behind> {
    let behind = |name, proxy: HttpProxy, url: String, environment| {
        let store = store::open(&url, &Settings::with_environment(environment)).unwrap();
        Behind { name, proxy, store }
    };
    let s3 = HttpProxy::start(moto().endpoint());
    let s3_environment = Moto::environment_via(s3.address());
    let google = HttpProxy::start(gcs().endpoint());
    let google_environment = gcs().environment_via(google.address());
    let azure = HttpProxy::start(azurite().endpoint());
    let azure_environment = Azurite::environment_via(azure.address());
    vec![
        behind("s3", s3, Moto::url(prefix), s3_environment),
        behind("gcs", google, Gcs::url(prefix), google_environment),
        behind("azure", azure, Azurite::url(prefix), azure_environment),
    ]
}

fn content() -> Bytes {
    (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

fn cut_upload() -> Rule {
    Rule::new(Action::ResetUpload { after_bytes: 5_000_000 }).method("PUT")
}

fn cut_download() -> Rule {
    Rule::new(Action::TruncateReply { after_bytes: 5_000_000 }).method("GET")
}

/// Every failure that may pass, and how often it happens.
fn passing() -> Vec<(&'static str, Rule)> {
    let answer = |status, code| Rule::new(Action::Answer(Reply::error(status, code)));
    vec![
        ("busy", answer(503, "SlowDown").times(3)),
        ("too many", answer(429, "TooManyRequests").times(2)),
        ("broken", answer(500, "InternalError").times(2)),
        ("bad gateway", Rule::new(Action::Answer(Reply::new(502))).times(1)),
        ("undecided", answer(409, "OperationAborted").times(1)),
        ("lost reply", Rule::new(Action::LoseReply).times(1)),
        ("cut upload", cut_upload().times(2)),
        ("cut download", cut_download().times(2)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_not_noticed() {
    for Behind { name, proxy, store } in clouds("passing") {
        for (number, (fault, rule)) in passing().into_iter().enumerate() {
            let key = Key::new(format!("pack/{number}"));
            let before = store.usage();
            let hits = proxy.add(rule);
            store.create(&key, vec![content()]).await.unwrap();
            let found = store.get_range(&key, 0..12_000_000).await.unwrap();
            assert!(found == content(), "{name}: {fault}");
            proxy.clear();
            let usage = store.usage();
            assert!(hits.count() > 0, "{name}: {fault}: nothing happened");
            assert_eq!(usage.retries - before.retries, hits.count(), "{name}: {fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_told_from_a_lost_race() {
    for Behind { name, proxy, store } in clouds("races") {
        let key = Key::new("snapshot/one");
        proxy.add(Rule::new(Action::LoseReply).method("PUT").times(1));
        store.create(&key, vec![Bytes::from_static(b"mine")]).await.unwrap();
        proxy.add(Rule::new(Action::LoseReply).method("PUT").times(1));
        let lost = store.create(&key, vec![Bytes::from_static(b"theirs")]).await.unwrap_err();
        assert!(matches!(lost, Error::Exists { .. }), "{name}: {lost}");
        assert_eq!(store.get(&key, 10).await.unwrap(), "mine", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_says_when_to_come_back() {
    for Behind { name, proxy, store } in clouds("later") {
        let reply = Reply::error(503, "SlowDown").header("Retry-After", "2");
        proxy.add(Rule::new(Action::Answer(reply)).times(1));
        let started = Instant::now();
        store.create(&Key::new("a"), vec![]).await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(2), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_object_never_looks_whole() {
    for Behind { name, proxy, mut store } in clouds("halves") {
        let hits = proxy.add(cut_upload());
        // The same place, with little patience.
        let environment = match name {
            "s3" => Moto::environment_via(proxy.address()),
            "gcs" => gcs().environment_via(proxy.address()),
            _ => Azurite::environment_via(proxy.address()),
        };
        let mut settings = Settings::with_environment(environment);
        settings.limits.retry_for = Duration::from_millis(300);
        store = store::open(&store.place(), &settings).unwrap();
        let key = Key::new("pack/half");
        let error = store.create(&key, vec![content()]).await.unwrap_err();
        assert_eq!(error.class(), Class::Transient, "{name}: {error:?}");
        assert!(hits.count() >= 1);
        proxy.clear();
        assert_eq!(store.get(&key, 1 << 30).await.unwrap_err().class(), Class::Missing, "{name}");
        assert_eq!(store.first("").await.unwrap(), None, "{name}");
    }
}

/// Reads everything, answers nothing: the process behind hangs, and its kernel does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_is_noticed_in_a_minute() {
    let waits = clouds("hangs").into_iter().map(|Behind { name, proxy, store }| async move {
        let hits = proxy.add(Rule::new(Action::BlackHole).times(1));
        let started = Instant::now();
        store.create(&Key::new("a"), vec![Bytes::from_static(b"x")]).await.unwrap();
        let seconds = started.elapsed().as_secs();
        assert!((50..75).contains(&seconds), "{name}: {seconds} s");
        assert_eq!(hits.count(), 1, "{name}");
    });
    futures::future::join_all(waits).await;
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let clouds = clouds("refusals");
    for (cloud, status, code, class, words) in [
        ("s3", 404, "NoSuchBucket", Class::Config, &["no bucket backstay", "AWS_REGION"][..]),
        ("s3", 403, "InvalidAccessKeyId", Class::Denied, &["AWS_ACCESS_KEY_ID"]),
        ("s3", 403, "SignatureDoesNotMatch", Class::Denied, &["AWS_SECRET_ACCESS_KEY"]),
        ("s3", 403, "RequestTimeTooSkewed", Class::Config, &["clock"]),
        ("s3", 400, "ExpiredToken", Class::Denied, &["AWS_SESSION_TOKEN"]),
        ("s3", 403, "AccessDenied", Class::Denied, &["denies", "list backstay"]),
        ("s3", 403, "QuotaExceeded", Class::Full, &["no space left", "quota"]),
        ("s3", 507, "XMinioStorageFull", Class::Full, &["no space left"]),
        ("s3", 301, "PermanentRedirect", Class::Config, &["AWS_REGION=eu-west-9"]),
        ("s3", 501, "NotImplemented", Class::Config, &["BACKSTAY_S3_CONDITIONAL_PUT"]),
        ("gcs", 404, "NoSuchBucket", Class::Config, &["no bucket backstaygcs"]),
        ("gcs", 403, "AccessDenied", Class::Denied, &["denies"]),
        ("gcs", 403, "RequestTimeTooSkewed", Class::Config, &["clock"]),
        ("gcs", 400, "UserProjectMissing", Class::Config, &["pay"]),
        ("azure", 404, "ContainerNotFound", Class::Config, &["no container backstay"]),
        ("azure", 403, "AuthenticationFailed", Class::Denied, &["AZURE_STORAGE_ACCOUNT_KEY"]),
        ("azure", 403, "AuthorizationPermissionMismatch", Class::Denied, &["denies"]),
        ("azure", 403, "AccountIsDisabled", Class::Denied, &["disabled"]),
    ] {
        let Behind { proxy, store, .. } =
            clouds.iter().find(|behind| behind.name == cloud).unwrap();
        let reply = Reply::error(status, code).header("x-amz-bucket-region", "eu-west-9");
        proxy.add(Rule::new(Action::Answer(reply)));
        let error = store.create(&Key::new("a"), vec![]).await.unwrap_err();
        proxy.clear();
        assert_eq!(error.class(), class, "{cloud} {code}: {error:?}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", cause.unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{cloud} {code}: {word:?} is not in {text:?}");
        }
        assert!(!text.contains('\n'), "{text}");
    }
}
