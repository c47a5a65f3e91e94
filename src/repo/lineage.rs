//! Which config is in force. Anyone who may write to the store can put a config there, so the newest
//! is not believed: its tag must be of its newest secret, and its keys must go on from those of the
//! generations before. One that fails is passed over, named, and stops whoever wants to write.
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
        Self { name: name.to_string(), reason: error.to_string(), class: error.class() }
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

/// Finds the config in force. Costs a LIST, and a GET; with a recovery key, a GET for every
/// generation, since each must go on from those before.
pub(super) async fn in_force(store: &dyn Store, unlock: &Unlock) -> Result<InForce, Error> {
    let place = store.place();
    let names = names(store).await?;
    let Some((newest, older)) = names.split_first() else {
        return Err(Error::NotARepository { place });
    };
    let found = match unlock {
        Unlock::Agent(agent) => {
            let first = read(store, newest).await?;
            let first = first.and_then(|stored| open_with_agent(&place, newest, stored, agent));
            let mut found = vec![(newest.clone(), first)];
            for name in older {
                if matches!(found.last(), Some((_, Ok(_) | Err(Error::Newer { .. })))) {
                    break;
                }
                let stored = read(store, name).await?;
                let opened = stored.and_then(|s| open_with_agent(&place, name, s, agent));
                found.push((name.clone(), opened));
            }
            found
        }
        Unlock::Recovery(opener) => {
            let reads = futures::stream::iter(&names)
                .map(|name| async move { Ok((name.clone(), read(store, name).await?)) });
            let stored: Vec<_> =
                reads.buffered(READ_AHEAD).try_collect::<Vec<_>>().await.map_err(|e: Error| e)?;
            let opened = stored.into_iter().map(|(name, stored)| {
                let opened = stored.and_then(|s| open_with_recovery(&place, &name, &s, opener));
                (name, opened)
            });
            opened.collect()
        }
    };
    let (opened, overruled) = choose(found)?;
    if let Some(overruled) = &overruled {
        let Overruled { name, reason, .. } = overruled;
        tracing::warn!(config = %name, %reason, "the newest config is passed over");
    }
    let recipient = match unlock {
        Unlock::Agent(agent) => agent.recipient.clone(),
        Unlock::Recovery(_) => {
            let newest = opened.bundle.identities.last();
            newest.ok_or_else(|| Error::Bug("a bundle without identity".into()))?.recipient()?
        }
    };
    Ok(InForce { config: opened.config, bundle: opened.bundle, recipient, overruled })
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
        Err(error) if matches!(error.class(), Class::Damaged | Class::Missing) => {
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

/// Decides among all generations that were read, newest first: the newest that opens and whose keys
/// begin with those of every older one that opens and itself keeps this rule. Someone with an agent
/// key can write a config, but cannot know the content identities that it must begin with.
fn choose(found: Vec<(Key, Result<Opened, Error>)>) -> Result<(Opened, Option<Overruled>), Error> {
    let mut in_force: Option<Opened> = None;
    let mut refused: Option<(Key, Error)> = None;
    for (name, opened) in found.into_iter().rev() {
        let opened = match (opened, &in_force) {
            (Ok(opened), Some(before)) if !goes_on(&opened.bundle, &before.bundle) => {
                Err(Error::damaged(
                    &name,
                    "does not go on from the keys before: someone replaced them. Use no key that \
                     was made since",
                ))
            }
            (opened, _) => opened,
        };
        match opened {
            Ok(opened) => {
                in_force = Some(opened);
                refused = None;
            }
            Err(error) => refused = Some((name, error)),
        }
    }
    match (in_force, refused) {
        (Some(opened), None) => Ok((opened, None)),
        (Some(opened), Some((name, error))) if !matches!(error, Error::Newer { .. }) => {
            Ok((opened, Some(Overruled::new(&name, &error))))
        }
        (_, Some((_, error))) => Err(error),
        (None, None) => Err(Error::Bug("no config was read".into())),
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
    stored.config.check_readable(place)?;
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
    stored: &StoredConfig,
    opener: &Opener,
) -> Result<Opened, Error> {
    stored.check_format(name.as_str())?;
    let bundle = stored.open_bundle(place, opener)?;
    if bundle.repository != stored.repository {
        return Err(Error::damaged(name, "its envelope is of another repository"));
    }
    if bundle.identities.is_empty() {
        return Err(Error::damaged(name, "its envelope has no content identity"));
    }
    stored.check_tag(name.as_str(), &bundle.secrets)?;
    stored.config.check_readable(place)?;
    Ok(Opened { config: stored.config.clone(), bundle })
}
