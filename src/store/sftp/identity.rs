//! What we can log in with: keys in files, keys that an agent holds, a password.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

use crate::class::Class;
use crate::environment::{self, Form};
use crate::store::remote::Failure;
use crate::store::settings::Settings;

const KEY: &str = "BACKSTAY_SSH_KEY";
const PASSPHRASE: &str = "BACKSTAY_SSH_PASSPHRASE";
const PASSWORD: &str = "BACKSTAY_SSH_PASSWORD";
/// The usual files, in the order in which OpenSSH tries them where it matters.
const USUAL: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
/// Nobody's key is as long.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// A private key and where it came from.
pub(super) struct FileKey {
    pub(super) file: PathBuf,
    pub(super) key: Arc<PrivateKey>,
}

/// All that may be tried, in this order: the agent, keys, the password. Never printed.
#[derive(Default)]
pub(super) struct Identities {
    /// The agent's socket, where no key was named.
    pub(super) agent: Option<PathBuf>,
    pub(super) keys: Vec<FileKey>,
    pub(super) password: Option<Zeroizing<String>>,
    /// What was passed over and why, for whom nothing lets in.
    pub(super) passed_over: Vec<String>,
}

impl Identities {
    /// Reads the files. Blocks; unwrapping a key takes tenths of a second.
    ///
    /// # Errors
    /// A [`Failure`] if a file that was named is of no use. The usual ones are passed over then.
    pub(super) fn load(settings: &Settings) -> Result<Self, Failure> {
        let mut found = Self { password: secret(settings, PASSWORD)?, ..Self::default() };
        let passphrase = secret(settings, PASSPHRASE)?;
        let passphrase = passphrase.as_deref().map(String::as_str);
        let named = settings.ssh.key.clone();
        if let Some(file) = named.or_else(|| settings.get(KEY).map(PathBuf::from)) {
            let key = read_key(&file, passphrase)
                .map_err(|unusable| Failure::place(unusable.class, unusable.text))?;
            found.keys.push(FileKey { file, key });
            return Ok(found);
        }
        found.agent = settings.get("SSH_AUTH_SOCK").map(PathBuf::from);
        for file in USUAL.iter().filter_map(|name| settings.at_home(name)) {
            match read_key(&file, passphrase) {
                Ok(key) => found.keys.push(FileKey { file, key }),
                Err(unusable) if unusable.is_absent => {}
                Err(unusable) => found.passed_over.push(unusable.text),
            }
        }
        Ok(found)
    }
}

/// Why a key file is of no use.
struct Unusable {
    class: Class,
    text: String,
    is_absent: bool,
}

fn read_key(file: &Path, passphrase: Option<&str>) -> Result<Arc<PrivateKey>, Unusable> {
    let place = file.display();
    let fail = |class, text: String| Unusable { class, text, is_absent: false };
    let text = read(file).map_err(|error| Unusable {
        class: Class::Config,
        text: format!(
            "the SSH key {place} cannot be read ({error}); name in {KEY} a private key that this user \
             may read"
        ),
        is_absent: error.kind() == ErrorKind::NotFound,
    })?;
    let is_wrapped = text.contains("ENCRYPTED")
        || text.contains("Encryption: aes256-cbc")
        || PrivateKey::from_openssh(text.as_bytes()).is_ok_and(|key| key.is_encrypted());
    if is_wrapped && passphrase.is_none() {
        return Err(fail(
            Class::Denied,
            format!(
                "the SSH key {place} is wrapped with a passphrase; set {PASSPHRASE} or {PASSPHRASE}_FILE"
            ),
        ));
    }
    if text.contains("PUBLIC KEY") || text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(fail(
            Class::Config,
            format!("{place} is a public key; name in {KEY} the private one, without .pub"),
        ));
    }
    // The library's own words may repeat what it read.
    decode_secret_key(&text, passphrase.filter(|_| is_wrapped)).map(Arc::new).map_err(|_| {
        if is_wrapped {
            fail(
                Class::Denied,
                format!("the passphrase in {PASSPHRASE} does not open the SSH key {place}"),
            )
        } else {
            fail(
                Class::Config,
                format!(
                    "{place} is no SSH key that is understood; make one with `ssh-keygen -t ed25519`"
                ),
            )
        }
    })
}

