//! A real S3 server, started with the first test that asks for it and ended with this
//! process, however that ends. It is `SeaweedFS`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backstay::store::{self, Store};

use super::tools::tool;

const ACCESS_KEY: &str = "test-access-key";
const SECRET_KEY: &str = "test-secret-key";
const BUCKET: &str = "backstay";

/// Waits for the end of its standard input, which comes with the end of the tests, be they killed;
/// then removes the server, its children and its data. `setsid` gives them a group of their own.
const SUPERVISOR: &str = r#"
    directory=$1; shift
    setsid "$@" </dev/null >"$directory/log" 2>&1 &
    group=$!
    cat >/dev/null
    kill -9 "-$group"
    rm -rf "$directory"
"#;

/// A cold server on a busy machine was seen to take 19 seconds.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// The running server.
pub struct Seaweed {
    endpoint: SocketAddr,
    /// Holds the other end of the supervisor's input, which closes with this process: a static is
    /// never dropped.
    _supervisor: Child,
}

/// The server, started if it is not running yet.
pub fn seaweed() -> &'static Seaweed {
    static SERVER: OnceLock<Seaweed> = OnceLock::new();
    SERVER.get_or_init(Seaweed::start)
}

impl Seaweed {
    /// The variables that let a client in.
    pub fn environment(&self) -> BTreeMap<String, String> {
        [
            (
                "AWS_ENDPOINT_URL",
                format!("http://{}", self.endpoint).as_str(),
            ),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A repository's URL; `prefix` keeps tests apart.
    pub fn url(prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// A store under `prefix`.
    pub fn store(&self, prefix: &str) -> Arc<dyn Store> {
        store::open_with(&Self::url(prefix), &self.environment()).unwrap()
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap().keep();
        let identities = serde_json::json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        let config = directory.join("s3.json");
        std::fs::write(&config, identities.to_string()).unwrap();
        let [master, volume, filer, s3] = free_ports();
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .args([&directory, &tool("weed")])
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args([
                "-filer",
                "-s3",
                "-volume.max=20",
                "-master.volumeSizeLimitMB=256",
            ])
            .arg(format!("-dir={}", directory.display()))
            .arg(format!("-s3.config={}", config.display()))
            .args([
                format!("-master.port={master}"),
                format!("-master.port.grpc={}", master + 1),
                format!("-volume.port={volume}"),
                format!("-volume.port.grpc={}", volume + 1),
                format!("-filer.port={filer}"),
                format!("-filer.port.grpc={}", filer + 1),
                format!("-s3.port={s3}"),
                format!("-s3.port.grpc={}", s3 + 1),
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        wait_until(&directory, || {
            request(address(s3), "GET", "/healthz").is_some_and(|status| status == 200)
        });
        // A directory under /buckets is a bucket.
        wait_until(&directory, || {
            request(address(filer), "POST", &format!("/buckets/{BUCKET}/"))
                .is_some_and(|status| status < 300)
        });
        Self {
            endpoint: address(s3),
            _supervisor: supervisor,
        }
    }
}

/// Four ports; the one above each is free as well.
fn free_ports() -> [u16; 4] {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    while ports.len() < 4 {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let second = port
            .checked_add(1)
            .map(|next| TcpListener::bind(("127.0.0.1", next)));
        if let Some(Ok(second)) = second {
            ports.push(port);
            held.push((first, second));
        }
    }
    ports.try_into().unwrap()
}

/// The status of one HTTP request without a body; none if nobody answers.
fn request(address: SocketAddr, method: &str, path: &str) -> Option<u16> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .ok()?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1)?.parse().ok()
}

/// Asks again and again: the server tells nobody when it is ready.
fn wait_until(directory: &Path, is_ready: impl Fn() -> bool) {
    let polls = PATIENCE.as_millis() / POLL.as_millis();
    for _ in 0..polls {
        if is_ready() {
            return;
        }
        std::thread::sleep(POLL);
    }
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    panic!("SeaweedFS did not start within {PATIENCE:?}:\n{log}");
}
