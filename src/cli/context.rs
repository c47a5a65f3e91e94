//! What every subcommand shares: the global options, the world, and the way to an open repository.
//! Keys and passphrases come from files and the environment only: a command line shows in process
//! lists and shell histories.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::failure::Failure;
use super::limits::LimitArgs;
use super::logging::{LogFormat, LogLevel};
use crate::policy::{self, Policy};
use crate::repo::Repository;
use crate::repo::envelope::SecretString;
use crate::repo::keyfile::Unlock;
use crate::store::{self, Counted, Prices, Settings, Store};
use crate::world::World;

/// No key file and no passphrase is longer.
const KEY_LIMIT_BYTES: u64 = 1 << 20;

/// Options that every subcommand takes, before or after its name.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Where snapshots are.
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        help = "The repository: a path, file:///path, s3://bucket/prefix, gs://bucket/prefix, \
                az://container/prefix or sftp://user@host:port/path [env: BACKSTAY_REPOSITORY]"
    )]
    pub repository: Option<String>,
    /// What opens it.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "The key: agent.key, recovery.key or an SSH private key; a passphrase goes into \
                BACKSTAY_PASSPHRASE or a file named by BACKSTAY_PASSPHRASE_FILE \
                [env: BACKSTAY_KEY_FILE]"
    )]
    pub key_file: Option<PathBuf>,
    /// Where downloaded metadata is kept.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Where downloaded metadata is kept; may be deleted at any time \
                [env: BACKSTAY_CACHE]"
    )]
    pub cache: Option<PathBuf>,
    /// What the store may use of the line.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Add what the run costs to its report, by the price list in this file
    #[arg(long, global = true, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Answer with one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no summary of what went well
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// From which weight on something is logged to standard error
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value_t)]
    pub log: LogLevel,
    /// How log lines look
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
}

/// The surroundings of one run.
#[derive(Debug)]
pub(super) struct Context {
    globals: Globals,
    world: World,
}

/// A variable that is set to something.
pub(super) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Context {
    /// The surroundings that the global options say.
    pub(super) fn new(globals: Globals, world: World) -> Self {
        Self { globals, world }
    }

    /// Clock, randomness and CPU.
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// The directory for downloaded metadata, if there is to be one.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        self.globals.cache.clone().or_else(|| variable("BACKSTAY_CACHE").map(PathBuf::from))
    }

    /// Directories of Backstay's own on this machine, which no backup keeps: the repository at `url`, the
    /// cache.
    pub(super) fn own_directories(&self, url: &str) -> Vec<PathBuf> {
        store::local_directory(url).into_iter().chain(self.cache()).collect()
    }

    /// This machine's name.
    pub(super) fn host() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// The store that the command line or the environment names. Contacts nobody.
    pub(super) fn store(&self) -> Result<Arc<Counted>, Failure> {
        self.store_at(&self.url(None)?, None)
    }

    /// The store's URL; what the command line says goes before `policy`, and that before the environment.
    pub(super) fn url(&self, policy: Option<&Policy>) -> Result<String, Failure> {
        let said = policy.and_then(|policy| policy.repository.clone());
        match self.globals.repository.clone().or(said) {
            Some(url) => Ok(url),
            None => repository_variable(),
        }
    }

    /// The store at `url`, with the limits that are said anywhere. Contacts nobody.
    pub(super) fn store_at(
        &self,
        url: &str,
        policy: Option<&Policy>,
    ) -> Result<Arc<Counted>, Failure> {
        let limits = policy.map(|policy| policy.limits).unwrap_or_default();
        let settings = Settings {
            limits: self.globals.limits.over(limits)?.limits(),
            ssh: policy.map(|policy| policy.ssh.clone()).unwrap_or_default(),
            ..Settings::from_environment()
        };
        Ok(store::open(url, &settings)?)
    }

    /// The price list; what the command line names goes before `policy`. To be asked for before anything
    /// is done: a mistake in it must not come to light behind a long run.
    pub(super) fn prices(&self, policy: Option<&Policy>) -> Result<Option<Prices>, Failure> {
        match &self.globals.prices {
            Some(file) => Ok(Some(policy::read_prices(file)?)),
            None => Ok(policy.and_then(|policy| policy.prices.clone())),
        }
    }

    /// The repository's place for messages, where one is named outside a policy.
    pub(super) fn place(&self) -> Option<String> {
        self.store().ok().map(|store| store.place())
    }

    /// Opens the repository.
    pub(super) async fn open(&self) -> Result<Repository, Failure> {
        let store = self.store()?;
        self.open_store(store).await
    }

    /// Opens the repository so that everything comes from the store itself: for those who judge it.
    pub(super) async fn open_past_cache(&self, store: Arc<Counted>) -> Result<Repository, Failure> {
        let place = store.place();
        let unlock = self.unlock().await?;
        let opened = Repository::open(store, self.world.clone(), &unlock).await;
        opened.map_err(|error| Failure::from(error).at(Some(&place)))
    }

    /// Opens the repository in `store`.
    pub(super) async fn open_store(&self, store: Arc<Counted>) -> Result<Repository, Failure> {
        let opened = self.open_past_cache(store).await?;
        if let Some(directory) = self.cache()
            && let Err(error) = opened.keep_metadata_in(&directory)
        {
            tracing::warn!(%error, directory = %directory.display(), "going on without a cache");
        }
        Ok(opened)
    }

    /// The key that was given.
    async fn unlock(&self) -> Result<Unlock, Failure> {
        let passphrase = passphrase()?;
        let file = self.globals.key_file.clone();
        let file = file.or_else(|| variable("BACKSTAY_KEY_FILE").map(PathBuf::from));
        let Some(file) = file else {
            return passphrase.map(Unlock::from_passphrase).ok_or_else(|| {
                Failure::usage(
                    "no key was given: name one with --key-file FILE or BACKSTAY_KEY_FILE, or put \
                     the passphrase into BACKSTAY_PASSPHRASE_FILE",
                )
            });
        };
        let text = read_secret("key file", &file)?;
        let name = file.display().to_string();
        // Taking a passphrase's wrapping off keeps a core busy for a second.
        let opening = move || Unlock::from_file(&name, &text, passphrase.as_ref());
        Ok(self.world.cpu.run(opening).await?)
    }
}

