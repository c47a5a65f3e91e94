//! Opening and making a repository: from a store and a key to something that can be read and
//! written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use crate::repo::envelope::SecretString;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::repo::config::{self, Bundle, Config, Envelope, FORMAT};
use crate::repo::envelope::{self, Identity, Recipient};
use crate::repo::error::Error;
use crate::repo::frames::FrameCache;
use crate::repo::id::{RepositoryId, SessionId};
use crate::repo::keyfile::{self, AgentKey, Unlock};
use crate::repo::layout;
use crate::repo::lineage::{self, InForce, Overruled};
use crate::repo::secret::{Secret, Secrets};
use crate::store::{Cache, Store, StoreClass};
use crate::world::World;

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
    /// Sealed metadata kept on this machine, if a place for it was named.
    cache: OnceLock<Arc<Cache>>,
    /// A newer config that was passed over, if there is one.
    overruled: Option<Overruled>,
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
    /// What the store honours, where it was probed.
    pub store_class: Option<StoreClass>,
}

/// A repository that is not stored yet.
#[derive(Debug)]
pub struct Draft {
    repository: Repository,
    keys: NewKeys,
    object: Bytes,
}

impl Draft {
    /// Its keys.
    pub fn keys(&self) -> &NewKeys {
        &self.keys
    }

    /// Its id.
    pub fn id(&self) -> RepositoryId {
        self.repository.id()
    }

    /// Stores it. Costs one PUT.
    pub async fn store(self) -> Result<(Repository, NewKeys), Error> {
        let Self { repository, keys, object } = self;
        let stored = repository.store().create(&layout::config(0), vec![object]).await;
        stored.map_err(|error| match error {
            crate::store::Error::Exists { .. } => {
                Error::AlreadyInitialised { place: repository.store().place() }
            }
            other => other.into(),
        })?;
        Ok((repository, keys))
    }
}

impl Repository {
    /// Makes a repository in an empty place.
    pub async fn init(
        store: Arc<dyn Store>,
        world: World,
        options: InitOptions,
    ) -> Result<(Self, NewKeys), Error> {
        Self::draft(store, world, options).await?.store().await
    }

    /// Fails if there is a repository already. Costs one LIST.
    pub async fn check_absent(store: &dyn Store) -> Result<(), Error> {
        match store.first(layout::CONFIG).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Error::AlreadyInitialised { place: store.place() }),
            // The first object makes the directory.
            Err(error) if error.class() == crate::class::Class::Missing => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Draws up a repository without storing it, so that its keys can be brought to safety first: a
    /// repository whose keys were lost can never be read.
    pub async fn draft(
        store: Arc<dyn Store>,
        world: World,
        options: InitOptions,
    ) -> Result<Draft, Error> {
        Self::check_absent(&*store).await?;
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
        let mut record = Config {
            format: FORMAT,
            generation: 0,
            created: nanoseconds(&world),
            read_features: Vec::new(),
            write_features: Vec::new(),
            collect_features: Vec::new(),
            envelopes,
            content_recipients: vec![recipient.as_str().to_owned()],
            store_class: options.store_class.map(|class| class.as_str().to_owned()),
            owner_tag: None,
        };
        record.sign(bundle.newest_identity()?);
        let object = record.to_object(repository, 0, bundle.secrets.newest());
        let agent = AgentKey { repository, secrets: bundle.secrets.clone(), recipient };
        let keys = NewKeys { recovery, agent: agent.to_text() };
        let found = InForce { config: record, bundle, recipient: agent.recipient, overruled: None };
        let repository = Self::assemble(store, world, found);
        Ok(Draft { repository, keys, object })
    }

    /// Opens a repository with a key. Costs a LIST and a GET, and with a recovery key one more GET for
    /// each earlier change of keys.
    pub async fn open(store: Arc<dyn Store>, world: World, unlock: &Unlock) -> Result<Self, Error> {
        let found = lineage::in_force(&*store, unlock).await?;
        Ok(Self::assemble(store, world, found))
    }

    fn assemble(store: Arc<dyn Store>, world: World, found: InForce) -> Self {
        let InForce { config, bundle, recipient, overruled } = found;
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
                cache: OnceLock::new(),
                overruled,
            }),
        }
    }

    /// Where the objects are.
    pub fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    /// Keeps metadata that is read from now on below `directory`, as it is stored.
    pub fn keep_metadata_in(&self, directory: &Path) -> std::io::Result<()> {
        let cache = Cache::open(directory, &self.id().to_string())?;
        // Whoever comes second finds a cache there, which is all that was asked for.
        let _first = self.inner.cache.set(Arc::new(cache));
        Ok(())
    }

    /// Sealed metadata kept on this machine.
    pub(super) fn cache(&self) -> Option<Arc<Cache>> {
        self.inner.cache.get().cloned()
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

    /// What is wrong with the newest config, if an older one is in force.
    pub fn overruled(&self) -> Option<Error> {
        self.inner.overruled.as_ref().map(Overruled::refusal)
    }

    /// Fails if this program may not write here.
    pub fn check_writable(&self) -> Result<(), Error> {
        if let Some(refusal) = self.overruled() {
            return Err(refusal);
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
        config.sign(self.bundle()?.newest_identity()?);
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
