//! Files: opened so that nothing else is ever written through, filled in pieces, then sealed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{self as sys, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Error, Existing, Output, Overwrite};
use super::attributes::{Handle, Stat};
use super::beneath::Directory;
use super::{Begun, Shared, holes, marker, xattrs};
use crate::entry::{Entry, Extent, TreePath};

/// No file system has larger blocks.
const BLOCK_BYTES: u64 = 64 * 1024;
/// A piece of a file that is copied within the destination.
const COPY_BYTES: usize = 256 * 1024;

/// A file on its way.
#[derive(Debug)]
pub(super) struct OpenFile {
    shared: Arc<Shared>,
    entry: Entry,
    /// `None` once it is finished.
    file: RwLock<Option<File>>,
    /// Held while writing: file systems let one write to a file at a time, and spin meanwhile.
    writing: Mutex<()>,
    /// How far it has been written, or sized.
    reached_bytes: AtomicU64,
}

/// Pieces from this size on go to the disk at once; smaller ones are left to the kernel to gather.
const WRITTEN_OUT_AT_ONCE_BYTES: usize = 256 * 1024;

/// The output of an entry that is left out.
#[derive(Debug)]
pub(super) struct Nowhere;

/// A file that was there before.
#[derive(Debug)]
pub(super) struct Present {
    shared: Arc<Shared>,
    path: TreePath,
    file: File,
}

/// Opens what is there for comparison. Only in the modes in which `create` keeps its bytes.
pub(super) fn existing(shared: &Arc<Shared>, entry: &Entry) -> Result<Option<Present>, Error> {
    let begun = shared.begun()?;
    let compares = matches!(begun.rules.overwrite, Overwrite::IfChanged | Overwrite::Always);
    if !compares || !entry.is_file() || entry.path.is_root() || marker::is_reserved(&entry.path) {
        return Ok(None);
    }
    let Some((parent, name)) = begun.root.parent_if_there(&entry.path)? else {
        return Ok(None);
    };
    let there = begun.root.stat(&parent, name, &entry.path)?;
    if !there.is_some_and(|there| there.is_file() && there.size_bytes() > 0) {
        return Ok(None);
    }
    let file = reopen(begun, &parent, name, entry, OFlags::RDONLY)?;
    Ok(file.map(|file| Present { shared: Arc::clone(shared), path: entry.path.clone(), file }))
}

/// Opens the file of an entry for writing. What is there already stays where the entry has data.
pub(super) fn create(shared: &Arc<Shared>, entry: &Entry) -> Result<OpenFile, Error> {
    let begun = shared.begun()?;
    let mut entry = entry.clone();
    // What can't be believed must not decide which bytes to leave out.
    let size_bytes = entry.size_bytes;
    let extents = entry.extents.take();
    entry.extents = extents.filter(|extents| holes::are_sound(extents, size_bytes));
    let (parent, name) = begun.root.parent(&entry.path)?;
    let (file, reached_bytes) = match make_with(&parent, name, first_mode(shared, &entry)) {
        Ok(file) => (file, 0),
        Err(Errno::EXIST) => {
            let file = take_over(shared, begun, &parent, name, &entry)?;
            (file, size_bytes)
        }
        Err(errno) => return Err(begun.root.error("make", &entry.path, errno)),
    };
    Ok(OpenFile {
        shared: Arc::clone(shared),
        entry,
        file: RwLock::new(Some(file)),
        writing: Mutex::new(()),
        reached_bytes: AtomicU64::new(reached_bytes),
    })
}

fn make(parent: &Directory, name: &[u8]) -> Result<File, Errno> {
    make_with(parent, name, Mode::RUSR | Mode::WUSR)
}

fn make_with(parent: &Directory, name: &[u8], mode: Mode) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, mode).map(File::from)
}

