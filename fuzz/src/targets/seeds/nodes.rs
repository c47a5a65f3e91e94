//! Seeds of tree nodes.

use std::sync::Arc;

use backstay::entry::{Cutter, Entry, Extent, FileTime, Kind, Seen, TreePath, Xattr};
use backstay::repo::tree::content::{Content, Extents, Item, encode_extents, encode_list};
use backstay::repo::tree::inner::{Child, Inner};
use backstay::repo::tree::leaf::{self, Fidelity, StoredEntry};
use backstay::repo::tree::pages::{Page, Segment, Source};

use super::reference;

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: TreePath::from_bytes(path).expect("a sound path"),
        kind,
        mode: 0o644,
        user_id: 1000,
        group_id: 100,
        user_name: Some(Arc::from("walter")),
        group_name: None,
        modified: FileTime { seconds: 1_700_000_000, nanoseconds: 5 },
        changed: FileTime { seconds: 1_700_000_001, nanoseconds: 999_999_999 },
        device: 0,
        inode: 77,
        links: 1,
        size_bytes: 0,
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: Seen::Whole,
    }
}

/// A name of which nothing else is known.
fn bare_name(path: &str, seen: Seen) -> Entry {
    Entry {
        seen,
        mode: 0,
        user_id: 0,
        group_id: 0,
        user_name: None,
        modified: FileTime::default(),
        changed: FileTime::default(),
        inode: 0,
        ..entry(path, Kind::Unknown)
    }
}

fn items(count: u8) -> Vec<Item> {
    (0..count)
        .map(|n| Item { covered_bytes: 0, reference: reference(n % 2, (n / 3).into(), n) })
        .collect()
}

fn file(path: &str, content: Content, extents: Extents) -> StoredEntry {
    let entry = Entry { size_bytes: 1 << 20, ..entry(path, Kind::File) };
    StoredEntry { entry, content, extents, fidelity: Fidelity::Exact, lacks_attributes: false }
}

/// Leaves with every type of entry and every form of content.
pub fn leaf() -> Vec<Vec<u8>> {
    let attribute = |name: &str| Xattr { name: name.into(), value: b"\0value".to_vec() };
    let xattrs = vec![attribute("security.capability"), attribute("user.a")];
    let content = |cutter, items| Content { cutter: Some(cutter), level: 0, items };
    let whole = content(Cutter::Whole, items(1));
    let run = |offset_bytes| Extent { offset_bytes, length_bytes: 4096 };
    let mut linked = file("a/linked", whole.clone(), Extents::None);
    (linked.entry.volume, linked.entry.links) = (64_769, 3);
    linked.entry.inode_flags = 0x50;
    let mut absent = StoredEntry::bare(entry("a/absent", Kind::File));
    absent.fidelity = Fidelity::Absent;
    let sparse = Extents::Inline(vec![run(0), run(65_536)]);
    let pages = content(Cutter::Pages { page_bytes: 8192 }, items(2));
    let high =
        Content { level: 1, ..content(Cutter::Content { average_bytes: 1 << 20 }, items(3)) };
    let all = vec![
        StoredEntry::bare(Entry { xattrs, ..entry("", Kind::Directory) }),
        StoredEntry::bare(entry("a", Kind::Directory)),
        absent,
        StoredEntry::bare(entry("a/empty", Kind::File)),
        linked,
        StoredEntry::bare(entry("a/link", Kind::Symlink { target: b"../x".to_vec() })),
        file("b.db", pages, Extents::None),
        file("c.sparse", whole, sparse),
        file("c.sparser", Content::default(), Extents::Inline(Vec::new())),
        file("d.large", high, Extents::Nodes(vec![reference(4, 1, 2)])),
        StoredEntry::bare(entry("dev", Kind::CharacterDevice { major: 5, minor: 1 })),
        StoredEntry::bare(entry("disk", Kind::BlockDevice { major: 8, minor: 0 })),
        StoredEntry::bare(entry("pipe", Kind::Fifo)),
        StoredEntry { lacks_attributes: true, ..StoredEntry::bare(entry("sock", Kind::Socket)) },
        StoredEntry::bare(Entry { seen: Seen::Unreadable, ..entry("t", Kind::Directory) }),
        StoredEntry::bare(Entry { seen: Seen::LeftOut, ..entry("u", Kind::Directory) }),
        StoredEntry::bare(bare_name("v", Seen::Unreadable)),
        StoredEntry::bare(bare_name("w", Seen::LeftOut)),
    ];
    [&all[..], &all[..1], &all[..6], &[]]
        .into_iter()
        .map(|entries| leaf::encode(entries).expect("all frames have places"))
        .collect()
}

