//! The `age` envelope: what seals session secrets and the key bundle. This and `keyfile` are the only homes of the age crate.
//! FORMAT.md §3; the format of the files is age-encryption.org/v1.

use std::io::Read;

use age::secrecy::ExposeSecret;
pub use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::repo::error::Error;

/// Plaintexts in envelopes are keys and bundles of keys: never larger than this.
const PLAINTEXT_LIMIT_BYTES: u64 = 1 << 20;
/// Work to wrap with a passphrase, as a power of two: a second or so, and 256 MiB. Fixed, since a
/// machine's own measure would make files that a smaller machine refuses.
const WORK_FACTOR_LOG2: u8 = 18;
/// The most work that is done for a file. FORMAT.md §14.
const MOST_WORK_LOG2: u8 = 22;

/// Who can open an envelope: an age recipient (`age1…`) or an SSH public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(String);

impl Recipient {
    /// Reads the text form and makes sure that it can be sealed to.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let recipient = Self(text.trim().to_owned());
        recipient.age()?;
        Ok(recipient)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn age(&self) -> Result<Box<dyn age::Recipient>, Error> {
        if let Ok(recipient) = self.0.parse::<age::x25519::Recipient>() {
            return Ok(Box::new(recipient));
        }
        if let Ok(recipient) = self.0.parse::<age::ssh::Recipient>() {
            return Ok(Box::new(recipient));
        }
        Err(Error::Key(format!(
            "{:?} is no recipient: give an age recipient (age1…) or an SSH public key (ssh-ed25519 …)",
            self.0
        )))
    }
}

/// An age X25519 identity as text, wiped when dropped.
#[derive(Clone)]
pub struct Identity(Zeroizing<String>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// Draws a new one.
    pub fn generate() -> Self {
        Self(Zeroizing::new(age::x25519::Identity::generate().to_string().expose_secret().into()))
    }

    /// Reads the text form (`AGE-SECRET-KEY-1…`).
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<age::x25519::Identity>().ok()?;
        Some(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text form.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its public half.
    pub fn recipient(&self) -> Result<Recipient, Error> {
        let identity = self.0.parse::<age::x25519::Identity>().map_err(|e| Error::Bug(e.into()))?;
        Ok(Recipient(identity.to_public().to_string()))
    }
}

/// Something that may open envelopes.
pub enum Opener {
    /// Identities from a recovery key file or an SSH private key.
    Identities(Vec<Box<dyn age::Identity + Send + Sync>>),
    /// A passphrase.
    Passphrase(SecretString),
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Identities(_) => "Opener::Identities(…)",
            Self::Passphrase(_) => "Opener::Passphrase(…)",
        })
    }
}

/// Seals to everyone in `recipients`.
pub fn seal(recipients: &[Recipient], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let recipients = recipients.iter().map(Recipient::age).collect::<Result<Vec<_>, _>>()?;
    seal_age(recipients.iter().map(|recipient| &**recipient), plaintext)
}

/// Seals with a passphrase (scrypt; takes about a second and 256 MiB on purpose).
pub fn seal_with_passphrase(passphrase: &SecretString, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR_LOG2);
    seal_age(std::iter::once(&recipient as &dyn age::Recipient), plaintext)
}

fn seal_age<'a>(
    recipients: impl Iterator<Item = &'a dyn age::Recipient>,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    use std::io::Write;
    let encryptor = age::Encryptor::with_recipients(recipients)
        .map_err(|error| Error::Key(format!("cannot seal: {error}")))?;
    let mut sealed = Vec::new();
    let fail = |error: std::io::Error| Error::Bug(format!("writing an envelope: {error}"));
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(fail)?;
    writer.write_all(plaintext).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(sealed)
}

/// Why an envelope stays shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shut {
    /// It is not meant for this opener.
    NotForUs,
    /// It is no age file, or damaged.
    Damaged(String),
}

/// Opens a binary age file.
pub fn open(opener: &Opener, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
    let decryptor =
        age::Decryptor::new_buffered(sealed).map_err(|error| Shut::Damaged(error.to_string()))?;
    let reader = match opener {
        Opener::Identities(identities) => {
            if decryptor.is_scrypt() {
                return Err(Shut::NotForUs);
            }
            decryptor.decrypt(identities.iter().map(|identity| &**identity as &dyn age::Identity))
        }
        Opener::Passphrase(passphrase) => {
            if !decryptor.is_scrypt() {
                return Err(Shut::NotForUs);
            }
            let mut identity = age::scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(MOST_WORK_LOG2);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        }
    };
    let reader = reader.map_err(|error| match error {
        age::DecryptError::NoMatchingKeys
        | age::DecryptError::KeyDecryptionFailed
        | age::DecryptError::DecryptionFailed => Shut::NotForUs,
        other => Shut::Damaged(other.to_string()),
    })?;
    let mut plaintext = Zeroizing::new(Vec::new());
    reader
        .take(PLAINTEXT_LIMIT_BYTES)
        .read_to_end(&mut plaintext)
        .map_err(|error| Shut::Damaged(error.to_string()))?;
    Ok(plaintext)
}

/// Opens with identities alone.
pub fn open_with(identities: &[Identity], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
    let identities = identities
        .iter()
        .filter_map(|identity| identity.0.parse::<age::x25519::Identity>().ok())
        .map(|identity| Box::new(identity) as Box<dyn age::Identity + Send + Sync>)
        .collect();
    open(&Opener::Identities(identities), sealed)
}

/// Whether a file's first bytes are those of an age file, binary or armored.
pub fn is_age_file(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE")
}

/// Takes the passphrase wrapping off a key file.
pub fn unwrap_file(passphrase: &SecretString, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
    let mut binary = Vec::new();
    age::armor::ArmoredReader::new(file)
        .take(PLAINTEXT_LIMIT_BYTES)
        .read_to_end(&mut binary)
        .map_err(|error| Shut::Damaged(error.to_string()))?;
    open(&Opener::Passphrase(passphrase.clone()), &binary)
}
