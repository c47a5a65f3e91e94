//! Another S3 server, of another mind: moto. It takes any signature, so a proxy may change requests
//! on their way, and it gives out credentials for a web identity, as AWS does to a pod.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use super::http::request;
use super::nginx::{self, Site};
use super::server::{Server, command, environment, free_port, listens, loopback, new_directory};
use super::tools::tool;

const BUCKET: &str = "backstay";

/// What makes moto take a request for one of `service`; it checks no more.
pub(super) fn signature(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

/// The running server. It keeps objects in memory: what it held is gone when it is killed.
pub struct Moto {
    endpoint: SocketAddr,
    server: Server,
    /// Where a web identity is exchanged for credentials.
    tokens: OnceLock<(SocketAddr, Server)>,
}

/// The server of all tests, started if it is not running yet.
pub fn moto() -> &'static Moto {
    static SERVER: OnceLock<Moto> = OnceLock::new();
    SERVER.get_or_init(Moto::start)
}

impl Moto {
    /// Starts a server for one test. Takes a second or two.
    pub fn start() -> Self {
        let port = free_port();
        let endpoint = loopback(port);
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let mut command = command(tool("moto_server"), arguments);
        let directory = new_directory();
        // Large objects go to files, and their directory goes with the server.
        command.env("TMPDIR", &directory);
        let server = Server::start("moto", directory, command, move || listens(endpoint));
        let moto = Self { endpoint, server, tokens: OnceLock::new() };
        moto.make_bucket(BUCKET);
        moto
    }

    /// Where it listens.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Makes a bucket; it may be there already.
    pub fn make_bucket(&self, bucket: &str) {
        let answer = self.send("PUT", bucket, &[], &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Sends one S3 request that looks signed; `path` starts with the bucket.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> super::http::Answer {
        let signature = signature("s3");
        let headers = [&[("Authorization", &*signature)], headers].concat();
        request(self.endpoint, method, &format!("/{path}"), &headers, body).unwrap()
    }

    /// The variables that let a client in.
    pub fn environment(&self) -> BTreeMap<String, String> {
        Self::environment_via(self.endpoint)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn environment_via(address: SocketAddr) -> BTreeMap<String, String> {
        environment([
            ("AWS_ENDPOINT_URL", &format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", "test-access-key-for-moto"),
            ("AWS_SECRET_ACCESS_KEY", "test-secret-key-for-moto"),
            ("AWS_REGION", "us-east-1"),
        ])
    }

    /// The variables of a pod with a role (IRSA): its token, which is written to `token_file`, is
    /// exchanged for credentials at another address.
    pub fn web_identity(&self, token_file: &Path) -> BTreeMap<String, String> {
        std::fs::write(token_file, WEB_IDENTITY_TOKEN).unwrap();
        let (tokens, _) = self.tokens.get_or_init(|| {
            // The exchange is not signed, and moto takes it for a request for buckets.
            let location = format!(
                "proxy_pass http://{};
                proxy_set_header Authorization '{}';",
                self.endpoint,
                signature("sts")
            );
            nginx::start(&Site { location: &location, ..Site::default() })
        });
        environment([
            ("AWS_ENDPOINT_URL", &format!("http://{}", self.endpoint)),
            ("AWS_ENDPOINT_URL_STS", &format!("http://{tokens}")),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backstay"),
            ("AWS_ROLE_SESSION_NAME", "tests"),
            ("AWS_REGION", "us-east-1"),
        ])
    }

    /// A repository's URL; `prefix` keeps tests apart.
    pub fn url(prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }
}

/// What a pod finds in its token file: here without a meaning.
pub const WEB_IDENTITY_TOKEN: &str = "test-web-identity-token";