/// What a variable holds, or the file that `<name>_FILE` names.
fn secret(settings: &Settings, name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(secret) = settings.get(name) {
        return Ok(Some(Zeroizing::new(secret.to_owned())));
    }
    let name = format!("{name}_FILE");
    let Some(file) = settings.get(&name) else {
        return Ok(None);
    };
    let text = environment::read(&name, Path::new(file), Form::Passphrase);
    let text = text.map_err(|refusal| Failure::place(Class::Config, refusal.to_string()))?;
    let empty = || Failure::place(Class::Config, format!("{name}, {file}: the file is empty"));
    text.map(Some).ok_or_else(empty)
}

fn read(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let size_bytes = std::fs::metadata(file)?.len();
    if size_bytes > MOST_FILE_BYTES {
        return Err(std::io::Error::other(format!("it has {size_bytes} bytes")));
    }
    let text = std::fs::read_to_string(file).map(Zeroizing::new)?;
    // Editors of Windows put it before everything.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(unmarked) => Zeroizing::new(unmarked.to_owned()),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects nothing. The passphrase is `test`.
    const WRAPPED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABD1phlku5
A2G7Q9iP+DcOc9AAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIHeLC1lWiCYrXsf/
85O/pkbUFZ6OGIt49PX3nw8iRoXEAAAAkKRF0st5ZI7xxo9g6A4m4l6NarkQre3mycqNXQ
dP3jryYgvsCIBAA5jMWSjrmnOTXhidqcOy4xYCrAttzSnZ/cUadfBenL+DQq6neffw7j8r
0tbCxVGp6yCQlKrgSZf6c0Hy7dNEIU2bJFGxLe6/kWChcUAt/5Ll5rI7DVQPJdLgehLzvv
sJWR7W+cGvJ/vLsw==
-----END OPENSSH PRIVATE KEY-----
";

    fn load(variables: &[(&str, &str)]) -> Result<Identities, Failure> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Identities::load(&Settings::with_environment(variables))
    }

    #[test]
    fn opens_a_wrapped_key() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let (key, passphrase) = (write("key", WRAPPED), write("passphrase", "test\n"));
        let found = load(&[(KEY, &key), ("BACKSTAY_SSH_PASSPHRASE_FILE", &passphrase)]).unwrap();
        assert_eq!(found.keys.len(), 1);
        assert_eq!(load(&[(KEY, &key), (PASSPHRASE, "test")]).unwrap().keys.len(), 1);
        for (variables, expected) in [
            (vec![(KEY, key.as_str())], "is wrapped with a passphrase"),
            (vec![(KEY, &key), (PASSPHRASE, "hunter2")], "does not open"),
            (vec![(KEY, "/nowhere")], "cannot be read"),
            (vec![(KEY, &passphrase)], "ssh-keygen"),
            (vec![(KEY, &write("key.pub", "ssh-ed25519 AAAA"))], "without .pub"),
            (vec![("BACKSTAY_SSH_PASSWORD_FILE", "/nowhere")], "BACKSTAY_SSH_PASSWORD_FILE"),
        ] {
            let failure = load(&variables).err().unwrap();
            assert!(failure.text.contains(expected), "{failure}");
            assert!(!failure.text.contains("hunter2") && !failure.text.contains('\n'), "{failure}");
        }
    }

    #[test]
    fn looks_at_the_usual_places_where_no_key_is_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        std::fs::write(home.path().join(".ssh/id_rsa"), WRAPPED).unwrap();
        let home_path = home.path().display().to_string();
        let found = load(&[("HOME", &home_path), ("SSH_AUTH_SOCK", "/agent")]).unwrap();
        assert_eq!((found.keys.len(), found.passed_over.len()), (0, 1));
        assert_eq!(found.agent.as_deref(), Some(Path::new("/agent")));
        let found = load(&[("HOME", &home_path), (PASSPHRASE, "test")]).unwrap();
        assert_eq!(found.keys.len(), 1);
        assert!(found.keys[0].file.ends_with(".ssh/id_rsa"));
    }
}
