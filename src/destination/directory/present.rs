//! Files that are there already: which of them a restore may compare with and write into.
//!
//! To write into an existing file keeps its inode, and with it every descriptor and mapping that someone
//! opened before: through them a local user reads what is restored, or changes it. So a file is reused only
//! where only users who may use the restored file can hold one. Any other file is replaced by a new one.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Error, Existing, Overwrite};
use super::attributes::{Handle, Stat};
use super::beneath::Directory;
use super::{Begun, Shared, flags, holes, marker, xattrs};
use crate::entry::{Entry, TreePath};

/// No file system has larger blocks.
const BLOCK_BYTES: u64 = 64 * 1024;
const SET_IDS: u32 = 0o6000;

/// Device and inode.
type Identity = ((u32, u32), u64);

/// What was found at the name of a file that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// Nothing whose bytes may be used.
    Nothing,
    /// A file that was made ready to be written over.
    Usable(Identity),
}

/// A file that was there before.
#[derive(Debug)]
pub(super) struct Present {
    shared: Arc<Shared>,
    path: TreePath,
    file: File,
}

/// Whether bytes that are there are compared.
pub(super) fn compares(begun: &Begun) -> bool {
    matches!(begun.rules.overwrite, Overwrite::IfChanged | Overwrite::Always)
}

/// Opens what is there for comparison, and makes it ready to be written over when it is first asked for.
pub(super) fn existing(shared: &Arc<Shared>, entry: &Entry) -> Result<Option<Present>, Error> {
    let begun = shared.begun()?;
    Shared::require_safe_top(begun)?;
    let is_wanted = entry.is_file() && !entry.path.is_root() && !marker::is_reserved(&entry.path);
    if !compares(begun) || !is_wanted {
        return Ok(None);
    }
    let known = shared.lock_found().get(&entry.path).copied();
    let file = match known {
        Some(Found::Nothing) => return Ok(None),
        Some(Found::Usable(identity)) => open_again(begun, &entry.path, identity)?,
        None => {
            let usable = take_over(shared, begun, entry)?;
            let found = match &usable {
                Some((_, identity)) => Found::Usable(*identity),
                None => Found::Nothing,
            };
            shared.lock_found().insert(entry.path.clone(), found);
            let Some((file, _)) = usable else {
                return Ok(None);
            };
            file
        }
    };
    Ok(Some(Present { shared: Arc::clone(shared), path: entry.path.clone(), file }))
}

/// Opens a file once more that was found usable.
pub(super) fn open_again(
    begun: &Begun,
    path: &TreePath,
    identity: Identity,
) -> Result<File, Error> {
    let (parent, name) = begun.root.parent(path)?;
    let file = open(&parent, name).map_err(|errno| begun.root.error("open", path, errno))?;
    if stat_of(begun, &file, path)?.identity() == identity {
        return Ok(file);
    }
    Err(Error::InTheWay {
        path: begun.root.full(path),
        reason:
            "someone exchanged it while the restore was comparing it: restore into a directory \
                 that nobody else writes to"
                .to_owned(),
    })
}

/// Should it be swapped for a fifo or a device just now, opening must neither wait nor act.
fn open(parent: &Directory, name: &[u8]) -> Result<File, Errno> {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, Mode::empty()).map(File::from)
}

fn stat_of(begun: &Begun, file: &File, path: &TreePath) -> Result<Stat, Error> {
    Stat::of(file, b"", AtFlags::EMPTY_PATH)
        .map_err(|errno| begun.root.error("read the attributes of", path, errno))
}

/// Opens what is there and gives it the size and the holes of the entry; `None` where it must be replaced
/// by a new file: no regular file, a program that runs, one that someone else may hold open.
fn take_over(
    shared: &Shared,
    begun: &Begun,
    entry: &Entry,
) -> Result<Option<(File, Identity)>, Error> {
    let Some((parent, name)) = begun.root.parent_if_there(&entry.path)? else {
        return Ok(None);
    };
    let there = begun.root.stat(&parent, name, &entry.path)?;
    let Some(there) = there.filter(|there| there.is_file() && there.size_bytes() > 0) else {
        return Ok(None);
    };
    flags::lift(begun, entry);
    let mut opened = open(&parent, name);
    if opened.as_ref().is_err_and(|&errno| errno == Errno::ACCESS)
        && there.owner().0 == shared.user_id
        && lift_mode(&parent, name)
    {
        opened = open(&parent, name);
    }
    let file = match opened {
        Ok(file) => file,
        Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::LOOP | Errno::NXIO) => {
            return Ok(None);
        }
        Err(errno) => return Err(begun.root.error("open", &entry.path, errno)),
    };
    let stat = stat_of(begun, &file, &entry.path)?;
    let is_usable = stat.is_file() && may_be_reused(shared, entry, &stat, &file);
    let is_ready = is_usable && prepare(begun, &file, entry)?;
    Ok(is_ready.then(|| (file, stat.identity())))
}

/// Opens a file of our own to us whose mode keeps its owner out.
fn lift_mode(parent: &Directory, name: &[u8]) -> bool {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(parent, name, place, Mode::empty()).is_ok_and(|place| {
        let handle = Handle::Place(place.as_fd());
        handle.stat().is_ok_and(|stat| stat.is_file() && stat.links() == 1)
            && handle.set_mode(0o600).is_ok()
    })
}

/// Whether only users who may use the restored file can reach this one through a descriptor, a mapping or
/// another name.
fn may_be_reused(shared: &Shared, entry: &Entry, there: &Stat, file: &File) -> bool {
    let (user, group) = shared.owners.of(entry);
    let (owner, owning_group) = there.owner();
    let is_ours = owner == shared.user_id || owner == user;
    let has_set_ids = (there.mode() | entry.mode) & SET_IDS != 0;
    let wider = there.mode() & !entry.mode;
    let is_wider = wider & 0o007 != 0
        || (there.mode() & 0o070 != 0 && (wider & 0o070 != 0 || owning_group != group));
    is_ours
        && there.links() == 1
        && !has_set_ids
        && !is_wider
        // An ACL grants no more than the group bits.
        && (there.mode() & 0o070 == 0 || xattrs::has_acl_of(entry, Handle::Open(file.as_fd())))
}

/// Sizes a file that was there and makes its holes. `false` where the file system can't make
/// holes in it.
fn prepare(begun: &Begun, file: &File, entry: &Entry) -> Result<bool, Error> {
    let failed = |action, errno| begun.root.error(action, &entry.path, errno);
    // Nobody who could read the old content should watch the new one arrive. If it's not ours to
    // change, that shows at the end as a shortfall.
    let _ = Handle::Open(file.as_fd()).set_mode(0o600);
    sys::ftruncate(file, entry.size_bytes).map_err(|errno| failed("size", errno))?;
    let sound = |extents: &&Vec<_>| holes::are_sound(extents, entry.size_bytes);
    let Some(extents) = entry.extents.as_ref().filter(sound) else {
        return Ok(true);
    };
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for gap in holes::gaps(extents, entry.size_bytes) {
        // Only whole blocks become a hole, and the last one of a file is seldom full.
        let end = if gap.end == entry.size_bytes {
            gap.end.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(gap.end)
        } else {
            gap.end
        };
        match sys::fallocate(file, flags, gap.start, end - gap.start) {
            Ok(()) => {}
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(false),
            Err(errno) => return Err(failed("make a hole in", errno)),
        }
    }
    Ok(true)
}

impl Existing for Present {
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let offset = offset_bytes.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.shared.error("read", &self.path, source)),
            }
        }
        Ok(filled)
    }
}
