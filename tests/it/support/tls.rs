//! HTTPS in front of a server that has none, with a certificate authority of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::nginx::{self, Site};
use super::server::Server;
use super::tools::tool;

/// nginx in front of a server.
pub struct Tls {
    address: SocketAddr,
    server: Server,
    directory: tempfile::TempDir,
}

impl Tls {
    /// Starts nginx in front of `upstream`. Its certificate is for `name` only: `IP:127.0.0.1`, or
    /// another one that nobody there has.
    pub fn start(upstream: SocketAddr, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        std::fs::write(place.join("extensions"), format!("subjectAltName={name}\n")).unwrap();
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for arguments in [
            format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 30 -subj /CN=tests"),
            format!("req -new {new_key} -keyout key.pem -out request.pem -subj /CN=server"),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem \
             -days 30 -extfile extensions"
                .to_owned(),
        ] {
            openssl(place, &arguments);
        }
        let location = format!("proxy_pass http://{upstream};");
        let (address, server) = nginx::start(&Site {
            location: &location,
            certificate: Some((&place.join("cert.pem"), &place.join("key.pem"))),
            ..Site::default()
        });
        Self { address, server, directory }
    }

    /// Where it listens, for HTTPS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The certificate of the authority that clients must trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }
}

fn openssl(place: &Path, arguments: &str) {
    let mut command = Command::new(tool("openssl"));
    let output = command.args(arguments.split_whitespace()).current_dir(place).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}
