//! Where objects are: paths, directories that are not there, servers that write nothing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use backstay::class::Class;
use backstay::store::Error;
use futures::TryStreamExt;

use super::{content, key, names, one_line, open, open_at, refusal};
use crate::support::sshd::{Kind, Sshd};

#[tokio::test]
async fn absolute_and_relative_paths_lead_to_the_same_place() {
    for kind in [Kind::Plain, Kind::External, Kind::Restricted] {
        let server = Sshd::start(kind);
        let relative = open_at(&server, "repository");
        relative.create(&key("a/b"), content("x")).await.unwrap();
        let path = format!("{}/repository", server.home());
        let absolute = open(&server.url(&path), server.environment());
        assert_eq!(absolute.get(&key("a/b"), 1).await.unwrap(), "x", "{kind:?}");
        assert_eq!(fs::read(server.local("repository/a/b")).unwrap(), b"x");
    }
}

#[tokio::test]
async fn nobody_else_may_read_what_is_written() {
    for kind in [Kind::Plain, Kind::Restricted] {
        let server = Sshd::start(kind);
        open_at(&server, "repository").create(&key("a/b"), content("x")).await.unwrap();
        let mode = |path| fs::metadata(server.local(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("repository"), 0o700, "{kind:?}");
        assert_eq!(mode("repository/a"), 0o700, "{kind:?}");
        assert_eq!(mode("repository/a/b"), 0o600, "{kind:?}");
    }
}

#[tokio::test]
async fn a_missing_directory_is_no_empty_repository() {
    let server = Sshd::start(Kind::Plain);
    let store = open_at(&server, "repository");
    let config = key("config");
    let errors = [
        store.get(&config, 1).await.unwrap_err(),
        store.first("").await.unwrap_err(),
        store.list("a/").try_collect::<Vec<_>>().await.unwrap_err(),
        store.delete(&config).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Place { class: Class::Missing, .. }), "{error:?}");
        let text = one_line(&error, Class::Missing);
        assert!(text.contains("not a repository directory"), "{text}");
    }
    let nowhere = open_at(&server, "not-mounted/repository");
    let text = refusal(&*nowhere, Class::Config).await;
    assert!(text.contains("make that directory"), "{text}");
    fs::write(server.local("file"), "").unwrap();
    let text = refusal(&*open_at(&server, "file"), Class::Config).await;
    assert!(text.contains("is a file"), "{text}");
}

#[tokio::test]
async fn a_server_that_writes_nothing_is_read() {
    let server = Sshd::start(Kind::ReadOnly);
    fs::create_dir_all(server.local("repository/a")).unwrap();
    fs::write(server.local("repository/a/b"), "x").unwrap();
    let store = open_at(&server, "repository");
    assert_eq!(store.get(&key("a/b"), 1).await.unwrap(), "x");
    assert_eq!(names(&*store, "").await, ["a/b"]);
    let text = refusal(&*store, Class::Denied).await;
    assert!(text.contains("permission"), "{text}");
    let error = store.delete(&key("a/b")).await.unwrap_err();
    one_line(&error, Class::Denied);
}

#[tokio::test]
async fn foreign_and_unfinished_files_are_passed_over() {
    for kind in [Kind::Plain, Kind::Restricted] {
        let server = Sshd::start(kind);
        let store = open_at(&server, "repository");
        store.create(&key("a/b"), content("x")).await.unwrap();
        for name in ["lost+found", "a/.tmp-1", "a/Upper"] {
            fs::write(server.local(&format!("repository/{name}")), "").unwrap();
        }
        let no_text = std::ffi::OsStr::from_bytes(b"a/\xff");
        fs::write(server.local("repository").join(no_text), "").unwrap();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, server.local(&format!("repository/{name}"))).unwrap();
        };
        link("b", "a/link");
        link("a", "directory");
        link("nowhere", "a/dangling");
        let expected = ["a/b", "a/link", "directory/b", "directory/link"];
        assert_eq!(names(&*store, "").await, expected, "{kind:?}");
    }
}

/// What is left behind when an object is created: nothing.
#[tokio::test]
async fn leaves_nothing_unfinished() {
    for kind in [Kind::Plain, Kind::Restricted] {
        let server = Sshd::start(kind);
        let store = open_at(&server, "repository");
        store.create(&key("a/b"), content("x")).await.unwrap();
        store.create(&key("a/b"), content("other")).await.unwrap_err();
        // The answer comes behind those to whatever was sent before.
        assert_eq!(names(&*store, "").await, ["a/b"], "{kind:?}");
        for directory in ["repository", "repository/a"] {
            let left: Vec<_> = fs::read_dir(server.local(directory)).unwrap().collect();
            assert_eq!(left.len(), 1, "{kind:?}: {left:?}");
        }
    }
}
