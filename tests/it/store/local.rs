//! What is particular about a directory: modes, unfinished files, a missing root.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backstay::class::Class;
use backstay::store::{Error, Key, LocalStore, Store};
use bytes::Bytes;
use futures::TryStreamExt;

fn content() -> Vec<Bytes> {
    vec![Bytes::from_static(b"x")]
}

#[tokio::test]
async fn a_missing_directory_is_no_empty_repository() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path().join("repository"));
    let key = Key::new("config");
    let errors = [
        store.get(&key, 1).await.unwrap_err(),
        store.first("").await.unwrap_err(),
        store.list("a/").try_collect::<Vec<_>>().await.unwrap_err(),
        store.delete(&key).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Place { class: Class::Missing, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("not a repository directory"), "{text}");
    }
    store.create(&key, content()).await.unwrap();
    assert_eq!(store.get(&key, 1).await.unwrap(), "x");
}

#[tokio::test]
async fn makes_no_directory_above_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path().join("not-mounted/repository"));
    let error = store.create(&Key::new("config"), content()).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    assert!(!directory.path().join("not-mounted").exists());
}

#[tokio::test]
async fn a_file_is_no_repository() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for root in [file.clone(), file.join("below")] {
        let store = LocalStore::new(root);
        let error = store.create(&Key::new("config"), content()).await.unwrap_err();
        assert_eq!(error.class(), Class::Config, "{error}");
    }
    let error = LocalStore::new(file).first("").await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
}

#[tokio::test]
async fn keeps_objects_to_their_owner() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    let store = LocalStore::new(&root);
    store.create(&Key::new("packs/0a/1"), content()).await.unwrap();
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("packs"), mode("packs/0a")), (0o700, 0o700, 0o700));
    assert_eq!(mode("packs/0a/1"), 0o600);
}

#[tokio::test]
async fn lists_only_what_may_be_an_object() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path());
    store.create(&Key::new("packs/1"), content()).await.unwrap();
    for foreign in ["packs/.tmp-0011", "README.TXT", "packs/2 (copy)"] {
        fs::write(directory.path().join(foreign), "x").unwrap();
    }
    for foreign in ["lost+found", "packs/empty"] {
        fs::create_dir(directory.path().join(foreign)).unwrap();
    }
    let rows: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].key, Key::new("packs/1"));
}

#[tokio::test]
async fn a_lost_race_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path());
    let key = Key::new("register");
    store.create(&key, content()).await.unwrap();
    store.create(&key, content()).await.unwrap();
    store.create(&key, vec![Bytes::from_static(b"y")]).await.unwrap_err();
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn makes_directories_again_that_someone_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    let store = LocalStore::new(&root);
    store.create(&Key::new("packs/0a/1"), content()).await.unwrap();
    fs::remove_dir_all(root.join("packs")).unwrap();
    store.create(&Key::new("packs/0a/2"), content()).await.unwrap();
    assert_eq!(store.get(&Key::new("packs/0a/2"), 1).await.unwrap(), "x");
}