fn repository_variable() -> Result<String, Failure> {
    let Some(url) = variable("BACKSTAY_REPOSITORY") else {
        return Err(Failure::usage(
            "no repository was given: name one with --repository URL or BACKSTAY_REPOSITORY",
        ));
    };
    url.into_string().map_err(|_| Failure::usage("BACKSTAY_REPOSITORY is not UTF-8"))
}

/// The passphrase from the environment, if there is one.
pub(super) fn passphrase() -> Result<Option<SecretString>, Failure> {
    passphrase_in("BACKSTAY_PASSPHRASE")
}

/// The passphrase in the variable `name`, or in the file that the variable `name` with `_FILE` names.
pub(super) fn passphrase_in(name: &str) -> Result<Option<SecretString>, Failure> {
    let direct = variable(name);
    let file = variable(&format!("{name}_FILE")).map(PathBuf::from);
    match (direct, file) {
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{name} and {name}_FILE are both set: set one of them")))
        }
        (Some(text), None) => match text.into_string() {
            Ok(text) => Ok(Some(SecretString::from(text))),
            Err(_) => Err(Failure::usage(format!("{name} is not UTF-8"))),
        },
        (None, Some(file)) => {
            let bytes = read_secret("passphrase file", &file)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| {
                Failure::usage(format!("passphrase file {}: it is not UTF-8", file.display()))
            })?;
            // An editor ends the line; that is no part of the passphrase.
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                return Err(Failure::usage(format!(
                    "passphrase file {}: it is empty",
                    file.display()
                )));
            }
            Ok(Some(SecretString::from(text.to_owned())))
        }
        (None, None) => Ok(None),
    }
}

/// Reads a small file that must stay secret, and warns where everyone can read it.
fn read_secret(what: &str, file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("{what} {}: {error}; check path and mode", file.display()))
    };
    let opened = File::open(file).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!(
            "{what} {}: it is a directory; name the file in it",
            file.display()
        )));
    }
    if metadata.is_file() && metadata.permissions().mode() & 0o004 != 0 {
        tracing::warn!("{what} {} can be read by everyone: chmod 600 it", file.display());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    opened.take(KEY_LIMIT_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
