//! OpenSSH's server with its SFTP subsystem, as it comes and as hosts of storage restrict it, with
//! keys of its own. It logs in the account that runs the tests, by public keys only: passwords
//! would need an account of their own.

mod agent;
mod keys;

pub use agent::Agent;
pub use keys::{ClientKey, PASSPHRASE, generate};

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::server::{Server, command, environment, free_port, listens, loopback, new_directory};
use super::tools::tool;

/// Every request that goes beyond version 3 of the protocol. A server that refuses them does not
/// announce their extensions either.
const EXTENSIONS: &str = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,\
                          expand-path,copy-data,home-directory,users-groups-by-id";

/// What the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `internal-sftp` with all its extensions.
    Plain,
    /// The program `sftp-server`.
    External,
    /// `internal-sftp` that writes nothing.
    ReadOnly,
    /// `internal-sftp` and nothing else, without any extension and, if root runs the tests, in a
    /// directory that it takes for `/`: a Storage Box.
    Restricted,
}

/// The running server.
pub struct Sshd {
    kind: Kind,
    address: SocketAddr,
    user: String,
    server: Server,
    keys: Mutex<()>,
}

impl Sshd {
    /// Starts a server for one test. Takes some 50 milliseconds.
    ///
    /// It can be killed and restarted by [`Sshd::server`]: keys, address and files stay.
    pub fn start(kind: Kind) -> Self {
        Self::start_by(kind, |command, _| command)
    }

    /// The same with a disk of its own for [`Sshd::home`], of so many MiB, which only the server sees;
    /// none where that needs a right that the tests do not have. It is empty again after a restart.
    pub fn start_with_disk(kind: Kind, disk_mib: u32) -> Option<Self> {
        let mut unshare = Command::new("unshare");
        let may_mount = unshare.args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
        if !may_mount.is_ok_and(|status| status.success()) {
            return None;
        }
        Some(Self::start_by(kind, |inner, home| {
            let script = format!(
                "mount -t tmpfs -o size={disk_mib}m,mode=777 none {} && exec \"$@\"",
                home.display()
            );
            let mut outer = Command::new("unshare");
            outer.args(["--mount", "sh", "-c", &script, "sh"]).arg(inner.get_program());
            outer.args(inner.get_args());
            outer
        }))
    }