/// The mode that a file is made with: its own where it will be ours, so that none has to be set later;
/// else nobody but us shall watch it arrive.
fn first_mode(shared: &Shared, entry: &Entry) -> Mode {
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let own = Mode::RUSR | Mode::WUSR;
    // With an ACL, the bits of the group are those of the mask.
    let is_ours = shared.owners.of(entry) == ours && xattrs::access_acl(entry).is_none();
    if is_ours { own | Mode::from_raw_mode(entry.mode & 0o777) } else { own }
}

/// Prepares what is there at a file's name: a file with one name is kept, sized, and gets its
/// holes; anything else makes way for a new file, which inherits its bytes if it is a file.
fn take_over(
    shared: &Shared,
    begun: &Begun,
    parent: &Directory,
    name: &[u8],
    entry: &Entry,
) -> Result<File, Error> {
    let root = &begun.root;
    let there = root.stat(parent, name, &entry.path)?;
    let keeps = match begun.rules.overwrite {
        Overwrite::IfChanged | Overwrite::Always => true,
        Overwrite::Refuse | Overwrite::Never => false,
    };
    if let (true, Some(there)) = (keeps, there.filter(Stat::is_file)) {
        // With a further name it may be a file of somebody else, even outside the root.
        if there.links() == 1
            && let Some(file) = reopen(begun, parent, name, entry, OFlags::RDWR)?
            && prepare(begun, &file, entry)?
        {
            return Ok(file);
        }
        let old = reopen(begun, parent, name, entry, OFlags::RDONLY)?;
        shared.clear_way(begun, parent, name, &entry.path)?;
        let failed = |errno| root.error("make", &entry.path, errno);
        let file = make(parent, name).map_err(failed)?;
        if let Some(old) = old {
            copy(begun, &old, &file, entry)?;
        }
        sys::ftruncate(&file, entry.size_bytes)
            .map_err(|errno| root.error("size", &entry.path, errno))?;
        return Ok(file);
    }
    if begun.rules.overwrite == Overwrite::Never {
        return Err(Error::InTheWay {
            path: root.full(&entry.path),
            reason: "overwrite `never` leaves what is there".to_owned(),
        });
    }
    shared.clear_way(begun, parent, name, &entry.path)?;
    let file = make(parent, name).map_err(|errno| root.error("make", &entry.path, errno))?;
    sys::ftruncate(&file, entry.size_bytes)
        .map_err(|errno| root.error("size", &entry.path, errno))?;
    Ok(file)
}

/// Opens a file that is there, itself and nothing behind it; lifts a mode that keeps its owner
/// out. `None` where it must be replaced: a program that runs, or not ours to open.
fn reopen(
    begun: &Begun,
    parent: &Directory,
    name: &[u8],
    entry: &Entry,
    access: OFlags,
) -> Result<Option<File>, Error> {
    // Should it be swapped for a fifo or a device just now, opening must neither wait nor act.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = || sys::openat(parent, name, flags, Mode::empty());
    let mut opened = open();
    if opened.as_ref().is_err_and(|&errno| errno == Errno::ACCESS) {
        let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = sys::openat(parent, name, place, Mode::empty())
            .map_err(|errno| begun.root.error("open", &entry.path, errno))?;
        let handle = Handle::Place(place.as_fd());
        if handle.stat().is_ok_and(|stat| stat.is_file()) && handle.set_mode(0o600).is_ok() {
            opened = open();
        }
    }
    let file = match opened {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::LOOP | Errno::NXIO) => {
            return Ok(None);
        }
        Err(errno) => return Err(begun.root.error("open", &entry.path, errno)),
    };
    let stat = Stat::of(&file, b"", AtFlags::EMPTY_PATH)
        .map_err(|errno| begun.root.error("read the attributes of", &entry.path, errno))?;
    Ok(stat.is_file().then_some(file))
}

