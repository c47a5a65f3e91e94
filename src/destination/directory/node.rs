//! Links, fifos, sockets, devices, and further names of a file.

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use std::os::fd::AsFd;

use super::super::{Error, Linked, Overwrite, ShortfallKind};
use super::attributes::{Handle, Stat};
use super::beneath::Directory;
use super::{Shared, marker};
use crate::entry::{Entry, Kind, TreePath};

impl Shared {
    /// Makes what is neither file nor directory, with all its attributes.
    pub(super) fn special(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.begun()?;
        Self::require_safe_top(begun)?;
        if marker::is_reserved(&entry.path) {
            self.leave_out_reserved(&entry.path);
            return Ok(());
        }
        let (parent, name) = begun.root.parent(&entry.path)?;
        let mut made = make(&parent, name, entry);
        if made == Err(Errno::EXIST) {
            if begun.rules.overwrite == Overwrite::Never {
                return Ok(());
            }
            self.clear_way(begun, &parent, name, &entry.path)?;
            made = make(&parent, name, entry);
        }
        match made {
            Ok(()) => {}
            Err(errno) if is_device(entry) && may_not(errno) => {
                self.shortfalls.add(&entry.path, ShortfallKind::Device, errno);
                return Ok(());
            }
            Err(errno) => return Err(begun.root.error("make", &entry.path, errno)),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = sys::openat(&parent, name, flags, Mode::empty())
            .map_err(|errno| begun.root.error("open", &entry.path, errno))?;
        self.apply(Handle::Place(place.as_fd()), entry)
    }

    /// Makes a further name of what is at `first`.
    pub(super) fn link(&self, entry: &Entry, first: &TreePath) -> Result<Linked, Error> {
        let begun = self.begun()?;
        Self::require_safe_top(begun)?;
        let root = &begun.root;
        if marker::is_reserved(&entry.path) || marker::is_reserved(first) {
            self.leave_out_reserved(&entry.path);
            return Ok(Linked::Made);
        }
        let (first_parent, first_name) = root.parent(first)?;
        let (parent, name) = root.parent(&entry.path)?;
        let wanted = match root.stat(&first_parent, first_name, first)? {
            Some(there) if is_as_restored(&there, entry) => there,
            _ => {
                return Err(Error::InTheWay {
                    path: root.full(first),
                    reason: "someone exchanged it while the restore ran, so it gets no further \
                             name: restore into a directory that nobody else writes to"
                        .to_owned(),
                });
            }
        };
        // Without AT_SYMLINK_FOLLOW, so a link at `first` could only get a further name itself.
        let make = || sys::linkat(&first_parent, first_name, &parent, name, AtFlags::empty());
        let mut made = make();
        if made == Err(Errno::EXIST) {
            let is = root.stat(&parent, name, &entry.path)?;
            let is_linked = is.is_some_and(|is| is.identity() == wanted.identity());
            if is_linked || begun.rules.overwrite == Overwrite::Never {
                return Ok(Linked::Made);
            }
            self.clear_way(begun, &parent, name, &entry.path)?;
            made = make();
        }
        match made {
            Ok(()) => Ok(Linked::Made),
            Err(errno) if cannot_link(errno) => {
                let detail = format!("is a copy, no link to {first}: {errno}");
                self.shortfalls.add(&entry.path, ShortfallKind::Link, detail);
                Ok(Linked::NeedsCopy)
            }
            Err(errno) => Err(root.error("make the hard link", &entry.path, errno)),
        }
    }
}

/// Whether what is there can be what was restored: nothing else gets the entry's name.
fn is_as_restored(there: &Stat, entry: &Entry) -> bool {
    match entry.kind {
        Kind::File => there.is_file() && there.size_bytes() == entry.size_bytes,
        _ => !there.is_file() && !there.is_directory(),
    }
}

/// Whether the two names cannot be one file: on two volumes, with too many names, on a file system
/// without links, or forbidden by the system.
fn cannot_link(errno: Errno) -> bool {
    matches!(errno, Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::NOSYS)
}

fn make(parent: &Directory, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    let node = |kind, device| sys::mknodat(parent, name, kind, mode, device);
    match &entry.kind {
        Kind::Symlink { target } => sys::symlinkat(target.as_slice(), parent, name),
        Kind::Fifo => node(FileType::Fifo, 0),
        Kind::Socket => node(FileType::Socket, 0),
        Kind::CharacterDevice { major, minor } => {
            node(FileType::CharacterDevice, sys::makedev(*major, *minor))
        }
        Kind::BlockDevice { major, minor } => {
            node(FileType::BlockDevice, sys::makedev(*major, *minor))
        }
        // Files and directories come by other roads.
        Kind::File | Kind::Directory | Kind::Unknown => Err(Errno::INVAL),
    }
}

fn is_device(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::CharacterDevice { .. } | Kind::BlockDevice { .. })
}

/// Whether the system refuses devices to us, whatever their place.
fn may_not(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::NOTSUP | Errno::INVAL)
}
