//! The keys by which servers prove who they are, in OpenSSH's files.
//!
//! Russh has a reader of these files, but it knows no wildcards, takes a second key of the same kind for
//! a changed one, and passes over revoked keys. Certificates of hosts are not asked for, so that
//! `@cert-authority` lines say nothing here.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::url::Location;
use crate::class::Class;
use crate::store::remote::Failure;
use crate::store::settings::Settings;

/// The variable that names the file.
const VARIABLE: &str = "BACKSTAY_SSH_KNOWN_HOSTS";
const PORT: u16 = 22;

/// What the files say of one host.
#[derive(Debug)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
    /// The name of this host in such a file.
    name: String,
    /// Who asks, for texts.
    address: String,
    /// The file in which a new line would be looked for.
    own_file: Option<PathBuf>,
}

/// A line about this host.
#[derive(Debug)]
struct Line {
    file: PathBuf,
    number: usize,
    is_revoked: bool,
    /// Whether it names the host without the port that is in use.
    lacks_port: bool,
    key: PublicKey,
}

/// The text of a file, without the mark that editors of Windows put before everything.
fn without_mark(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)).into_owned()
}

impl KnownHosts {
    /// Reads the files that settings name, or the usual ones. A file that is not there is empty.
    ///
    /// # Errors
    /// A [`Failure`] of class `config` if one cannot be read.
    pub(super) fn load(location: &Location, settings: &Settings) -> Result<Self, Failure> {
        let named = settings.ssh.known_hosts.clone();
        let named = named.or_else(|| settings.get(VARIABLE).map(PathBuf::from));
        let at_home = |name: &str| settings.at_home(&format!(".ssh/{name}"));
        let own_file = named.clone().or_else(|| at_home("known_hosts"));
        let files = match named {
            Some(file) => vec![file],
            None => [at_home("known_hosts"), at_home("known_hosts2")]
                .into_iter()
                .flatten()
                .chain(
                    ["ssh_known_hosts", "ssh_known_hosts2"]
                        .map(|name| Path::new("/etc/ssh").join(name)),
                )
                .collect(),
        };
        let (host, port) = (location.host.clone(), location.port);
        let name = if port == PORT { host.clone() } else { format!("[{host}]:{port}") };
        let mut known = Self { lines: Vec::new(), name, address: location.address(), own_file };
        for file in files {
            match std::fs::read(&file) {
                Ok(text) => known.add(&file, &without_mark(&text), &host),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Failure::place(
                        Class::Config,
                        format!(
                            "{}, the file of known hosts, cannot be read ({error}); let this user \
                             read it, or name another in {VARIABLE}",
                            file.display()
                        ),
                    ));
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, text: &str, host: &str) {
        for (index, line) in text.lines().enumerate() {
            let Some((hosts, is_revoked, key)) = parse(line) else {
                continue;
            };
            let is_ours = names(hosts, &self.name);
            if is_ours || names(hosts, host) {
                self.lines.push(Line {
                    file: file.to_owned(),
                    number: index + 1,
                    is_revoked,
                    lacks_port: !is_ours,
                    key,
                });
            }
        }
    }

    /// The kinds of keys to ask the server for, those first by which it is known: one with several
    /// keys would else show one that is not.
    pub(super) fn preferred(&self) -> Vec<Algorithm> {
        let mut algorithms = vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        let is_known = |algorithm: &Algorithm| {
            self.valid().any(|line| match (line.key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (known, algorithm) => known == *algorithm,
            })
        };
        algorithms.sort_by_key(|algorithm| !is_known(algorithm));
        algorithms
    }

    /// The lines that say by which keys the server is known. Those that name its host without the port
    /// count only where none names the port: else another server of that host could pass for this one.
    fn valid(&self) -> impl Iterator<Item = &Line> {
        let lines = self.lines.iter().filter(|line| !line.is_revoked);
        let has_port = lines.clone().any(|line| !line.lacks_port);
        lines.filter(move |line| !(has_port && line.lacks_port))
    }

    /// Whether the server may be trusted that showed `key`.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do: of class `config` where the host is not known, `denied`
    /// where its key is another or revoked.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), Failure> {
        let is_same = |line: &&Line| line.key.key_data() == key.key_data();
        if let Some(line) = self.lines.iter().filter(|line| line.is_revoked).find(is_same) {
            return Err(Failure::place(
                Class::Denied,
                format!(
                    "{} shows the key {}, which {} revokes; do not trust it before you know why",
                    self.address,
                    describe(key),
                    line.place()
                ),
            ));
        }
        if self.valid().any(|line| is_same(&line)) {
            return Ok(());
        }
        let is_other = |line: &&Line| !line.lacks_port && line.key.algorithm() == key.algorithm();
        match self.valid().find(is_other) {
            Some(line) => Err(self.changed(key, line)),
            None => Err(self.unknown(key)),
        }
    }