/// Sizes a file that was there and makes its holes. `false` where the file system can't make
/// holes in it.
fn prepare(begun: &Begun, file: &File, entry: &Entry) -> Result<bool, Error> {
    let failed = |action, errno| begun.root.error(action, &entry.path, errno);
    // Nobody who could read the old content should watch the new one arrive. If it's not ours to
    // change, that shows at the end as a shortfall.
    let _ = Handle::Open(file.as_fd()).set_mode(0o600);
    sys::ftruncate(file, entry.size_bytes).map_err(|errno| failed("size", errno))?;
    let Some(extents) = &entry.extents else {
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

/// Copies what an old file holds where the entry has data.
fn copy(begun: &Begun, old: &File, new: &File, entry: &Entry) -> Result<(), Error> {
    let whole = [Extent { offset_bytes: 0, length_bytes: entry.size_bytes }];
    let extents = entry.extents.as_deref().unwrap_or(&whole);
    let failed = |source| Error::Io {
        action: "copy within the destination",
        path: begun.root.full(&entry.path),
        source,
    };
    let mut buffer = vec![0; COPY_BYTES];
    for extent in extents {
        let mut offset = extent.offset_bytes;
        let end = offset.saturating_add(extent.length_bytes);
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let length = left.min(buffer.len());
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = old.read_at(piece, offset).map_err(failed)?;
            if read == 0 {
                return Ok(());
            }
            let piece = piece.get(..read).unwrap_or_default();
            new.write_all_at(piece, offset).map_err(failed)?;
            offset += u64::try_from(read).unwrap_or(u64::MAX);
        }
    }
    Ok(())
}

/// Lets the disk begin with what will have to be durable at the end: Linux writes dirty pages out when it
/// is told that they are not needed, without waiting for them. Only advice, so nothing is said of errors.
fn start_writing_out(file: &File, offset_bytes: u64, length: usize) {
    if length < WRITTEN_OUT_AT_ONCE_BYTES {
        return;
    }
    let length_bytes = u64::try_from(length).ok().and_then(std::num::NonZeroU64::new);
    let _advice = sys::fadvise(file, offset_bytes, length_bytes, sys::Advice::DontNeed);
}

impl OpenFile {
    fn error(&self, action: &'static str, source: std::io::Error) -> Error {
        self.shared.error(action, &self.entry.path, source)
    }

    fn closed(&self) -> Error {
        self.error("write", std::io::Error::other("it is finished already"))
    }
}

impl Output for OpenFile {
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), Error> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().ok_or_else(|| self.closed())?;
        let length_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = offset_bytes.saturating_add(length_bytes);
        if end > self.entry.size_bytes {
            let beyond =
                format!("the piece ends at byte {end}, but the file has {}", self.entry.size_bytes);
            let kind = std::io::ErrorKind::InvalidInput;
            return Err(self.error("write", std::io::Error::new(kind, beyond)));
        }
        let write = |piece: &[u8], offset: u64| {
            let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all_at(piece, offset).map_err(|source| self.error("write", source))?;
            drop(writing);
            start_writing_out(file, offset, piece.len());
            Ok(())
        };
        let Some(extents) = &self.entry.extents else {
            self.reached_bytes.fetch_max(end, Ordering::Relaxed);
            return write(bytes, offset_bytes);
        };
        for part in holes::data_of(extents, offset_bytes, bytes.len()) {
            let start = u64::try_from(part.start).unwrap_or(u64::MAX);
            let piece = bytes.get(part).unwrap_or_default();
            let offset = offset_bytes.saturating_add(start);
            let reached = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            self.reached_bytes.fetch_max(reached, Ordering::Relaxed);
            write(piece, offset)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let file = file.take().ok_or_else(|| self.closed())?;
        if self.reached_bytes.load(Ordering::Relaxed) < self.entry.size_bytes {
            // A hole at the end. Sized here and not at first: a small file needs no such call.
            sys::ftruncate(&file, self.entry.size_bytes)
                .map_err(|errno| self.error("size", errno.into()))?;
        }
        self.shared.apply(Handle::Open(file.as_fd()), &self.entry)
    }
}

impl Output for Nowhere {
    fn write_at(&self, _bytes: &[u8], _offset_bytes: u64) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
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
