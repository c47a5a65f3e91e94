//! What a store is opened with besides its URL: credentials and files from the environment, limits on
//! what it may use of the line.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;

/// How long an operation is tried again after its first failure, unless said otherwise: longer than
/// servers take to restart, shorter than a person waits without a word.
const RETRY_FOR: Duration = Duration::from_mins(5);
/// How long is tried while nobody has ever answered, unless said otherwise: a wrong address is reported soon, yet
/// a Pod whose network policy is still being applied gets through.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// What a store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes per second to the store; `None`: as fast as it goes.
    pub upload_bytes_per_second: Option<NonZeroU64>,
    /// Bytes per second from the store.
    pub download_bytes_per_second: Option<NonZeroU64>,
    /// Connections at a time; `None`: 4 over SSH, 16 over HTTP.
    pub connections: Option<NonZeroUsize>,
    /// How long after its first failure an operation is still tried again.
    pub retry_for: Duration,
    /// The same while the server has never answered: `retry_for` where someone said how long, else short.
    pub first_contact: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes_per_second: None,
            download_bytes_per_second: None,
            connections: None,
            retry_for: RETRY_FOR,
            first_contact: FIRST_CONTACT,
        }
    }
}

/// Files for SSH that were named elsewhere than in the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshFiles {
    /// The private key.
    pub key: Option<PathBuf>,
    /// The keys of known hosts.
    pub known_hosts: Option<PathBuf>,
}

/// What a store is opened with.
#[derive(Clone, Default)]
pub struct Settings {
    /// Variables. Only those that a store's own tools know are looked at.
    pub environment: Environment,
    /// What it may use.
    pub limits: Limits,
    /// What a policy says of SSH; goes before the environment.
    pub ssh: SshFiles,
}

impl std::fmt::Debug for Settings {
    /// Leaves the environment out: it holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Settings");
        text.field("limits", &self.limits).field("ssh", &self.ssh).finish_non_exhaustive()
    }
}

impl Settings {
    /// With this process's environment.
    pub fn from_environment() -> Self {
        Self { environment: Environment::of_process(), ..Self::default() }
    }

    /// With these variables. An empty value counts as none.
    pub fn with_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { environment: Environment::of(variables), ..Self::default() }
    }

    /// A variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.environment.get(name)
    }

    /// The first of these variables that is set.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<&str> {
        self.environment.first_of(names)
    }

    /// A file in the home directory.
    pub(super) fn at_home(&self, path: &str) -> Option<PathBuf> {
        self.get("HOME").map(|home| PathBuf::from(home).join(path))
    }
}
