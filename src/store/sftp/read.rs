//! Reading and removing files. A read takes two round trips: one to open the file and, where that
//! matters, to learn its length; one for its bytes, which are all asked for at once.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::SftpStore;
use super::open_file::OpenFile;
use super::pool::Ticket;
use super::session::{Lane, attributes, done, handle};
use super::table::{Piece, Trouble};
use super::wire::{Attributes, Request, status};
use crate::store::Key;
use crate::store::remote::{Failure, Found, Kind, Wanted};

/// Requests under way for one read: what OpenSSH's own client has.
const AHEAD_PIECES: usize = 64;

/// Bytes that are on their way.
struct Pending {
    piece: oneshot::Receiver<Piece>,
    offset: u64,
    length: u32,
}

impl SftpStore {
    pub(super) async fn read_object(&self, key: &Key, wanted: &Wanted) -> Result<Found, Failure> {
        let transfer_bytes = match wanted {
            Wanted::Whole(most_bytes) | Wanted::Tail(most_bytes) => *most_bytes,
            Wanted::Range(range) => range.end - range.start,
            Wanted::Nothing => 0,
        };
        let ticket = self.pool.session(transfer_bytes).await?;
        let path = self.location.path_of(key.as_str());
        let found = match wanted {
            Wanted::Range(range) => self.read_range(&ticket, &path, range).await,
            wanted => self.read_sized(&ticket, &path, wanted).await,
        };
        let Found { content, size_bytes } = match found {
            Ok(found) => found,
            Err(trouble) => return Err(self.not_read(&ticket, &trouble, &path).await),
        };
        let expected_bytes = match wanted {
            Wanted::Whole(most_bytes) if size_bytes > *most_bytes => 0,
            Wanted::Whole(_) => size_bytes,
            Wanted::Range(range) if size_bytes < range.end => 0,
            Wanted::Range(range) => range.end - range.start,
            Wanted::Tail(most_bytes) => size_bytes.min(*most_bytes),
            Wanted::Nothing => 0,
        };
        if content.len() as u64 == expected_bytes {
            Ok(Found { content, size_bytes })
        } else {
            Err(Failure::cut_off(content.len() as u64, expected_bytes))
        }
    }

    /// Reads where the length is known or does not matter.
    async fn read_range(
        &self,
        ticket: &Ticket,
        path: &str,
        range: &Range<u64>,
    ) -> Result<Found, Trouble> {
        let handle = handle(ticket.submit(Lane::Fast, Request::OpenRead(path))).await?;
        let file = OpenFile::new(ticket.shared(), Lane::Fast, handle);
        let content = self.fetch(ticket, &file, range.clone()).await?;
        if content.len() as u64 == range.end - range.start {
            // It may be longer; nobody asked.
            return Ok(Found { content, size_bytes: range.end });
        }
        let asked = ticket.submit(Lane::Fast, Request::StatHandle(file.handle()));
        let size_bytes = size_of(attributes(asked).await?)?;
        let content = if size_bytes < range.end { Bytes::new() } else { content };
        Ok(Found { content, size_bytes })
    }

    /// Reads where the length must be known.
    async fn read_sized(
        &self,
        ticket: &Ticket,
        path: &str,
        wanted: &Wanted,
    ) -> Result<Found, Trouble> {
        let opened = (*wanted != Wanted::Nothing)
            .then(|| ticket.submit(Lane::Fast, Request::OpenRead(path)));
        // Objects never change, so the name still leads to what was opened.
        let asked = ticket.submit(Lane::Fast, Request::Stat(path));
        let file = match opened {
            Some(opened) => Some(OpenFile::new(ticket.shared(), Lane::Fast, handle(opened).await?)),
            None => None,
        };
        let size_bytes = size_of(attributes(asked).await?)?;
        let range = match wanted {
            Wanted::Whole(most_bytes) if size_bytes <= *most_bytes => 0..size_bytes,
            Wanted::Tail(most_bytes) => size_bytes.saturating_sub(*most_bytes)..size_bytes,
            _ => 0..0,
        };
        let content = match file {
            Some(file) => self.fetch(ticket, &file, range).await?,
            None => Bytes::new(),
        };
        Ok(Found { content, size_bytes })
    }

