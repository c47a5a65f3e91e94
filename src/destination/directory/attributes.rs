//! Owner, extended attributes, mode and times: set in the one order in which none undoes another,
//! then read back, so that what a file system dropped without a word becomes a shortfall.
//!
//! The order and its reasons:
//! 1. `user.*` attributes, which need the right to write that owner and mode may take away.
//! 2. Owner, since changing it clears set-user-ID, set-group-ID and capabilities.
//! 3. `security.*`, `trusted.*` and default ACLs.
//! 4. Mode.
//! 5. The access ACL, since a mode's group bits are its mask. Until it is there the group has no
//!    more than the ACL's own group entry grants, and if it can't be set that stays so.
//! 6. Times, since nearly all of the above may touch them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    self as sys, AtFlags, CWD, FileType, Mode, Statx, StatxAttributes, StatxFlags, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::Errno;

use super::super::{Error, ShortfallKind};
use super::Shared;
use super::xattrs;
use crate::entry::{Entry, FileTime, Kind};

const SET_IDS: u32 = 0o6000;

/// The attributes of something on disk, in types that are alike on all machines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat(Statx);

impl Stat {
    pub(super) fn of(directory: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Self, Errno> {
        sys::statx(directory, name, flags, StatxFlags::BASIC_STATS).map(Self)
    }

    /// What a path leads to, through links.
    pub(super) fn at(path: &std::path::Path) -> Result<Self, Errno> {
        sys::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).map(Self)
    }

    fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.0.stx_mode.into())
    }

    /// Whether a file system, or a part of one, is mounted here.
    pub(super) fn is_mount(&self) -> bool {
        self.0.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    }

    pub(super) fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub(super) fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o7777
    }

    pub(super) fn owner(&self) -> (u32, u32) {
        (self.0.stx_uid, self.0.stx_gid)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.0.stx_size
    }

    pub(super) fn links(&self) -> u32 {
        self.0.stx_nlink
    }

    pub(super) fn modified(&self) -> FileTime {
        FileTime { seconds: self.0.stx_mtime.tv_sec, nanoseconds: self.0.stx_mtime.tv_nsec }
    }

    pub(super) fn device(&self) -> (u32, u32) {
        (self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// Equal for two names of the same thing.
    pub(super) fn identity(&self) -> ((u32, u32), u64) {
        (self.device(), self.0.stx_ino)
    }
}

/// Something to give attributes to, held so that no rename or link can swap it meanwhile.
#[derive(Clone, Copy)]
pub(super) enum Handle<'a> {
    /// Opened for reading or writing.
    Open(BorrowedFd<'a>),
    /// Opened as a place only (`O_PATH`): links, devices, and what we may not read.
    Place(BorrowedFd<'a>),
}

impl Handle<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(descriptor) | Self::Place(descriptor) => *descriptor,
        }
    }

    pub(super) fn stat(self) -> Result<Stat, Errno> {
        Stat::of(self.descriptor(), b"", AtFlags::EMPTY_PATH)
    }

    fn set_owner(self, user: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
        // The highest number means "unchanged" to the kernel, and no account has it.
        if user == Some(u32::MAX) || group == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let user = user.map(sys::Uid::from_raw);
        let group = group.map(sys::Gid::from_raw);
        sys::chownat(self.descriptor(), c"", user, group, AtFlags::EMPTY_PATH)
    }

    pub(super) fn set_mode(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::Open(descriptor) => sys::fchmod(descriptor, mode),
            Self::Place(descriptor) => {
                sys::chmodat(CWD, own_path(descriptor), mode, AtFlags::empty())
            }
        }
    }

    /// Access time is not kept; it gets the modification time.
    pub(super) fn set_times(self, modified: FileTime) -> Result<(), Errno> {
        let time = Timespec {
            tv_sec: modified.seconds,
            // Beyond a second lie the kernel's magic words "now" and "unchanged".
            tv_nsec: modified.nanoseconds.min(999_999_999).into(),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        match self {
            Self::Open(descriptor) => sys::futimens(descriptor, &times),
            Self::Place(descriptor) => sys::utimensat(descriptor, c"", &times, AtFlags::EMPTY_PATH),
        }
    }

    /// Fills `names` with names that each end in a 0 byte; returns their length. `ERANGE` where
    /// there is more.
    pub(super) fn list_xattrs(self, names: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(descriptor) => sys::flistxattr(descriptor, names),
            Self::Place(descriptor) => sys::listxattr(own_path(descriptor), names),
        }
    }

    /// Fills `value`; returns its length. `ERANGE` where there is more.
    pub(super) fn get_xattr(self, name: &[u8], value: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(descriptor) => sys::fgetxattr(descriptor, name, value),
            Self::Place(descriptor) => sys::getxattr(own_path(descriptor), name, value),
        }
    }

    pub(super) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(descriptor) => sys::fsetxattr(descriptor, name, value, flags),
            Self::Place(descriptor) => sys::setxattr(own_path(descriptor), name, value, flags),
        }
    }

    pub(super) fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(descriptor) => sys::fremovexattr(descriptor, name),
            Self::Place(descriptor) => sys::removexattr(own_path(descriptor), name),
        }
    }
}

