//! One of everything that is nasty, so that no tree lacks it by chance.

use std::collections::BTreeMap;

use super::{Attributes, Content, Node, Plan, What};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// 2001-09-09, with every digit of the nanoseconds in use.
const PLAIN_TIME: (i64, u32) = (1_000_000_000, 123_456_789);

/// Sizes around the borders of pages, chunks and frames.
pub(super) const SIZES: [u64; 19] = [
    0,
    1,
    4095,
    4096,
    4097,
    8191,
    8192,
    8193,
    16 * KIB - 1,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB - 1,
    128 * KIB,
    128 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    5 * MIB + 12_345,
];

/// Names that break scripts, encodings and limits.
pub(super) const NAMES: [&[u8]; 22] = [
    b"-rf",
    b"--",
    b" ",
    b" lead",
    b"trail ",
    b"new\nline",
    b"\n",
    b"tab\t",
    b"\x01\x7f",
    b"\xff\xfe",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"back\\slash",
    b"*?[a]{b}",
    b"$(reboot)`x`",
    b"'\"",
    b"...",
    b"..a",
    b"%2e%2e",
    b"NUL",
    b"a:b",
    b"Case",
];

/// Before 1970, at its borders, nanoseconds, beyond 2038 and 2106.
pub(super) const TIMES: [(i64, u32); 8] = [
    (0, 0),
    (0, 1),
    (-1, 999_999_999),
    (-2_000_000_000, 5),
    (i32::MAX as i64 + 1, 0),
    (u32::MAX as i64 + 1, 999_999_999),
    (7_258_118_400, 42),
    PLAIN_TIME,
];

pub(super) fn plain(mode: u32) -> Attributes {
    Attributes { mode, owner: (0, 0), modified: PLAIN_TIME, xattrs: BTreeMap::new() }
}

pub(super) fn full(size_bytes: u64, seed: u64) -> Content {
    Content { size_bytes, runs: vec![(0, size_bytes)], seed }
}