    /// The bytes of `range`, or fewer if the file ends before that.
    async fn fetch(
        &self,
        ticket: &Ticket,
        file: &OpenFile,
        range: Range<u64>,
    ) -> Result<Bytes, Trouble> {
        let total = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // One buffer, cut into pieces that are filled in place and then joined again without copying.
        let mut unasked = BytesMut::with_capacity(total);
        let mut whole = BytesMut::new();
        let mut under_way: VecDeque<Pending> = VecDeque::new();
        let mut offset = range.start;
        loop {
            while offset < range.end && under_way.len() < AHEAD_PIECES {
                let most = ticket.server.read_bytes.min(self.download_piece_bytes);
                let length = u32::try_from(range.end - offset).map_or(most, |left| left.min(most));
                self.download.pass(to_usize(length)).await;
                let rest = unasked.split_off(to_usize(length));
                let buffer = std::mem::replace(&mut unasked, rest);
                let piece = ticket.read(file.handle(), offset, length, buffer);
                under_way.push_back(Pending { piece, offset, length });
                offset += u64::from(length);
            }
            let Some(oldest) = under_way.pop_front() else {
                break;
            };
            let length = to_usize(oldest.length);
            let buffer = filled(ticket, file, oldest).await?;
            let is_end = buffer.len() < length;
            whole.unsplit(buffer);
            if is_end {
                break;
            }
        }
        Ok(whole.freeze())
    }

    /// What it means that a file could not be read.
    async fn not_read(&self, ticket: &Ticket, trouble: &Trouble, path: &str) -> Failure {
        let is_directory = match trouble {
            // A directory can be opened, but not read.
            Trouble::Status(status::FAILURE, _) => {
                let asked = ticket.submit(Lane::Fast, Request::Stat(path));
                attributes(asked).await.is_ok_and(|found| found.is_directory() == Some(true))
            }
            _ => false,
        };
        let failure = self.failed(trouble, path);
        if is_directory || failure.kind == Kind::Missing {
            return self.missing(ticket, path).await;
        }
        failure
    }

    /// Removes the file and, where the server can sync, makes its absence durable: what a collector saw
    /// removed must not come back with the server's next crash.
    pub(super) async fn delete_object(&self, key: &Key) -> Result<(), Failure> {
        let ticket = self.pool.session(0).await?;
        let path = self.location.path_of(key.as_str());
        let directory = key.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
        let directory = self.location.path_of(directory);
        let removed = ticket.submit(Lane::Fast, Request::Remove(&path));
        let can_sync = ticket.server.can_sync;
        let opened = can_sync.then(|| ticket.submit(Lane::Fast, Request::OpenRead(&directory)));
        if let Err(trouble) = done(removed).await {
            return Err(self.not_read(&ticket, &trouble, &path).await);
        }
        // A server that cannot sync directories offers nothing better.
        if let Some(opened) = opened
            && let Ok(handle) = handle(opened).await
        {
            let directory = OpenFile::new(ticket.shared(), Lane::Fast, handle);
            let synced = ticket.submit(Lane::Fast, Request::Sync(directory.handle()));
            if let Err(trouble @ Trouble::Lost(_)) = done(synced).await {
                return Err(self.failed(&trouble, &path));
            }
        }
        Ok(())
    }
}

/// Waits for a piece, and asks again for what a server that gives less at a time left out. Shorter than
/// asked for only where the file ends.
async fn filled(ticket: &Ticket, file: &OpenFile, pending: Pending) -> Result<BytesMut, Trouble> {
    let Pending { mut piece, offset, length } = pending;
    let mut have = 0;
    loop {
        let closed = |_| Trouble::Lost("it was closed".to_owned());
        let Piece { buffer, trouble } = piece.await.map_err(closed)?;
        match trouble {
            Some(Trouble::Status(status::END_OF_FILE, _)) => return Ok(buffer),
            Some(trouble) => return Err(trouble),
            None if buffer.len() >= to_usize(length) => return Ok(buffer),
            None if buffer.len() == have => return Err(Trouble::Odd),
            None => have = buffer.len(),
        }
        let got = u32::try_from(have).unwrap_or(length);
        piece = ticket.read(file.handle(), offset + u64::from(got), length - got, buffer);
    }
}

/// A file's length; a directory of objects is no object.
fn size_of(attributes: Attributes) -> Result<u64, Trouble> {
    if attributes.is_directory() == Some(true) {
        return Err(Trouble::Status(status::NO_SUCH_FILE, String::new()));
    }
    attributes.size_bytes.ok_or(Trouble::Odd)
}

fn to_usize(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
