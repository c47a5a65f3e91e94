//! What a cluster's own HTTP proxy makes visible: hosts that only exist in a cloud, asked for by the names
//! that they have there. reqwest takes the proxy from `http_proxy`, as most programs do.

use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};

use super::{Place, program, said};

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
    let mut command = program(&place.path("."));
    for variable in ["http_proxy", "https_proxy"] {
        command.env(variable, format!("http://{}", proxy.address()));
    }
    command.env("HOME", place.path("."));
    command.args(["init", "--keys", "keys", "--repository", "gs://bucket", "--retry-for", "1s"]);
    let said = said(&mut command);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    assert!(!said.stderr.contains("test-access-token"), "{said:?}");
    assert!(asked.count() >= 1 && refused.count() >= 1, "{said:?}");
}