/// An ACL as the kernel's raw bytes: the owner, user 12345, the group, mask, others.
pub(super) fn acl(permissions: [u16; 5]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    let tags = [
        (0x01_u16, u32::MAX),
        (0x02, 12_345),
        (0x04, u32::MAX),
        (0x10, u32::MAX),
        (0x20, u32::MAX),
    ];
    for ((tag, id), permission) in tags.into_iter().zip(permissions) {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permission.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// `cap_net_bind_service=ep`, version 2.
fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Collects nodes below directories that it adds itself.
struct Hall {
    nodes: Vec<Node>,
}

impl Hall {
    fn add(&mut self, path: impl AsRef<[u8]>, what: What, attributes: Attributes) {
        self.nodes.push(Node { path: path.as_ref().to_vec(), what, attributes });
    }

    fn directory(&mut self, path: impl AsRef<[u8]>) {
        self.add(path, What::Directory, plain(0o755));
    }

    fn file(&mut self, path: impl AsRef<[u8]>, content: Content) {
        self.add(path, What::File(content), plain(0o644));
    }
}

/// The plan with one of everything.
pub(super) fn gallery(crowd_entries: u32) -> Plan {
    let mut hall = Hall { nodes: Vec::new() };
    hall.directory("");
    hall.directory("empty directory");
    let entries = crowd_entries;
    hall.add("crowd", What::Crowd { entries }, plain(0o755));
    names(&mut hall);
    contents(&mut hall);
    links(&mut hall);
    specials(&mut hall);
    attributes(&mut hall);
    Plan { nodes: hall.nodes }
}

fn names(hall: &mut Hall) {
    hall.directory("names");
    for (number, name) in (0..).zip(NAMES) {
        hall.file([b"names/", name].concat(), full(10, number));
    }
    let mut every: Vec<u8> = (1..=u8::MAX).filter(|&byte| byte != b'/').collect();
    hall.file([b"names/", every.as_slice()].concat(), full(3, 1));
    every.pop();
    hall.directory([b"names/d", every.as_slice()].concat());
    hall.file("names/case", full(3, 2));
    // Beyond PATH_MAX, in components of the longest size.
    let mut deep = b"deep".to_vec();
    hall.directory(&deep);
    for level in 0..18 {
        deep = [deep.as_slice(), &[b'a' + level; 255]].join(&b'/');
        hall.directory(&deep);
    }
    hall.file([deep.as_slice(), b"bottom"].join(&b'/'), full(7, 3));
}

fn contents(hall: &mut Hall) {
    hall.directory("contents");
    for (seed, size) in (0..).zip(SIZES) {
        hall.file(format!("contents/{size}"), full(size, seed));
    }
    for seed in 0..3 {
        hall.file(format!("contents/kind {seed}"), full(MIB + 7, seed));
    }
    let sparse = [
        ("hole first", vec![(2 * MIB, 4096)]),
        ("hole last", vec![(0, 4096)]),
        ("hole between", vec![(0, 8192), (MIB, 100), (3 * MIB, 65_536)]),
        ("hole only", vec![]),
        ("comb", (0..100).map(|tooth| (tooth * 32 * KIB, 4096)).collect()),
    ];
    for (name, runs) in sparse {
        let content = Content { size_bytes: 4 * MIB + 123, runs, seed: 3 };
        hall.file(format!("contents/{name}"), content);
    }
    let content = Content { size_bytes: 64 * MIB, runs: vec![(32 * MIB, 4096)], seed: 4 };
    hall.file("contents/mostly hole", content);
}

fn links(hall: &mut Hall) {
    hall.directory("links");
    hall.directory("links/elsewhere");
    hall.file("links/first", full(12_345, 5));
    hall.file("links/empty first", full(0, 5));
    for (name, first) in [
        ("links/second", "links/first"),
        ("links/elsewhere/third", "links/first"),
        // In path order this name comes before the one it was made from.
        ("links/a", "links/first"),
        ("links/elsewhere/empty", "links/empty first"),
    ] {
        let first = first.into();
        hall.add(name, What::Link { first }, plain(0o644));
    }
    let long = "t".repeat(4095);
    for (name, target) in [
        ("dangling", b"../no such thing".as_slice()),
        ("absolute", b"/etc/passwd"),
        ("self", b"self"),
        ("up", b".."),
        ("to a directory", b"elsewhere"),
        ("bytes", b"\xff\n"),
        ("long", long.as_bytes()),
    ] {
        let target = target.to_vec();
        let link = What::Symlink { target };
        hall.add(format!("links/{name}"), link, plain(0o777));
    }
}

fn specials(hall: &mut Hall) {
    hall.directory("special");
    hall.add("special/fifo", What::Fifo, plain(0o640));
    hall.add("special/socket", What::Socket, plain(0o777));
    hall.add("special/null", What::CharacterDevice(1, 3), plain(0o666));
    // Numbers that need all 12 and 20 bits.
    let block = What::BlockDevice(4000, 1_000_000);
    hall.add("special/block", block, plain(0o660));
}

fn attributes(hall: &mut Hall) {
    hall.directory("attributes");
    let mut add = |name: String, what: What, change: &dyn Fn(&mut Attributes)| {
        let mut attributes = plain(0o755);
        change(&mut attributes);
        hall.add(format!("attributes/{name}"), what, attributes);
    };
    let file = || What::File(full(5, 6));
    for mode in [0, 0o1, 0o111, 0o222, 0o444, 0o777, 0o1755, 0o2755, 0o4711, 0o7777] {
        add(format!("file {mode:04o}"), file(), &|a| a.mode = mode);
        add(format!("directory {mode:04o}"), What::Directory, &|a| {
            a.mode = mode;
        });
    }
    for time in TIMES {
        let set = |a: &mut Attributes| a.modified = time;
        add(format!("file at {time:?}"), file(), &set);
        add(format!("directory at {time:?}"), What::Directory, &set);
        let target = b"x".to_vec();
        add(format!("link at {time:?}"), What::Symlink { target }, &set);
    }
    for owner in [(0, 12_345), (12_345, 0), (65_534, 65_534), (3_000_000_000, 7)] {
        let set = |a: &mut Attributes| (a.owner, a.mode) = (owner, 0o6755);
        add(format!("file of {owner:?}"), file(), &set);
        add(format!("directory of {owner:?}"), What::Directory, &set);
        let target = b"x".to_vec();
        add(format!("link of {owner:?}"), What::Symlink { target }, &set);
    }
    for (name, value) in [
        ("user.empty", vec![]),
        ("user.bytes", vec![0, 255, b'\n', 0]),
        ("user.long", vec![b'v'; 2000]),
        ("user.ümlaut", b"x".to_vec()),
        ("trusted.secret", b"t".to_vec()),
        ("security.capability", capability()),
        ("system.posix_acl_access", acl([6, 7, 4, 7, 0])),
    ] {
        add(format!("file with {name}"), file(), &|a| {
            a.mode = 0o750;
            a.xattrs.insert(name.to_owned(), value.clone());
        });
    }
    for name in ["user.x", "system.posix_acl_access", "system.posix_acl_default"] {
        add(format!("directory with {name}"), What::Directory, &|a| {
            let value = acl([7, 5, 5, 7, 1]);
            a.xattrs.insert(name.to_owned(), value);
        });
    }
}
