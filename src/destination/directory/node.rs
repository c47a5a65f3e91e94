//! Links, fifos, sockets, devices, and further names of a file.

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use std::os::fd::AsFd;

use super::super::{Error, Overwrite};
use super::attributes::Handle;
use super::beneath::Directory;
use super::{Shared, marker};
use crate::entry::{Entry, Kind, TreePath};

impl Shared {
    /// Makes what is neither file nor directory, with all its attributes.
    pub(super) fn special(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.begun()?;
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
                self.shortfalls.add(&entry.path, "device", errno);
                return Ok(());
            }
            Err(errno) => return Err(begun.root.error("make", &entry.path, errno)),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = sys::openat(&parent, name, flags, Mode::empty())
            .map_err(|errno| begun.root.error("open", &entry.path, errno))?;
        self.apply(Handle::Place(place.as_fd()), entry)
    }

    /// Makes a further name of the file at `first`.
    pub(super) fn link(&self, entry: &Entry, first: &TreePath) -> Result<(), Error> {
        let begun = self.begun()?;
        let root = &begun.root;
        if marker::is_reserved(&entry.path) || marker::is_reserved(first) {
            self.leave_out_reserved(&entry.path);
            return Ok(());
        }
        let (first_parent, first_name) = root.parent(first)?;
        let (parent, name) = root.parent(&entry.path)?;
        // Without AT_SYMLINK_FOLLOW, so a link at `first` could only get a further name itself.
        let make = || sys::linkat(&first_parent, first_name, &parent, name, AtFlags::empty());
        match make() {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(root.error("make the hard link", &entry.path, errno)),
        }
        let (is, wanted) =
            (root.stat(&parent, name, &entry.path)?, root.stat(&first_parent, first_name, first)?);
        let is_linked = match (is, wanted) {
            (Some(is), Some(wanted)) => is.identity() == wanted.identity(),
            _ => false,
        };
        if is_linked || begun.rules.overwrite == Overwrite::Never {
            return Ok(());
        }
        self.clear_way(begun, &parent, name, &entry.path)?;
        make().map_err(|errno| root.error("make the hard link", &entry.path, errno))
    }
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
