//! Every way to a credential that a real server can be asked to honour, and every wrong one.

use std::collections::BTreeMap;
use std::fs;

use backstay::class::Class;
use backstay::store::{self, Error, Key, Settings, Store as _};
use bytes::Bytes;

use super::sshd;
use crate::support::azurite::{Azurite, azurite};
use crate::support::moto::{Moto, moto};
use crate::support::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed, seaweed};
use crate::support::sshd::Kind;

pub(super) async fn try_it(url: &str, environment: BTreeMap<String, String>) -> Result<(), Error> {
    let store = store::open(url, &Settings::with_environment(environment))?;
    let key = Key::new("a");
    store.create(&key, vec![Bytes::from_static(b"x")]).await?;
    assert_eq!(store.get(&key, 1).await?, "x");
    Ok(())
}

pub(super) fn text(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test]
async fn a_profile_of_the_shared_files() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let endpoint = seaweed().environment()["AWS_ENDPOINT_URL"].clone();
    fs::write(
        home.path().join(".aws/credentials"),
        format!(
            "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\
             [backups]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        ),
    )
    .unwrap();
    let config = format!("[profile backups]\nregion = us-east-1\nendpoint_url = {endpoint}\n");
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let mut environment = BTreeMap::from([
        ("HOME".to_owned(), home.path().display().to_string()),
        ("AWS_PROFILE".to_owned(), "backups".to_owned()),
    ]);
    try_it(&Seaweed::url("profile"), environment.clone()).await.unwrap();
    environment.remove("AWS_PROFILE");
    environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint);
    let error = try_it(&Seaweed::url("profile"), environment).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error:?}");
    assert!(text(&error).contains("AWS_ACCESS_KEY_ID"), "{error:?}");
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let environment = moto().web_identity(&file);
    try_it(&Moto::url("identity"), environment.clone()).await.unwrap();
    fs::remove_file(&file).unwrap();
    let error = try_it(&Moto::url("identity"), environment).await.unwrap_err();
    assert!(!text(&error).contains('\n'), "{error:?}");
}

#[tokio::test]
async fn a_shared_access_signature_and_what_it_lacks() {
    let url = Azurite::url("signature");
    try_it(&url, azurite().environment_signed("rcl")).await.unwrap();
    let error = try_it(&url, azurite().environment_signed("rl")).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error:?}");
}

#[tokio::test]
async fn wrong_keys_are_called_wrong() {
    let mut environment = seaweed().environment();
    environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned());
    let error = try_it(&Seaweed::url("wrong"), environment.clone()).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied);
    assert!(text(&error).contains("AWS_SECRET_ACCESS_KEY"), "{error:?}");
    environment.insert("AWS_ACCESS_KEY_ID".to_owned(), "unknown".to_owned());
    let error = try_it(&Seaweed::url("wrong"), environment).await.unwrap_err();
    assert!(text(&error).contains("AWS_ACCESS_KEY_ID"), "{error:?}");
    let mut environment = azurite().environment();
    environment.insert("AZURE_STORAGE_ACCOUNT_KEY".to_owned(), "aGVsbG8=".to_owned());
    let error = try_it(&Azurite::url("wrong"), environment).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error:?}");
    assert!(text(&error).contains("AZURE_STORAGE_ACCOUNT_KEY"), "{error:?}");
}

#[tokio::test]
async fn what_is_not_there_is_called_so() {
    let error = try_it("s3://nowhere/x", moto().environment()).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error:?}");
    assert!(text(&error).contains("no bucket nowhere"), "{error:?}");
    let error = try_it("az://nowhere/x", azurite().environment()).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error:?}");
    assert!(text(&error).contains("no container nowhere"), "{error:?}");
    let sshd = sshd(Kind::Plain);
    let url = sshd.url("/nowhere/at/all/repository");
    let error = try_it(&url, sshd.environment()).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error:?}");
}

/// A port where TLS is expected and plain HTTP is spoken.
#[tokio::test]
async fn the_wrong_protocol_is_called_so() {
    let mut environment = seaweed().environment();
    let endpoint = environment["AWS_ENDPOINT_URL"].replace("http:", "https:");
    environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint);
    let error = try_it(&Seaweed::url("tls"), environment).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error:?}");
    assert!(text(&error).contains("does not speak TLS"), "{error:?}");
}
