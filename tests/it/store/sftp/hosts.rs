//! Who the server is.

use std::fs;

use backstay::class::Class;

use super::{content, key, open, refusal};
use crate::support::sshd::{Kind, Sshd};

#[tokio::test]
async fn an_unknown_host_is_refused_with_the_line_that_makes_it_known() {
    let server = Sshd::start(Kind::Plain);
    let mut environment = server.environment();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("known_hosts");
    environment.insert("BACKSTAY_SSH_KNOWN_HOSTS".into(), file.display().to_string());
    let url = server.url("/./repository");
    let text = refusal(&*open(&url, environment.clone()), Class::Config).await;
    assert!(text.contains(&server.fingerprint()), "{text}");
    let (_, line) = text.split_once(&format!("add this line to {}: ", file.display())).unwrap();
    assert_eq!(line, server.known_hosts().trim());
    // Whoever does as told gets in.
    fs::write(&file, line).unwrap();
    open(&url, environment).create(&key("a/b"), content("x")).await.unwrap();
}

#[tokio::test]
async fn a_changed_key_is_refused_with_both_fingerprints() {
    let server = Sshd::start(Kind::Plain);
    let environment = server.environment();
    let before = server.fingerprint();
    let store = open(&server.url("/./repository"), environment);
    store.create(&key("a/b"), content("x")).await.unwrap();
    server.change_host_key();
    server.server().restart();
    let text = refusal(&*store, Class::Denied).await;
    let line = format!("known_hosts-{} line 1", server.address().port());
    for expected in [before, server.fingerprint(), line] {
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let server = Sshd::start(Kind::Plain);
    let environment = server.environment();
    let line = server.known_hosts();
    let key = line.split_once(' ').unwrap().1;
    fs::write(&environment["BACKSTAY_SSH_KNOWN_HOSTS"], format!("{line}@revoked * {key}")).unwrap();
    let store = open(&server.url("/./repository"), environment);
    let text = refusal(&*store, Class::Denied).await;
    assert!(text.contains("revokes") && text.contains("line 2"), "{text}");
}

/// The usual file is looked at where none is named; `ssh-keygen -H` has hidden the name.
#[tokio::test]
async fn hashed_names_in_the_usual_file_are_found() {
    let server = Sshd::start(Kind::Plain);
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".ssh");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("known_hosts");
    fs::write(&file, server.known_hosts()).unwrap();
    let hashed = std::process::Command::new(crate::support::tools::tool("ssh-keygen"))
        .args(["-q", "-H", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(hashed.status.success());
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    let mut environment = server.environment();
    environment.remove("BACKSTAY_SSH_KNOWN_HOSTS");
    environment.insert("HOME".into(), home.path().display().to_string());
    let store = open(&server.url("/./repository"), environment);
    store.create(&key("a/b"), content("x")).await.unwrap();
}
