//! Things at the server that must not outlive the operation that needs them, however that ends: open
//! handles, files that are not finished.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::session::{Lane, Session};
use super::wire::Request;

/// An open handle. Given back when dropped.
#[derive(Debug)]
pub(super) struct OpenFile {
    session: Arc<Session>,
    lane: Lane,
    handle: Option<Bytes>,
}

impl OpenFile {
    /// A handle that is used in `lane`.
    pub(super) fn new(session: Arc<Session>, lane: Lane, handle: Bytes) -> Self {
        Self { session, lane, handle: Some(handle) }
    }

    /// The handle.
    pub(super) fn handle(&self) -> &[u8] {
        self.handle.as_deref().unwrap_or_default()
    }

    /// All that was written has arrived: from now on nothing can be overtaken.
    pub(super) fn hurry(&mut self) {
        self.lane = Lane::Fast;
    }

    /// Gives the handle back; the answer tells whether all was well.
    pub(super) fn close(mut self) -> super::session::Answer {
        let handle = self.handle.take().unwrap_or_default();
        self.session.submit(self.lane, Request::Close(&handle))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.session.tell(self.lane, Request::Close(&handle));
        }
    }
}

/// Paths of unfinished files whose session ended before it had removed them, for another to remove.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans(Arc<Mutex<Vec<String>>>);

impl Orphans {
    /// Has `session` remove them.
    pub(super) fn remove(&self, session: &Session) {
        let paths = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for path in paths {
            session.clean_up(Lane::Fast, self.orphan(path));
        }
    }

    fn orphan(&self, path: String) -> Orphan {
        Orphan { orphans: self.clone(), path }
    }
}

/// A file whose removal nobody waits for.
#[derive(Debug)]
pub(super) struct Orphan {
    orphans: Orphans,
    pub(super) path: String,
}

impl Orphan {
    /// No answer came, so that the next session is to remove it.
    pub(super) fn keep(self) {
        self.orphans.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.path);
    }
}

/// A file under its unfinished name. Removed when dropped, or by the next session where this one ends
/// without an answer; listings ignore what is left when this process ends before that.
#[derive(Debug)]
pub(super) struct Unfinished {
    session: Arc<Session>,
    orphans: Orphans,
    lane: Lane,
    pub(super) path: String,
    /// Whether there is such a file no more.
    pub(super) is_gone: bool,
}

impl Unfinished {
    pub(super) fn new(session: Arc<Session>, orphans: Orphans, path: String) -> Self {
        Self { session, orphans, lane: Lane::Bulk, path, is_gone: false }
    }

    /// As [`OpenFile::hurry`].
    pub(super) fn hurry(&mut self) {
        self.lane = Lane::Fast;
    }

    /// Has it removed now, behind whatever may still be on its way into the file.
    pub(super) fn remove(&mut self) {
        if !std::mem::replace(&mut self.is_gone, true) {
            self.session.clean_up(self.lane, self.orphans.orphan(self.path.clone()));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.remove();
    }
}
