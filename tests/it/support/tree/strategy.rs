//! Trees at random, for property tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::gallery::{NAMES, SIZES, TIMES, acl, full, plain};
use super::{Attributes, Content, Node, Plan, What};

/// A node that does not know its place yet: which directory it goes to, and which earlier file a
/// hard link names, are chosen when all are there.
#[derive(Clone, Debug)]
struct Loose {
    parent: Index,
    name: Vec<u8>,
    what: LooseWhat,
    attributes: Attributes,
}

#[derive(Clone, Debug)]
enum LooseWhat {
    Known(What),
    Link(Index),
}

/// A tree of up to 40 names.
pub(crate) fn tree_plan() -> impl Strategy<Value = Plan> {
    tree_plan_of(0..=40)
}

pub(super) fn tree_plan_of(nodes: RangeInclusive<usize>) -> impl Strategy<Value = Plan> {
    (attributes(), vec(loose(), nodes)).prop_map(|(root, loose)| place(root, loose).for_user())
}

/// Gives each node its path. A name that is taken falls away.
fn place(root: Attributes, loose: Vec<Loose>) -> Plan {
    let mut directories = vec![Vec::new()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut taken = BTreeSet::new();
    let mut nodes = vec![Node { path: Vec::new(), what: What::Directory, attributes: root }];
    for node in loose {
        let parent = node.parent.get(&directories);
        let path =
            if parent.is_empty() { node.name } else { [parent.as_slice(), &node.name].join(&b'/') };
        if !taken.insert(path.clone()) {
            continue;
        }
        let what = match node.what {
            LooseWhat::Known(what) => what,
            LooseWhat::Link(_) if files.is_empty() => What::File(full(9, 9)),
            LooseWhat::Link(first) => What::Link { first: first.get(&files).clone() },
        };
        match what {
            What::Directory => directories.push(path.clone()),
            What::File(_) => files.push(path.clone()),
            _ => {}
        }
        nodes.push(Node { path, what, attributes: node.attributes });
    }
    Plan { nodes }
}

fn loose() -> impl Strategy<Value = Loose> {
    let loose = |(parent, name, what, attributes)| Loose { parent, name, what, attributes };
    (any::<Index>(), name(), what(), attributes()).prop_map(loose)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = (1..=u8::MAX).prop_filter("no separator", |&byte| byte != b'/');
    prop_oneof![
        4 => "[a-z]{1,3}".prop_map(String::into_bytes),
        2 => select(NAMES.as_slice()).prop_map(<[u8]>::to_vec),
        2 => vec(byte.clone(), 1..20),
        1 => vec(byte, 255),
    ]
    .prop_filter("a name", |name| name != b"." && name != b"..")
}

fn what() -> impl Strategy<Value = LooseWhat> {
    let target = vec(1..=u8::MAX, 1..60);
    prop_oneof![
        4 => Just(What::Directory).prop_map(LooseWhat::Known),
        8 => content().prop_map(|content| LooseWhat::Known(What::File(content))),
        3 => any::<Index>().prop_map(LooseWhat::Link),
        2 => target.prop_map(|target| LooseWhat::Known(What::Symlink { target })),
        1 => select(vec![
            What::Fifo,
            What::Socket,
            What::CharacterDevice(1, 3),
            What::BlockDevice(8, 0),
        ])
        .prop_map(LooseWhat::Known),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let size = prop_oneof![
        6 => select(&SIZES[..12]),
        1 => select(&SIZES[12..]),
        3 => 0..20_000_u64,
    ];
    let runs = prop_oneof![
        3 => Just(None),
        // In blocks of 4 KiB: gap, length.
        1 => vec((0..40_u64, 1..10_u64), 0..6).prop_map(Some),
    ];
    (size, runs, 0..6_u64).prop_map(|(size_bytes, runs, seed)| {
        let Some(runs) = runs else {
            return full(size_bytes, seed);
        };
        let mut end = 0;
        let mut placed = Vec::new();
        for (gap, length) in runs {
            let start = end + gap * 4096;
            end = start + length * 4096;
            placed.push((start, length * 4096));
        }
        Content { size_bytes: size_bytes + end, runs: placed, seed }
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let mode = prop_oneof![
        3 => select(vec![0o644, 0o755, 0o600]),
        1 => 0..=0o7777_u32,
    ];
    let owner = prop_oneof![
        3 => Just((0, 0)),
        1 => (0..70_000_u32, 0..70_000_u32),
    ];
    let time = prop_oneof![
        2 => select(TIMES.as_slice()),
        1 => (-2_000_000_000..10_000_000_000_i64, 0..1_000_000_000_u32),
    ];
    (mode, owner, time, xattrs()).prop_map(|(mode, owner, modified, xattrs)| Attributes {
        owner,
        modified,
        xattrs,
        ..plain(mode)
    })
}

fn xattrs() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let users = btree_map("user\\.[a-z]{1,9}", vec(any::<u8>(), 0..50), 0..3);
    let permissions = prop_oneof![
        4 => Just(None),
        1 => [0..8_u16, 0..8_u16, 0..8_u16, 0..8_u16, 0..8_u16].prop_map(Some),
    ];
    (users, permissions).prop_map(|(mut xattrs, permissions)| {
        if let Some(permissions) = permissions {
            xattrs.insert("system.posix_acl_access".to_owned(), acl(permissions));
        }
        xattrs
    })
}
