//! The dialects of S3, GCS and Azure: what a second writer hears, ranges, and who may come in.

use std::process::{Command, Stdio};

use backstay::store::Key;
use bytes::Bytes;

use crate::support::azurite::{ACCOUNT, ACCOUNT_KEY, Azurite, access_signature, azurite};
use crate::support::gcs::{Gcs, gcs};
use crate::support::http::{Answer, request};
use crate::support::moto::{Moto, WEB_IDENTITY_TOKEN, moto};
use crate::support::seaweed::Seaweed;
use crate::support::tls::Tls;
use crate::support::tools::tool;

/// Statuses of: create, create again, read some, read too far, read from beyond the end, read
/// what is not there.
fn statuses(
    send: impl Fn(&str, &str, &[(&str, &str)], &[u8]) -> Answer,
    create: &[(&str, &str)],
) -> [u16; 6] {
    let first = send("PUT", "statuses/a", create, b"0123456789");
    let again = send("PUT", "statuses/a", create, b"other");
    let some = send("GET", "statuses/a", &[("Range", "bytes=3-4")], b"");
    assert_eq!((some.text().as_str(), some.header("content-range")), ("34", Some("bytes 3-4/10")));
    let far = send("GET", "statuses/a", &[("Range", "bytes=8-12")], b"");
    assert_eq!((far.text().as_str(), far.header("content-range")), ("89", Some("bytes 8-9/10")));
    let beyond = send("GET", "statuses/a", &[("Range", "bytes=10-12")], b"");
    let missing = send("GET", "statuses/b", &[], b"");
    [first, again, some, far, beyond, missing].map(|answer| answer.status)
}

#[test]
fn moto_creates_once() {
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        moto().send(method, &format!("backstay/{path}"), headers, body)
    };
    let found = statuses(send, &[("If-None-Match", "*")]);
    assert_eq!(found, [200, 412, 206, 206, 416, 404]);
}

#[test]
fn moto_gives_credentials_to_a_web_identity() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let environment = moto().web_identity(&file);
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(token, WEB_IDENTITY_TOKEN);
    assert_eq!(moto().environment()["AWS_ENDPOINT_URL"], environment["AWS_ENDPOINT_URL"]);
    let endpoint = environment["AWS_ENDPOINT_URL_STS"].strip_prefix("http://").unwrap();
    let (role, session) = (&environment["AWS_ROLE_ARN"], &environment["AWS_ROLE_SESSION_NAME"]);
    let path = format!(
        "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}\
         &RoleSessionName={session}&WebIdentityToken={token}"
    );
    let answer = request(endpoint.parse().unwrap(), "POST", &path, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    for part in ["<AccessKeyId>", "<SecretAccessKey>", "<SessionToken>", "<Expiration>"] {
        assert!(answer.text().contains(part), "{}", answer.text());
    }
}

#[test]
fn gcs_creates_once_by_generations() {
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let path = format!("/backstaygcs/{path}");
        request(gcs().endpoint(), method, &path, headers, body).unwrap()
    };
    let found = statuses(send, &[("x-goog-if-generation-match", "0")]);
    assert_eq!(found, [200, 412, 206, 206, 416, 404]);
    let answer = send("GET", "statuses/a", &[], b"");
    let generation = answer.header("x-goog-generation").unwrap();
    assert_eq!(answer.header("etag"), Some(generation));
    // Another store's condition means nothing here.
    let answer = send("PUT", "statuses/a", &[("If-None-Match", "*")], b"other");
    assert_eq!(answer.status, 200);
}

#[test]
fn gcs_has_a_service_account() {
    let environment = gcs().environment();
    let file = &environment["GOOGLE_APPLICATION_CREDENTIALS"];
    let account: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(account["gcs_base_url"], format!("http://{}", gcs().endpoint()));
    assert_eq!(Gcs::url("a"), "gs://backstaygcs/a");
}

