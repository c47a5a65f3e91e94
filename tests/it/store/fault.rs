//! The store that fails as told does so.

use std::sync::Arc;

use backstay::class::Class;
use backstay::store::{Key, MemoryStore, Store};
use futures::TryStreamExt;

use crate::support::fault::{FailAfter, Fault};

#[tokio::test]
async fn fails_before_and_after() {
    let key = Key::new("a");
    for (fault, landed) in [
        (Fault::Before(Class::Transient), false),
        (Fault::After(Class::Transient), true),
    ] {
        let store = FailAfter::once(Arc::new(MemoryStore::new()), 1, fault);
        assert_eq!(store.first("").await.unwrap(), None);
        let error = store.create(&key, vec![]).await.unwrap_err();
        assert_eq!(error.class(), Class::Transient);
        assert_eq!(store.get(&key, 0).await.is_ok(), landed);
        let methods: Vec<_> = store.calls().iter().map(|call| call.method).collect();
        assert_eq!(methods, ["first", "create", "get"]);
    }
}

#[tokio::test]
async fn a_killed_store_stays_dead_and_can_be_healed() {
    let store = FailAfter::kill(Arc::new(MemoryStore::new()), 1);
    store.create(&Key::new("a"), vec![]).await.unwrap();
    store.create(&Key::new("b"), vec![]).await.unwrap_err();
    store.delete(&Key::new("a")).await.unwrap_err();
    store.list("").try_collect::<Vec<_>>().await.unwrap_err();
    let healed: Vec<_> = store.healed().list("").try_collect().await.unwrap();
    assert_eq!(healed.len(), 1);
}
