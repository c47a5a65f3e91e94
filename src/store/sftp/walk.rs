//! Listing: a walk in the order of keys. Several directories are read at a time, since each takes round
//! trips; no more is held than the names of those and of the directories above them.
//!
//! Keys are ordered by their bytes, and `/` sorts after `-` and `.`: so a directory is sorted as its name
//! with a slash behind it, which is how its keys go on.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::SftpStore;
use super::directory::{Entry, Kind, Rows, read_names};
use super::pool::Ticket;
use super::session::{Lane, attributes};
use super::table::Trouble;
use super::wire::{Request, status};
use crate::class::Class;
use crate::store::remote::{self, Failure, Pages};
use crate::store::{Key, Object, is_component};

/// Objects per page.
const PAGE: usize = 1_000;
/// Directories read at a time.
const AHEAD_DIRECTORIES: usize = 32;
/// More names than are ever held of a repository: sessions of many years, all in one directory.
const MOST_NAMES: usize = 4_000_000;

/// A walk that has come to some place; asked again, after a failure too, it goes on from there.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    store: &'a SftpStore,
    prefix: String,
    /// For each directory from the root to where we are, what remains of it, the next one last.
    remaining: Vec<Vec<Entry>>,
    /// Directories that were read ahead.
    ahead: HashMap<Box<str>, Vec<Entry>>,
    /// What was found for the next page.
    page: Vec<Object>,
    has_begun: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a SftpStore, prefix: &str) -> Self {
        Self {
            store,
            prefix: prefix.to_owned(),
            remaining: Vec::new(),
            ahead: HashMap::new(),
            page: Vec::new(),
            has_begun: false,
        }
    }

    /// The first object.
    pub(super) async fn first(mut self) -> Result<Option<Object>, Failure> {
        self.gather(1, 1).await?;
        Ok(self.page.pop())
    }

    /// Walks until the page has `count` objects or nothing remains.
    async fn gather(&mut self, count: usize, most_ahead: usize) -> Result<(), Failure> {
        let ticket = self.store.pool.session(0).await?;
        if !self.has_begun {
            self.begin(&ticket).await?;
            self.has_begun = true;
        }
        while self.page.len() < count {
            let Some(entries) = self.remaining.last_mut() else {
                break;
            };
            let Some(next) = entries.last() else {
                self.remaining.pop();
                continue;
            };
            if next.is_directory() {
                if let Some(read) = self.ahead.remove(&*next.name) {
                    entries.pop();
                    self.remaining.push(read);
                } else {
                    self.read_ahead(&ticket, most_ahead).await?;
                }
            } else if let Some(Entry { name, size_bytes }) = entries.pop() {
                self.page.push(Object { key: Key::new(name), size_bytes });
            }
        }
        Ok(())
    }

    /// Reads the directory in which all keys of the prefix are, or below which.
    async fn begin(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        let directory = self.prefix.rfind('/').map_or("", |slash| &self.prefix[..=slash]);
        if !directory.split_terminator('/').all(is_component) {
            return Ok(());
        }
        let entries = match self.read_directory(ticket, directory, &self.room()).await? {
            Some(entries) => entries,
            // No such directory, or not even the repository's.
            None => match self.store.missing(ticket, directory).await {
                failure if failure.kind == remote::Kind::Missing => Vec::new(),
                failure => return Err(failure),
            },
        };
        self.remaining = vec![entries];
        Ok(())
    }

    /// Reads the next directories that the walk will come to.
    async fn read_ahead(&mut self, ticket: &Ticket, most: usize) -> Result<(), Failure> {
        let entries = self.remaining.iter().rev().flat_map(|entries| entries.iter().rev());
        let next = entries
            .filter(|entry| entry.is_directory() && !self.ahead.contains_key(&entry.name))
            .map(|entry| entry.name.clone())
            .take(most);
        let (walk, room) = (&*self, &self.room());
        let reading = stream::iter(next.collect::<Vec<_>>()).map(|name| async move {
            // One that has gone since its name was read is empty.
            let entries = walk.read_directory(ticket, &name, room).await?.unwrap_or_default();
            Ok::<_, Failure>((name, entries))
        });
        let read: Vec<_> = reading.buffer_unordered(most).try_collect().await?;
        self.ahead.extend(read);
        Ok(())
    }

    /// What is in a directory, the first one last; none if there is no such directory. Takes from
    /// `room`, the number of names for which there is still room.
    async fn read_directory(
        &self,
        ticket: &Ticket,
        directory: &str,
        room: &AtomicUsize,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        let path = self.store.location.path_of(directory);
        let mut rows = Rows::new(directory, &self.prefix, room);
        match read_names(ticket, &path, &mut rows).await {
            Ok(()) => {}
            Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => {
                return Ok(None);
            }
            Err(trouble) => return Err(self.store.failed(&trouble, &path)),
        }
        if rows.are_too_many {
            let text = format!(
                "{path} and what is listed with it have more than {MOST_NAMES} names, which no \
                 repository has; check the path"
            );
            return Err(Failure::place(Class::Config, text));
        }
        let Rows { mut entries, unclear, .. } = rows;
        entries.extend(self.look_at(ticket, unclear).await?);
        entries.sort_unstable_by(|left, right| right.name.cmp(&left.name));
        Ok(Some(entries))
    }

    /// For how many more names there is room.
    fn room(&self) -> AtomicUsize {
        let held: usize = self.remaining.iter().chain(self.ahead.values()).map(Vec::len).sum();
        MOST_NAMES.saturating_sub(held).into()
    }

    /// Asks for what a listing did not tell: where links lead, and all of some servers' files.
    async fn look_at(&self, ticket: &Ticket, names: Vec<String>) -> Result<Vec<Entry>, Failure> {
        let looking = stream::iter(names).map(|name| async move {
            let path = self.store.location.path_of(&name);
            match attributes(ticket.submit(Lane::Fast, Request::Stat(&path))).await {
                Ok(found) => Ok(Entry::new(&[&name], &Kind::of(found))),
                Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => Ok(None),
                Err(trouble) => Err(self.store.failed(&trouble, &path)),
            }
        });
        let found: Vec<_> = looking.buffer_unordered(AHEAD_DIRECTORIES).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[async_trait]
impl Pages for Walk<'_> {
    async fn next(&mut self) -> Result<Option<Vec<Object>>, Failure> {
        self.gather(PAGE, AHEAD_DIRECTORIES).await?;
        let page = std::mem::take(&mut self.page);
        Ok((!page.is_empty()).then_some(page))
    }
}
