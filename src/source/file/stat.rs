//! From what the kernel says of a file to an [`Entry`].

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{
    AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp, ioctl_getflags, major,
    makedev, statx,
};
use rustix::io::{Errno, retry_on_intr};

use super::Magic;
use crate::entry::{Entry, FileTime, INODE_FLAGS_KEPT, INODE_FLAGS_LISTED, Kind, Seen, TreePath};

/// All that an entry holds; access and birth times are not kept. Freshness is left to the file
/// system (no `AT_STATX_DONT_SYNC`): local ones ignore the flag, and on network ones it would let
/// a stale time or size pass for "unchanged".
fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS - StatxFlags::ATIME
}

/// What the name `name` in an open directory stands for, without following a link or mounting.
pub(in crate::source) fn stat_at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    retry_on_intr(|| statx(directory, name, flags, wanted()))
}

/// What an open file is.
pub(in crate::source) fn stat_fd(fd: impl AsFd) -> Result<Statx, Errno> {
    retry_on_intr(|| statx(fd.as_fd(), c"", AtFlags::EMPTY_PATH, wanted()))
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::source) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(in crate::source) fn of_stat(stat: &Statx) -> Self {
        Self { device: device(stat), inode: stat.stx_ino }
    }

    pub(in crate::source) fn of_entry(entry: &Entry) -> Self {
        Self { device: entry.device, inode: entry.inode }
    }

    pub(in crate::source) fn device(self) -> u64 {
        self.device
    }
}

/// What tells whether a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Marks {
    pub(in crate::source) size_bytes: u64,
    pub(in crate::source) modified: FileTime,
    pub(in crate::source) changed: FileTime,
    pub(in crate::source) links: u64,
}

impl Marks {
    pub(in crate::source) fn of_stat(stat: &Statx) -> Self {
        Self {
            size_bytes: stat.stx_size,
            modified: time(&stat.stx_mtime),
            changed: time(&stat.stx_ctime),
            links: u64::from(stat.stx_nlink),
        }
    }
}

fn device(stat: &Statx) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

/// Puts together an entry; `xattrs` and `extents` stay empty.
pub(in crate::source) fn entry_of(
    path: TreePath,
    kind: Kind,
    stat: &Statx,
    owners: &Owners,
) -> Entry {
    let size_bytes = if kind == Kind::File { stat.stx_size } else { 0 };
    Entry {
        path,
        kind,
        mode: u32::from(stat.stx_mode) & 0o7777,
        user_id: stat.stx_uid,
        group_id: stat.stx_gid,
        user_name: owners.user(stat.stx_uid),
        group_name: owners.group(stat.stx_gid),
        modified: time(&stat.stx_mtime),
        changed: time(&stat.stx_ctime),
        device: device(stat),
        inode: stat.stx_ino,
        links: u64::from(stat.stx_nlink),
        size_bytes,
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: listed_inode_flags(stat),
        seen: Seen::Whole,
    }
}

/// When an open file or directory was made, for a file system that knows.
pub(in crate::source) fn born(fd: impl AsFd) -> Option<FileTime> {
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| time(&stat.stx_btime))
}

/// The inode flags that a listing shows: those that `statx` has too, under the same numbers.
fn listed_inode_flags(stat: &Statx) -> u32 {
    let listed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND | StatxAttributes::NODUMP;
    u32::try_from((stat.stx_attributes & listed).bits()).unwrap_or(0) & INODE_FLAGS_LISTED
}

/// The kept inode flags of an open file or directory that a listing does not show; the file system
/// is asked only if it may have such. Those that have are on a device without a driver, number 0.
pub(in crate::source) fn inode_flags_of_fd(fd: impl AsFd, listed: &Entry) -> u32 {
    if major(listed.device) != 0 || !Magic::of(fd.as_fd()).hides_inode_flags() {
        return 0;
    }
    let flags = retry_on_intr(|| ioctl_getflags(fd.as_fd()));
    flags.map_or(0, |flags| flags.bits()) & INODE_FLAGS_KEPT & !INODE_FLAGS_LISTED
}

/// Whether an open file is another one than was listed. Where inode numbers do not last, the name and
/// the kind are what there is to go by.
pub(in crate::source) fn is_replaced(fd: impl AsFd, stat: &Statx, listed: &Entry) -> bool {
    if Identity::of_stat(stat) == Identity::of_entry(listed) {
        return false;
    }
    let of_kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::RegularFile => listed.is_file(),
        FileType::Directory => listed.is_directory(),
        _ => !listed.is_file() && !listed.is_directory(),
    };
    let same_device = device(stat) == listed.device;
    !(same_device && of_kind && Magic::of(fd).has_unstable_inodes())
}

fn time(stamp: &StatxTimestamp) -> FileTime {
    FileTime { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec }
}

/// Names of users and groups, each asked for once per cut.
#[derive(Debug, Default)]
pub(in crate::source) struct Owners {
    users: Memo,
    groups: Memo,
}

type Memo = RwLock<HashMap<u32, Option<Arc<str>>>>;

impl Owners {
    pub(in crate::source) fn user(&self, id: u32) -> Option<Arc<str>> {
        recall(&self.users, id, || {
            let user = User::from_uid(Uid::from_raw(id)).ok()??;
            Some(user.name)
        })
    }

    pub(in crate::source) fn group(&self, id: u32) -> Option<Arc<str>> {
        recall(&self.groups, id, || {
            let group = Group::from_gid(Gid::from_raw(id)).ok()??;
            Some(group.name)
        })
    }
}

fn recall(memo: &Memo, id: u32, ask: impl FnOnce() -> Option<String>) -> Option<Arc<str>> {
    let known = memo.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = known.get(&id) {
        return name.clone();
    }
    drop(known);
    let name: Option<Arc<str>> = ask().map(Arc::from);
    memo.write().unwrap_or_else(PoisonError::into_inner).insert(id, name.clone());
    name
}
