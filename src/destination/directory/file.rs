//! Files: opened so that nothing else is ever written through, filled in pieces, then sealed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{self as sys, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Error, Output, Overwrite};
use super::attributes::Handle;
use super::beneath::Directory;
use super::present::{self, Found};
use super::{Begun, Shared, holes};
use crate::entry::Entry;

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

/// Opens the file of an entry for writing: what `existing` found usable, with its bytes, or a new file
/// with mode 0600, which only this user can open. It gets its own mode last. Anything else under that name
/// is removed first.
pub(super) fn create(shared: &Arc<Shared>, entry: &Entry) -> Result<OpenFile, Error> {
    let begun = shared.begun()?;
    Shared::require_safe_top(begun)?;
    let mut entry = entry.clone();
    // What can't be believed must not decide which bytes to leave out.
    let size_bytes = entry.size_bytes;
    let extents = entry.extents.take();
    entry.extents = extents.filter(|extents| holes::are_sound(extents, size_bytes));
    let found = shared.lock_found().get(&entry.path).copied();
    let (file, reached_bytes) = match found {
        Some(Found::Usable(identity)) => {
            (present::open_again(begun, &entry.path, identity)?, size_bytes)
        }
        Some(Found::Nothing) | None => (make(shared, begun, &entry)?, 0),
    };
    Ok(OpenFile {
        shared: Arc::clone(shared),
        entry,
        file: RwLock::new(Some(file)),
        writing: Mutex::new(()),
        reached_bytes: AtomicU64::new(reached_bytes),
    })
}

fn make(shared: &Shared, begun: &Begun, entry: &Entry) -> Result<File, Error> {
    let (parent, name) = begun.root.parent(&entry.path)?;
    let failed = |errno| begun.root.error("make", &entry.path, errno);
    let file = match make_new(&parent, name) {
        Err(Errno::EXIST) if begun.rules.overwrite == Overwrite::Never => {
            return Err(Error::InTheWay {
                path: begun.root.full(&entry.path),
                reason: "overwrite `never` leaves what is there".to_owned(),
            });
        }
        Err(Errno::EXIST) => {
            shared.clear_way(begun, &parent, name, &entry.path)?;
            make_new(&parent, name).map_err(failed)?
        }
        made => made.map_err(failed)?,
    };
    Shared::begin_flags(&file, entry);
    if present::compares(begun) {
        // Ours, and only begun: there is nothing in it to compare with.
        shared.lock_found().insert(entry.path.clone(), Found::Nothing);
    }
    Ok(file)
}

/// A new file, and never what someone put at its name just now. An inherited ACL has no effect below
/// this mode: its mask is the mode's group bits.
fn make_new(parent: &Directory, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
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
        self.shared.apply(Handle::Open(file.as_fd()), &self.entry)?;
        if present::compares(self.shared.begun()?) {
            self.shared.lock_found().remove(&self.entry.path);
        }
        Ok(())
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
