//! Key files: what `--key-file` and `BACKSTAY_PASSPHRASE` can be, read and written. FORMAT.md §3.

use crate::repo::envelope::SecretString;
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, Zeroizing};

use crate::repo::envelope::{self, Identity, Opener, Recipient, Shut};
use crate::repo::error::Error;
use crate::repo::id::RepositoryId;
use crate::repo::secret::{Secret, Secrets};

const AGENT_PREFIX: &str = "BACKSTAY-AGENT-KEY-1-";

/// What an agent holds: it can back up, list, deduplicate; it cannot read file content.
#[derive(Clone, Debug)]
pub struct AgentKey {
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// All repository secrets, oldest first.
    pub secrets: Secrets,
    /// To whom session secrets are sealed. Pinned here, so that a store cannot slip in its own.
    pub recipient: Recipient,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct AgentPayload {
    #[n(0)]
    repository: RepositoryId,
    #[cbor(n(1), with = "crate::repo::record::secrets")]
    secrets: Vec<Secret>,
    #[n(2)]
    recipient: String,
}

impl AgentKey {
    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let payload = AgentPayload {
            repository: self.repository,
            secrets: self.secrets.raw().cloned().collect(),
            recipient: self.recipient.as_str().to_owned(),
        };
        let mut bytes = crate::repo::record::encode(&payload);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..4]);
        let code = Zeroizing::new(BASE64URL_NOPAD.encode(&bytes));
        bytes.zeroize();
        Zeroizing::new(format!(
            "# Backstay agent key of repository {}\n\
             # It can back up, list and deduplicate. It cannot read file content.\n\
             {AGENT_PREFIX}{}\n",
            self.repository, *code
        ))
    }

    fn parse(code: &str) -> Result<Self, Error> {
        let spoiled = || {
            Error::Key(
                "the agent key is spoiled: a character was lost or changed in copying".into(),
            )
        };
        let bytes = BASE64URL_NOPAD.decode(code.trim().as_bytes()).map_err(|_| spoiled())?;
        let bytes = Zeroizing::new(bytes);
        let (payload, checksum) = bytes
            .len()
            .checked_sub(4)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or_else(spoiled)?;
        if &blake3::hash(payload).as_bytes()[..4] != checksum {
            return Err(spoiled());
        }
        let payload: AgentPayload = minicbor::decode(payload).map_err(|_| spoiled())?;
        Ok(Self {
            repository: payload.repository,
            secrets: Secrets::new(payload.secrets).ok_or_else(spoiled)?,
            recipient: Recipient::parse(&payload.recipient)?,
        })
    }
}

/// What a person or a pod brings to open a repository.
#[derive(Debug)]
pub enum Unlock {
    /// An agent key.
    Agent(AgentKey),
    /// A recovery key, an SSH key or a passphrase.
    Recovery(Opener),
}

impl Unlock {
    /// Reads a key file. `name` is its path, for errors. A passphrase is needed only for a wrapped
    /// file.
    pub fn from_file(
        name: &str,
        file: &[u8],
        passphrase: Option<&SecretString>,
    ) -> Result<Self, Error> {
        if envelope::is_age_file(file) {
            let passphrase = passphrase.ok_or_else(|| {
                Error::Key(format!(
                    "{name} is wrapped with a passphrase: set BACKSTAY_PASSPHRASE or \
                     BACKSTAY_PASSPHRASE_FILE"
                ))
            })?;
            let inner = envelope::unwrap_file(passphrase, file).map_err(|shut| match shut {
                Shut::NotForUs => Error::Denied(format!("the passphrase does not open {name}")),
                Shut::Damaged(reason) => Error::Key(format!("{name}: {reason}")),
            })?;
            return Self::from_plain_file(name, &inner, Some(passphrase));
        }
        Self::from_plain_file(name, file, passphrase)
    }

    fn from_plain_file(
        name: &str,
        file: &[u8],
        passphrase: Option<&SecretString>,
    ) -> Result<Self, Error> {
        let text = std::str::from_utf8(file)
            .map_err(|_| Error::Key(format!("{name} is not a key file: it is not text")))?;
        let lines = || {
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        if let Some(code) = lines().find_map(|line| line.strip_prefix(AGENT_PREFIX)) {
            return AgentKey::parse(code).map(Self::Agent);
        }
        if text.contains("-----BEGIN ") {
            return ssh_identity(name, text, passphrase);
        }
        let mut identities: Vec<Box<dyn age::Identity + Send + Sync>> = Vec::new();
        for line in lines() {
            let identity = line.parse::<age::x25519::Identity>().map_err(|_| {
                Error::Key(format!(
                    "{name} is not a key file: expected AGE-SECRET-KEY-1… or {AGENT_PREFIX}…"
                ))
            })?;
            identities.push(Box::new(identity));
        }
        if identities.is_empty() {
            return Err(Error::Key(format!("{name} holds no key")));
        }
        Ok(Self::Recovery(Opener::Identities(identities)))
    }

    /// A passphrase alone, for repositories that have a passphrase envelope.
    pub fn from_passphrase(passphrase: SecretString) -> Self {
        Self::Recovery(Opener::Passphrase(passphrase))
    }
}

#[derive(Clone)]
struct Answer(SecretString);

impl age::Callbacks for Answer {
    fn display_message(&self, _: &str) {}
    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}

fn ssh_identity(
    name: &str,
    text: &str,
    passphrase: Option<&SecretString>,
) -> Result<Unlock, Error> {
    let identity = age::ssh::Identity::from_buffer(text.as_bytes(), Some(name.to_owned()))
        .map_err(|error| Error::Key(format!("{name}: {error}")))?;
    let identity: Box<dyn age::Identity + Send + Sync> = match (&identity, passphrase) {
        (age::ssh::Identity::Unsupported(_), _) => {
            return Err(Error::Key(format!("{name}: this kind of SSH key is not supported")));
        }
        (age::ssh::Identity::Encrypted(_), None) => {
            return Err(Error::Key(format!(
                "{name} is an encrypted SSH key: set BACKSTAY_PASSPHRASE or BACKSTAY_PASSPHRASE_FILE"
            )));
        }
        (age::ssh::Identity::Encrypted(_), Some(passphrase)) => {
            Box::new(identity.with_callbacks(Answer(passphrase.clone())))
        }
        (age::ssh::Identity::Unencrypted(_), _) => Box::new(identity),
    };
    Ok(Unlock::Recovery(Opener::Identities(vec![identity])))
}

/// The text of a new recovery key file: a standard age identity file.
pub fn recovery_text(
    repository: RepositoryId,
    identity: &Identity,
) -> Result<Zeroizing<String>, Error> {
    Ok(Zeroizing::new(format!(
        "# Backstay recovery key of repository {repository}\n\
         # It reads everything. Keep it offline, away from the cluster, in two places.\n\
         # public key: {}\n{}\n",
        identity.recipient()?.as_str(),
        identity.expose()
    )))
}

/// Wraps a key file with a passphrase, as a binary age file.
pub fn wrap_text(passphrase: &SecretString, text: &str) -> Result<Vec<u8>, Error> {
    envelope::seal_with_passphrase(passphrase, text.as_bytes())
}
