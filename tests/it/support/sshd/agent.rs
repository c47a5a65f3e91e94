//! An agent that holds keys, so that clients need no file.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::server::{Server, command, new_directory};
use super::tool;

/// A running `ssh-agent`.
pub struct Agent {
    socket: PathBuf,
    _server: Server,
}

impl Agent {
    /// Starts an agent that holds the private key of `key_file`, which is not wrapped.
    pub fn start(key_file: &Path) -> Self {
        let directory = new_directory();
        let socket = directory.join("agent");
        let arguments = ["-D", "-a", socket.to_str().unwrap()];
        let command = command(tool("ssh-agent"), arguments);
        let path = socket.clone();
        let server = Server::start("ssh-agent", directory, command, move || path.exists());
        let added = Command::new(tool("ssh-add"))
            .arg("-q")
            .arg(key_file)
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .unwrap();
        assert!(added.success(), "ssh-add cannot add {}", key_file.display());
        Self { socket, _server: server }
    }

    /// What `SSH_AUTH_SOCK` is to be.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