#[test]
fn azurite_creates_once() {
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("x-ms-blob-type", "BlockBlob")], headers].concat();
        azurite().send(method, &format!("backstay/{path}"), "", &headers, body)
    };
    // Azure itself answers 416 to a range from beyond the end; Azurite an empty body.
    let found = statuses(send, &[("If-None-Match", "*")]);
    assert_eq!(found, [201, 409, 206, 206, 206, 404]);
    let answer = send("PUT", "statuses/a", &[("If-None-Match", "*")], b"");
    assert_eq!(answer.header("x-ms-error-code"), Some("BlobAlreadyExists"));
}

#[test]
fn azurite_grants_what_a_signature_grants() {
    let environment = azurite().environment_signed("rlc");
    let signature = &environment["AZURE_STORAGE_SAS_TOKEN"];
    let endpoint = azurite().endpoint();
    let send = |method: &str, signature: &str| {
        let path = format!("/{ACCOUNT}/backstay/granted?{signature}");
        let headers = [("x-ms-blob-type", "BlockBlob")];
        request(endpoint, method, &path, &headers, b"x").unwrap().status
    };
    // Who may create only is forbidden to create again.
    let found = [send("PUT", signature), send("PUT", signature), send("DELETE", signature)];
    assert_eq!(found, [201, 403, 403]);
    assert_eq!(send("DELETE", &access_signature("d")), 202);
    assert_eq!(send("DELETE", &signature.replace("sig=", "sig=A")), 403);
    let environment = azurite().environment();
    assert_eq!(environment["AZURE_STORAGE_ACCOUNT_KEY"], ACCOUNT_KEY);
    assert_eq!(environment["AZURE_STORAGE_ENDPOINT"], format!("http://{endpoint}/{ACCOUNT}"));
    assert_eq!(Azurite::url("a"), "az://backstay/a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweed_keeps_objects_when_it_is_killed() {
    let seaweed = tokio::task::spawn_blocking(Seaweed::start).await.unwrap();
    let store = seaweed.store("killed");
    let key = Key::new("a");
    let content = Bytes::from(vec![7; 5_000_000]);
    store.create(&key, vec![content.clone()]).await.unwrap();
    seaweed.server().kill();
    tokio::task::block_in_place(|| seaweed.server().restart());
    assert!(store.get(&key, 5_000_000).await.unwrap() == content);
    store.create(&key, vec![]).await.unwrap_err();
}

#[test]
fn azurite_and_moto_come_back() {
    let azurite = Azurite::start();
    let headers = [("x-ms-blob-type", "BlockBlob")];
    assert_eq!(azurite.send("PUT", "backstay/a", "", &headers, b"x").status, 201);
    azurite.server().restart();
    azurite.make_container();
    assert_eq!(azurite.send("PUT", "backstay/a", "", &headers, b"x").status, 201);
    assert_eq!(azurite.send("GET", "backstay/a", "", &[], b"").text(), "x");

    let moto = Moto::start();
    assert_eq!(moto.send("PUT", "backstay/a", &[], b"x").status, 200);
    moto.server().restart();
    assert_eq!(moto.send("GET", "backstay/a", &[], b"").status, 404, "it keeps nothing");
    moto.make_bucket("backstay");
    assert_eq!(moto.send("PUT", "backstay/a", &[], b"x").status, 200);
}

#[test]
fn https_is_trusted_with_its_authority_only() {
    let tls = Tls::start(moto().endpoint(), "IP:127.0.0.1");
    let connect = |options: &[&str]| {
        let mut command = Command::new(tool("openssl"));
        command.args(["s_client", "-verify_return_error", "-no-CApath", "-no-CAstore"]);
        command.args(["-connect", &tls.address().to_string(), "-verify_ip", "127.0.0.1"]);
        command.args(options).stdin(Stdio::null()).output().unwrap().status.success()
    };
    assert!(connect(&["-CAfile", tls.authority().to_str().unwrap()]));
    assert!(!connect(&["-no-CAfile"]));
    tls.server().kill();
    assert!(!connect(&["-CAfile", tls.authority().to_str().unwrap()]));
}
