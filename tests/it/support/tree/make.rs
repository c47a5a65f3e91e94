//! Makes a plan on disk, with descriptors all the way down, since paths may be longer than the
//! system takes.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    self as sys, AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;

use super::{Attributes, Content, Node, Plan, What, is_root};

const PIECE_BYTES: usize = 64 * 1024;

/// Makes `plan` in the empty or missing directory `root`. Attributes that the file system does not
/// take (ACLs on some) are left out, and said so.
pub(crate) fn materialise(root: &Path, plan: &Plan) {
    fs::create_dir_all(root).unwrap();
    let top = open_directory(CWD, root.as_os_str().as_encoded_bytes());
    for node in &plan.nodes {
        make(&top, node);
        if !matches!(node.what, What::Directory | What::Crowd { .. } | What::Link { .. }) {
            let (parent, name) = open_parent(&top, &node.path);
            give(&parent, name, node);
        }
    }
    // Directories last and the deepest first: their content changes their times, their modes keep
    // us out.
    for node in plan.nodes.iter().rev() {
        if matches!(node.what, What::Directory | What::Crowd { .. }) {
            if node.path.is_empty() {
                give(&top, b".", node);
            } else {
                let (parent, name) = open_parent(&top, &node.path);
                give(&parent, name, node);
            }
        }
    }
}

/// Gives the owner of a tree the rights to remove it. Root needs none.
pub(crate) fn make_removable(root: &Path) {
    if is_root() {
        return;
    }
    open_up(CWD, root.as_os_str().as_encoded_bytes());
}

fn open_up(parent: impl AsFd, name: &[u8]) {
    let parent = parent.as_fd();
    if sys::chmodat(parent, name, Mode::RWXU, AtFlags::empty()).is_err() {
        return;
    }
    let directory = open_directory(parent, name);
    for item in sys::Dir::read_from(&directory).unwrap() {
        let item = item.unwrap();
        let name = item.file_name().to_bytes();
        if item.file_type() == FileType::Directory && name != b"." && name != b".." {
            open_up(&directory, name);
        }
    }
}

fn open_directory(parent: impl AsFd, name: &[u8]) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, Mode::empty()).unwrap()
}

fn open_parent<'a>(top: &OwnedFd, path: &'a [u8]) -> (OwnedFd, &'a [u8]) {
    let mut parent = top.try_clone().unwrap();
    let mut components = path.split(|&byte| byte == b'/').peekable();
    while let Some(component) = components.next() {
        if components.peek().is_none() {
            return (parent, component);
        }
        parent = open_directory(&parent, component);
    }
    unreachable!("a split yields at least one part")
}

fn make(top: &OwnedFd, node: &Node) {
    if node.path.is_empty() {
        return;
    }
    let (parent, name) = open_parent(top, &node.path);
    let private = Mode::RUSR | Mode::WUSR;
    let special = |kind, device| sys::mknodat(&parent, name, kind, private, device);
    let made = match &node.what {
        What::Directory => sys::mkdirat(&parent, name, Mode::RWXU),
        What::Crowd { entries } => {
            sys::mkdirat(&parent, name, Mode::RWXU).map(|()| crowd(&parent, name, *entries))
        }
        What::File(content) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            sys::openat(&parent, name, flags, private).map(|file| fill(&file.into(), content))
        }
        What::Link { first } => {
            let (first_parent, first_name) = open_parent(top, first);
            let flags = AtFlags::empty();
            sys::linkat(&first_parent, first_name, &parent, name, flags)
        }
        What::Symlink { target } => sys::symlinkat(target.as_slice(), &parent, name),
        What::Fifo => special(FileType::Fifo, 0),
        What::Socket => special(FileType::Socket, 0),
        What::CharacterDevice(major, minor) => {
            special(FileType::CharacterDevice, sys::makedev(*major, *minor))
        }
        What::BlockDevice(major, minor) => {
            special(FileType::BlockDevice, sys::makedev(*major, *minor))
        }
    };
    made.unwrap_or_else(|errno| panic!("cannot make {node:?}: {errno}"));
}

fn crowd(parent: &OwnedFd, name: &[u8], entries: u32) {
    let directory = open_directory(parent, name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    for number in 0..entries {
        let name = format!("{number:06}");
        let file: File =
            sys::openat(&directory, name.as_bytes(), flags, Mode::RUSR).unwrap().into();
        file.write_all_at(name.as_bytes(), 0).unwrap();
        let modified = (i64::from(number), number);
        sys::futimens(&file, &times(modified)).unwrap();
    }
}

fn fill(file: &File, content: &Content) {
    file.set_len(content.size_bytes).unwrap();
    content.for_each_piece(|piece, offset| file.write_all_at(piece, offset).unwrap());
}

impl Content {
    /// The bytes of the runs in pieces, in order, with their offsets.
    pub(crate) fn for_each_piece(&self, mut use_piece: impl FnMut(&[u8], u64)) {
        let mut random = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for &(start, length) in &self.runs {
            let mut offset = start;
            while offset < start + length {
                let left = usize::try_from(start + length - offset).unwrap();
                let mut piece = vec![0; left.min(PIECE_BYTES)];
                for word in piece.chunks_mut(8) {
                    let bytes = match self.seed % 3 {
                        0 => {
                            // Xorshift: fast, reproducible, does not compress.
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            random.to_le_bytes()
                        }
                        1 => *b"backup, ",
                        _ => [0; 8],
                    };
                    word.copy_from_slice(&bytes[..word.len()]);
                }
                use_piece(&piece, offset);
                offset += u64::try_from(piece.len()).unwrap();
            }
        }
    }
}

fn times(modified: (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Gives a node its attributes, in the order in which none undoes another.
fn give(parent: &OwnedFd, name: &[u8], node: &Node) {
    let Attributes { mode, owner, modified, .. } = &node.attributes;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = sys::openat(parent, name, flags, Mode::empty()).unwrap();
    let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
    let is_link = matches!(node.what, What::Symlink { .. });
    let xattrs = || node.xattrs();
    let set =
        |name: &str, value: &[u8]| match sys::setxattr(&itself, name, value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOTSUP) => eprintln!("{name} is left out: not supported here"),
            Err(errno) => panic!("cannot set {name} of {node:?}: {errno}"),
        };
    let is_acl = |name: &str| name.starts_with("system.");
    let is_user = |name: &str| name.starts_with("user.");
    xattrs().filter(|(name, _)| is_user(name)).for_each(|(name, value)| set(name, value));
    if is_root() {
        let (user, group) = (sys::Uid::from_raw(owner.0), sys::Gid::from_raw(owner.1));
        let flags = AtFlags::EMPTY_PATH;
        sys::chownat(&place, c"", Some(user), Some(group), flags).unwrap();
    }
    let is_other = |name: &str| !is_user(name) && !is_acl(name);
    xattrs().filter(|(name, _)| is_other(name)).for_each(|(name, value)| set(name, value));
    if !is_link {
        let mode = Mode::from_raw_mode(*mode);
        sys::chmodat(CWD, &itself, mode, AtFlags::empty()).unwrap();
    }
    xattrs().filter(|(name, _)| is_acl(name)).for_each(|(name, value)| set(name, value));
    sys::utimensat(&place, c"", &times(*modified), AtFlags::EMPTY_PATH).unwrap();
}
