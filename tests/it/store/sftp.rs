//! What is particular about SFTP, at a real `sshd`: keys, hosts, paths, servers that can little, and
//! connections that break.

mod broken;
mod hosts;
mod logins;
mod places;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backstay::class::Class;
use backstay::store::{self, Error, Key, Settings, Store};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::support::sshd::Sshd;

type Environment = BTreeMap<String, String>;

/// A store that does not try for long.
fn open(url: &str, environment: Environment) -> Arc<dyn Store> {
    let mut settings = Settings::with_environment(environment);
    settings.limits.retry_for = Duration::from_secs(20);
    store::open(url, &settings).unwrap()
}

/// A repository in the directory where sessions start.
fn open_at(server: &Sshd, name: &str) -> Arc<dyn Store> {
    open(&server.url(&format!("/./{name}")), server.environment())
}

fn key(name: &str) -> Key {
    Key::new(name)
}

fn content(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

async fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    let rows: Vec<_> = store.list(prefix).try_collect().await.unwrap();
    rows.iter().map(|row| row.key.as_str().to_owned()).collect()
}

/// What creating an object says; the error is of this class and one line.
async fn refusal(store: &dyn Store, class: Class) -> String {
    let error = store.create(&key("a/b"), content("x")).await.unwrap_err();
    one_line(&error, class)
}

fn one_line(error: &Error, class: Class) -> String {
    assert_eq!(error.class(), class, "{error:?}");
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    assert!(!text.contains('\n'), "{text}");
    text
}