    fn changed(&self, key: &PublicKey, line: &Line) -> Failure {
        let text = format!(
            "the key of {} has changed: it shows {}, but {} has {}; someone may be in between; if its \
             operator confirms the new key, put it in place of that line: {}",
            self.address,
            describe(key),
            line.place(),
            line.key.fingerprint(HashAlg::Sha256),
            self.line_for(key)
        );
        Failure::place(Class::Denied, text)
    }

    fn unknown(&self, key: &PublicKey) -> Failure {
        let file = match &self.own_file {
            Some(file) => file.display().to_string(),
            None => format!("a file that {VARIABLE} names"),
        };
        let mut text = format!(
            "{} is not known; it shows the key {}; if its operator confirms that, add this line to \
             {file}: {}",
            self.address,
            describe(key),
            self.line_for(key)
        );
        if let Some(line) = self.valid().find(|line| line.key.algorithm() != key.algorithm()) {
            // Never fails: a text takes all.
            _ = write!(text, " ({} has only a key of another kind)", line.place());
        }
        Failure::place(Class::Config, text)
    }

    fn line_for(&self, key: &PublicKey) -> String {
        let mut key = key.clone();
        key.set_comment("");
        format!("{} {}", self.name, key.to_openssh().unwrap_or_default())
    }
}

impl Line {
    fn place(&self) -> String {
        format!("{} line {}", self.file.display(), self.number)
    }
}

fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// The hosts of a line, whether it revokes, and the key. None for a line that says nothing of keys, for
/// authorities, and for kinds of keys that nobody understands.
fn parse(line: &str) -> Option<(&str, bool, PublicKey)> {
    let mut words = line.split_whitespace();
    let mut hosts = words.next().filter(|first| !first.starts_with('#'))?;
    let is_revoked = hosts == "@revoked";
    if is_revoked {
        hosts = words.next()?;
    }
    let (kind, key) = (words.next()?, words.next()?);
    let key = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
    (!hosts.starts_with('@')).then_some((hosts, is_revoked, key))
}

/// Whether a list of patterns names a host: one does, and none with a `!` before it does.
fn names(patterns: &str, host: &str) -> bool {
    let mut is_named = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if is_match(pattern.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None if pattern.starts_with("|1|") => is_named |= is_hash_of(pattern, host),
            None => is_named |= is_match(pattern.as_bytes(), host.as_bytes()),
        }
    }
    is_named
}

/// `|1|salt|HMAC-SHA1 of the name`.
fn is_hash_of(pattern: &str, host: &str) -> bool {
    let mut parts = pattern.split('|').skip(2).map(|part| BASE64.decode(part.as_bytes()));
    let (Some(Ok(salt)), Some(Ok(hash))) = (parts.next(), parts.next()) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, host.as_bytes(), &hash).is_ok()
}

