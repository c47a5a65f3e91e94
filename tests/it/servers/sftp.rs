//! sshd and its SFTP, judged by OpenSSH's own client.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::proxy::{Direction, TcpProxy};
use crate::support::sshd::{Agent, ClientKey, Kind, PASSPHRASE, Sshd};
use crate::support::tools::tool;

/// `sftp` with a batch of commands; one that starts with `-` may fail.
fn sftp(sshd: &Sshd, options: &[&str], batch: &str) -> Output {
    let environment = sshd.environment();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("batch");
    std::fs::write(&file, batch).unwrap();
    let mut command = Command::new(tool("sftp"));
    command.args(["-F", "none", "-b", file.to_str().unwrap()]);
    command.args(["-P", &sshd.address().port().to_string()]);
    command
        .args(["-o", &format!("UserKnownHostsFile={}", environment["BACKSTAY_SSH_KNOWN_HOSTS"])]);
    command.args(["-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes"]);
    command.args(["-o", "BatchMode=yes"]).args(options);
    if !options.contains(&"-i") && !options.iter().any(|option| option.contains("Agent")) {
        command.args(["-i", &environment["BACKSTAY_SSH_KEY"]]);
    }
    command.arg(format!("{}@{}", sshd.user(), sshd.address().ip())).output().unwrap()
}

