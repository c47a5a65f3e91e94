//! `find`: names and paths by pattern, in one snapshot or in all of them.
//!
//! Snapshots share most of their trees. A node that was searched once is not read again: what was
//! found in it is simply found in one snapshot more. So looking through a hundred snapshots costs
//! the newest one and what differs in the others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::entry::{Entry, TreePath};
use crate::repo::catalog::Unreadable;
use crate::repo::id::{ChunkId, SessionId};
use crate::repo::reference::ChunkRef;
use crate::repo::snapshot::Snapshot;
use crate::repo::tree::leaf::StoredEntry;
use crate::repo::{Error, Repository};

/// Whether upper and lower case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` finds `a` only.
    Exact,
    /// `a` finds `A` too, in every script that has case, letter by letter: `ß` is not `ss`.
    Ignored,
}

/// A compiled pattern, in the manner of gitignore: without a slash it is matched with names, with
/// one with paths from the source's root; `*`, `?`, `[…]` and `**`; a trailing `/` finds directories
/// only.
#[derive(Clone, Debug)]
pub struct Pattern {
    matcher: Gitignore,
    case: Case,
}

impl Pattern {
    /// Compiles a pattern; a bad one is told with the reason.
    pub fn parse(text: &str, case: Case) -> Result<Self, String> {
        let wrong =
            |error: &dyn std::fmt::Display| format!("pattern {text:?} is not valid: {error}");
        if text.trim().is_empty() {
            return Err(wrong(&"it is empty; '*' finds everything"));
        }
        // In a file of patterns these would be a comment and an exception.
        let line = match text.strip_prefix(['#', '!']) {
            Some(_) => format!("\\{text}"),
            None => text.to_owned(),
        };
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        let line = match case {
            Case::Exact => line,
            Case::Ignored => {
                // Knows ASCII alone; other letters are folded on both sides.
                builder.case_insensitive(true).map_err(|error| wrong(&error))?;
                folded_text(&line)
            }
        };
        builder.add_line(None, &line).map_err(|error| wrong(&error))?;
        Ok(Self { matcher: builder.build().map_err(|error| wrong(&error))?, case })
    }

    fn matches(&self, entry: &Entry) -> bool {
        let bytes = entry.path.as_bytes();
        let bytes = match self.case {
            Case::Ignored if !bytes.is_ascii() => Cow::Owned(folded(bytes)),
            _ => Cow::Borrowed(bytes),
        };
        let path = Path::new(OsStr::from_bytes(&bytes));
        !entry.path.is_root() && self.matcher.matched(path, entry.is_directory()).is_ignore()
    }
}

/// The letters beyond ASCII in lower case. Those of ASCII stay: what is not a letter in a pattern, such
/// as the range `[Z-a]`, would be another one.
fn folded_text(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() { folded.push(letter) } else { folded.extend(letter.to_lowercase()) }
    }
    folded
}

/// The same of a path, where bytes that are not text stay.
fn folded(path: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        folded.extend_from_slice(folded_text(chunk.valid()).as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// A version of an entry that fits.
#[derive(Debug)]
pub struct Found {
    /// The source's name.
    pub source: String,
    /// The entry.
    pub stored: StoredEntry,
    /// The snapshots that have it, newest first.
    pub snapshots: Vec<SessionId>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// By source and path; of one path the newest version first.
    pub found: Vec<Found>,
    /// Snapshots that were looked through.
    pub searched: u64,
    /// Those that are there but cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// Searches `snapshots`, or all there are where it is `None`.
pub async fn run(
    repository: &Repository,
    pattern: Pattern,
    snapshots: Option<Vec<Snapshot>>,
) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut snapshots = if let Some(snapshots) = snapshots {
        snapshots
    } else {
        let all = repository.catalog().await?.snapshots().await?;
        report.unreadable = all.unreadable;
        all.snapshots
    };
    snapshots.reverse();
    let mut search = Search {
        repository,
        pattern,
        found: Vec::new(),
        by_path: HashMap::new(),
        nodes: HashMap::new(),
    };
    for snapshot in &snapshots {
        report.searched += 1;
        for source in &snapshot.sources {
            let places = search.node(&source.name, source.root.clone(), None).await?;
            for place in places {
                if let Some(found) = search.found.get_mut(place)
                    && found.snapshots.last() != Some(&snapshot.id)
                {
                    found.snapshots.push(snapshot.id);
                }
            }
        }
    }
    report.found = search.found;
    report.found.sort_by(|a, b| {
        let key = |found: &Found| (found.source.clone(), found.stored.entry.path.clone());
        key(a).cmp(&key(b))
    });
    Ok(report)
}

/// Source and path, or source and node.
type Keyed<T> = (String, T);

struct Search<'a> {
    repository: &'a Repository,
    pattern: Pattern,
    found: Vec<Found>,
    /// Places in `found` of the versions of a path.
    by_path: HashMap<Keyed<TreePath>, Vec<usize>>,
    /// Places in `found` of all that is in a node.
    nodes: HashMap<Keyed<ChunkId>, Vec<usize>>,
}

impl Search<'_> {
    /// Places in `found` of all that fits in a node. `level` is 0 for a leaf, `None` for a root.
    fn node<'b>(
        &'b mut self,
        source: &'b str,
        reference: ChunkRef,
        level: Option<u8>,
    ) -> BoxFuture<'b, Result<Vec<usize>, Error>> {
        async move {
            let key = (source.to_owned(), reference.id);
            if let Some(places) = self.nodes.get(&key) {
                return Ok(places.clone());
            }
            let mut places = Vec::new();
            if level == Some(0) {
                for stored in self.repository.leaf(&reference).await? {
                    if self.pattern.matches(&stored.entry) {
                        places.push(self.place_of(source, stored));
                    }
                }
            } else {
                let inner = self.repository.inner(&reference, level).await?;
                for child in inner.children {
                    places.extend(self.node(source, child.reference, Some(inner.level - 1)).await?);
                }
            }
            self.nodes.insert(key, places.clone());
            Ok(places)
        }
        .boxed()
    }

    /// The place of this version of an entry, which may have been found in another leaf.
    fn place_of(&mut self, source: &str, stored: StoredEntry) -> usize {
        let key = (source.to_owned(), stored.entry.path.clone());
        let versions = self.by_path.entry(key).or_default();
        let known = versions.iter().find(|place| {
            self.found.get(**place).is_some_and(|found| is_same(&found.stored, &stored))
        });
        if let Some(place) = known {
            return *place;
        }
        let place = self.found.len();
        versions.push(place);
        self.found.push(Found { source: source.to_owned(), stored, snapshots: Vec::new() });
        place
    }
}

