//! Sealed objects and the CBOR records in them.

use backstay::facts::Facts;
use backstay::repo::id::SessionId;
use backstay::repo::record;
use backstay::repo::reference::ChunkRef;
use backstay::repo::seal::open_object;
use backstay::repo::snapshot::{AbortRecord, Checkpoint, SessionRecord, Snapshot};
use minicbor::{Decode, Encode};

use super::seeds::{REPOSITORY, object_name, secrets};

/// Decodes a record and makes sure that it comes back.
fn round<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<T> {
    let first: T = record::decode(&"a record", bytes).ok()?;
    let encoded = record::encode(&first);
    assert!(!encoded.is_empty(), "a record that was read cannot be written");
    let second: T = record::decode(&"a record", &encoded).expect("what we encode decodes");
    assert_eq!(record::encode(&second), encoded);
    Some(first)
}

/// The form that sessions, snapshots, abort records and checkpoints share.
pub fn sealed_object(bytes: &[u8]) {
    if let Ok((_, body)) = open_object(REPOSITORY, secrets(), &object_name(), bytes) {
        assert!(body.len() < bytes.len());
    }
}

/// A snapshot's record.
pub fn snapshot(bytes: &[u8]) {
    let Some(snapshot) = round::<Snapshot>(bytes) else {
        return;
    };
    let sound = snapshot.check("a snapshot", snapshot.id).is_ok();
    let other = SessionId(snapshot.id.0.map(|byte| byte ^ 1));
    assert!(snapshot.check("a snapshot", other).is_err());
    assert_eq!(snapshot.short_id().len(), 8);
    for source in &snapshot.sources {
        if let Some(Facts::Wal(wal)) = source.facts() {
            let name = wal.naming.name_like(7, b"");
            assert_eq!(wal.naming.number(name.as_bytes()), Some(7), "{name}");
        }
        assert!(source.problem_paths().count() <= source.problems.len());
        assert!(!sound || snapshot.source(&source.name).is_some());
    }
}

/// A session's announcement.
pub fn session(bytes: &[u8]) {
    drop(round::<SessionRecord>(bytes));
}

/// A session given up.
pub fn abort_record(bytes: &[u8]) {
    drop(round::<AbortRecord>(bytes));
}

/// A collector's decision.
pub fn checkpoint(bytes: &[u8]) {
    if let Some(checkpoint) = round::<Checkpoint>(bytes) {
        for removed in &checkpoint.removed {
            assert!(!checkpoint.is_valid(*removed, u64::MAX));
        }
        for dead in checkpoint.dead.iter().chain(&checkpoint.condemned) {
            assert!(!checkpoint.permits(dead));
        }
    }
}

/// A reference outside nodes.
pub fn chunk_reference(bytes: &[u8]) {
    if let Some(reference) = round::<ChunkRef>(bytes) {
        let place = reference.frame.place().expect("a reference that was read has its place");
        assert!(u32::try_from(place.end_bytes()).is_ok());
        let end = u64::from(reference.offset_bytes) + u64::from(reference.length_bytes);
        assert!(end <= u64::from(place.plain_bytes));
    }
}
