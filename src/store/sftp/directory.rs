//! One directory's names as they come: what cannot be ours is dropped at once, and of the rest nothing
//! but the name is kept. A server may send what it likes, for as long as it likes; so all is bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::open_file::OpenFile;
use super::pool::Ticket;
use super::session::{Answer, Lane, handle, names};
use super::table::Trouble;
use super::wire::{Attributes, Name, Request};
use crate::store::is_component;

/// Requests for names of one directory under way: OpenSSH answers each with a hundred.
const AHEAD_NAMES: usize = 4;
/// Answers without a name that may follow each other. OpenSSH sends none; servers that filter what is
/// behind them may, so it is no end: a listing must never look shorter than it is.
const MOST_EMPTY: usize = 64;
/// No key of ours is longer, from the repository on.
const MOST_KEY_BYTES: usize = 1_024;

/// A file, or a directory, whose name ends with a slash; both named from the repository on.
#[derive(Debug)]
pub(super) struct Entry {
    /// Boxed, since there may be millions.
    pub(super) name: Box<str>,
    pub(super) size_bytes: u64,
}

impl Entry {
    /// The entry of the file or directory whose name is `parts`, joined; none for what is neither.
    pub(super) fn new(parts: &[&str], kind: &Kind) -> Option<Self> {
        let name = parts.concat();
        match kind {
            Kind::File(size_bytes) => Some(Self { name: name.into(), size_bytes: *size_bytes }),
            Kind::Directory => Some(Self { name: (name + "/").into(), size_bytes: 0 }),
            Kind::Other | Kind::Unclear => None,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }
}

/// What a name stands for.
pub(super) enum Kind {
    File(u64),
    Directory,
    /// Neither.
    Other,
    /// That is not known before one asks.
    Unclear,
}

impl Kind {
    pub(super) fn of(attributes: Attributes) -> Self {
        match (attributes.is_directory(), attributes.is_file(), attributes.size_bytes) {
            (Some(true), ..) => Self::Directory,
            (_, Some(true), Some(size_bytes)) => Self::File(size_bytes),
            (Some(false), Some(false), _) if attributes.is_link() == Some(false) => Self::Other,
            _ => Self::Unclear,
        }
    }
}

/// What a directory has turned out to hold so far.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    directory: &'a str,
    prefix: &'a str,
    /// For how many more names there is room, here and in what is read at the same time.
    room: &'a AtomicUsize,
    pub(super) entries: Vec<Entry>,
    /// Names of what the listing does not tell the kind of.
    pub(super) unclear: Vec<String>,
    /// Whether there was no room for some.
    pub(super) are_too_many: bool,
}

impl<'a> Rows<'a> {
    /// Nothing yet of what is in `directory` and begins with `prefix`.
    pub(super) fn new(directory: &'a str, prefix: &'a str, room: &'a AtomicUsize) -> Self {
        let (entries, unclear) = (Vec::new(), Vec::new());
        Self { directory, prefix, room, entries, unclear, are_too_many: false }
    }

    /// Takes what one answer brought. Foreign names take room too, since nobody may send them for ever.
    fn add(&mut self, names: Vec<Name>) {
        let take = |room: usize| room.checked_sub(names.len());
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            self.are_too_many = true;
            return;
        }
        for Name { name, attributes } in names {
            // What cannot be part of a key is not ours: `lost+found`, an unfinished file. The name is a
            // slice of the whole answer, so it is copied.
            let Some(name) = std::str::from_utf8(&name).ok().filter(|name| self.may_be_ours(name))
            else {
                continue;
            };
            match Kind::of(attributes) {
                Kind::Unclear => self.unclear.push([self.directory, name].concat()),
                kind => self.entries.extend(Entry::new(&[self.directory, name], &kind)),
            }
        }
    }

    fn may_be_ours(&self, name: &str) -> bool {
        // Of the prefix, what goes beyond this directory; all of it is a part of this directory's name
        // where there is no more.
        let is_wanted = match self.prefix.strip_prefix(self.directory) {
            Some(rest) => name.starts_with(rest),
            None => self.directory.starts_with(self.prefix),
        };
        is_wanted
            && self.directory.len().saturating_add(name.len()) <= MOST_KEY_BYTES
            && is_component(name)
    }
}

/// Reads all names in a directory, or more than there is room for.
pub(super) async fn read_names(
    ticket: &Ticket,
    path: &str,
    rows: &mut Rows<'_>,
) -> Result<(), Trouble> {
    let handle = handle(ticket.submit(Lane::Fast, Request::OpenDirectory(path))).await?;
    let directory = OpenFile::new(ticket.shared(), Lane::Fast, handle);
    let ask = || ticket.submit(Lane::Fast, Request::ReadDirectory(directory.handle()));
    let mut under_way: VecDeque<Answer> = (0..AHEAD_NAMES).map(|_| ask()).collect();
    let mut empty = 0;
    while let Some(oldest) = under_way.pop_front() {
        let Some(next) = names(oldest).await? else {
            break;
        };
        empty = if next.is_empty() { empty + 1 } else { 0 };
        if empty > MOST_EMPTY {
            // Each answer is a sign of life, so no silence would ever end this.
            return Err(Trouble::Odd);
        }
        rows.add(next);
        if rows.are_too_many {
            break;
        }
        under_way.push_back(ask());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FILE: Attributes = Attributes { size_bytes: Some(1), mode: Some(0o100_600) };

    fn file(name: impl Into<Bytes>) -> Name {
        Name { name: name.into(), attributes: FILE }
    }

    fn listed(directory: &str, prefix: &str, names: Vec<Name>) -> Vec<Box<str>> {
        let room = AtomicUsize::new(1_000);
        let mut rows = Rows::new(directory, prefix, &room);
        rows.add(names);
        rows.entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn keeps_what_may_be_ours() {
        let long = "a".repeat(MOST_KEY_BYTES);
        let all = || ["a", "ab", "b", ".", "..", ".tmp-1", "A", "\u{e4}", ""].map(file).to_vec();
        for (directory, prefix, expected) in [
            ("", "", &["a", "ab", "b"][..]),
            ("", "a", &["a", "ab"]),
            ("d/", "d/ab", &["d/ab"]),
            ("d/", "d", &["d/a", "d/ab", "d/b"]),
            ("d/", "e", &[]),
        ] {
            let found = listed(directory, prefix, all());
            assert_eq!(found, expected.iter().copied().map(Box::from).collect::<Vec<_>>());
        }
        assert_eq!(listed("", "", vec![file(long.clone())]).len(), 1);
        assert!(listed("d/", "", vec![file(long)]).is_empty());
    }

    /// A line of `ls` may be a megabyte long.
    #[test]
    fn keeps_no_more_of_an_answer_than_the_names() {
        let answer = Bytes::from(vec![b'a'; 1 << 10]);
        let unclear = Name { name: answer.slice(..5), attributes: Attributes::default() };
        let room = AtomicUsize::new(2);
        let mut rows = Rows::new("", "", &room);
        rows.add(vec![file(answer.slice(..4)), unclear]);
        assert_eq!((rows.entries.len(), rows.unclear.len()), (1, 1));
        assert!(answer.is_unique());
    }

    #[test]
    fn names_have_so_much_room_and_no_more() {
        let room = AtomicUsize::new(3);
        let (mut here, mut there) = (Rows::new("a/", "", &room), Rows::new("b/", "", &room));
        here.add(vec![file("a"), file("FOREIGN")]);
        there.add(vec![file("a")]);
        assert!(!here.are_too_many && !there.are_too_many);
        there.add(vec![file("b")]);
        assert!(there.are_too_many);
    }
}
