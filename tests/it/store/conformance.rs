//! The suite that each store must pass.

use std::sync::Arc;

use backstay::class::Class;
use backstay::store::{Counted, Error, Key, Store};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;

use super::stores;

const MIB: usize = 1 << 20;

fn key(name: &str) -> Key {
    Key::new(name)
}

async fn put(store: &dyn Store, name: &str, content: &'static [u8]) {
    let parts = vec![Bytes::from_static(content)];
    store.create(&key(name), parts).await.unwrap();
}

async fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    let rows: Vec<_> = store.list(prefix).try_collect().await.unwrap();
    rows.iter().map(|row| row.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn creates_once() {
    for (store_name, store) in stores("creates-once").all {
        let parts = ["one ", "", "two"].map(Bytes::from_static_str).to_vec();
        store.create(&key("a/b"), parts.clone()).await.unwrap();
        // The same again is what happens when an answer is lost.
        store.create(&key("a/b"), parts).await.unwrap();
        for other in
            [vec![], vec![Bytes::from_static(b"one twi")], vec![Bytes::from_static(b"one twos")]]
        {
            let error = store.create(&key("a/b"), other).await.unwrap_err();
            assert!(matches!(error, Error::Exists { .. }), "{store_name}: {error}");
            assert_eq!(error.class(), Class::Refused, "{store_name}");
        }
        let content = store.get(&key("a/b"), 100).await.unwrap();
        assert_eq!(content, "one two", "{store_name}");
    }
}

/// Spells out what `Bytes` offers for byte strings only.
trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

/// Not asked of what moto keeps, GCS's dialect included: it looks and stores in two steps, and under load two
/// of its clients were seen to win.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lets_exactly_one_racer_win() {
    let honest = |(name, _): &(&str, Arc<dyn Store>)| !matches!(*name, "s3 by moto" | "gcs");
    for (store_name, store) in stores("race").all.into_iter().filter(honest) {
        for round in 0..6 {
            let register = key(&format!("registers/{round}"));
            let racers = (0..16_u8).map(|racer| {
                let (store, register) = (Arc::clone(&store), register.clone());
                tokio::spawn(async move {
                    let content = vec![Bytes::from(vec![racer; 1_000])];
                    (racer, store.create(&register, content).await)
                })
            });
            let mut winners = Vec::new();
            for outcome in join_all(racers).await {
                match outcome.unwrap() {
                    (racer, Ok(())) => winners.push(racer),
                    (_, Err(Error::Exists { .. })) => {}
                    (_, Err(error)) => panic!("{store_name}: {error:?}"),
                }
            }
            assert_eq!(winners.len(), 1, "{store_name}, round {round}");
            let content = store.get(&register, 1_000).await.unwrap();
            assert_eq!(content, vec![winners[0]; 1_000], "{store_name}");
        }
    }
}

#[tokio::test]
async fn reads_whole_objects_up_to_a_limit() {
    for (store_name, store) in stores("limit").all {
        put(&*store, "ten", b"0123456789").await;
        put(&*store, "empty", b"").await;
        assert_eq!(store.get(&key("ten"), 10).await.unwrap(), "0123456789");
        assert_eq!(store.get(&key("empty"), 0).await.unwrap(), "");
        let error = store.get(&key("ten"), 9).await.unwrap_err();
        let Error::Length { found_bytes, .. } = error else {
            panic!("{store_name}: {error:?}");
        };
        assert_eq!(found_bytes, 10, "{store_name}");
        for missing in ["eleven", "ten/deeper"] {
            let error = store.get(&key(missing), 9).await.unwrap_err();
            assert_eq!(error.class(), Class::Missing, "{store_name}: {error:?}");
        }
    }
}

