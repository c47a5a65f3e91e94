//! Servers that no real one can be made to be: hostile ones, full ones, ones that fall silent.

mod script;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;

use self::script::{Asked, READ_DIRECTORY, REMOVE, Script, WRITE, names, said};
use super::wire::status;
use super::{SftpStore, open};
use crate::class::Class;
use crate::store::{Error, Key, Store};

fn store(script: &Script, retry_for: Duration) -> Arc<dyn Store> {
    open(&script.url(), &script.settings(retry_for), &Arc::default()).unwrap()
}

fn content() -> Vec<Bytes> {
    vec![Bytes::from_static(b"x")]
}

fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

async fn list(script: &Script) -> Result<Vec<String>, Error> {
    let store = store(script, Duration::from_millis(200));
    let listing = store.list("").map_ok(|object| object.key.as_str().to_owned()).try_collect();
    let listing = tokio::time::timeout(Duration::from_secs(30), listing);
    listing.await.expect("a listing must end")
}

#[tokio::test]
async fn a_listing_without_end_or_names_is_given_up() {
    let script =
        Script::start(|asked| (asked.kind == READ_DIRECTORY).then(|| vec![names(asked.id, &[])]));
    let error = list(&script.await).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(reason(&error).contains("something else than was asked"), "{error:?}");
}

/// Servers that filter what is behind them have answers from which nothing is left.
#[tokio::test]
async fn an_answer_without_names_is_not_the_end() {
    let count = AtomicUsize::new(0);
    let script = Script::start(move |asked| {
        let is_ours = asked.kind == READ_DIRECTORY;
        is_ours.then(|| match count.fetch_add(1, Ordering::Relaxed) {
            10 => vec![names(asked.id, &["a"])],
            20 => vec![names(asked.id, &["b"])],
            30.. => vec![said(asked.id, status::END_OF_FILE)],
            _ => vec![names(asked.id, &[])],
        })
    });
    assert_eq!(list(&script.await).await.unwrap(), ["a", "b"]);
}

/// Fails the first writes, each for no reason.
async fn refusing(writes: usize) -> Script {
    let left = AtomicUsize::new(writes);
    let take = |left: usize| left.checked_sub(1);
    Script::start(move |asked| {
        let is_refused = asked.kind == WRITE
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        is_refused.then(|| vec![said(asked.id, status::FAILURE)])
    })
    .await
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_no_reason_to_wait() {
    let script = refusing(usize::MAX).await;
    let store = store(&script, Duration::from_secs(10));
    let key = Key::new("a");
    let creating = store.create(&key, content());
    let error = tokio::time::timeout(Duration::from_secs(8), creating).await.unwrap().unwrap_err();
    assert_eq!(error.class(), Class::Full);
    let text = reason(&error);
    assert!(text.contains("quota of box") && text.contains("disk be failing"), "{text}");
    assert!(script.asked(WRITE).len() >= 3);
    let script = refusing(2).await;
    let store = self::store(&script, Duration::from_secs(10));
    store.create(&key, content()).await.unwrap();
}

#[tokio::test]
async fn what_a_silent_session_left_is_removed_by_the_next() {
    let is_silent = |asked: &Asked| asked.connection == 0 && asked.kind != 1;
    let has_written = AtomicUsize::new(0);
    let script = Script::start(move |asked| {
        let writes = usize::from(asked.kind == WRITE);
        let before = has_written.fetch_add(writes, Ordering::Relaxed);
        (is_silent(asked) && before + writes > 0).then(Vec::new)
    });
    let script = script.await;
    let store = SftpStore::new(&script.url(), &script.settings(Duration::from_secs(10))).unwrap();
    let (key, content) = (Key::new("a"), content());
    let mut creating = Box::pin(store.create_object(&key, &content));
    tokio::select! {
        _ = &mut creating => panic!("nobody answered"),
        () = script.until(WRITE) => {}
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(40)).await;
    tokio::time::resume();
    drop(creating);
    store.create_object(&key, &content).await.unwrap();
    let opened = script.asked(3);
    let left = &opened.iter().rfind(|asked| asked.connection == 0).unwrap().texts[0];
    let removed = script.asked(REMOVE);
    let mut removed = removed.iter().filter(|asked| asked.connection == 1);
    assert!(removed.any(|asked| asked.texts[0] == *left), "{left}");
}

#[tokio::test]
async fn all_who_linked_in_vain_may_rename() {
    let linked = Mutex::new(Vec::new());
    let script = Script::start(move |asked| {
        if asked.kind != 200 || !asked.is_link() {
            return None;
        }
        let mut linked = linked.lock().unwrap();
        linked.push(asked.id);
        // Both before either is answered.
        let both = if linked.len() == 2 { std::mem::take(&mut *linked) } else { Vec::new() };
        Some(both.into_iter().map(|id| said(id, status::PERMISSION_DENIED)).collect())
    });
    let script = script.await;
    let store = store(&script, Duration::from_secs(10));
    let (first, second) = (Key::new("a"), Key::new("b"));
    let creating =
        futures::join!(store.create(&first, content()), store.create(&second, content()));
    creating.0.unwrap();
    creating.1.unwrap();
}
