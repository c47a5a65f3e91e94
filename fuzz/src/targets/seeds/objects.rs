//! Seeds of objects and of the records in them.

use std::collections::BTreeMap;

use backstay::facts::naming::{Numbering, SegmentNaming};
use backstay::facts::{DirectoryFacts, Facts, Timeline, WalFacts};
use backstay::repo::facts_record::FactsRecord;
use backstay::repo::id::{ChunkId, SessionId};
use backstay::repo::pack::{FinishedPack, PackBuilder, PackKind, TRAILER_BYTES};
use backstay::repo::record;
use backstay::repo::seal::{Sealed, seal_object};
use backstay::repo::snapshot::{
    AbortRecord, Checkpoint, PackRecord, ProblemRecord, SessionRecord, Snapshot, SourceRecord,
};
use backstay::repo::wire::{put_length, put_var};
use backstay::world::SeededRandom;

use super::{PACK, REPOSITORY, object_name, reference, secrets, table};

const SESSION: SessionId = SessionId([7; 12]);

fn pack(kind: PackKind, sealed_secret: &[u8]) -> FinishedPack {
    let mut builder =
        PackBuilder::new(kind, REPOSITORY, PACK, &[1; 32], sealed_secret).expect("a short secret");
    for frame in 0..3 {
        let chunks = (0..4).map(|n| (ChunkId([frame * 4 + n; 24]), 50)).collect();
        builder.add(vec![frame; 120], 200, chunks).expect("a small frame");
    }
    builder.finish(secrets().newest()).expect("a small pack")
}

/// Headers of both kinds of packs.
pub fn pack_header() -> Vec<Vec<u8>> {
    [(PackKind::Data, vec![0xA6; 200]), (PackKind::Metadata, Vec::new())]
        .into_iter()
        .map(|(kind, sealed)| pack(kind, &sealed).parts.concat())
        .collect()
}

/// Trailers, each after the length of its pack.
pub fn pack_trailer() -> Vec<Vec<u8>> {
    let object = pack(PackKind::Data, b"secret").parts.concat();
    let length = u64::try_from(object.len()).expect("a small pack");
    let at = object.len() - TRAILER_BYTES;
    [at, 0].map(|at| [length.to_le_bytes().as_slice(), &object[at..]].concat()).into()
}

/// Plaintexts of directories, each after the place where it starts.
pub fn pack_directory() -> Vec<Vec<u8>> {
    let finished = pack(PackKind::Data, b"secret");
    let mut plain = Vec::new();
    let first = finished.frames.first().map_or(0, |frame| frame.place.offset_bytes);
    put_var(&mut plain, first.into());
    put_length(&mut plain, finished.frames.len());
    for frame in &finished.frames {
        put_var(&mut plain, frame.place.stored_bytes.into());
        put_var(&mut plain, frame.place.plain_bytes.into());
        put_length(&mut plain, frame.chunks.len());
        for (id, length) in &frame.chunks {
            put_var(&mut plain, (*length).into());
            plain.extend_from_slice(&id.0);
        }
    }
    let at = finished.trailer.directory_offset_bytes;
    vec![[at.to_le_bytes().as_slice(), &plain].concat(), [0, 0, 1, 0, 128, 1, 0].into()]
}

/// The front of an index table.
pub fn index_header() -> Vec<Vec<u8>> {
    vec![table()[..80].to_vec()]
}

/// Plaintexts of an entry page and of a pack page, each after its number.
pub fn index_page() -> Vec<Vec<u8>> {
    let number = 0u32.to_le_bytes();
    let mut entries = [number.as_slice(), &3u16.to_le_bytes()].concat();
    (0..3u8).for_each(|n| entries.extend_from_slice(&[n; 16]));
    let mut packs = [number.as_slice(), &2u16.to_le_bytes()].concat();
    (0..2u8).for_each(|n| packs.extend_from_slice(&[n; 40]));
    for seed in [&mut entries, &mut packs] {
        seed.resize(4 + 496, 0);
    }
    vec![entries, packs]
}

