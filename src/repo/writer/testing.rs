//! A writer for unit tests: a session in a repository in memory, where nothing happens by itself.

use std::sync::Arc;

use crate::repo::session::Session;
use crate::repo::writer::{Writer, WriterOptions};
use crate::repo::{InitOptions, Repository};
use crate::store::MemoryStore;
use crate::world::World;

/// The writer of a new repository's first session.
pub(crate) async fn writer() -> Arc<Writer> {
    let store = Arc::new(MemoryStore::new());
    let made = Repository::init(store, World::still(1), InitOptions::default()).await;
    let (repository, _) = made.unwrap();
    let session = Session::begin(&repository, "job", "host").await.unwrap();
    Writer::new(&repository, &session, WriterOptions::default()).unwrap()
}
