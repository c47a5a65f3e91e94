//! Azure's blob store: Azurite, with the account and key that every emulator of it has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use aws_lc_rs::hmac;
use data_encoding::BASE64;

use super::http::request;
use super::server::{Server, command, environment, free_port, listens, loopback, new_directory};
use super::tools::tool;

/// Known to everybody, and of no worth elsewhere.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const CONTAINER: &str = "backstay";

/// The running server.
pub struct Azurite {
    endpoint: SocketAddr,
    server: Server,
}

/// The server of all tests, started if it is not running yet.
pub fn azurite() -> &'static Azurite {
    static SERVER: OnceLock<Azurite> = OnceLock::new();
    SERVER.get_or_init(Azurite::start)
}

impl Azurite {
    /// Starts a server for one test. Takes a second or two.
    pub fn start() -> Self {
        let port = free_port();
        let endpoint = loopback(port);
        let directory = new_directory();
        // Clients may know a newer version of the API; and nothing is reported to anybody.
        let mut arguments =
            ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--blobPort".to_owned(), port.to_string()]);
        arguments.extend(["--location".to_owned(), directory.display().to_string()]);
        let command = command(tool("azurite-blob"), arguments);
        let server = Server::start("Azurite", directory, command, move || listens(endpoint));
        let azurite = Self { endpoint, server };
        azurite.make_container();
        azurite
    }

    /// Makes the container anew: Azurite notes only every few seconds what it has, and whatever is
    /// newer is gone when it is killed.
    pub fn make_container(&self) {
        let answer = self.send("PUT", CONTAINER, "restype=container", &[], &[]);
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Where it listens.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends one request with all permissions; `path` starts with the container.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> super::http::Answer {
        let path = format!("/{ACCOUNT}/{path}?{query}&{}", access_signature("rwdlac"));
        request(self.endpoint, method, &path, headers, body).unwrap()
    }

    /// The variables that let a client in by the account's key.
    pub fn environment(&self) -> BTreeMap<String, String> {
        Self::environment_via(self.endpoint)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn environment_via(address: SocketAddr) -> BTreeMap<String, String> {
        environment([
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
            ("AZURE_STORAGE_ENDPOINT", &format!("http://{address}/{ACCOUNT}")),
        ])
    }

    /// The variables that let a client in by a shared access signature with `permissions`.
    pub fn environment_signed(&self, permissions: &str) -> BTreeMap<String, String> {
        environment([
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_SAS_TOKEN", &access_signature(permissions)),
            ("AZURE_STORAGE_ENDPOINT", &format!("http://{}/{ACCOUNT}", self.endpoint)),
        ])
    }

    /// A repository's URL; `prefix` keeps tests apart.
    pub fn url(prefix: &str) -> String {
        format!("az://{CONTAINER}/{prefix}")
    }
}

/// A shared access signature of the account, as a query: `permissions` are letters out of
/// `rwdlac`: read, write, delete, list, append, create.
pub fn access_signature(permissions: &str) -> String {
    const VERSION: &str = "2020-12-06";
    const EXPIRY: &str = "2099-01-01T00:00:00Z";
    // Account, permissions, services, kinds of resource, start, expiry, addresses, protocols,
    // version, encryption scope: each with a line end.
    let signed =
        format!("{ACCOUNT}\n{permissions}\nb\nsco\n\n{EXPIRY}\n\nhttps,http\n{VERSION}\n\n");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(ACCOUNT_KEY.as_bytes()).unwrap());
    let signature = BASE64.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={VERSION}&ss=b&srt=sco&sp={permissions}&se={EXPIRY}&spr=https,http&sig={signature}")
}
