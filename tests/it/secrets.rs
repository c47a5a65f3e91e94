//! Secrets stay where they belong: whatever a store is asked to do, and however it fails, none is printed,
//! logged, or written. `tests/run` looks for the same words in everything that the whole suite printed and
//! logged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::cli::{Place, said};
use crate::support::azurite::{ACCOUNT_KEY, Azurite, azurite};
use crate::support::moto::{Moto, WEB_IDENTITY_TOKEN, moto};
use crate::support::seaweed::{SECRET_KEY, Seaweed, seaweed};
use crate::support::sshd::{ClientKey, Kind, PASSPHRASE, Sshd};

fn words() -> Vec<&'static str> {
    let words: Vec<_> = include_str!("../secrets.txt").lines().collect();
    assert!(words.iter().all(|word| word.len() > 5), "an empty line is found everywhere");
    words
}

/// The first secret in `bytes`.
fn secret_in(bytes: &[u8]) -> Option<&'static str> {
    let holds = |word: &&str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    words().into_iter().find(holds)
}

#[test]
fn the_list_has_every_secret_of_the_servers() {
    let moto = moto().environment()["AWS_SECRET_ACCESS_KEY"].clone();
    for secret in [SECRET_KEY, &moto, WEB_IDENTITY_TOKEN, ACCOUNT_KEY, PASSPHRASE] {
        assert!(secret_in(secret.as_bytes()).is_some(), "{secret} is not in tests/secrets.txt");
    }
    assert_eq!(secret_in(b"nothing to see"), None);
}

/// Every file below a directory but those that are there to hold a secret.
fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("keys") {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

#[test]
fn no_command_prints_logs_or_writes_one() {
    let sshd = Sshd::start(Kind::Plain);
    let mut wrapped = sshd.environment();
    let key = sshd.key(ClientKey::Wrapped).display().to_string();
    wrapped.insert("BACKSTAY_SSH_KEY".to_owned(), key);
    wrapped.insert("BACKSTAY_SSH_PASSPHRASE".to_owned(), PASSPHRASE.to_owned());
    let wrong = |mut environment: BTreeMap<String, String>, name: &str, value: &str| {
        environment.insert(name.to_owned(), value.to_owned());
        environment
    };
    let places = [
        (Seaweed::url("secrets"), seaweed().environment()),
        (Seaweed::url("secrets"), wrong(seaweed().environment(), "AWS_ACCESS_KEY_ID", "other")),
        (Moto::url("secrets"), moto().environment()),
        (Azurite::url("secrets"), azurite().environment()),
        ("az://nowhere/x".to_owned(), azurite().environment()),
        (sshd.url("/./secrets"), wrapped.clone()),
        (sshd.url("/./secrets"), wrong(wrapped, "BACKSTAY_SSH_PASSPHRASE", "hunter2")),
        ("s3://key:hunter2@bucket/x".to_owned(), seaweed().environment()),
        ("s3://key:abc/hunter2@bucket/x".to_owned(), seaweed().environment()),
        ("az://container/x?sv=1&sig=hunter2".to_owned(), azurite().environment()),
        ("https://mine.blob.core.windows.net/c?sig=hunter2".to_owned(), azurite().environment()),
        ("sftp://user:pa/hunter2@host/x".to_owned(), sshd.environment()),
    ];
    for (number, (url, environment)) in places.into_iter().enumerate() {
        let place = Place::bare();
        place.write("data/file", b"content");
        let run = |words: &[&str]| {
            let mut command = place.command();
            command.env("BACKSTAY_REPOSITORY", &url).envs(&environment);
            command.env("BACKSTAY_CACHE", place.path("cache"));
            let said = said(command.args(["--log", "debug"]).args(words));
            for (what, bytes) in [("printed", &said.stdout[..]), ("said", said.stderr.as_bytes())] {
                let found = secret_in(bytes);
                assert_eq!(found, None, "{number}: {words:?} {what} {}", said.stderr);
            }
        };
        run(&["init", "--no-probe", "--keys", "keys"]);
        run(&["backup", "data"]);
        run(&["--json", "backup", "data"]);
        run(&["check", "--no-probe"]);
        let mut written = Vec::new();
        files(&place.path("."), &mut written);
        for file in written {
            assert_eq!(secret_in(&fs::read(&file).unwrap()), None, "{}", file.display());
        }
    }
}
