//! Opening and making a repository: from a store and a key to something that can be read and
//! written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::repo::envelope::SecretString;
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
    /// Why a newer config does not open, if there is one.
    foreign: Option<String>,
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
        match store.first(layout::CONFIG).await {
            Ok(None) => {}
            Ok(Some(_)) => return Err(Error::AlreadyInitialised { place }),
            // The first object makes the directory.
            Err(error) if error.class() == crate::class::Class::Missing => {}
            Err(error) => return Err(error.into()),
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
        Ok((Self::assemble(store, world, record, bundle, agent.recipient, None), keys))
    }

    /// Opens a repository with a key.
    pub async fn open(store: Arc<dyn Store>, world: World, unlock: &Unlock) -> Result<Self, Error> {
        let place = store.place();
        let generations = generations(&*store).await?;
        let mut first_error = None;
        for (at, (name, stored)) in generations.iter().enumerate() {
            let opened = match stored {
                Ok(stored) => open_generation(&place, name, stored, unlock).map(|o| (stored, o)),
                Err(error) => Err(Error::damaged(name, error.to_string())),
            };
            match opened {
                Ok((stored, (bundle, recipient))) => {
                    let older = generations.get(at + 1..).unwrap_or_default();
                    check_descent(&place, &bundle, older, unlock)?;
                    let foreign = first_error.map(|error: Error| error.to_string());
                    if let Some(error) = &foreign {
                        tracing::warn!(%error, "a newer config does not open; using the one before");
                    }
                    let config = stored.config.clone();
                    return Ok(Self::assemble(store, world, config, bundle, recipient, foreign));
                }
                Err(error @ Error::Newer { .. }) => return Err(error),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        Err(first_error.unwrap_or(Error::NotARepository { place }))
    }

    fn assemble(
        store: Arc<dyn Store>,
        world: World,
        config: Config,
        bundle: Bundle,
        recipient: Recipient,
        foreign: Option<String>,
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
                foreign,
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
        if let Some(reason) = &self.inner.foreign {
            return Err(Error::damaged(
                format!("the newest config of {}", self.store().place()),
                format!("{reason}; reading goes on with the one before, writing would hide it"),
            ));
        }
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
        let generation = self.config().generation.checked_add(1);
        config.generation =
            generation.ok_or_else(|| Error::damaged("config", "has the last generation"))?;
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

/// All generations of the config, newest first. Those that are not even of the right form are left
/// out, as anyone who may write to the store could put them there.
async fn generations(store: &dyn Store) -> Result<Vec<(Key, Result<StoredConfig, Error>)>, Error> {
    /// More than one or two are looked at only where someone floods the place.
    const MOST: usize = 16;
    let mut listing = store.list(layout::CONFIG);
    let mut found = Vec::new();
    while let Some(object) = listing.try_next().await? {
        let Some(generation) = layout::parse_config(&object.key) else {
            continue;
        };
        let bytes: Bytes = store.get(&object.key, CONFIG_LIMIT_BYTES).await?;
        let stored = StoredConfig::parse(object.key.as_str(), &bytes).and_then(|stored| {
            if stored.config.format == FORMAT && stored.config.generation != generation {
                return Err(Error::damaged(
                    &object.key,
                    "is not the generation that its name says",
                ));
            }
            Ok(stored)
        });
        found.push((object.key, stored));
        if generation == 0 || found.len() >= MOST {
            break;
        }
    }
    if found.is_empty() {
        return Err(Error::NotARepository { place: store.place() });
    }
    Ok(found)
}

/// Whoever opens a bundle makes sure that it goes on from the generation before: someone with an agent
/// key alone can write a config, but cannot know the content identities that it must begin with.
fn check_descent(
    place: &str,
    bundle: &Bundle,
    older: &[(Key, Result<StoredConfig, Error>)],
    unlock: &Unlock,
) -> Result<(), Error> {
    let Unlock::Recovery(opener) = unlock else {
        return Ok(());
    };
    for (name, stored) in older {
        let Ok(stored) = stored else {
            continue;
        };
        let Ok(before) = stored.open_bundle(place, opener) else {
            continue;
        };
        let identities = bundle.identities.iter().zip(&before.identities);
        let secrets = bundle.secrets.raw().zip(before.secrets.raw());
        let goes_on = bundle.identities.len() >= before.identities.len()
            && bundle.secrets.raw().count() >= before.secrets.raw().count()
            && identities.into_iter().all(|(new, old)| new.expose() == old.expose())
            && secrets.into_iter().all(|(new, old)| new == old);
        if !goes_on {
            return Err(Error::damaged(
                name,
                "the config after it has other keys: someone replaced them; use no key made since",
            ));
        }
        return Ok(());
    }
    Ok(())
}

/// Opens one generation with a key.
fn open_generation(
    place: &str,
    name: &Key,
    stored: &StoredConfig,
    unlock: &Unlock,
) -> Result<(Bundle, Recipient), Error> {
    stored.config.check_readable(place)?;
    let (bundle, recipient) = match unlock {
        Unlock::Agent(agent) => {
            if agent.repository != stored.repository {
                return Err(Error::Foreign {
                    place: place.to_owned(),
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
            let bundle = stored.open_bundle(place, opener)?;
            if bundle.repository != stored.repository {
                return Err(Error::damaged(name, "its envelope is of another repository"));
            }
            let newest = bundle.identities.last();
            let newest = newest.ok_or_else(|| Error::damaged(name, "no content identity"))?;
            let recipient = newest.recipient()?;
            (bundle, recipient)
        }
    };
    stored.check_tag(name.as_str(), &bundle.secrets)?;
    Ok((bundle, recipient))
}