/// Sealed objects of each kind.
pub fn sealed_object() -> Vec<Vec<u8>> {
    let random = SeededRandom::new(2);
    let name = object_name();
    [Sealed::Session, Sealed::Snapshot, Sealed::Abort, Sealed::Checkpoint]
        .into_iter()
        .map(|kind| {
            let body = record::encode(&Checkpoint { number: 7, ..Checkpoint::default() });
            seal_object(kind, REPOSITORY, secrets(), &random, &name, &body).into()
        })
        .collect()
}

fn source(name: &str, facts: &Facts, problems: Vec<ProblemRecord>) -> SourceRecord {
    let (kind, facts) = FactsRecord::of(facts);
    SourceRecord {
        name: name.into(),
        kind: kind.into(),
        location: format!("/var/lib/{name}"),
        root: reference(1, 0, 3),
        entries: 1000,
        size_bytes: 1 << 34,
        facts,
        problem_count: 1,
        problems,
        partial: true,
        read_bytes: 5_000_000,
        excluded: 3,
    }
}

/// Snapshots with and without their optional parts.
pub fn snapshot() -> Vec<Vec<u8>> {
    let problem = ProblemRecord {
        path: b"a/b".to_vec(),
        fault: "unreadable".into(),
        detail: "permission denied".into(),
    };
    let wal = Facts::Wal(WalFacts {
        timeline: Timeline([1; 16]),
        forked_from: Some((Timeline([2; 16]), 41)),
        first: Some(42),
        last: Some(u64::MAX),
        floor: Some(40),
        ceiling: Some(44),
        earlier: vec![Timeline([3; 16])],
        reached: Some(u64::MAX),
        directory: Some(9),
        marker: Some(Timeline([1; 16])),
        gaps: vec![(50, 51), (60, 70)],
        naming: SegmentNaming {
            prefix: "wal-".into(),
            suffix: ".log".into(),
            numbering: Numbering::Hexadecimal,
        },
    });
    let directory = Facts::Directory(DirectoryFacts {
        pinned: true,
        exclude: vec!["*.tmp".into()],
        exclude_caches: true,
        volumes: vec![(0, 1), (7, 2)],
    });
    let pack = PackRecord { id: PACK, length_bytes: 33_000_000, hash: [8; 32] };
    let full = Snapshot {
        id: SESSION,
        job: "nightly".into(),
        host: "node-1".into(),
        started: 1_700_000_000_000_000_000,
        finished: 1_700_000_060_000_000_000,
        parent: Some(SessionId([6; 12])),
        checkpoint: 3,
        sources: vec![source("data", &directory, vec![problem]), source("wal", &wal, Vec::new())],
        partial: true,
        program: "backstay 0.1.0".into(),
        packs: vec![pack],
        labels: Some(BTreeMap::from([("tier".into(), "gold".into())])),
        secret: 0,
    };
    let bare = Snapshot {
        parent: None,
        sources: Vec::new(),
        packs: Vec::new(),
        labels: None,
        ..full.clone()
    };
    vec![record::encode(&full), record::encode(&bare)]
}

/// An announcement.
pub fn session() -> Vec<Vec<u8>> {
    vec![record::encode(&SessionRecord {
        id: SESSION,
        started: -1,
        host: "node-1".into(),
        program: "backstay 0.1.0".into(),
    })]
}

/// An abort record.
pub fn abort_record() -> Vec<Vec<u8>> {
    vec![record::encode(&AbortRecord { id: SESSION, time: 5, reason: "stale".into() })]
}

/// Checkpoints: the empty one, and one with all lists.
pub fn checkpoint() -> Vec<Vec<u8>> {
    let sessions = |from: u8| (from..from + 3).map(|n| SessionId([n; 12])).collect();
    let full = Checkpoint {
        number: 4,
        previous: vec![1; 32],
        time: 1_700_000_000_000_000_000,
        closing: 3,
        floor: 2,
        purge_floor: 1,
        removed: sessions(10),
        condemned: vec![PACK],
        dead: vec![PACK, PACK],
        catalog: sessions(20),
        marked: sessions(30),
    };
    vec![record::encode(&full), record::encode(&Checkpoint::default())]
}

/// A reference.
pub fn chunk_reference() -> Vec<Vec<u8>> {
    vec![record::encode(&reference(1, 2, 3))]
}
