//! The XML dialect of Google Cloud Storage: nginx turns generations into entity tags on their way
//! to moto and back. Emulators of GCS speak its JSON dialect only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::moto::{Moto, moto, signature};
use super::nginx::{self, Site};
use super::server::{Server, environment};

const BUCKET: &str = "backstaygcs";

/// nginx in front of the [`moto`] of all tests.
pub struct Gcs {
    endpoint: SocketAddr,
    server: Server,
}

/// The server of all tests, started if it is not running yet.
pub fn gcs() -> &'static Gcs {
    static SERVER: OnceLock<Gcs> = OnceLock::new();
    SERVER.get_or_init(|| Gcs::start(moto()))
}

impl Gcs {
    fn start(moto: &Moto) -> Self {
        moto.make_bucket(BUCKET);
        let maps = "map $http_x_goog_if_generation_match $if_none_match { default ''; 0 '*'; }
            map $http_x_goog_if_generation_match $if_match {
                default $http_x_goog_if_generation_match; 0 '';
            }";
        let location = format!(
            "proxy_pass http://{};
            proxy_set_header If-None-Match $if_none_match;
            proxy_set_header If-Match $if_match;
            proxy_set_header Authorization '{}';
            add_header x-goog-generation $upstream_http_etag always;",
            moto.endpoint(),
            signature("s3")
        );
        let (endpoint, server) =
            nginx::start(&Site { context: maps, location: &location, ..Site::default() });
        Self { endpoint, server }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The variables that let a client in.
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment_via(self.endpoint)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn environment_via(&self, address: SocketAddr) -> BTreeMap<String, String> {
        let account = self.service_account_file(address);
        environment([("GOOGLE_APPLICATION_CREDENTIALS", account.to_str().unwrap())])
    }

    /// A repository's URL; `prefix` keeps tests apart.
    pub fn url(prefix: &str) -> String {
        format!("gs://{BUCKET}/{prefix}")
    }

    /// A file that stays as long as the server.
    fn service_account_file(&self, address: SocketAddr) -> PathBuf {
        let file = self.server.directory().join(format!("service-account-{}.json", address.port()));
        std::fs::write(&file, service_account(address)).unwrap();
        file
    }
}

/// The text of a service account's file that leads to `address`. It has no key: nobody there
/// exchanges one for a token.
pub fn service_account(address: SocketAddr) -> String {
    serde_json::json!({
        "type": "service_account",
        "gcs_base_url": format!("http://{address}"),
        "disable_oauth": true,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    })
    .to_string()
}