#[tokio::test]
async fn reads_exact_ranges() {
    for (store_name, store) in stores("ranges").all {
        put(&*store, "ten", b"0123456789").await;
        put(&*store, "empty", b"").await;
        let read = async |name: &str, range| store.get_range(&key(name), range).await;
        assert_eq!(read("ten", 0..10).await.unwrap(), "0123456789", "{store_name}");
        assert_eq!(read("ten", 3..5).await.unwrap(), "34", "{store_name}");
        assert_eq!(read("ten", 9..10).await.unwrap(), "9", "{store_name}");
        assert_eq!(read("ten", 10..10).await.unwrap(), "", "{store_name}");
        assert_eq!(read("empty", 0..0).await.unwrap(), "", "{store_name}");
        for range in [0..11, 9..11, 10..11, 50..60, 11..11] {
            let error = read("ten", range.clone()).await.unwrap_err();
            let Error::Length { found_bytes, .. } = error else {
                panic!("{store_name} {range:?}: {error:?}");
            };
            assert_eq!(found_bytes, 10, "{store_name}");
        }
        let error = read("none", 0..1).await.unwrap_err();
        assert_eq!(error.class(), Class::Missing, "{store_name}");
    }
}

#[tokio::test]
async fn reads_tails() {
    for (store_name, store) in stores("tails").all {
        put(&*store, "ten", b"0123456789").await;
        put(&*store, "empty", b"").await;
        for (length, expected) in [(3, "789"), (10, "0123456789"), (99, "0123456789"), (0, "")] {
            let (tail, size_bytes) = store.get_tail(&key("ten"), length).await.unwrap();
            assert_eq!((tail.as_ref(), size_bytes), (expected.as_bytes(), 10), "{store_name}");
        }
        let (tail, size_bytes) = store.get_tail(&key("empty"), 8).await.unwrap();
        assert_eq!((tail.len(), size_bytes), (0, 0), "{store_name}");
        let error = store.get_tail(&key("none"), 8).await.unwrap_err();
        assert_eq!(error.class(), Class::Missing, "{store_name}");
    }
}

#[tokio::test]
async fn lists_in_the_order_of_keys() {
    for (store_name, store) in stores("order").all {
        // `-` and `.` sort before `/`, digits after it.
        let mut expected = ["a/b", "a/c/d", "a-b", "a.b", "a0", "b", "packs/0a/1", "packs/0b/2"];
        for name in expected {
            put(&*store, name, name.as_bytes()).await;
        }
        expected.sort_unstable();
        assert_eq!(names(&*store, "").await, expected, "{store_name}");
        let rows: Vec<_> = store.list("packs/").try_collect().await.unwrap();
        assert_eq!(rows[0].size_bytes, 10, "{store_name}");
        // A prefix may end inside a component, and need not exist.
        assert_eq!(names(&*store, "packs/0").await.len(), 2, "{store_name}");
        assert_eq!(names(&*store, "pa").await.len(), 2, "{store_name}");
        assert_eq!(names(&*store, "a/").await, ["a/b", "a/c/d"], "{store_name}");
        assert_eq!(names(&*store, "b").await, ["b"], "{store_name}");
        for nothing in ["b/", "c", "packs/0a/1/", "../", "packs/../a"] {
            assert!(names(&*store, nothing).await.is_empty(), "{store_name}");
        }
    }
}

