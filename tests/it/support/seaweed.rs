//! A real S3 server that checks signatures: `SeaweedFS`. One for all tests, started with the first
//! that asks for it; a test that kills its server starts its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use backstay::store::{self, Settings, Store};

use super::http::request;
use super::server::{Server, command, environment, free_port, loopback, new_directory};
use super::tools::tool;

/// What the server lets in; of no worth elsewhere.
pub const ACCESS_KEY: &str = "test-access-key";
pub const SECRET_KEY: &str = "test-secret-key";
const BUCKET: &str = "backstay";

/// The running server.
pub struct Seaweed {
    endpoint: SocketAddr,
    server: Server,
}

/// The server of all tests, started if it is not running yet.
pub fn seaweed() -> &'static Seaweed {
    static SERVER: OnceLock<Seaweed> = OnceLock::new();
    SERVER.get_or_init(Seaweed::start)
}

impl Seaweed {
    /// Starts a server for one test. Takes seconds.
    pub fn start() -> Self {
        let directory = new_directory();
        let identities = serde_json::json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        let config = directory.join("s3.json");
        std::fs::write(&config, identities.to_string()).unwrap();
        let [filer, s3] = [free_port(), free_port()];
        let mut arguments = vec![
            "server".to_owned(),
            format!("-dir={}", directory.display()),
            format!("-s3.config={}", config.display()),
            format!("-s3.localSocket={}/s3.socket", directory.display()),
            format!("-filer.localSocket={}/filer.socket", directory.display()),
        ];
        // Without catalogues, whose ports are the same for every server; without reports to its
        // makers; and without twenty seconds of waiting for other masters after a restart.
        let fixed = "-ip=127.0.0.1 -ip.bind=127.0.0.1 -filer -s3 -volume.max=20 \
                     -master.volumeSizeLimitMB=256 -master.telemetry=false \
                     -s3.port.iceberg=0 -s3.port.lance=0 -master.electionTimeout=300ms \
                     -master.heartbeatInterval=100ms";
        arguments.extend(fixed.split_whitespace().map(str::to_owned));
        for (role, port) in [
            ("master", free_port()),
            ("master.port.grpc", free_port()),
            ("volume", free_port()),
            ("volume.port.grpc", free_port()),
            ("filer", filer),
            ("filer.port.grpc", free_port()),
            ("s3", s3),
            ("s3.port.grpc", free_port()),
        ] {
            let option = if role.contains('.') { role.to_owned() } else { format!("{role}.port") };
            arguments.push(format!("-{option}={port}"));
        }
        let endpoint = loopback(s3);
        let is_ready = move || status(endpoint, "GET", "/healthz") == Some(200);
        let mut command = command(tool("weed"), arguments);
        // Its logs and sockets go with it.
        command.env("TMPDIR", &directory);
        let server = Server::start("SeaweedFS", directory, command, is_ready);
        // A directory under /buckets is a bucket.
        let bucket = format!("/buckets/{BUCKET}/");
        server.wait_until(|| status(loopback(filer), "POST", &bucket).is_some_and(|it| it < 300));
        Self { endpoint, server }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The process, which may be killed and restarted, if it is no other test's.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The variables that let a client in.
    pub fn environment(&self) -> BTreeMap<String, String> {
        Self::environment_via(self.endpoint)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn environment_via(address: SocketAddr) -> BTreeMap<String, String> {
        environment([
            ("AWS_ENDPOINT_URL", &format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
        ])
    }

    /// A repository's URL; `prefix` keeps tests apart.
    pub fn url(prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// A store under `prefix`.
    pub fn store(&self, prefix: &str) -> Arc<dyn Store> {
        store::open(&Self::url(prefix), &Settings::with_environment(self.environment())).unwrap()
    }
}

fn status(address: SocketAddr, method: &str, path: &str) -> Option<u16> {
    Some(request(address, method, path, &[], &[])?.status)
}