#[track_caller]
fn text(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn offers_what_its_kind_offers() {
    let extensions = ["posix-rename", "hardlink", "fsync", "statvfs", "limits", "copy-data"];
    for kind in [Kind::Plain, Kind::External, Kind::ReadOnly, Kind::Restricted] {
        let sshd = Sshd::start(kind);
        std::fs::write(sshd.local("there"), "x").unwrap();
        let there = sshd.local("there");
        let batch =
            format!("pwd\n-put {} a\n-ln there hard\n-rename there taken\n-ls", there.display());
        let said = text(&sftp(&sshd, &["-vv"], &batch));
        assert!(said.contains(&format!("Remote working directory: {}", sshd.home())), "{said}");
        for extension in extensions {
            let announced = format!("Server supports extension \"{extension}@openssh.com\"");
            let announced = announced.replace("copy-data@openssh.com", "copy-data");
            // A server that writes nothing does not announce what writes.
            let is_expected = match kind {
                Kind::Plain | Kind::External => true,
                Kind::ReadOnly => ["statvfs", "limits"].contains(&extension),
                Kind::Restricted => false,
            };
            assert_eq!(said.contains(&announced), is_expected, "{kind:?} {extension}: {said}");
        }
        let writes = kind != Kind::ReadOnly;
        let found = ["a", "hard", "taken"].map(|name| sshd.local(name).exists());
        assert_eq!(found, [writes, writes && kind != Kind::Restricted, writes], "{kind:?}: {said}");
    }
}

#[test]
fn takes_the_jail_for_the_root() {
    let sshd = Sshd::start(Kind::Restricted);
    let said = text(&sftp(&sshd, &[], "-ls /\n-ls /etc\npwd"));
    if nix::unistd::geteuid().is_root() {
        assert!(said.contains("Can't ls: \"/etc\" not found"), "{said}");
        assert_eq!(sshd.home(), "/home");
    } else {
        assert!(said.contains(&sshd.home()), "{said}");
    }
    let mut command = Command::new(tool("ssh"));
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    command.args(["-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(sshd.key(ClientKey::Ed25519));
    command.args(["-p", &sshd.address().port().to_string(), &format!("{}@127.0.0.1", sshd.user())]);
    let said = text(&command.arg("echo a shell").output().unwrap());
    assert!(!said.contains("a shell"), "{said}");
}

#[test]
fn lets_every_key_in_until_it_is_revoked() {
    let sshd = Sshd::start(Kind::Plain);
    let log_in = |options: &[&str]| sftp(&sshd, options, "pwd").status.success();
    let key = |key| sshd.key(key).to_str().unwrap().to_owned();
    assert!(log_in(&["-i", &key(ClientKey::Ed25519)]));
    assert!(log_in(&["-i", &key(ClientKey::Rsa)]));
    let wrapped = key(ClientKey::Wrapped);
    assert!(!log_in(&["-i", &wrapped]), "nobody can be asked");
    let unwrapped = Command::new(tool("ssh-keygen"))
        .args(["-y", "-P", PASSPHRASE, "-f", &wrapped])
        .output()
        .unwrap();
    let public = std::fs::read(Path::new(&wrapped).with_extension("pub")).unwrap();
    assert_eq!(unwrapped.stdout, public);
    let agent = Agent::start(&sshd.key(ClientKey::Ed25519));
    let socket = format!("IdentityAgent={}", agent.socket().display());
    assert!(log_in(&["-o", &socket]));
    let mode = std::fs::metadata(wrapped).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    sshd.revoke();
    assert!(!log_in(&["-i", &key(ClientKey::Ed25519)]));
}

#[test]
fn is_known_by_its_key() {
    let sshd = Sshd::start(Kind::Plain);
    let before = sshd.fingerprint();
    assert!(before.starts_with("SHA256:") && before.len() == 50, "{before}");
    let known = sshd.environment()["BACKSTAY_SSH_KNOWN_HOSTS"].clone();
    let proxy = TcpProxy::start(sshd.address());
    let via = sshd.environment_via(proxy.address())["BACKSTAY_SSH_KNOWN_HOSTS"].clone();
    assert_ne!(known, via);
    assert_eq!(std::fs::read_to_string(&known).unwrap(), sshd.known_hosts());
    let url = sshd.url_via(proxy.address(), "/repository");
    assert_eq!(url, format!("sftp://{}@{}/repository", sshd.user(), proxy.address()));
    assert_eq!(sshd.url("/a"), format!("sftp://{}@{}/a", sshd.user(), sshd.address()));
    let kept = std::fs::read(&known).unwrap();
    sshd.change_host_key();
    sshd.server().restart();
    assert_ne!(sshd.fingerprint(), before);
    let old = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&old, kept).unwrap();
    let option = format!("UserKnownHostsFile={}", old.path().display());
    let command = ["-F", "none", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none", "-o"];
    let said = Command::new(tool("ssh"))
        .args(command)
        .args([&option, "-p", &sshd.address().port().to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let said = text(&said);
    assert!(said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{said}");
    assert!(said.contains(&sshd.fingerprint()), "{said}");
}

#[test]
fn loses_its_sessions_when_it_is_killed_and_comes_back() {
    let sshd = Sshd::start(Kind::Plain);
    let proxy = TcpProxy::start(sshd.address());
    // A session that reads without end, on a line that is slow enough not to get there.
    proxy.set_bandwidth(Direction::Down, Some(1_000_000));
    std::fs::File::create(sshd.local("large")).unwrap().set_len(1 << 30).unwrap();
    let environment = sshd.environment_via(proxy.address());
    let target = format!("sftp://{}@{}/", sshd.user(), proxy.address());
    let mut command = Command::new(tool("sftp"));
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none"]);
    command
        .args(["-o", &format!("UserKnownHostsFile={}", environment["BACKSTAY_SSH_KNOWN_HOSTS"])]);
    command.args(["-i", &environment["BACKSTAY_SSH_KEY"]]);
    command.arg(format!("{target}{}", sshd.local("large").display())).arg("/dev/null");
    let client = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let client = client.spawn().unwrap();
    proxy.wait_until(|counts| counts.down_bytes > 100_000);
    sshd.server().kill();
    // The session dies too, not the listener alone.
    let said = client.wait_with_output().unwrap();
    assert!(!said.status.success(), "{said:?}");
    assert!(proxy.wait_until(|counts| counts.open == 0).down_bytes < 1 << 30);
    assert!(!sftp(&sshd, &[], "pwd").status.success());
    sshd.server().restart();
    assert!(sftp(&sshd, &[], "pwd").status.success());
}
