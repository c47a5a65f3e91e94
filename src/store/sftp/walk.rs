//! Listing: a walk in the order of keys. Several directories are read at a time, since each takes round
//! trips; no more is held than the names of those and of the directories above them.
//!
//! Keys are ordered by their bytes, and `/` sorts after `-` and `.`: so a directory is sorted as its name
//! with a slash behind it, which is how its keys go on.

use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::SftpStore;
use super::open_file::OpenFile;
use super::pool::Ticket;
use super::session::{Answer, Lane, attributes, handle, names};
use super::table::Trouble;
use super::wire::{Attributes, Name, Request, status};
use crate::class::Class;
use crate::store::remote::{self, Failure, Pages};
use crate::store::{Key, Object, is_component};

/// Objects per page.
const PAGE: usize = 1_000;
/// Directories read at a time.
const AHEAD_DIRECTORIES: usize = 32;
/// Requests for names of one directory under way: OpenSSH answers each with a hundred.
const AHEAD_NAMES: usize = 4;
/// A directory with more names is none of ours.
const MOST_NAMES: usize = 1_000_000;

/// A file, or a directory, whose name ends with a slash; both named from the repository on.
#[derive(Debug)]
struct Entry {
    name: String,
    size_bytes: u64,
}

/// A walk that has come to some place; asked again, after a failure too, it goes on from there.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    store: &'a SftpStore,
    prefix: String,
    /// For each directory from the root to where we are, what remains of it, the next one last.
    remaining: Vec<Vec<Entry>>,
    /// Directories that were read ahead.
    ahead: HashMap<String, Vec<Entry>>,
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
            if next.name.ends_with('/') {
                if let Some(read) = self.ahead.remove(&next.name) {
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
        let entries = match self.read_directory(ticket, directory).await? {
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
            .filter(|entry| entry.name.ends_with('/') && !self.ahead.contains_key(&entry.name))
            .map(|entry| entry.name.clone())
            .take(most);
        let walk = &*self;
        let reading = stream::iter(next.collect::<Vec<_>>()).map(|name| async move {
            // One that has gone since its name was read is empty.
            let entries = walk.read_directory(ticket, &name).await?.unwrap_or_default();
            Ok::<_, Failure>((name, entries))
        });
        let read: Vec<_> = reading.buffer_unordered(most).try_collect().await?;
        self.ahead.extend(read);
        Ok(())
    }

    /// What is in a directory, the first one last; none if there is no such directory.
    async fn read_directory(
        &self,
        ticket: &Ticket,
        directory: &str,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        let path = self.store.location.path_of(directory);
        let found = match read_names(ticket, &path).await {
            Ok(found) => found,
            Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => {
                return Ok(None);
            }
            Err(trouble) => return Err(self.store.failed(&trouble, &path)),
        };
        if found.len() > MOST_NAMES {
            let text = format!("{path} has more than {MOST_NAMES} names; it is no repository's");
            return Err(Failure::place(Class::Config, text));
        }
        let mut entries = Vec::with_capacity(found.len());
        let mut unclear = Vec::new();
        for Name { name, attributes } in found {
            // What cannot be part of a key is not ours: `lost+found`, an unfinished file.
            let Some(name) = std::str::from_utf8(&name).ok().filter(|name| is_component(name))
            else {
                continue;
            };
            let name = format!("{directory}{name}");
            if !name.starts_with(&self.prefix) {
                continue;
            }
            match kind_of(attributes) {
                Kind::Unclear => unclear.push(name),
                kind => entries.extend(entry(&name, &kind)),
            }
        }
        entries.extend(self.look_at(ticket, unclear).await?);
        entries.sort_unstable_by(|left, right| right.name.cmp(&left.name));
        Ok(Some(entries))
    }

    /// Asks for what a listing did not tell: where links lead, and all of some servers' files.
    async fn look_at(&self, ticket: &Ticket, names: Vec<String>) -> Result<Vec<Entry>, Failure> {
        let looking = stream::iter(names).map(|name| async move {
            let path = self.store.location.path_of(&name);
            match attributes(ticket.submit(Lane::Fast, Request::Stat(&path))).await {
                Ok(found) => Ok(entry(&name, &kind_of(found))),
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

/// What a name stands for.
enum Kind {
    File(u64),
    Directory,
    /// Neither.
    Other,
    /// That is not known before one asks.
    Unclear,
}

fn kind_of(attributes: Attributes) -> Kind {
    match (attributes.is_directory(), attributes.is_file(), attributes.size_bytes) {
        (Some(true), ..) => Kind::Directory,
        (_, Some(true), Some(size_bytes)) => Kind::File(size_bytes),
        (Some(false), Some(false), _) if attributes.is_link() == Some(false) => Kind::Other,
        _ => Kind::Unclear,
    }
}

/// The entry of a file or directory.
fn entry(name: &str, kind: &Kind) -> Option<Entry> {
    match kind {
        Kind::File(size_bytes) => Some(Entry { name: name.to_owned(), size_bytes: *size_bytes }),
        Kind::Directory => Some(Entry { name: format!("{name}/"), size_bytes: 0 }),
        Kind::Other | Kind::Unclear => None,
    }
}

/// All names in a directory.
async fn read_names(ticket: &Ticket, path: &str) -> Result<Vec<Name>, Trouble> {
    let handle = handle(ticket.submit(Lane::Fast, Request::OpenDirectory(path))).await?;
    let directory = OpenFile::new(ticket.shared(), Lane::Fast, handle);
    let ask = || ticket.submit(Lane::Fast, Request::ReadDirectory(directory.handle()));
    let mut under_way: VecDeque<Answer> = (0..AHEAD_NAMES).map(|_| ask()).collect();
    let mut found = Vec::new();
    while let Some(oldest) = under_way.pop_front() {
        match names(oldest).await? {
            Some(next) => {
                found.extend(next);
                if found.len() > MOST_NAMES {
                    break;
                }
                under_way.push_back(ask());
            }
            None => break,
        }
    }
    Ok(found)
}
