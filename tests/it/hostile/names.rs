//! Names that anyone who may write to a store can make, without any key.

use std::sync::Arc;

use backstay::class::Class;
use backstay::repo::id::SessionId;
use backstay::repo::layout::Place;
use backstay::repo::session::Session;
use backstay::repo::{InitOptions, Repository};
use backstay::store::{MemoryStore, Store};
use backstay::world::World;
use bytes::Bytes;

#[tokio::test]
async fn the_last_number_of_a_lane_stops_writers() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let made = Repository::init(Arc::clone(&store), World::still(1), InitOptions::default()).await;
    let (repository, _) = made.unwrap();
    assert!(Session::begin(&repository, "job", "host").await.is_ok());
    let place = Place {
        lane: repository.secrets().oldest().lane("job", "host"),
        sequence: u64::MAX,
        checkpoint: 0,
        session: SessionId([1; 12]),
    };
    store.create(&place.register_key(), vec![Bytes::from_static(b"x")]).await.unwrap();
    let error = Session::begin(&repository, "job", "host").await.unwrap_err();
    assert_eq!(error.class(), Class::Damaged);
    assert!(Session::begin(&repository, "another job", "host").await.is_ok());
}
