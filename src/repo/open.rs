//! Opening and making a repository: from a store and a key to something that can be read and
//! written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use age::secrecy::SecretString;
use bytes::Bytes;
use futures::TryStreamExt as _;
use zeroize::Zeroizing;

use crate::repo::config::{self, Bundle, Config, Envelope, FORMAT, StoredConfig};
use crate::repo::envelope::{self, Identity, Recipient};
use crate::repo::error::Error;
use crate::repo::id::{RepositoryId, SessionId};
use crate::repo::keyfile::{self, AgentKey, Unlock};
use crate::repo::layout;
use crate::repo::reader::FrameCache;
use crate::repo::secret::{Secret, Secrets};
use crate::store::{Key, Store};
use crate::world::World;

/// Largest config object that is read.
const CONFIG_LIMIT_BYTES: u64 = 1 << 20;

/// An open repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    world: World,
    id: RepositoryId,
    config: Config,
    secrets: Secrets,
    recipient: Recipient,
    identities: Vec<Identity>,
    session_secrets: Mutex<HashMap<SessionId, Secret>>,
    frames: FrameCache,
}

/// The keys of a new repository, to be written to files.
#[derive(Debug)]
pub struct NewKeys {
    /// Text of `recovery.key`; `None` where recipients or a passphrase of the person's own are used.
    pub recovery: Option<Zeroizing<String>>,
    /// Text of `agent.key`.
    pub agent: Zeroizing<String>,
}

/// Who shall be able to recover a new repository.
#[derive(Debug, Default)]
pub struct InitOptions {
    /// Recipients of the person's own; with none and no passphrase, a recovery key is made.
    pub recipients: Vec<Recipient>,
    /// A passphrase that opens everything.
    pub passphrase: Option<SecretString>,
}

impl Repository {
    /// Makes a repository in an empty place.
    pub async fn init(
        store: Arc<dyn Store>,
        world: World,
        options: InitOptions,
    ) -> Result<(Self, NewKeys), Error> {
        let place = store.place();
        if store.first(layout::CONFIG).await?.is_some() {
            return Err(Error::AlreadyInitialised { place });
        }
        let repository = RepositoryId(world.random.array());
        let content = Identity::generate();
        let recipient = content.recipient()?;
        let secrets = Secrets::new(vec![Secret(world.random.array())])
            .ok_or_else(|| Error::Bug("no secret".into()))?;
        let bundle = Bundle { repository, secrets, identities: vec![content] };
        let mut envelopes: Vec<Envelope> = Vec::new();
        let mut recovery = None;
        if let Some(passphrase) = &options.passphrase {
            envelopes.push(passphrase_envelope(&bundle, "passphrase", passphrase)?);
        }
        if !options.recipients.is_empty() {
            envelopes.push(config::envelope_for(&bundle, "recipients", &options.recipients)?);
        }
        if envelopes.is_empty() {
            let identity = Identity::generate();
            let own = [identity.recipient()?];
            envelopes.push(config::envelope_for(&bundle, "recovery key", &own)?);
            recovery = Some(keyfile::recovery_text(repository, &identity)?);
        }
        let record = Config {
            format: FORMAT,
            generation: 0,
            created: nanoseconds(&world),
            read_features: Vec::new(),
            write_features: Vec::new(),
            collect_features: Vec::new(),
            envelopes,
            content_recipients: vec![recipient.as_str().to_owned()],
            store_class: None,
        };
        let object = record.to_object(repository, 0, bundle.secrets.newest());
        store.create(&layout::config(0), vec![object]).await.map_err(|error| match error {
            crate::store::Error::Exists { .. } => Error::AlreadyInitialised { place },
            other => other.into(),
        })?;
        let agent = AgentKey { repository, secrets: bundle.secrets.clone(), recipient };
        let keys = NewKeys { recovery, agent: agent.to_text() };
        Ok((Self::assemble(store, world, record, bundle, agent.recipient), keys))
    }

