//! What every store promises, asked of each kind at a real server: memory, a local directory, two minds of S3,
//! GCS, Azure, and SFTP with and without extensions.

mod conformance;
mod credentials;
mod fault;
mod identities;
mod local;
mod lost_answer;
mod odd;
mod rough;
mod sftp;
mod slow;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use backstay::store::{self, LocalStore, MemoryStore, Settings, Store};

use crate::support::azurite::{Azurite, azurite};
use crate::support::gcs::{Gcs, gcs};
use crate::support::moto::{Moto, moto};
use crate::support::seaweed::seaweed;
use crate::support::sshd::{Kind, Sshd};

/// The stores of one test, each empty; the directory goes with the last value.
struct Stores {
    _directory: tempfile::TempDir,
    all: Vec<(&'static str, Arc<dyn Store>)>,
}

/// The SSH server of all tests that do not kill theirs.
fn sshd(kind: Kind) -> &'static Sshd {
    static PLAIN: OnceLock<Sshd> = OnceLock::new();
    static RESTRICTED: OnceLock<Sshd> = OnceLock::new();
    static EXTERNAL: OnceLock<Sshd> = OnceLock::new();
    let cell = match kind {
        Kind::Restricted => &RESTRICTED,
        Kind::External => &EXTERNAL,
        _ => &PLAIN,
    };
    cell.get_or_init(|| Sshd::start(kind))
}

fn remote(url: &str, environment: BTreeMap<String, String>) -> Arc<dyn Store> {
    store::open(url, &Settings::with_environment(environment)).unwrap()
}

fn over_ssh(kind: Kind, name: &str) -> Arc<dyn Store> {
    let sshd = sshd(kind);
    remote(&sshd.url(&format!("{}/{name}", sshd.home())), sshd.environment())
}

/// `name` keeps tests apart on the shared servers.
fn stores(name: &str) -> Stores {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<(_, Arc<dyn Store>)> = vec![
        ("memory", Arc::new(MemoryStore::new())),
        ("local", Arc::new(LocalStore::new(directory.path().join("repository")))),
        ("s3 by SeaweedFS", seaweed().store(name)),
        ("s3 by moto", remote(&Moto::url(name), moto().environment())),
        ("gcs", remote(&Gcs::url(name), gcs().environment())),
        ("azure", remote(&Azurite::url(name), azurite().environment())),
        ("sftp", over_ssh(Kind::Plain, name)),
        ("sftp without extensions", over_ssh(Kind::Restricted, name)),
        ("sftp by a program", over_ssh(Kind::External, name)),
    ];
    Stores { _directory: directory, all }
}
