//! Inode flags: immutable, append-only, no-dump, no-copy-on-write. The first two keep even us from going
//! on, so they come last of all; the last one can be set only while a file is empty.

use std::os::fd::AsFd;

use rustix::fs::{self as sys, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Error, ShortfallKind};
use super::{Begun, Shared, marker, present};
use crate::entry::{Entry, INODE_FLAGS_KEPT};

const KEPT: IFlags = IFlags::from_bits_retain(INODE_FLAGS_KEPT);
const GUARDS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

fn wanted(entry: &Entry) -> IFlags {
    IFlags::from_bits_retain(entry.inode_flags) & KEPT
}

impl Shared {
    /// Gives an entry its flags; what cannot be set is a shortfall. What is not there has none.
    pub(super) fn protect(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.begun()?;
        if wanted(entry).is_empty() || entry.path.is_root() || marker::is_reserved(&entry.path) {
            return Ok(());
        }
        match open(begun, entry) {
            Ok(None) => {}
            Ok(Some(file)) => self.set_flags(&file, entry),
            Err(errno) => self.report_flags(entry, errno),
        }
        Ok(())
    }

    /// The same for something that is open.
    pub(super) fn set_flags(&self, file: impl AsFd, entry: &Entry) {
        let wanted = wanted(entry);
        if wanted.is_empty() {
            return;
        }
        let set = || {
            let is = sys::ioctl_getflags(&file)?;
            if is & KEPT != wanted {
                sys::ioctl_setflags(&file, is.difference(KEPT) | wanted)?;
            }
            Ok(sys::ioctl_getflags(&file)? & KEPT)
        };
        match set() {
            Ok(is) if is == wanted => {}
            Ok(_) => self.report_flags(entry, "the file system ignores them"),
            Err(errno) => self.report_flags(entry, no_ioctl(errno)),
        }
    }

    /// Takes copy-on-write from a new file, before anything is written into it. Whether that worked shows
    /// when all flags are set.
    pub(super) fn begin_flags(file: impl AsFd, entry: &Entry) {
        if wanted(entry).contains(IFlags::NOCOW)
            && let Ok(is) = sys::ioctl_getflags(&file)
        {
            let _ = sys::ioctl_setflags(&file, is | IFlags::NOCOW);
        }
    }

    fn report_flags(&self, entry: &Entry, detail: impl std::fmt::Display) {
        let detail = format!("wanted {:?}: {detail}", wanted(entry));
        self.shortfalls.add(&entry.path, ShortfallKind::Flags, detail);
    }
}

/// Takes the flags away that keep us from writing over what is there, if the entry has them too: they
/// come back in the end. An immutable file that is none in the snapshot stays as it is.
pub(super) fn lift(begun: &Begun, entry: &Entry) {
    if !wanted(entry).intersects(GUARDS) || !present::compares(begun) {
        return;
    }
    if let Ok(Some(file)) = open(begun, entry)
        && let Ok(is) = sys::ioctl_getflags(&file)
        && is.intersects(GUARDS)
    {
        // If it fails, writing fails as well and says so.
        let _ = sys::ioctl_setflags(&file, is.difference(GUARDS));
    }
}

fn open(begun: &Begun, entry: &Entry) -> Result<Option<std::os::fd::OwnedFd>, Errno> {
    if !entry.is_file() && !entry.is_directory() {
        return Err(Errno::NOTTY);
    }
    let Ok(Some((parent, name))) = begun.root.parent_if_there(&entry.path) else {
        return Ok(None);
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match sys::openat(&parent, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// "Inappropriate ioctl for device" says little to a person.
fn no_ioctl(errno: Errno) -> Errno {
    if errno == Errno::NOTTY { Errno::NOTSUP } else { errno }
}