    fn start_by(kind: Kind, wrap: impl FnOnce(Command, &Path) -> Command) -> Self {
        let is_root = nix::unistd::geteuid().is_root();
        let is_jailed = kind == Kind::Restricted && is_root;
        let directory = if is_jailed { new_trusted_directory() } else { new_directory() };
        fs::create_dir_all(directory.join("jail/home")).unwrap();
        generate(&directory.join("host"), "ed25519", "");
        fs::write(directory.join("authorized_keys"), "").unwrap();
        if is_root {
            // Where the process without rights lives that talks before the login.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let address = loopback(free_port());
        let config = directory.join("config");
        fs::write(&config, configuration(kind, is_jailed, address, &directory)).unwrap();
        let arguments = ["-D", "-e", "-f", config.to_str().unwrap()];
        let command = wrap(command(tool("sshd"), arguments), &directory.join("jail/home"));
        let server = Server::start("sshd", directory, command, move || listens(address));
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        Self { kind, address, user, server, keys: Mutex::default() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Who can log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where a session starts, as the client sees it: relative paths are below.
    pub fn home(&self) -> String {
        let is_jailed = self.kind == Kind::Restricted && nix::unistd::geteuid().is_root();
        let home = self.server.directory().join("jail/home");
        if is_jailed { "/home".to_owned() } else { home.display().to_string() }
    }

    /// The file that a client finds as `path` below [`Sshd::home`].
    pub fn local(&self, path: &str) -> PathBuf {
        self.server.directory().join("jail/home").join(path)
    }

    /// The private key's file; made and allowed to log in when first asked for.
    pub fn key(&self, key: ClientKey) -> PathBuf {
        let file = self.server.directory().join(key.name());
        // Tests that share a server ask at the same time.
        let _one_at_a_time = self.keys.lock().unwrap();
        if !file.exists() {
            generate(&file, key.algorithm(), key.passphrase());
            let allowed = self.server.directory().join("authorized_keys");
            let public = fs::read_to_string(file.with_extension("pub")).unwrap();
            fs::write(&allowed, fs::read_to_string(&allowed).unwrap() + &public).unwrap();
        }
        file
    }

    /// No key logs in any more; for sessions that begin from now on.
    pub fn revoke(&self) {
        fs::write(self.server.directory().join("authorized_keys"), "").unwrap();
    }

    /// The line of a `known_hosts` file.
    pub fn known_hosts(&self) -> String {
        self.known_hosts_via(self.address)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn known_hosts_via(&self, address: SocketAddr) -> String {
        let public = fs::read_to_string(self.server.directory().join("host.pub")).unwrap();
        let mut words = public.split_whitespace();
        let (algorithm, key) = (words.next().unwrap(), words.next().unwrap());
        format!("[{}]:{} {algorithm} {key}\n", address.ip(), address.port())
    }

    /// The host key's fingerprint as OpenSSH writes it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let public = self.server.directory().join("host.pub");
        let said = Command::new(tool("ssh-keygen")).arg("-lf").arg(public).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.split(' ').nth(1).unwrap().to_owned()
    }

    /// Another host key from the next restart on.
    pub fn change_host_key(&self) {
        for name in ["host", "host.pub"] {
            fs::remove_file(self.server.directory().join(name)).unwrap();
        }
        generate(&self.server.directory().join("host"), "ed25519", "");
    }

    /// The variables that let a client in by its first key.
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment_via(self.address)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn environment_via(&self, address: SocketAddr) -> BTreeMap<String, String> {
        let known_hosts = self.server.directory().join(format!("known_hosts-{}", address.port()));
        fs::write(&known_hosts, self.known_hosts_via(address)).unwrap();
        environment([
            ("BACKSTAY_SSH_KEY", self.key(ClientKey::Ed25519).to_str().unwrap()),
            ("BACKSTAY_SSH_KNOWN_HOSTS", known_hosts.to_str().unwrap()),
        ])
    }

    /// A repository's URL: `path` is absolute.
    pub fn url(&self, path: &str) -> String {
        self.url_via(self.address, path)
    }

    /// The same for a client that goes through a proxy at `address`.
    pub fn url_via(&self, address: SocketAddr, path: &str) -> String {
        format!("sftp://{}@{address}{path}", self.user)
    }
}

fn configuration(kind: Kind, is_jailed: bool, address: SocketAddr, directory: &Path) -> String {
    let place = directory.display();
    let home = if is_jailed { "/home".to_owned() } else { format!("{place}/jail/home") };
    let subsystem = match kind {
        Kind::Plain => format!("internal-sftp -d {home}"),
        Kind::External => format!("{} -d {home}", tool("sftp-server").display()),
        Kind::ReadOnly => format!("internal-sftp -R -d {home}"),
        Kind::Restricted => format!("internal-sftp -P {EXTENSIONS} -d {home}"),
    };
    let command = match kind {
        Kind::Restricted => format!("ForceCommand {subsystem}\nDisableForwarding yes"),
        _ => String::new(),
    };
    let root = if is_jailed { format!("ChrootDirectory {place}/jail") } else { String::new() };
    format!(
        "ListenAddress {address}
        HostKey {place}/host
        AuthorizedKeysFile {place}/authorized_keys
        PidFile none
        UsePAM no
        StrictModes no
        PubkeyAuthentication yes
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PermitRootLogin prohibit-password
        MaxStartups 100
        MaxSessions 100
        MaxAuthTries 20
        UseDNS no
        LogLevel VERBOSE
        Subsystem sftp {subsystem}
        {command}
        {root}\n"
    )
}

/// A fresh directory that sshd takes for a root: nobody but root may write to it or above.
fn new_trusted_directory() -> PathBuf {
    let is_trusted = |directory: &Path| {
        directory.canonicalize().unwrap().ancestors().all(|above| {
            let metadata = fs::metadata(above).unwrap();
            metadata.uid() == 0 && metadata.permissions().mode() & 0o022 == 0
        })
    };
    let places = [env!("CARGO_TARGET_TMPDIR"), "/var/lib", "/run"].map(Path::new);
    let place = places.into_iter().find(|place| place.is_dir() && is_trusted(place));
    let place = place.expect("there is no directory that only root can write to");
    tempfile::tempdir_in(place).unwrap().keep()
}
