//! Keys of clients and hosts, as people make them: by `ssh-keygen`.

use std::path::Path;
use std::process::Command;

use crate::support::tools::tool;

/// What the wrapped key is wrapped with.
pub const PASSPHRASE: &str = "test-passphrase-of-an-ssh-key";

/// A client's private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKey {
    Ed25519,
    /// Ed25519, wrapped with [`PASSPHRASE`].
    Wrapped,
    /// RSA with 3072 bits. Takes up to seconds to make.
    Rsa,
}

impl ClientKey {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "id_ed25519",
            Self::Wrapped => "id_wrapped",
            Self::Rsa => "id_rsa",
        }
    }

    pub(super) fn algorithm(self) -> &'static str {
        match self {
            Self::Ed25519 | Self::Wrapped => "ed25519",
            Self::Rsa => "rsa",
        }
    }

    pub(super) fn passphrase(self) -> &'static str {
        if self == Self::Wrapped { PASSPHRASE } else { "" }
    }
}

/// Makes a key at `file` and `file.pub`.
pub fn generate(file: &Path, algorithm: &str, passphrase: &str) {
    let mut command = Command::new(tool("ssh-keygen"));
    command.args(["-q", "-t", algorithm, "-N", passphrase, "-C", "tests", "-f"]).arg(file);
    if algorithm == "rsa" {
        command.args(["-b", "3072"]);
    }
    // It must never wait for an answer.
    command.stdin(std::process::Stdio::null());
    assert!(command.status().unwrap().success(), "ssh-keygen cannot make {}", file.display());
}
