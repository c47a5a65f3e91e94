//! Small inputs that ask for much: what a few kilobytes must not make a reader allocate. FORMAT.md §14.

use backstay::entry::{Entry, FileTime, Kind, TreePath, Xattr};
use backstay::repo::tree::content::decode_extents;
use backstay::repo::tree::inner::Inner;
use backstay::repo::tree::leaf::{self, StoredEntry};
use backstay::repo::wire::{Malformed, put_bytes, put_length, put_var};

const MIB: usize = 1 << 20;

/// A leaf of `count` entries, after a list of names.
fn leaf_of(names: &[u8], count: usize, entry: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut node = vec![1, 0, 0];
    node.extend_from_slice(names);
    put_length(&mut node, count);
    (0..count).for_each(|n| entry(n, &mut node));
    node
}

fn refused(node: &[u8]) -> &'static str {
    match leaf::decode(node) {
        Err(Malformed(reason)) => reason,
        Ok(entries) => panic!("{} entries were read", entries.len()),
    }
}

/// Appends the `n`-th of many paths that share a mebibyte.
fn put_long_path(node: &mut Vec<u8>, n: usize) {
    let long = vec![b'a'; MIB - 4];
    let number = format!("{n:04}");
    if n == 0 {
        put_var(node, 0);
        put_bytes(node, &[&long, number.as_bytes()].concat());
    } else {
        put_length(node, long.len());
        put_bytes(node, number.as_bytes());
    }
}

#[test]
fn paths_that_share_a_mebibyte_are_not_all_spelled_out() {
    let node = leaf_of(&[0], 5000, |n, node| {
        put_long_path(node, n);
        // A pipe without flags.
        node.push(4);
        node.extend_from_slice(&[0; 11]);
    });
    assert!(node.len() < 2 * MIB);
    assert_eq!(refused(&node), "paths too long together");
}

#[test]
fn children_are_held_to_the_same() {
    let mut node = vec![2, 1];
    node.extend_from_slice(&[7; 24]);
    // One frame of the pack, and 200 children on level 1.
    node.extend_from_slice(&[1, 0, 100, 32, 16, 1]);
    put_length(&mut node, 200);
    for n in 0..200 {
        put_long_path(&mut node, n);
        node.extend_from_slice(&[0, 0, 16]);
        node.extend_from_slice(&[0; 24 + 2 + 16]);
    }
    let Err(Malformed(reason)) = Inner::decode(&node) else { panic!("it was read") };
    assert_eq!(reason, "paths too long together");
}

#[test]
fn names_and_frames_are_counted() {
    let mut names = Vec::new();
    put_length(&mut names, 200_000);
    names.resize(names.len() + 200_000, 0);
    assert_eq!(refused(&leaf_of(&names, 0, |_, _| {})), "a leaf with too many names");

    // A frame takes four bytes, and a reference to it more than the nothing that follows.
    let mut frames = vec![1, 1];
    frames.extend_from_slice(&[7; 24]);
    put_length(&mut frames, 1000);
    (0..1000).for_each(|_| frames.extend_from_slice(&[0, 100, 16, 0]));
    frames.extend_from_slice(&[0, 0]);
    assert_eq!(refused(&frames), "count larger than the bytes that follow");

    let mut extents = vec![5, 1];
    extents.extend_from_slice(&[7; 24]);
    extents.extend_from_slice(&[1, 0, 100, 32, 16]);
    extents.resize(extents.len() + 64, 0);
    let listed = decode_extents(&extents, &mut 0, 100);
    assert_eq!(listed, Err(Malformed("extents that list frames")));
}

#[test]
fn attributes_are_held_to_their_limits() {
    let attributes = |names: &[&[u8]], value: &[u8]| {
        leaf_of(&[0], 1, |_, node| {
            node.extend_from_slice(&[0, 0, 4, 1]);
            node.extend_from_slice(&[0; 10]);
            put_length(node, names.len());
            for name in names {
                put_bytes(node, name);
                put_bytes(node, value);
            }
        })
    };
    assert!(leaf::decode(&attributes(&[b"user.a", b"user.b"], b"1")).is_ok());
    let twice = attributes(&[b"user.a", b"user.a"], b"1");
    assert_eq!(refused(&twice), "extended attributes out of order");
    let large = attributes(&[b"user.a"], &vec![0; 4 * MIB]);
    assert_eq!(refused(&large), "an entry with too large extended attributes");
}

