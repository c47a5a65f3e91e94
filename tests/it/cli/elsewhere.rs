//! What a cluster's own HTTP proxy makes visible: hosts that only exist in a cloud, asked for by the names
//! that they have there. reqwest takes the proxy from `http_proxy`, as most programs do.

use std::time::Duration;

use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};

use super::{Place, Said, program, said};

/// Amazon's own style: the bucket is part of the host's name. moto knows it by that name.
#[test]
fn a_bucket_is_part_of_the_hosts_name() {
    let place = Place::bare();
    place.write("data/a.txt", b"alpha\n");
    let proxy = HttpProxy::start(moto().endpoint());
    let run = |arguments: &[&str], key: Option<&str>| {
        let mut command = program(&place.path("."));
        command.envs(Moto::environment_via(proxy.address()));
        command.env("http_proxy", format!("http://{}", proxy.address()));
        command.env("AWS_ENDPOINT_URL", "http://s3.us-east-1.amazonaws.com");
        command.env("BACKSTAY_S3_PATH_STYLE", "false");
        command.envs(key.map(|key| ("BACKSTAY_KEY_FILE", key)));
        command.args(arguments).args(["--repository", &Moto::url("virtual-host")]);
        said(&mut command).ok()
    };
    run(&["init", "--keys", "keys", "--no-probe"], None);
    run(&["backup", "data"], Some("keys/agent.key"));
    run(&["restore", "latest", "--to", "back"], Some("keys/recovery.key"));
    assert!(place.path("back/data/a.txt").exists());
    let requests = proxy.requests();
    let host = "http://backstay.s3.us-east-1.amazonaws.com/";
    assert!(requests.len() > 15, "{requests:?}");
    assert!(requests.iter().all(|request| request.path.starts_with(host)), "{requests:?}");
}

/// Goes to Google by way of the proxy, with the place as home, and is told in one line that it fails.
fn cannot_open_google(place: &Place, proxy: &HttpProxy) -> Said {
    let mut command = program(&place.path("."));
    for variable in ["http_proxy", "https_proxy"] {
        command.env(variable, format!("http://{}", proxy.address()));
    }
    command.env("HOME", place.path("."));
    command.args(["init", "--keys", "keys", "--repository", "gs://bucket", "--retry-for", "1s"]);
    let said = said(&mut command);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    said
}

/// Without a key, a machine or Pod at Google asks who it is. What it is then given opens a bucket that is
/// only behind TLS, where the tests cannot follow.
#[test]
fn googles_metadata_server_is_asked_for_a_token() {
    let place = Place::bare();
    let proxy = HttpProxy::start(moto().endpoint());
    let token = r#"{"access_token":"test-access-token","expires_in":3600,"token_type":"Bearer"}"#;
    let token = Reply::new(200).header("Content-Type", "application/json").body(token);
    let asked = Rule::new(Action::Answer(token)).method("GET").header("metadata-flavor", "Google");
    let asked = proxy.add(asked.path("/service-accounts/default/token"));
    let refused = proxy.add(Rule::new(Action::Answer(Reply::new(403))).method("CONNECT"));
    let said = cannot_open_google(&place, &proxy);
    assert!(!said.stderr.contains("test-access-token"), "{said:?}");
    assert!(asked.count() >= 1 && refused.count() >= 1, "{said:?}");
}

/// Temporary credentials have a third part, which every request bears. moto takes any; a server that checks
/// it is played by a proxy that refuses requests without it.
#[test]
fn every_request_bears_the_session_token() {
    let place = Place::bare();
    let proxy = HttpProxy::start(moto().endpoint());
    let pass = Rule::new(Action::Delay(Duration::ZERO));
    let bore = proxy.add(pass.header("x-amz-security-token", "test-session-token"));
    let refused = proxy.add(Rule::new(Action::Answer(Reply::error(403, "InvalidToken"))));
    let run = |token: Option<&str>| {
        let mut command = program(&place.path("."));
        command.envs(Moto::environment_via(proxy.address()));
        command.envs(token.map(|token| ("AWS_SESSION_TOKEN", token)));
        command.args(["init", "--keys", "keys", "--no-probe"]);
        command.args(["--repository", &Moto::url("session-token")]);
        said(&mut command)
    };
    let without = run(None);
    assert_eq!((without.code, bore.count()), (9, 0), "{without:?}");
    let before = refused.count();
    run(Some("test-session-token")).ok();
    assert!(bore.count() >= 2);
    assert_eq!(refused.count(), before);
}

/// What `gcloud auth application-default login` leaves behind opens a bucket by way of Google's token
/// server, which is only behind TLS, where the tests cannot follow.
#[test]
fn a_persons_own_google_login_is_used() {
    let place = Place::bare();
    let login = r#"{"type":"authorized_user","client_id":"an-id",
        "client_secret":"test-client-secret","refresh_token":"test-refresh-token"}"#;
    place.write(".config/gcloud/application_default_credentials.json", login.as_bytes());
    let proxy = HttpProxy::start(moto().endpoint());
    let refused = Rule::new(Action::Answer(Reply::new(403))).method("CONNECT");
    let refused = proxy.add(refused.path("accounts.google.com"));
    let said = cannot_open_google(&place, &proxy);
    assert!(!said.stderr.contains("test-refresh-token"), "{said:?}");
    let who = "cannot connect to accounts.google.com, which gives credentials";
    assert!(said.stderr.contains(who), "{said:?}");
    assert!(refused.count() >= 1, "{said:?}");
}