/// Whether a pattern with `*` and `?` fits, whatever the case.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where the last star stands, and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(b'?') => (at, next) = (at + 1, next + 1),
            Some(byte) if byte.eq_ignore_ascii_case(&name[next]) => {
                (at, next) = (at + 1, next + 1);
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, next) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7+jzVxzdVEqYdRGvXCQAKsZEJYbn7U7Hrio2Pzyk6\
        lZYZyKFFz4TpNxh2OXbkYNQzZmBzEyRHtBlxJdKbqJTPQBgGXFFQ0jKyLPuPA1Hj3WTA6KLLpVzKc8R9sFSVRhLnVwqM\
        Gvrt9FZkVvV/bEbjJo8cNgcjb9L9H9hRfGfN0Q==";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(port: u16, text: &str) -> KnownHosts {
        let location = Location {
            user: "me".into(),
            host: "nas.example".into(),
            port,
            root: "/srv".into(),
            url: "sftp://me@nas.example/srv".into(),
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, text).unwrap();
        let mut settings = Settings::default();
        settings.ssh.known_hosts = Some(file);
        KnownHosts::load(&location, &settings).unwrap()
    }

    #[test]
    fn trusts_a_known_key() {
        for text in [
            format!("nas.example {ED25519} a comment"),
            format!("# nothing\n\n  NAS.example,10.0.0.1\t{ED25519}"),
            format!("*.example,!other.example {ED25519}"),
            format!("nas.exampl? {ED25519}"),
            // ssh-keygen -H
            format!("|1|s3X2Yf5YpqK0c6XVBjXjHGg6bXA=|{} {ED25519}", hashed("nas.example")),
            // A second key, a kind of key from the future, half a line.
            format!("nas.example {OTHER}\nnas.example {ED25519}\nnas.example x y\nnas.example"),
        ] {
            known(22, &text).check(&key(ED25519)).unwrap();
        }
        for text in [format!("[nas.example]:2222 {ED25519}"), format!("nas.example {ED25519}")] {
            known(2222, &text).check(&key(ED25519)).unwrap();
        }
    }

    fn hashed(name: &str) -> String {
        let salt = BASE64.decode(b"s3X2Yf5YpqK0c6XVBjXjHGg6bXA=").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        BASE64.encode(hmac::sign(&key, name.as_bytes()).as_ref())
    }

    #[test]
    fn says_which_line_an_unknown_host_lacks() {
        for text in [
            String::new(),
            format!("other.example {ED25519}"),
            format!("*.example,!nas.example {ED25519}"),
            format!("@cert-authority nas.example {ED25519}"),
            format!("# nas.example {ED25519}"),
        ] {
            let known = known(22, &text);
            let failure = known.check(&key(ED25519)).unwrap_err();
            assert_eq!(failure.class, Class::Config, "{text}");
            assert!(failure.text.contains("SHA256:"), "{failure}");
            let line = failure.text.split(": ").last().unwrap();
            let file = known.own_file.as_ref().unwrap().display().to_string();
            assert!(
                failure.text.contains(&format!("add this line to {file}: {line}")),
                "{failure}"
            );
            assert_eq!(line, format!("nas.example {ED25519}"));
        }
        let failure = known(2222, "").check(&key(ED25519)).unwrap_err();
        assert!(failure.text.ends_with(&format!("[nas.example]:2222 {ED25519}")), "{failure}");
    }

    #[test]
    fn refuses_a_changed_or_revoked_key() {
        let failure =
            known(22, &format!("\nnas.example {OTHER}")).check(&key(ED25519)).unwrap_err();
        assert_eq!(failure.class, Class::Denied);
        for expected in [
            "changed".to_owned(),
            "known_hosts line 2".to_owned(),
            key(ED25519).fingerprint(HashAlg::Sha256).to_string(),
            key(OTHER).fingerprint(HashAlg::Sha256).to_string(),
        ] {
            assert!(failure.text.contains(&expected), "{failure}");
        }
        let text = format!("nas.example {ED25519}\n@revoked * {ED25519}");
        let failure = known(22, &text).check(&key(ED25519)).unwrap_err();
        assert!(failure.text.contains("revokes"), "{failure}");
    }

    #[test]
    fn a_line_with_the_port_overrides_one_without() {
        let (with, without) = ("[nas.example]:2222", "nas.example");
        let hidden = format!("|1|s3X2Yf5YpqK0c6XVBjXjHGg6bXA=|{}", hashed(with));
        for pinned in [with, &hidden, "[*]:2222", "*"] {
            for text in [
                format!("{pinned} {OTHER}\n{without} {ED25519}"),
                format!("{without} {ED25519}\n{pinned} {OTHER}"),
            ] {
                let failure = known(2222, &text).check(&key(ED25519)).unwrap_err();
                assert_eq!(failure.class, Class::Denied, "{text}: {failure}");
                assert!(failure.text.contains("changed"), "{failure}");
                known(2222, &text).check(&key(OTHER)).unwrap();
            }
        }
        // What is pinned by a key of another kind is no more known by the plain name.
        let text = format!("{with} {RSA}\n{without} {ED25519}");
        let known_by_rsa = known(2222, &text);
        let failure = known_by_rsa.check(&key(ED25519)).unwrap_err();
        assert!(failure.text.contains("line 1 has only a key of another kind"), "{failure}");
        assert_eq!(known_by_rsa.preferred()[0].to_string(), "rsa-sha2-512");
        // These say by no key that the server is known.
        for other in ["@revoked", "@cert-authority"] {
            let text = format!("{other} {with} {OTHER}\n{without} {ED25519}");
            known(2222, &text).check(&key(ED25519)).unwrap();
        }
    }

    #[test]
    fn a_plain_line_with_another_key_is_not_said_to_be_of_another_kind() {
        let failure = known(2222, &format!("nas.example {OTHER}")).check(&key(ED25519));
        let failure = failure.unwrap_err();
        assert_eq!(failure.class, Class::Config);
        assert!(!failure.text.contains("another kind"), "{failure}");
    }

    #[test]
    fn asks_first_for_the_kinds_of_keys_that_are_known() {
        let first = |text: &str| known(22, text).preferred().remove(0).to_string();
        assert_eq!(first(""), "ssh-ed25519");
        assert_eq!(first(&format!("nas.example {RSA}")), "rsa-sha2-512");
        assert_eq!(first(&format!("nas.example {RSA}\nnas.example {ED25519}")), "ssh-ed25519");
        assert_eq!(known(22, "").preferred().len(), 6);
    }

    #[test]
    fn matches_as_openssh_does() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c*", "abcbd", true),
            ("*.example", "nas.example", true),
            ("*.example", "example", false),
            ("a?c", "ac", false),
            ("[host]:*", "[host]:22", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
