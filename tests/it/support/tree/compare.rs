//! Compares two trees, every attribute of every name.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use super::shown;

/// Holes are compared in blocks of this size, as file systems make them.
const BLOCK_BYTES: u64 = 4096;

/// Given by the system to each file, not by whoever made it.
const SYSTEM_XATTRS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// One attribute in which a name differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// From the trees' roots; empty for the roots themselves.
    pub(crate) path: Vec<u8>,
    /// Such as `mode` or `xattr user.x`.
    pub(crate) what: String,
    pub(crate) a: String,
    pub(crate) b: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, a, b } = self;
        write!(f, "{}: {what}: {a} became {b}", shown(path))
    }
}

/// Panics unless `b` is what `a` is, and lists the differences.
#[track_caller]
pub(crate) fn assert_same_tree(a: &Path, b: &Path) {
    const LISTED: usize = 50;
    let differences = compare(a, b);
    if differences.is_empty() {
        return;
    }
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let listed = lines.iter().take(LISTED).cloned().collect::<Vec<_>>();
    panic!(
        "{} and {} differ in {} ways:\n{}",
        a.display(),
        b.display(),
        lines.len(),
        listed.join("\n")
    );
}

/// Every difference between the original `a` and its copy `b`, in path order. Where `a` has a hole
/// `b` must have one; more holes do no harm. Change times, inode numbers and access times are not
/// restorable and not compared.
pub(crate) fn compare(a: &Path, b: &Path) -> Vec<Difference> {
    let mut comparison = Comparison::default();
    let [a, b] = [a, b].map(|path| path.as_os_str().as_encoded_bytes());
    comparison.node([CWD.as_fd(), CWD.as_fd()], [a, b], &mut Vec::new());
    comparison.differences
}

#[derive(Default)]
struct Comparison {
    differences: Vec<Difference>,
    /// The first path seen of each inode that has several names, in either tree.
    first_paths: [HashMap<(u32, u32, u64), Vec<u8>>; 2],
}

impl Comparison {
    fn note(&mut self, path: &[u8], what: impl Into<String>, values: [String; 2]) {
        let [a, b] = values;
        if a != b {
            self.differences.push(Difference { path: path.to_vec(), what: what.into(), a, b });
        }
    }

