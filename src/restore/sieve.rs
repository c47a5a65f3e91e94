//! What passes of a source when a restore is asked for a part of it, by `--include` and `--exclude`.

use crate::patterns::Filter;
use crate::repo::tree::leaf::StoredEntry;

/// Lets through what a filter selects, and before it the directories that hold it. Takes entries in path
/// order.
#[derive(Debug, Default)]
pub struct Sieve {
    filter: Filter,
    /// Directories on the way to here, outermost first, that nothing was let through of yet.
    held: Vec<StoredEntry>,
}

impl Sieve {
    /// Stands before the first entry.
    pub fn new(filter: &Filter) -> Self {
        Self { filter: filter.clone(), held: Vec::new() }
    }

    /// The entries of `entries`, and of those held back before, that are to be restored.
    pub fn pass(&mut self, entries: Vec<StoredEntry>) -> Vec<StoredEntry> {
        if self.filter.is_everything() {
            return entries;
        }
        let mut passed = Vec::with_capacity(entries.len());
        for stored in entries {
            let (path, is_directory) = (&stored.entry.path, stored.entry.is_directory());
            self.filter.note(path.as_bytes(), is_directory);
            while self.held.pop_if(|held| !path.starts_with(&held.entry.path)).is_some() {}
            if self.filter.selects(path.as_bytes(), is_directory) {
                passed.append(&mut self.held);
                passed.push(stored);
            } else if is_directory {
                self.held.push(stored);
            }
        }
        passed
    }

    /// The directories that were held back, before entries that cannot be read: what is lost may have
    /// been selected, and what is selected may come after it in one of them.
    pub fn release(&mut self) -> Vec<StoredEntry> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Entry, FileTime, Kind, Seen, TreePath};

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    /// Paths that end with a slash are directories.
    fn stored(text: &str) -> StoredEntry {
        let kind =
            if text.is_empty() || text.ends_with('/') { Kind::Directory } else { Kind::File };
        StoredEntry::bare(Entry {
            path: TreePath::from_bytes(text.trim_end_matches('/')).unwrap(),
            kind,
            mode: 0,
            user_id: 0,
            group_id: 0,
            user_name: None,
            group_name: None,
            modified: FileTime::default(),
            changed: FileTime::default(),
            device: 0,
            inode: 0,
            links: 1,
            size_bytes: 0,
            xattrs: Vec::new(),
            extents: None,
            volume: 0,
            inode_flags: 0,
            seen: Seen::Whole,
        })
    }

    fn passed(filter: &Filter, paths: &[&str], at_a_time: usize) -> Vec<String> {
        let mut sieve = Sieve::new(filter);
        let groups = paths.chunks(at_a_time);
        let groups = groups.map(|group| group.iter().map(|path| stored(path)).collect());
        let passed = groups.flat_map(|group: Vec<StoredEntry>| sieve.pass(group));
        passed.map(|stored| stored.entry.path.to_string()).collect()
    }

    const TREE: [&str; 9] =
        ["", "a/", "a/b/", "a/b/c.log", "a/b/d", "a/e.log", "f/", "f/g/", "h.log"];

    #[test]
    fn what_is_wanted_comes_with_the_directories_that_hold_it() {
        assert_eq!(passed(&Filter::default(), &TREE, 2).len(), TREE.len());
        assert_eq!(
            passed(&filter(&["*.log"], &[]), &TREE, 3),
            ["", "a", "a/b", "a/b/c.log", "a/e.log", "h.log"]
        );
        assert_eq!(passed(&filter(&["/a/b"], &["*.log"]), &TREE, 1), ["", "a", "a/b", "a/b/d"]);
        assert_eq!(passed(&filter(&["g/"], &[]), &TREE, 9), ["", "f", "f/g"]);
        assert_eq!(
            passed(&filter(&[], &["b"]), &TREE, 9),
            ["", "a", "a/e.log", "f", "f/g", "h.log"]
        );
        assert_eq!(passed(&filter(&["nothing"], &[]), &TREE, 9), Vec::<String>::new());
        assert_eq!(passed(&filter(&["a/", "!*.log"], &[]), &TREE, 9), ["", "a", "a/b", "a/b/d"]);
    }

    #[test]
    fn an_include_that_matches_nothing_is_known() {
        let filter = filter(&["*.log", "typo", "!a/", "g"], &["*"]);
        passed(&filter, &TREE, 4);
        assert_eq!(filter.unmatched(), ["typo"]);
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec("[abc]", 1..5).prop_map(|parts| parts.join("/"))
    }

    fn pattern() -> impl Strategy<Value = String> {
        "!?/?(a|b|\\*|[ab])(/(b|\\*|\\*\\*/c))?/?"
    }

    proptest! {
        /// What passes is what is selected and the directories above it, each once and in order, however
        /// the entries come.
        #[test]
        fn a_sieve_passes_what_is_selected_and_its_parents(
            files in prop::collection::btree_set(path(), 1..20),
            include in prop::collection::vec(pattern(), 0..3),
            exclude in prop::collection::vec(pattern(), 0..3),
            at_a_time in 1..7_usize,
        ) {
            let filter = Filter::new(&include, &exclude).unwrap();
            let mut tree: BTreeSet<TreePath> = BTreeSet::new();
            for file in &files {
                let mut path = TreePath::from_bytes(file.as_bytes());
                while let Some(part) = path {
                    path = part.parent();
                    tree.insert(part);
                }
            }
            let is_directory = |path: &TreePath| {
                tree.iter().any(|other| other != path && other.starts_with(path))
            };
            let wanted = |path: &TreePath| {
                filter.is_everything() || tree.iter().any(|other| {
                    other.starts_with(path) && filter.selects(other.as_bytes(), is_directory(other))
                })
            };
            let expected: Vec<String> =
                tree.iter().filter(|path| wanted(path)).map(ToString::to_string).collect();
            let texts: Vec<String> = tree
                .iter()
                .map(|path| if is_directory(path) { format!("{path}/") } else { path.to_string() })
                .map(|text| if text == "/" { String::new() } else { text })
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            prop_assert_eq!(passed(&filter, &texts, at_a_time), expected);
        }
    }
}