fn is_same(a: &StoredEntry, b: &StoredEntry) -> bool {
    let (a, b) = (&a.entry, &b.entry);
    a.kind == b.kind
        && a.size_bytes == b.size_bytes
        && a.modified == b.modified
        && a.mode == b.mode
        && (a.user_id, a.group_id) == (b.user_id, b.group_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    fn fits(pattern: &str, path: &str, kind: Kind) -> bool {
        fits_in(Case::Exact, pattern, path, kind)
    }

    fn fits_in(case: Case, pattern: &str, path: impl Into<Vec<u8>>, kind: Kind) -> bool {
        let entry = Entry {
            path: TreePath::from_bytes(path).unwrap(),
            kind,
            mode: 0,
            user_id: 0,
            group_id: 0,
            user_name: None,
            group_name: None,
            modified: crate::entry::FileTime::default(),
            changed: crate::entry::FileTime::default(),
            device: 0,
            inode: 0,
            links: 1,
            size_bytes: 0,
            xattrs: Vec::new(),
            extents: None,
            volume: 0,
            inode_flags: 0,
            seen: crate::entry::Seen::Whole,
        };
        Pattern::parse(pattern, case).unwrap().matches(&entry)
    }

    #[test]
    fn patterns_fit_names_or_paths() {
        for (pattern, path, expected) in [
            ("*.conf", "etc/app.conf", true),
            ("*.conf", "etc/app.config", false),
            ("etc/*.conf", "etc/app.conf", true),
            ("/etc/*.conf", "srv/etc/app.conf", false),
            ("**/deep/*", "a/b/deep/x", true),
            ("[ab]?", "x/b1", true),
            ("#notes", "x/#notes", true),
            ("!important", "!important", true),
            ("*", "", false),
        ] {
            assert_eq!(fits(pattern, path, Kind::File), expected, "{pattern} {path}");
        }
        assert!(fits("cache/", "x/cache", Kind::Directory));
        assert!(!fits("cache/", "x/cache", Kind::File));
        for case in [Case::Exact, Case::Ignored] {
            assert!(Pattern::parse("[a", case).is_err() && Pattern::parse(" ", case).is_err());
        }
    }

    /// On both sides, in names and in paths, in every script, and in bytes that are not all text.
    #[test]
    fn case_is_ignored_when_asked_for() {
        for (pattern, path) in [
            ("*.jpg", "Urlaub/IMG_1.JPG"),
            ("*.JPG", "img.jpg"),
            ("readme", "ReadMe"),
            ("ETC/*.Conf", "etc/app.conf"),
            ("größe", "GRÖSSE/GRÖßE"),
            ("ÖL*", "öl.txt"),
            ("ДОМ", "дом"),
            ("[a-c]x", "BX"),
        ] {
            assert!(fits_in(Case::Ignored, pattern, path, Kind::File), "{pattern} {path}");
            assert!(!fits(pattern, path, Kind::File), "{pattern} {path}");
        }
        assert!(fits_in(Case::Ignored, "*.TXT", b"d\xc3\x84\xff.txt".as_slice(), Kind::File));
        assert!(!fits_in(Case::Ignored, "[a-b]", "c", Kind::File));
        assert!(!fits_in(Case::Ignored, "strasse", "STRAßE", Kind::File));
    }
}