#[test]
fn flags_stand_where_they_mean_something() {
    let one = |kind: u8, flags: u64, rest: &[u8]| {
        leaf_of(&[0], 1, |_, node| {
            node.extend_from_slice(&[0, 0, kind]);
            put_var(node, flags);
            node.extend_from_slice(&[0; 10]);
            node.extend_from_slice(rest);
        })
    };
    assert!(leaf::decode(&one(4, 2, &[9, 2])).is_ok());
    assert_eq!(refused(&one(4, 2, &[9, 1])), "a hard link that cannot be one");
    assert_eq!(refused(&one(2, 2, &[9, 2])), "a hard link that cannot be one");
    assert_eq!(refused(&one(4, 4, &[0, 0])), "holes in something that is no file");
    assert_eq!(refused(&one(4, 256, &[])), "an entry with unknown flags");
}

/// FORMAT.md §8: which flags stand at which types, and that nothing else is known of a bare name.
#[test]
fn what_was_not_looked_at_is_marked_in_one_way_only() {
    let entry = |kind: u8, flags: u64, mode: u8, rest: &[u8]| {
        leaf_of(&[0], 1, |_, node| {
            node.extend_from_slice(&[0, 1, b'a', kind]);
            put_var(node, flags);
            node.push(mode);
            node.extend_from_slice(&[0; 9]);
            node.extend_from_slice(rest);
        })
    };
    for (kind, flags) in [(2, 16), (2, 32), (8, 16), (8, 32), (4, 64)] {
        assert_eq!(leaf::decode(&entry(kind, flags, 0, &[])).unwrap().len(), 1);
    }
    for (kind, flags, rest) in [(2, 48, &[][..]), (4, 32, &[]), (3, 32, &[0]), (1, 32, &[0, 0])] {
        assert_eq!(refused(&entry(kind, flags, 0, rest)), "an entry left out that cannot be");
    }
    assert_eq!(refused(&entry(8, 48, 0, &[])), "an entry left out that cannot be");
    assert_eq!(refused(&entry(8, 0, 0, &[])), "a bare name without a reason");
    let more = "a bare name with more than a name";
    assert_eq!(refused(&entry(8, 16, 1, &[])), more);
    for (flag, rest) in [(2, &[0, 2][..]), (8, &[]), (64, &[]), (128, &[16])] {
        assert_eq!(refused(&entry(8, 16 | flag, 0, rest)), more, "flag {flag}");
    }
    assert!(leaf::decode(&entry(4, 128, 0, &[64])).is_ok());
    for flags in [0, 1, 17] {
        assert_eq!(refused(&entry(4, 128, 0, &[flags])), "unknown inode flags");
    }
}

fn pipe(path: Vec<u8>, attributes: usize) -> StoredEntry {
    let attribute = |n| Xattr { name: format!("user.{n:06}").into(), value: Vec::new() };
    StoredEntry::bare(Entry {
        path: TreePath::from_bytes(path).unwrap(),
        kind: Kind::Fifo,
        mode: 0,
        user_id: 0,
        group_id: 0,
        user_name: None,
        group_name: None,
        modified: FileTime::default(),
        changed: FileTime::default(),
        device: 0,
        inode: 0,
        links: 1,
        size_bytes: 0,
        xattrs: (0..attributes).map(attribute).collect(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: backstay::entry::Seen::Whole,
    })
}

#[test]
fn what_fits_into_a_leaf_is_read_from_it() {
    let deep = |count: usize| -> Vec<StoredEntry> {
        (0..count).map(|n| pipe([vec![b'a'; MIB / 2], vec![b'b'; n]].concat(), 0)).collect()
    };
    let rich = |count: usize| -> Vec<StoredEntry> {
        (0..count).map(|n| pipe(format!("{n:05}").into(), 1000)).collect()
    };
    for (entries, fits) in
        [(deep(31), true), (deep(33), false), (rich(131), true), (rich(132), false)]
    {
        assert_eq!(leaf::fits(&entries), fits);
        assert!(leaf::decode(&leaf::encode(&entries).unwrap()).is_ok());
    }
}