    /// Compares what two names stand for. Recursion goes as deep as the tree and holds two
    /// descriptors for each level.
    fn node<Fd: AsFd>(&mut self, parents: [Fd; 2], names: [&[u8]; 2], path: &mut Vec<u8>) {
        let [a, b] = [0, 1].map(|side| Node::open(&parents[side], names[side]));
        let (a, b) = match (a, b) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => {
                let kind = |node: Option<Node>| {
                    node.map_or_else(|| "nothing".to_owned(), |node| node.kind())
                };
                self.note(path, "presence", [kind(a), kind(b)]);
                return;
            }
        };
        if a.file_type() != b.file_type() {
            self.note(path, "type", [a.kind(), b.kind()]);
            return;
        }
        let nodes = [&a, &b];
        for (what, value) in ATTRIBUTES {
            self.note(path, what, nodes.map(value));
        }
        self.xattrs(nodes, path);
        match a.file_type() {
            FileType::Directory => return self.directory(nodes, path),
            FileType::RegularFile => self.file(nodes, path),
            FileType::Symlink => self.note(path, "target", nodes.map(Node::target)),
            _ => {}
        }
        let groups = [0, 1].map(|side| {
            let first = self.first_paths[side].entry(nodes[side].identity());
            shown(first.or_insert_with(|| path.clone()))
        });
        self.note(path, "hard link to", groups);
    }

    fn directory(&mut self, nodes: [&Node; 2], path: &mut Vec<u8>) {
        let [a, b] = match nodes.map(|node| node.reopen(OFlags::DIRECTORY)) {
            [Ok(a), Ok(b)] => [a, b],
            failed => {
                let said = failed.map(|opened| match opened {
                    Ok(_) => "can be listed".to_owned(),
                    Err(errno) => format!("cannot be listed: {errno}"),
                });
                return self.note(path, "content", said);
            }
        };
        let names: BTreeSet<Vec<u8>> = list(&a).into_iter().chain(list(&b)).collect();
        for name in names {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            self.node([&a, &b], [&name, &name], path);
            path.truncate(length);
        }
    }

    fn xattrs(&mut self, nodes: [&Node; 2], path: &[u8]) {
        let [a, b] = nodes.map(Node::xattrs);
        let names: BTreeSet<&Vec<u8>> = a.keys().chain(b.keys()).collect();
        for name in names {
            let value = |xattrs: &BTreeMap<Vec<u8>, Vec<u8>>| {
                xattrs.get(name).map_or_else(|| "none".to_owned(), |value| whole(value))
            };
            let what = format!("xattr {}", name.escape_ascii());
            self.note(path, what, [value(&a), value(&b)]);
        }
    }

    fn file(&mut self, nodes: [&Node; 2], path: &[u8]) {
        let [mut a, mut b] = match nodes.map(|node| node.reopen(OFlags::empty())) {
            [Ok(a), Ok(b)] => [File::from(a), File::from(b)],
            failed => {
                let said = failed.map(|opened| match opened {
                    Ok(_) => "can be read".to_owned(),
                    Err(errno) => format!("cannot be read: {errno}"),
                });
                return self.note(path, "bytes", said);
            }
        };
        if nodes[0].stat.stx_size == nodes[1].stat.stx_size {
            self.holes([&a, &b], path);
            self.bytes([&mut a, &mut b], path);
        }
    }

    fn bytes(&mut self, files: [&mut File; 2], path: &[u8]) {
        let [a, b] = files.map(|file| {
            sys::seek(&*file, SeekFrom::Start(0)).unwrap();
            file
        });
        let mut pieces = [vec![0; 128 * 1024], vec![0; 128 * 1024]];
        let mut offset = 0;
        loop {
            let read_a = fill(a, &mut pieces[0]);
            let read_b = fill(b, &mut pieces[1]);
            let [piece_a, piece_b] = &pieces;
            let (piece_a, piece_b) = (&piece_a[..read_a], &piece_b[..read_b]);
            if piece_a != piece_b {
                let same = piece_a.iter().zip(piece_b).take_while(|(a, b)| a == b);
                let at = same.count();
                let value = |piece: &[u8]| {
                    piece.get(at).map_or_else(|| "end".to_owned(), |byte| format!("{byte:#04x}"))
                };
                let what = format!("byte {}", offset + at);
                return self.note(path, what, [value(piece_a), value(piece_b)]);
            }
            if read_a == 0 {
                return;
            }
            offset += read_a;
        }
    }

    /// Says so where a hole of the first has data in the second.
    fn holes(&mut self, files: [&File; 2], path: &[u8]) {
        let [a, b] = files.map(holes);
        for (start, end) in a {
            let is_last = end == sys::seek(files[0], SeekFrom::End(0)).unwrap();
            let from = start.next_multiple_of(BLOCK_BYTES);
            let to = if is_last { end } else { end - end % BLOCK_BYTES };
            let is_kept = b.iter().any(|&(start, end)| start <= from && to <= end);
            if from < to && !is_kept {
                let values = [format!("bytes {from} to {to}"), format!("{b:?}")];
                return self.note(path, "hole", values);
            }
        }
    }
}