/// Inner nodes of both sorts.
pub fn inner() -> Vec<Vec<u8>> {
    let child = |n: u8| Child {
        last_path: TreePath::from_bytes(format!("base/{n:03}/x")).expect("a sound path"),
        reference: reference(n % 3, n.into(), n),
        entries: 512,
        size_bytes: 1 << 33,
        fingerprint: [n; 16],
    };
    [(1, 1), (1, 9), (3, 4)]
        .into_iter()
        .map(|(level, count)| {
            let children = (0..count).map(child).collect();
            Inner { level, children }.encode().expect("all frames have places")
        })
        .collect()
}

/// Lists of chunks and of lists.
pub fn list() -> Vec<Vec<u8>> {
    let covering = |mut item: Item| {
        item.covered_bytes = 1 << 30;
        item
    };
    let lists: Vec<Item> = items(5).into_iter().map(covering).collect();
    [(0, items(7)), (0, Vec::new()), (2, lists)]
        .into_iter()
        .map(|(level, items)| encode_list(level, &items).expect("all frames have places"))
        .collect()
}

/// Extents from the start of a file and from its middle.
pub fn extents() -> Vec<Vec<u8>> {
    let run = |n: u64| Extent { offset_bytes: (1 << 20) + n * 8192, length_bytes: 4096 };
    let runs: Vec<Extent> = (0..12).map(run).collect();
    [0u64, 4096, 1 << 20]
        .into_iter()
        .map(|start| {
            let (node, _) = encode_extents(&runs, start);
            let mut seed = start.to_le_bytes().to_vec();
            seed.extend_from_slice(&(1u64 << 40).to_le_bytes());
            seed.extend_from_slice(&node);
            seed
        })
        .collect()
}

/// A full segment, and overlays on it.
pub fn pages() -> Vec<Vec<u8>> {
    let page = |chunk: Option<u32>, page: u32| {
        let hash = u64::from(page * 3 + 1).to_le_bytes();
        let source = chunk.map_or(Source::Zeros, |chunk| Source::Chunk { chunk, page });
        Page { hash, source }
    };
    let chunks = vec![reference(1, 1, 1), reference(1, 2, 2)];
    let mut stated: Vec<Page> = (0..6).map(|n| page(Some(0), n)).collect();
    stated.extend([page(None, 0), page(None, 0), page(Some(1), 4), page(Some(0), 9)]);
    let full = Segment::Full { chunks, pages: stated };
    let overlay = Segment::Overlay {
        base: reference(5, 0, 7),
        page_count: 12,
        chunks: vec![reference(2, 0, 3)],
        patches: vec![
            (1, vec![page(Some(0), 0), page(Some(0), 1)]),
            (10, vec![page(None, 0), page(Some(0), 2)]),
        ],
    };
    let shorter = Segment::Overlay {
        base: reference(5, 0, 7),
        page_count: 3,
        chunks: Vec::new(),
        patches: Vec::new(),
    };
    let encode = |segment: &Segment| segment.encode().expect("all frames have places");
    let base = encode(&full);
    [&full, &overlay, &shorter]
        .into_iter()
        .map(|first| {
            let first = encode(first);
            let length = u32::try_from(first.len()).expect("a small node");
            [length.to_le_bytes().as_slice(), &first, &base].concat()
        })
        .collect()
}
