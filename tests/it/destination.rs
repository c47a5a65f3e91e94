//! A directory restored whole: the plan of a nasty tree goes through the destination, and what
//! comes out must equal the tree that was made of the plan by other means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backstay::destination::directory::{DirectoryDestination, Options};
use backstay::destination::{Destination, Linked, Overwrite, Shortfalls};
use backstay::entry::{Entry, Extent, FileTime, Kind, TreePath, Xattr};
use proptest::prelude::*;

use crate::support::tree::{
    Content, Node, Plan, Size, What, assert_same_tree, compare, make_removable, materialise,
    nasty_tree, tree_plan,
};

/// What stands at a path: an entry, and the bytes of a file or its first name.
struct Item {
    entry: Entry,
    body: Body,
}

enum Body {
    None,
    Bytes(Content),
    Text(String),
    Link(TreePath),
}

/// The plan as entries, in path order. The first name of hard links is the first in that order.
fn items(plan: &Plan) -> BTreeMap<TreePath, Item> {
    let files = plan.nodes.iter().filter_map(|node| match &node.what {
        What::File(content) => Some((node.path.as_slice(), (node, content))),
        _ => None,
    });
    let files: BTreeMap<&[u8], (&Node, &Content)> = files.collect();
    let mut names: BTreeMap<&[u8], BTreeSet<TreePath>> = BTreeMap::new();
    for node in &plan.nodes {
        let first = match &node.what {
            What::File(_) => &node.path,
            What::Link { first } => first,
            _ => continue,
        };
        names.entry(first).or_default().insert(path(&node.path));
    }
    let mut items = BTreeMap::new();
    for node in &plan.nodes {
        let first = match &node.what {
            What::File(_) => Some(&node.path),
            What::Link { first } => Some(first),
            _ => None,
        };
        let mut entry = entry(node);
        let mut body = Body::None;
        if let Some(first) = first {
            let (file, content) = files[first.as_slice()];
            let names = &names[first.as_slice()];
            let own = entry.path;
            entry = file_entry(file, content);
            entry.path = own;
            let earliest = names.first().unwrap();
            body = if *earliest == entry.path {
                Body::Bytes(content.clone())
            } else {
                Body::Link(earliest.clone())
            };
        }
        if let What::Crowd { entries } = node.what {
            for number in 0..entries {
                let item = member(&entry.path, number);
                items.insert(item.entry.path.clone(), item);
            }
        }
        items.insert(entry.path.clone(), Item { entry, body });
    }
    items
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::from_bytes(bytes).unwrap()
}

fn entry(node: &Node) -> Entry {
    let xattrs = node
        .xattrs()
        .map(|(name, value)| Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() });
    let (seconds, nanoseconds) = node.attributes.modified;
    let modified = FileTime { seconds, nanoseconds };
    Entry {
        path: path(&node.path),
        kind: kind(&node.what),
        mode: node.effective_mode(),
        user_id: node.attributes.owner.0,
        group_id: node.attributes.owner.1,
        user_name: None,
        group_name: None,
        modified,
        changed: modified,
        device: 1,
        inode: 1,
        links: 1,
        size_bytes: 0,
        xattrs: xattrs.collect(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: backstay::entry::Seen::Whole,
    }
}

fn file_entry(node: &Node, content: &Content) -> Entry {
    let extents = content
        .runs
        .iter()
        .filter(|(_, length_bytes)| *length_bytes > 0)
        .map(|&(offset_bytes, length_bytes)| Extent { offset_bytes, length_bytes });
    Entry { size_bytes: content.size_bytes, extents: Some(extents.collect()), ..entry(node) }
}

fn kind(what: &What) -> Kind {
    let (is_block, major, minor) = match *what {
        What::CharacterDevice(major, minor) => (false, major, minor),
        What::BlockDevice(major, minor) => (true, major, minor),
        What::Directory | What::Crowd { .. } => return Kind::Directory,
        What::File(_) | What::Link { .. } => return Kind::File,
        What::Fifo => return Kind::Fifo,
        What::Socket => return Kind::Socket,
        What::Symlink { ref target } => {
            let target = target.clone();
            return Kind::Symlink { target };
        }
    };
    if is_block {
        Kind::BlockDevice { major, minor }
    } else {
        Kind::CharacterDevice { major, minor }
    }
}

