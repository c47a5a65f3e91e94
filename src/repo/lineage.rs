//! Which config is in force. Anyone who may write to the store can put a config there, so the newest
//! is not believed: its tag must be of its newest secret, its keys must go on from those of the
//! generations before, and its owner tag must be by someone who can open it. One that fails is passed
//! over, named, and stops whoever wants to write.
//! FORMAT.md §2, §5.

use futures::{StreamExt as _, TryStreamExt as _};

use crate::class::Class;
use crate::repo::config::{Bundle, Config, FORMAT, StoredConfig};
use crate::repo::envelope::{Opener, Recipient};
use crate::repo::error::Error;
use crate::repo::keyfile::{AgentKey, Unlock};
use crate::repo::layout;
use crate::store::{Key, Store};

/// Largest config object that is read.
const CONFIG_LIMIT_BYTES: u64 = 1 << 20;
/// Configs that are read beside the newest, from generation 0 on. A repository has as many as it had
/// changes of keys; whoever floods it can only add newer ones.
const GENERATIONS: usize = 1024;
/// Configs that are read side by side.
const READ_AHEAD: usize = 8;

/// The config in force and the keys that belong to it.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) config: Config,
    pub(super) bundle: Bundle,
    /// To whom new session secrets are sealed.
    pub(super) recipient: Recipient,
    /// What is wrong with the newest config, if it is not the one in force.
    pub(super) overruled: Option<Overruled>,
}

/// A newer config that is not in force.
#[derive(Clone, Debug)]
pub(super) struct Overruled {
    name: String,
    reason: String,
    class: Class,
}