/// The kernel's own name for what a descriptor holds: it leads to the thing itself, be it a link.
fn own_path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

impl Shared {
    /// Gives `handle` all attributes of `entry`.
    pub(super) fn apply(&self, handle: Handle<'_>, entry: &Entry) -> Result<(), Error> {
        let failed = |errno: Errno| self.error("read the attributes of", &entry.path, errno.into());
        let before = handle.stat().map_err(failed)?;
        let is_link = matches!(entry.kind, Kind::Symlink { .. });
        if !is_link && before.mode() & 0o600 != 0o600 {
            // A default ACL of the destination took away what attributes need. If it stays so, the
            // attributes' own failures tell.
            let _ = handle.set_mode(before.mode() | 0o600);
        }
        xattrs::remove_foreign(self, handle, entry);
        xattrs::set_if(self, handle, entry, xattrs::is_for_users);
        let owner_error = self.apply_owner(handle, entry, before.owner());
        xattrs::set_if(self, handle, entry, |name| {
            !xattrs::is_for_users(name) && name != xattrs::ACCESS_ACL
        });

        let wanted = self.owners.of(entry);
        let owned = handle.stat().map_err(failed)?;
        let mode = mode_for(entry, owned.owner() == wanted);
        let access_acl = xattrs::access_acl(entry);
        let without_acl = access_acl.map_or(mode, |acl| xattrs::mode_without_acl(mode, acl));
        let mut errno = None;
        if !is_link && owned.mode() != without_acl {
            errno = handle.set_mode(without_acl).err();
        }
        xattrs::set_if(self, handle, entry, |name| name == xattrs::ACCESS_ACL);
        let time_errno = handle.set_times(entry.modified).err();

        let after = handle.stat().map_err(failed)?;
        if after.owner() != wanted {
            self.report_owner(entry, wanted, after.owner(), owner_error, mode);
        }
        if !is_link && after.mode() != mode {
            self.report_mode(entry, mode, after.mode(), errno);
        }
        self.report_times(entry, &after, time_errno);
        Ok(())
    }

    fn apply_owner(&self, handle: Handle<'_>, entry: &Entry, now: (u32, u32)) -> Option<Errno> {
        let (user, group) = self.owners.of(entry);
        let change = |wanted: u32, is: u32| (wanted != is).then_some(wanted);
        let (user, group) = (change(user, now.0), change(group, now.1));
        if user.is_none() && group.is_none() {
            return None;
        }
        let errno = handle.set_owner(user, group).err()?;
        if user.is_some() && group.is_some() {
            // A plain user may not give files away, but may pick one of their own groups.
            let _ = handle.set_owner(None, group);
        }
        Some(errno)
    }

    fn report_owner(
        &self,
        entry: &Entry,
        wanted: (u32, u32),
        is: (u32, u32),
        errno: Option<Errno>,
        mode: u32,
    ) {
        let cause = errno.map_or_else(String::new, |errno| format!(": {errno}"));
        let dropped = if entry.mode & SET_IDS == mode & SET_IDS {
            ""
        } else {
            "; set-user-ID and set-group-ID were dropped, since they would act for another account"
        };
        let detail =
            format!("wanted {}:{}, is {}:{}{cause}{dropped}", wanted.0, wanted.1, is.0, is.1);
        self.shortfalls.add(&entry.path, ShortfallKind::Owner, detail);
    }

    fn report_mode(&self, entry: &Entry, wanted: u32, is: u32, errno: Option<Errno>) {
        let cause = errno.map_or_else(String::new, |errno| format!(": {errno}"));
        let detail = format!("wanted {wanted:04o}, is {is:04o}{cause}");
        self.shortfalls.add(&entry.path, ShortfallKind::Mode, detail);
    }

    fn report_times(&self, entry: &Entry, after: &Stat, errno: Option<Errno>) {
        let is = after.modified();
        if is == entry.modified {
            return;
        }
        let cause = errno.map_or_else(String::new, |errno| format!(": {errno}"));
        let detail = format!(
            "wanted {}.{:09}, is {}.{:09} seconds{cause}",
            entry.modified.seconds, entry.modified.nanoseconds, is.seconds, is.nanoseconds
        );
        self.shortfalls.add(&entry.path, ShortfallKind::Times, detail);
    }
}

/// The mode to set. A program that would run as someone else than in the backup must not: without
/// its owner a file loses set-user-ID and set-group-ID, as `tar` does it.
fn mode_for(entry: &Entry, is_owned: bool) -> u32 {
    let mode = entry.mode & 0o7777;
    if entry.is_directory() || is_owned { mode } else { mode & !SET_IDS }
}