#[tokio::test]
async fn finds_the_first() {
    for (store_name, store) in stores("first").all {
        for name in ["a-b", "heads/07", "heads/05", "heads/06", "zz"] {
            put(&*store, name, b"x").await;
        }
        let first = async |prefix: &str| {
            let found = store.first(prefix).await.unwrap();
            found.map(|object| object.key.as_str().to_owned())
        };
        assert_eq!(first("").await.as_deref(), Some("a-b"), "{store_name}");
        assert_eq!(first("heads/").await.as_deref(), Some("heads/05"), "{store_name}");
        assert_eq!(first("heads/07").await.as_deref(), Some("heads/07"), "{store_name}");
        assert_eq!(first("heads/08").await, None, "{store_name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_more_than_a_page() {
    for (store_name, store) in stores("pages").all {
        let store = Counted::new(store);
        let every: Vec<String> = (0..1_100).map(|number| format!("many/{number:05}")).collect();
        for batch in every.chunks(50) {
            join_all(batch.iter().map(|name| put_owned(&store, name))).await;
        }
        let before = store.usage();
        assert_eq!(names(&store, "").await, every, "{store_name}");
        let usage = store.usage();
        assert_eq!(usage.list_requests - before.list_requests, 2, "{store_name}");
        assert_eq!(usage.put_requests, 1_100, "{store_name}");
        assert_eq!(usage.uploaded_bytes, 1_100, "{store_name}");
    }
}

async fn put_owned(store: &dyn Store, name: &str) {
    let parts = vec![Bytes::from_static(b"x")];
    store.create(&key(name), parts).await.unwrap();
}

#[tokio::test]
async fn deletes_what_is_there_and_what_is_not() {
    for (store_name, store) in stores("delete").all {
        put(&*store, "a/b", b"x").await;
        store.delete(&key("a/b")).await.unwrap();
        store.delete(&key("a/b")).await.unwrap();
        store.delete(&key("never/there")).await.unwrap();
        assert!(names(&*store, "").await.is_empty(), "{store_name}");
        // The key is free again.
        put(&*store, "a/b", b"y").await;
        assert_eq!(store.get(&key("a/b"), 1).await.unwrap(), "y");
    }
}

#[tokio::test]
async fn overwrites_what_a_probe_made_and_nothing_else() {
    for (store_name, store) in stores("overwrites").all {
        let other = Bytes::from_static(b"other");
        for name in ["pack/a", "probe", "probes/a", "probe/../pack/a"] {
            let error = store.overwrite_probe(&key(name), other.clone()).await.unwrap_err();
            assert_eq!(error.class(), Class::Bug, "{store_name}, {name}: {error}");
        }
        put(&*store, "probe/a", b"the first").await;
        assert!(store.overwrite_probe(&key("probe/a"), other.clone()).await.unwrap());
        assert_eq!(store.get(&key("probe/a"), 9).await.unwrap(), other, "{store_name}");
    }
}

#[tokio::test]
async fn keeps_a_pack_in_parts() {
    let mut random = fastrand_like(7);
    let parts: Vec<Bytes> = [4 * MIB, 1, 0, 12 * MIB - 1, 16 * MIB]
        .iter()
        .map(|length| (0..*length).map(|_| random()).collect::<Vec<u8>>().into())
        .collect();
    let whole = parts.concat();
    for (store_name, store) in stores("pack").all {
        let pack = key("packs/0a/0a0b");
        store.create(&pack, parts.clone()).await.unwrap();
        let found = store.get(&pack, 32 << 20).await.unwrap();
        assert!(found == whole, "{store_name}");
        let range = (4 << 20) - 3..(4 << 20) + 3_000_000;
        let found = store.get_range(&pack, range.clone()).await.unwrap();
        let expected = &whole[range.start.try_into().unwrap()..range.end.try_into().unwrap()];
        assert!(found == expected, "{store_name}");
        let (tail, size_bytes) = store.get_tail(&pack, 64).await.unwrap();
        assert_eq!(size_bytes, 32 << 20, "{store_name}");
        assert!(whole.ends_with(&tail), "{store_name}");
    }
}

/// Reproducible bytes that differ: xorshift.
fn fastrand_like(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    }
}

#[tokio::test]
async fn refuses_keys_that_no_caller_composes() {
    for (store_name, store) in stores("keys").all {
        for name in ["", "/a", "a/", "a//b", "../a", "a/./b", "A", "a b", ".tmp-1"] {
            let errors = [
                store.create(&key(name), vec![]).await.unwrap_err(),
                store.get(&key(name), 1).await.unwrap_err(),
                store.delete(&key(name)).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.class(), Class::Bug, "{store_name} {name}: {error:?}");
            }
        }
    }
}
