//! Identities that are exchanged for credentials, and certificates that are trusted or not.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use backstay::class::Class;

use super::credentials::{text, try_it};
use crate::support::azurite::ACCOUNT;
use crate::support::gcs::{Gcs, gcs};
use crate::support::moto::moto;
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};
use crate::support::seaweed::{Seaweed, seaweed};
use crate::support::server::environment;
use crate::support::tls::Tls;
use crate::support::tools::tool;

fn answer(status: u16, body: &str) -> Action {
    Action::Answer(Reply::new(status).header("Content-Type", "application/json").body(body))
}

/// An object.
fn whole(content: &str) -> Reply {
    let reply = Reply::new(200).header("ETag", "\"1\"").header("x-goog-generation", "1");
    reply.header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT").body(content)
}

fn workload(proxy: SocketAddr, token_file: &Path) -> BTreeMap<String, String> {
    environment([
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ENDPOINT", &format!("http://{proxy}/{ACCOUNT}")),
        ("AZURE_AUTHORITY_HOST", &format!("http://{proxy}")),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.to_str().unwrap()),
    ])
}

/// Azurite knows no such tokens, so the proxy plays both servers: who gives them and who takes them.
#[tokio::test]
async fn an_azure_workload_identity_is_exchanged_for_a_token() {
    let proxy = HttpProxy::start(moto().endpoint());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "test-federated-token").unwrap();
    let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"test-access-token"}"#;
    let exchange = Rule::new(answer(200, token)).method("POST").path("/tenant/oauth2/v2.0/token");
    let exchanged = proxy.add(exchange);
    let bearer = |action| Rule::new(action).header("authorization", "Bearer test-access-token");
    let put =
        proxy.add(bearer(Action::Answer(whole(""))).method("PUT").path("/backstay/workload/a"));
    let get = proxy.add(bearer(Action::Answer(whole("x"))).method("GET"));
    let environment = workload(proxy.address(), &file);
    try_it("az://backstay/workload", environment.clone()).await.unwrap();
    assert_eq!([exchanged.count(), put.count(), get.count()], [1, 1, 1]);
    fs::remove_file(&file).unwrap();
    let error = try_it("az://backstay/workload", environment.clone()).await.unwrap_err();
    assert!(text(&error).contains("token") && !text(&error).contains('\n'), "{error:?}");
    fs::write(&file, "test-federated-token").unwrap();
    proxy.clear();
    let refusal = r#"{"error":"invalid_client","error_description":"AADSTS70021: no match"}"#;
    proxy.add(Rule::new(answer(401, refusal)).method("POST"));
    let error = try_it("az://backstay/workload", environment).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error:?}");
    assert!(!text(&error).contains('\n'), "{error:?}");
    assert!(!text(&error).contains("test-federated-token"), "{error:?}");
}

/// A service account signs its own token; nobody is asked for one.
#[tokio::test]
async fn a_google_service_account_signs_for_itself() {
    let proxy = HttpProxy::start(gcs().endpoint());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("account.json");
    let account = serde_json::json!({
        "type": "service_account",
        "gcs_base_url": format!("http://{}", proxy.address()),
        "client_email": "backup@project.iam.gserviceaccount.com",
        "private_key": rsa_key(),
        "private_key_id": "1",
    });
    fs::write(&file, account.to_string()).unwrap();
    let signed = |action| Rule::new(action).header("authorization", "Bearer ey");
    let put = proxy.add(signed(Action::Answer(whole(""))).method("PUT"));
    let get = proxy.add(signed(Action::Answer(whole("x"))).method("GET"));
    let variables = environment([("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())]);
    try_it(&Gcs::url("service-account"), variables).await.unwrap();
    assert_eq!([put.count(), get.count()], [1, 1]);
}

fn rsa_key() -> String {
    let mut command = Command::new(tool("openssl"));
    command.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let right = Tls::start(seaweed().endpoint(), "IP:127.0.0.1");
    let other = Tls::start(seaweed().endpoint(), "DNS:elsewhere.example");
    let at = |tls: &Tls, authority: Option<&Tls>| {
        let mut environment = Seaweed::environment_via(tls.address());
        environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("https://{}", tls.address()));
        if let Some(authority) = authority {
            let path = authority.authority().display().to_string();
            environment.insert("AWS_CA_BUNDLE".to_owned(), path);
        }
        environment
    };
    let url = Seaweed::url("authority");
    try_it(&url, at(&right, Some(&right))).await.unwrap();
    for (tls, authority, words) in [
        (&right, None, "AWS_CA_BUNDLE"),
        (&right, Some(&other), "AWS_CA_BUNDLE"),
        (&other, Some(&other), "name"),
    ] {
        let error = try_it(&url, at(tls, authority)).await.unwrap_err();
        assert_eq!(error.class(), Class::Config, "{error:?}");
        assert!(text(&error).contains(words) && !text(&error).contains('\n'), "{error:?}");
    }
    let mut environment = at(&right, None);
    environment.insert("AWS_CA_BUNDLE".to_owned(), "/nowhere/ca.pem".to_owned());
    let error = try_it(&url, environment).await.unwrap_err();
    assert!(text(&error).contains("/nowhere/ca.pem"), "{error:?}");
}
