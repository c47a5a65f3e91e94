//! Seeds of names, texts and single values.

use backstay::facts::Timeline;
use backstay::repo::codec::{Compression, compress};
use backstay::repo::id::Lane;
use backstay::repo::layout as names;
use backstay::repo::wire::{put_bytes, put_signed, put_var};
use backstay::source::wal::{TimelineMarker, write_timeline_marker_text};

use super::PACK;

/// Calls, and what they read.
pub fn cursor() -> Vec<Vec<u8>> {
    let mut data = vec![9, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    data.extend_from_slice(&[0xEE; 15]);
    put_var(&mut data, u64::MAX);
    put_var(&mut data, 300);
    put_signed(&mut data, i64::MIN);
    put_bytes(&mut data, b"bytes");
    put_bytes(&mut data, "tëxt".as_bytes());
    data.extend_from_slice(&[1; 24]);
    vec![data, vec![1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], vec![1, 10, 0]]
}

/// A name of each kind.
pub fn layout() -> Vec<Vec<u8>> {
    let session = PACK.session();
    let place = names::Place { lane: Lane([1; 16]), sequence: 7, checkpoint: 3, session };
    [
        names::config(5),
        names::checkpoint(u64::MAX),
        names::pack(PACK),
        names::index(session, 0x1a2b),
        place.session_key(),
        place.register_key(),
    ]
    .map(|key| key.as_str().as_bytes().to_vec())
    .into()
}

fn bytes_of(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Pairs of paths.
pub fn tree_path() -> Vec<Vec<u8>> {
    bytes_of(&["a/b/c\na.b", "\n", "base/16384/2619\nbase/16384/2619_fsm", "a/..\nb"])
}

/// A marker.
pub fn timeline_marker() -> Vec<Vec<u8>> {
    let marker = TimelineMarker {
        timeline: Timeline([0xa7; 16]),
        forked_from: Timeline([3; 16]),
        forked_after: 1_234,
    };
    vec![write_timeline_marker_text(&marker).into()]
}

/// Patterns with names that follow them.
pub fn segment_pattern() -> Vec<Vec<u8>> {
    bytes_of(&[
        "wal-{number:hex}.log\nwal-00fF.log",
        "{number}.wal\n18446744073709551615.wal",
        "00000001{number:postgresql}\n0000000100000002000000FF",
        "1{number}\n117",
    ])
}

/// Byte counts.
pub fn byte_count() -> Vec<Vec<u8>> {
    bytes_of(&["4096", "64KiB", "1.5 GiB", "32MB", "18446744073709551615"])
}

/// First bytes that the cutter knows.
pub fn cutter() -> Vec<Vec<u8>> {
    let file = |path: &str, head: &[(usize, &[u8])]| {
        let mut bytes = vec![0; 512];
        for (at, part) in head {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        [(1u64 << 20).to_le_bytes().as_slice(), path.as_bytes(), b"\n", &bytes].concat()
    };
    vec![
        file("a.db", &[(0, b"SQLite format 3\0\x10\0")]),
        file("member/snap/db", &[(16, &[0xDA, 0xED, 0x0C, 0xED]), (24, &[0, 16, 0, 0])]),
        file("base/16384/16385_fsm.1", &[(18, &[4, 0x20])]),
        file("pg_multixact/members/0000", &[]),
        file("db/t.ibd", &[(24, &[0, 8]), (54, &[0, 0, 1, 0])]),
        file("000012.sst", &[]),
        file("a.mp4", &[(4, b"ftyp")]),
        file("t", &[(257, b"ustar")]),
        file("dump.sql", &[(0, b"PGDMP")]),
    ]
}

/// Documents with all keys.
pub fn policy() -> Vec<Vec<u8>> {
    const DOCUMENT: &str = "apiVersion: backstay.dev/v1
kind: Policy
metadata:
  name: nightly
spec:
  repository: s3://bucket/prefix
  host: node-1
  exclude: ['*.tmp', \"cache/\"]
  excludeCaches: true
  compression: {level: 3}
  memory: 256MiB
  labels: {tier: gold}
  sources:
    - name: data
      directory: {path: /var/lib/db, exclude: [LOCK], oneFileSystem: true, allowEmpty: false}
    - name: wal
      wal:
        path: /var/lib/db/wal
        segments: 'wal-{number:hex}.log'
        settle: 200ms
        directory: data
";
    const ANCHORS: &str = "a: &a [x, x]\nb: [*a, *a]\nc: {? [k] : v}\nd: |\n  text\ne: !!str 5\n";
    bytes_of(&[DOCUMENT, ANCHORS, "[[[{a: b}]]]", "%YAML 1.2\n---\nx: 1\n...\n"])
}

/// Frames, each after its length.
pub fn decompress() -> Vec<Vec<u8>> {
    let text = b"Mind that what repeats is short. ".repeat(400);
    [text.clone(), vec![0; 100_000], text[..40].to_vec()]
        .into_iter()
        .filter_map(|plain| {
            let length = u32::try_from(plain.len()).expect("short");
            let stored = compress(Compression::Level(3), &plain, 0).expect("zstd works")?;
            Some([length.to_le_bytes().as_slice(), &stored].concat())
        })
        .collect()
}