/// One file of a crowd, as `materialise` makes it.
fn member(crowd: &TreePath, number: u32) -> Item {
    let name = format!("{number:06}");
    let modified = FileTime { seconds: number.into(), nanoseconds: number };
    let entry = Entry {
        path: crowd.join(name.as_bytes()),
        kind: Kind::File,
        mode: 0o400,
        user_id: rustix::process::geteuid().as_raw(),
        group_id: rustix::process::getegid().as_raw(),
        user_name: None,
        group_name: None,
        modified,
        changed: modified,
        device: 1,
        inode: 1,
        links: 1,
        size_bytes: u64::try_from(name.len()).unwrap(),
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: backstay::entry::Seen::Whole,
    };
    Item { entry, body: Body::Text(name) }
}

/// The calls of a restore, up to `stop_after` entries; all of it if there are not so many.
fn restore(root: &Path, plan: &Plan, overwrite: Overwrite, stop_after: usize) {
    let items = items(plan);
    let destination = DirectoryDestination::new(Options {
        path: root.to_owned(),
        overwrite,
        delete: overwrite == Overwrite::Always,
        identity: "a plan".to_owned(),
        ..Options::default()
    });
    destination.begin().unwrap();
    let mut names: BTreeMap<TreePath, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for path in items.keys() {
        if let Some(parent) = path.parent() {
            names.entry(parent).or_default().insert(path.name().to_vec());
        }
    }
    for item in items.values().take(stop_after) {
        let entry = &item.entry;
        if destination.skip(entry).unwrap() {
            continue;
        }
        match &item.body {
            Body::None if entry.is_directory() => {
                destination.directory(entry).unwrap();
                let keep = names.remove(&entry.path).unwrap_or_default();
                destination.remove_extraneous(&entry.path, &keep).unwrap();
            }
            Body::None => destination.special(entry).unwrap(),
            Body::Link(first) => assert_eq!(destination.link(entry, first).unwrap(), Linked::Made),
            Body::Bytes(content) => {
                let output = destination.create(entry).unwrap();
                content.for_each_piece(|piece, offset| output.write_at(piece, offset).unwrap());
                output.finish().unwrap();
            }
            Body::Text(text) => {
                let output = destination.create(entry).unwrap();
                output.write_at(text.as_bytes(), 0).unwrap();
                output.finish().unwrap();
            }
        }
    }
    if stop_after < items.len() {
        return;
    }
    for item in items.values().rev() {
        if item.entry.is_directory() {
            destination.seal_directory(&item.entry).unwrap();
        }
    }
    assert_eq!(destination.finish().unwrap(), Shortfalls::default());
}

/// Makes every directory ours: a restore does not go into those of strangers.
fn claim_directories(root: &Path) {
    let us = rustix::process::geteuid();
    if !us.is_root() {
        return;
    }
    // Paths are longer than a system call takes at once.
    let find = std::process::Command::new("find")
        .arg(root)
        .args(["-type", "d", "-execdir", "chown", "-h", &us.as_raw().to_string(), "{}", "+"])
        .status();
    assert!(find.unwrap().success());
}

const ALL: usize = usize::MAX;

#[test]
fn a_nasty_tree_comes_back_whole() {
    let base = tempfile::tempdir().unwrap();
    let [original, restored, over] = ["a", "b", "c"].map(|name| base.path().join(name));
    let plan = nasty_tree(&original, 1, Size::SMALL);
    restore(&restored, &plan, Overwrite::Refuse, ALL);
    assert_same_tree(&original, &restored);
    // Again over itself, and over another tree.
    restore(&restored, &plan, Overwrite::Always, ALL);
    assert_same_tree(&original, &restored);
    nasty_tree(&over, 2, Size::SMALL);
    claim_directories(&over);
    restore(&over, &plan, Overwrite::Always, ALL);
    assert_same_tree(&original, &over);
    for root in [&original, &restored, &over] {
        make_removable(root);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_tree_comes_back_over_any_other(
        plan in tree_plan(),
        other in tree_plan(),
        stop_after in 0..30_usize,
    ) {
        let base = tempfile::tempdir().unwrap();
        let [original, fresh, over] = ["a", "b", "c"].map(|name| base.path().join(name));
        materialise(&original, &plan);
        // Stopped, and resumed to the end.
        restore(&fresh, &plan, Overwrite::Refuse, stop_after);
        if fresh.join(".backstay-restore").exists() {
            restore(&fresh, &plan, Overwrite::Refuse, ALL);
        }
        materialise(&over, &other);
        claim_directories(&over);
        restore(&over, &plan, Overwrite::Always, stop_after);
        restore(&over, &plan, Overwrite::Always, ALL);
        let differences = [compare(&original, &fresh), compare(&original, &over)];
        for root in [&original, &fresh, &over] {
            make_removable(root);
        }
        prop_assert_eq!(differences, [Vec::new(), Vec::new()]);
    }
}
