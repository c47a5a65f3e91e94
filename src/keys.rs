//! `key`: who can open the repository. Every change is a new generation of the config; no pack is
//! rewritten. All but listing needs a recovery key.

use crate::repo::envelope::SecretString;
use zeroize::Zeroizing;

use crate::repo::config::{self, Bundle, Config, Envelope};
use crate::repo::envelope::Recipient;
use crate::repo::keyfile::AgentKey;
use crate::repo::open::passphrase_envelope;
use crate::repo::secret::{Secret, Secrets};
use crate::repo::{Error, Repository};

/// Label of the envelope that a passphrase opens.
pub const PASSPHRASE_LABEL: &str = "passphrase";

/// One way to open the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What a person called it.
    pub label: String,
    /// Recipients, or none for a passphrase.
    pub recipients: Vec<String>,
}

/// What `key list` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Generation of the config.
    pub generation: u64,
    /// How many repository secrets there are: one, and one more for each rotation of the agent key.
    pub secrets: usize,
    /// To whom new sessions are sealed.
    pub content_recipient: String,
    /// The ways to open everything.
    pub rows: Vec<Row>,
}

/// Lists who can open the repository.
pub fn list(repository: &Repository) -> Listing {
    let config = repository.config();
    let row = |envelope: &Envelope| Row {
        label: envelope.label.clone(),
        recipients: envelope.recipients.clone(),
    };
    Listing {
        generation: config.generation,
        secrets: repository.secrets().raw().count(),
        content_recipient: repository.recipient().as_str().to_owned(),
        rows: config.envelopes.iter().map(row).collect(),
    }
}

/// Lets more recipients open everything, old snapshots included. Costs one PUT.
pub async fn add_recipients(
    repository: &Repository,
    label: &str,
    recipients: &[Recipient],
) -> Result<(), Error> {
    repository.check_writable()?;
    let bundle = repository.bundle()?;
    let mut config = repository.config().clone();
    if config.envelopes.iter().any(|envelope| envelope.label == label) {
        return Err(Error::Key(format!(
            "there is a key called {label:?} already: choose another name (--label)"
        )));
    }
    config.envelopes.push(config::envelope_for(&bundle, label, recipients)?);
    repository.replace_config(config, &bundle.secrets).await
}

/// Lets a passphrase open everything, in place of the one before if there is one.
pub async fn set_passphrase(
    repository: &Repository,
    passphrase: &SecretString,
) -> Result<(), Error> {
    repository.check_writable()?;
    let bundle = repository.bundle()?;
    let mut config = repository.config().clone();
    config.envelopes.retain(|envelope| !envelope.recipients.is_empty());
    config.envelopes.push(passphrase_envelope(&bundle, PASSPHRASE_LABEL, passphrase)?);
    repository.replace_config(config, &bundle.secrets).await
}

/// The agent key of the repository as it is, to be written to a file again.
pub fn agent_key(repository: &Repository) -> Zeroizing<String> {
    agent_text(repository, repository.secrets().clone())
}

fn agent_text(repository: &Repository, secrets: Secrets) -> Zeroizing<String> {
    let recipient = repository.recipient().clone();
    AgentKey { repository: repository.id(), secrets, recipient }.to_text()
}

/// Draws a new repository secret and returns the agent key that has it. With the old agent key nothing
/// is written from then on, and what is written after cannot be read with it. What it could list before
/// it still can, and deduplication begins anew: the next backup stores everything that changed since as new.
pub async fn rotate_agent_key(
    repository: &Repository,
    passphrase: Option<&SecretString>,
) -> Result<Zeroizing<String>, Error> {
    repository.check_writable()?;
    let old = repository.bundle()?;
    let mut secrets: Vec<Secret> = old.secrets.raw().cloned().collect();
    secrets.push(Secret(repository.world().random.array()));
    let secrets = Secrets::new(secrets).ok_or_else(|| {
        Error::Key("the agent key was rotated 255 times: make a new repository".into())
    })?;
    let bundle = Bundle { secrets: secrets.clone(), ..old };
    let mut config: Config = repository.config().clone();
    for envelope in &mut config.envelopes {
        *envelope = seal_again(&bundle, envelope, passphrase)?;
    }
    let text = agent_text(repository, secrets.clone());
    repository.replace_config(config, &secrets).await?;
    Ok(text)
}

fn seal_again(
    bundle: &Bundle,
    envelope: &Envelope,
    passphrase: Option<&SecretString>,
) -> Result<Envelope, Error> {
    if envelope.recipients.is_empty() {
        let passphrase = passphrase.ok_or_else(|| {
            Error::Key(
                "the repository can be opened with a passphrase too, which must be sealed again: \
                 set BACKSTAY_PASSPHRASE or BACKSTAY_PASSPHRASE_FILE"
                    .into(),
            )
        })?;
        return passphrase_envelope(bundle, &envelope.label, passphrase);
    }
    let recipients: Result<Vec<_>, _> =
        envelope.recipients.iter().map(|text| Recipient::parse(text)).collect();
    config::envelope_for(bundle, &envelope.label, &recipients?)
}