impl Overruled {
    fn new(name: &Key, error: &Error) -> Self {
        let reason = match error {
            Error::Damaged { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        Self { name: name.to_string(), reason, class: error.class() }
    }

    /// Why nothing may be written.
    pub(super) fn refusal(&self) -> Error {
        let Self { name, reason, class } = self;
        let text = format!("{name} is newer than the config in force, and {reason}");
        match class {
            Class::Denied => Error::Denied(format!("{text}. Nothing was written")),
            _ => Error::damaged(
                name,
                format!(
                    "{reason}. Reading goes on with the config before it; to write, move it away"
                ),
            ),
        }
    }
}

/// What one generation gives to a key.
#[derive(Debug)]
struct Opened {
    config: Config,
    bundle: Bundle,
}

/// Finds the config in force. Costs a LIST, and a GET; with a recovery key, a GET for every generation,
/// since each must go on from those before, and with a passphrase about a second for every envelope of
/// one that is tried.
pub(super) async fn in_force(store: &dyn Store, unlock: &Unlock) -> Result<InForce, Error> {
    let place = store.place();
    let names = names(store).await?;
    let chain = match unlock {
        Unlock::Agent(agent) => newest_for_agent(store, &place, &names, agent).await?,
        Unlock::Recovery(opener) => {
            let mut chain = Chain::default();
            // From the oldest on: what is read is judged at once and not kept.
            let reads = futures::stream::iter(names.iter().rev())
                .map(|name| async move { (name, read(store, name).await) });
            let mut reads = reads.buffered(READ_AHEAD);
            while let Some((name, stored)) = reads.next().await {
                let opened = stored?.and_then(|s| open_with_recovery(&place, name, s, opener));
                chain.judge(&place, name, opened);
            }
            chain
        }
    };
    let (opened, overruled) = chain.decide(&place)?;
    if let Some(overruled) = &overruled {
        let Overruled { name, reason, .. } = overruled;
        tracing::warn!(config = %name, %reason, "the newest config is passed over");
    }
    let recipient = match unlock {
        Unlock::Agent(agent) => agent.recipient.clone(),
        Unlock::Recovery(_) => opened.bundle.newest_identity()?.recipient()?,
    };
    Ok(InForce { config: opened.config, bundle: opened.bundle, recipient, overruled })
}

/// An agent cannot tell who wrote a config, but its own key says all that it needs: it takes the newest
/// one with a right tag.
async fn newest_for_agent(
    store: &dyn Store,
    place: &str,
    names: &[Key],
    agent: &AgentKey,
) -> Result<Chain, Error> {
    let mut found = Vec::new();
    for name in names {
        let stored = read(store, name).await?;
        let opened = stored.and_then(|stored| open_with_agent(place, name, stored, agent));
        let ends = opened.is_ok();
        found.push((name, opened));
        if ends {
            break;
        }
    }
    let mut chain = Chain::default();
    for (name, opened) in found.into_iter().rev() {
        chain.judge(place, name, opened);
    }
    Ok(chain)
}

/// The newest name and the oldest ones, newest first.
async fn names(store: &dyn Store) -> Result<Vec<Key>, Error> {
    let mut listing = store.list(layout::CONFIG);
    let mut names: std::collections::VecDeque<Key> = std::collections::VecDeque::new();
    let mut newest = None;
    while let Some(object) = listing.try_next().await? {
        if layout::parse_config(&object.key).is_none() {
            continue;
        }
        if newest.is_none() {
            newest = Some(object.key);
            continue;
        }
        if names.len() == GENERATIONS {
            names.pop_front();
        }
        names.push_back(object.key);
    }
    Ok(newest.into_iter().chain(names).collect())
}

/// Reads a config. The outer error is the store's, the inner one is of this object alone.
async fn read(store: &dyn Store, name: &Key) -> Result<Result<StoredConfig, Error>, Error> {
    let bytes = match store.get(name, CONFIG_LIMIT_BYTES).await {
        Ok(bytes) => bytes,
        // Denied: a single object can be locked away where the rest is open.
        Err(error) if matches!(error.class(), Class::Damaged | Class::Missing | Class::Denied) => {
            return Ok(Err(error.into()));
        }
        Err(error) => return Err(error.into()),
    };
    let stored = StoredConfig::parse(name.as_str(), &bytes);
    Ok(stored.and_then(|stored| {
        if stored.config.format == FORMAT
            && layout::parse_config(name) != Some(stored.config.generation)
        {
            return Err(Error::damaged(name, "is not the generation that its name says"));
        }
        Ok(stored)
    }))
}

/// Generations, judged from the oldest on: the newest counts that opens and whose keys begin with those of
/// every older one that opens and itself keeps this rule. Someone with an agent key can write a config,
/// but cannot know the content identities that it must begin with.
#[derive(Debug, Default)]
struct Chain {
    in_force: Option<Opened>,
    /// The newest one above it, and what is wrong with it.
    refused: Option<(Key, Error)>,
    /// One above it that only a newer program can judge. What comes after must not hide it.
    newer: Option<Error>,
}

impl Chain {
    fn judge(&mut self, place: &str, name: &Key, opened: Result<Opened, Error>) {
        let opened = opened.and_then(|opened| match &self.in_force {
            Some(before) if !goes_on(&opened.bundle, &before.bundle) => Err(Error::damaged(
                name,
                "does not go on from the keys before: someone replaced them. Use no key that was \
                 made since",
            )),
            _ => Ok(opened),
        });
        // Asked of those only whose keys are the owner's.
        match opened.and_then(|opened| opened.config.check_readable(place).map(|()| opened)) {
            Ok(opened) => *self = Self { in_force: Some(opened), ..Self::default() },
            Err(error @ Error::Newer { .. }) => self.newer = Some(error),
            Err(error) => self.refused = Some((name.clone(), error)),
        }
    }

    fn decide(self, place: &str) -> Result<(Opened, Option<Overruled>), Error> {
        match (self.newer, self.in_force, self.refused) {
            (Some(newer), ..) => Err(newer),
            (None, Some(opened), refused) => {
                Ok((opened, refused.map(|(name, error)| Overruled::new(&name, &error))))
            }
            (None, None, Some((_, error))) => Err(error),
            (None, None, None) => Err(Error::NotARepository { place: place.to_owned() }),
        }
    }
}

fn goes_on(bundle: &Bundle, before: &Bundle) -> bool {
    let mut identities = bundle.identities.iter();
    let mut secrets = bundle.secrets.raw();
    before
        .identities
        .iter()
        .all(|old| identities.next().is_some_and(|i| i.expose() == old.expose()))
        && before.secrets.raw().all(|old| secrets.next().is_some_and(|secret| secret == old))
}

fn open_with_agent(
    place: &str,
    name: &Key,
    stored: StoredConfig,
    agent: &AgentKey,
) -> Result<Opened, Error> {
    stored.check_format(name.as_str())?;
    if agent.repository != stored.repository {
        return Err(Error::Foreign {
            place: place.to_owned(),
            found: stored.repository.to_string(),
            key_repository: agent.repository.to_string(),
        });
    }
    stored.check_tag(name.as_str(), &agent.secrets)?;
    let bundle = Bundle {
        repository: agent.repository,
        secrets: agent.secrets.clone(),
        identities: Vec::new(),
    };
    Ok(Opened { config: stored.config, bundle })
}

fn open_with_recovery(
    place: &str,
    name: &Key,
    stored: StoredConfig,
    opener: &Opener,
) -> Result<Opened, Error> {
    stored.check_format(name.as_str())?;
    let bundle = stored.open_bundle(place, opener)?;
    if bundle.repository != stored.repository {
        return Err(Error::damaged(name, "its envelope is of another repository"));
    }
    stored.check_tag(name.as_str(), &bundle.secrets)?;
    stored.config.check_owner(name.as_str(), bundle.newest_identity()?)?;
    Ok(Opened { config: stored.config, bundle })
}