    /// Opens a repository with a key.
    pub async fn open(store: Arc<dyn Store>, world: World, unlock: &Unlock) -> Result<Self, Error> {
        let place = store.place();
        let (name, stored) = newest_config(&*store).await?;
        stored.config.check_readable(&place)?;
        let (bundle, recipient) = match unlock {
            Unlock::Agent(agent) => {
                if agent.repository != stored.repository {
                    return Err(Error::Foreign {
                        place,
                        found: stored.repository.to_string(),
                        key_repository: agent.repository.to_string(),
                    });
                }
                let bundle = Bundle {
                    repository: agent.repository,
                    secrets: agent.secrets.clone(),
                    identities: Vec::new(),
                };
                (bundle, agent.recipient.clone())
            }
            Unlock::Recovery(opener) => {
                let bundle = stored.open_bundle(&place, opener)?;
                if bundle.repository != stored.repository {
                    return Err(Error::damaged(&name, "its envelope is of another repository"));
                }
                let newest = bundle.identities.last();
                let newest = newest.ok_or_else(|| Error::damaged(&name, "no content identity"))?;
                let recipient = newest.recipient()?;
                (bundle, recipient)
            }
        };
        stored.check_tag(name.as_str(), &bundle.secrets)?;
        Ok(Self::assemble(store, world, stored.config, bundle, recipient))
    }

    fn assemble(
        store: Arc<dyn Store>,
        world: World,
        config: Config,
        bundle: Bundle,
        recipient: Recipient,
    ) -> Self {
        let Bundle { repository: id, secrets, identities } = bundle;
        Self {
            inner: Arc::new(Inner {
                store,
                world,
                id,
                config,
                secrets,
                recipient,
                identities,
                session_secrets: Mutex::default(),
                frames: FrameCache::default(),
            }),
        }
    }

    /// Where the objects are.
    pub fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    /// Clock, randomness and CPU.
    pub fn world(&self) -> &World {
        &self.inner.world
    }

    /// The repository's id.
    pub fn id(&self) -> RepositoryId {
        self.inner.id
    }

    /// The config in force when it was opened.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The repository secrets and their keys.
    pub fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    /// To whom new session secrets are sealed.
    pub fn recipient(&self) -> &Recipient {
        &self.inner.recipient
    }

    /// Whether file content can be read: true with a recovery key, false with an agent key.
    pub fn reads_content(&self) -> bool {
        !self.inner.identities.is_empty()
    }

    /// Identities that open session secrets; empty with an agent key.
    pub fn identities(&self) -> &[Identity] {
        &self.inner.identities
    }

    /// Metadata frames read lately.
    pub(super) fn frame_cache(&self) -> &FrameCache {
        &self.inner.frames
    }

    /// Session secrets opened so far.
    pub(super) fn session_secrets(&self) -> &Mutex<HashMap<SessionId, Secret>> {
        &self.inner.session_secrets
    }

    /// Fails if this program may not write here.
    pub fn check_writable(&self) -> Result<(), Error> {
        self.config().check_writable(&self.store().place())
    }

    /// The current time in nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        nanoseconds(self.world())
    }

    /// Everything that an envelope holds. Needs a recovery key.
    pub fn bundle(&self) -> Result<Bundle, Error> {
        if !self.reads_content() {
            return Err(Error::AgentKey);
        }
        Ok(Bundle {
            repository: self.id(),
            secrets: self.secrets().clone(),
            identities: self.identities().to_vec(),
        })
    }

    /// Stores the next generation of the config. Costs one PUT.
    pub async fn replace_config(&self, mut config: Config, secrets: &Secrets) -> Result<(), Error> {
        config.generation = self.config().generation + 1;
        config.created = self.now();
        let object = config.to_object(self.id(), secrets.newest_number(), secrets.newest());
        let key = layout::config(config.generation);
        Ok(self.store().create(&key, vec![object]).await?)
    }
}

/// An envelope that a passphrase opens.
pub fn passphrase_envelope(
    bundle: &Bundle,
    label: &str,
    passphrase: &SecretString,
) -> Result<Envelope, Error> {
    Ok(Envelope {
        label: label.to_owned(),
        recipients: Vec::new(),
        sealed: envelope::seal_with_passphrase(passphrase, &bundle.encode())?,
    })
}

fn nanoseconds(world: &World) -> i64 {
    i64::try_from(world.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
}

async fn newest_config(store: &dyn Store) -> Result<(Key, StoredConfig), Error> {
    let mut listing = store.list(layout::CONFIG);
    while let Some(object) = listing.try_next().await? {
        let Some(generation) = layout::parse_config(&object.key) else {
            continue;
        };
        let bytes: Bytes = store.get(&object.key, CONFIG_LIMIT_BYTES).await?;
        let stored = StoredConfig::parse(object.key.as_str(), &bytes)?;
        if stored.config.format == FORMAT && stored.config.generation != generation {
            return Err(Error::damaged(&object.key, "is not the generation that its name says"));
        }
        return Ok((object.key, stored));
    }
    Err(Error::NotARepository { place: store.place() })
}