type Attribute = (&'static str, fn(&Node) -> String);

const ATTRIBUTES: [Attribute; 5] = [
    ("mode", |node| match node.file_type() {
        // Linux has none for links.
        FileType::Symlink => String::new(),
        _ => format!("{:04o}", node.stat.stx_mode & 0o7777),
    }),
    ("owner", |node| format!("{}:{}", node.stat.stx_uid, node.stat.stx_gid)),
    ("modified", |node| {
        let time = node.stat.stx_mtime;
        format!("{}.{:09}", time.tv_sec, time.tv_nsec)
    }),
    ("size", |node| match node.file_type() {
        FileType::RegularFile => node.stat.stx_size.to_string(),
        _ => String::new(),
    }),
    ("device", |node| {
        let (major, minor) = (node.stat.stx_rdev_major, node.stat.stx_rdev_minor);
        format!("{major},{minor}")
    }),
];

/// Something in a tree, held but not opened.
struct Node {
    place: OwnedFd,
    stat: Statx,
}

impl Node {
    fn open(parent: impl AsFd, name: &[u8]) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = match sys::openat(parent, name, flags, Mode::empty()) {
            Ok(place) => place,
            Err(Errno::NOENT) => return None,
            Err(errno) => panic!("cannot look at {}: {errno}", shown(name)),
        };
        let flags = StatxFlags::BASIC_STATS;
        let stat = sys::statx(&place, c"", AtFlags::EMPTY_PATH, flags).unwrap();
        Some(Self { place, stat })
    }

    /// The kernel's name for it: longer paths are not needed, links are not followed.
    fn itself(&self) -> String {
        format!("/proc/self/fd/{}", self.place.as_raw_fd())
    }

    fn reopen(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        sys::open(self.itself(), flags, Mode::empty())
    }

    fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    fn kind(&self) -> String {
        format!("{:?}", self.file_type())
    }

    fn identity(&self) -> (u32, u32, u64) {
        let stat = &self.stat;
        (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
    }

    fn target(&self) -> String {
        let target = sys::readlinkat(&self.place, c"", Vec::new()).unwrap();
        whole(target.to_bytes())
    }

    fn xattrs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut names = vec![0; 64 * 1024];
        let length = match sys::listxattr(self.itself(), names.as_mut_slice()) {
            Err(Errno::NOTSUP) => 0,
            listed => listed.unwrap(),
        };
        let mut xattrs = BTreeMap::new();
        for name in names[..length].split(|&byte| byte == 0) {
            if name.is_empty() || SYSTEM_XATTRS.contains(&name) {
                continue;
            }
            let mut value = vec![0; 64 * 1024];
            // A plain user may not read `user.*` of what they may not read.
            let read = sys::getxattr(self.itself(), name, value.as_mut_slice());
            let value = match read {
                Ok(length) => value[..length].to_vec(),
                Err(errno) => format!("cannot be read: {errno}").into_bytes(),
            };
            xattrs.insert(name.to_vec(), value);
        }
        xattrs
    }
}

/// Bytes for people that differ if the bytes do: what is shortened carries its hash.
fn whole(bytes: &[u8]) -> String {
    let text = shown(bytes);
    if text.ends_with('"') {
        return text;
    }
    format!("{text} {}", blake3::hash(bytes).to_hex())
}

fn list(directory: &OwnedFd) -> Vec<Vec<u8>> {
    let names = sys::Dir::read_from(directory).unwrap().map(|item| {
        let item = item.unwrap();
        item.file_name().to_bytes().to_vec()
    });
    names.filter(|name| name != b"." && name != b"..").collect()
}

fn fill(file: &mut File, piece: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read(&mut piece[filled..]).unwrap() {
            0 => break,
            read => filled += read,
        }
    }
    filled
}

/// Where a file has no data, as (start, end).
fn holes(file: &File) -> Vec<(u64, u64)> {
    let size = sys::seek(file, SeekFrom::End(0)).unwrap();
    let mut holes = Vec::new();
    let mut position = 0;
    while position < size {
        let start = sys::seek(file, SeekFrom::Hole(position)).unwrap();
        if start >= size {
            break;
        }
        // None follows: the hole reaches the end.
        position = sys::seek(file, SeekFrom::Data(start)).unwrap_or(size);
        holes.push((start, position));
    }
    holes
}
