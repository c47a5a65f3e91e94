//! What of a source a restore is asked for: `--include` and `--exclude`. One function decides for what is
//! restored, for what a dry run counts, and for what `--delete` may remove.

use std::sync::{Arc, Mutex, PoisonError};

use crate::entry::TreePath;
use crate::patterns::Patterns;
use crate::repo::tree::leaf::StoredEntry;

/// Patterns of what is wanted; the default wants everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    /// Each pattern of `include` by itself that was not yet seen to match anything.
    unmatched: Arc<Mutex<Vec<(String, Patterns)>>>,
    /// As they were given.
    texts: Vec<String>,
}

impl Filter {
    /// Compiles patterns in the manner of gitignore, relative to a source's root. A bad one is told with
    /// the reason.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        let compiled = |patterns: &[String], what: &str| {
            (!patterns.is_empty()).then(|| Patterns::new(patterns, what)).transpose()
        };
        let mut unmatched = Vec::new();
        for text in include.iter().filter(|text| !text.starts_with('!')) {
            let one = Patterns::new(std::slice::from_ref(text), "include pattern")?;
            unmatched.push((text.clone(), one));
        }
        let marked = |sign: char| move |text: &String| format!("{sign}{text}");
        Ok(Self {
            include: compiled(include, "include pattern")?,
            exclude: compiled(exclude, "exclude pattern")?,
            unmatched: Arc::new(Mutex::new(unmatched)),
            texts: include.iter().map(marked('+')).chain(exclude.iter().map(marked('-'))).collect(),
        })
    }

    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Whether the entry at `path`, from the source's root, is wanted for its own sake: an include
    /// pattern matches it or a directory that it is in, and no exclude pattern does. It need not exist
    /// in the snapshot.
    pub fn selects(&self, path: &TreePath, is_directory: bool) -> bool {
        let excluded =
            self.exclude.as_ref().is_some_and(|patterns| patterns.take_whole(path, is_directory));
        !excluded
            && self
                .include
                .as_ref()
                .is_none_or(|patterns| patterns.take_nearest(path, is_directory))
    }

    /// Include patterns that matched nothing of what was asked about so far, excluded or not.
    pub fn unmatched(&self) -> Vec<String> {
        let unmatched = self.unmatched.lock().unwrap_or_else(PoisonError::into_inner);
        unmatched.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Tells this selection from every other one.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    fn note(&self, path: &TreePath, is_directory: bool) {
        let mut unmatched = self.unmatched.lock().unwrap_or_else(PoisonError::into_inner);
        unmatched
            .retain(|(_, pattern)| pattern.verdict(path.as_bytes(), is_directory) != Some(true));
    }
}

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
            self.filter.note(path, is_directory);
            while self.held.pop_if(|held| !path.starts_with(&held.entry.path)).is_some() {}
            if self.filter.selects(path, is_directory) {
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
    use crate::entry::{Entry, FileTime, Kind, Seen};

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

    #[test]
    fn bad_patterns_are_named() {
        let one = |text: &str| vec![text.to_owned()];
        let reason = Filter::new(&one("[a"), &[]).unwrap_err();
        assert!(reason.starts_with("include pattern \"[a\""), "{reason}");
        let reason = Filter::new(&[], &one(" ")).unwrap_err();
        assert!(reason.starts_with("exclude pattern \" \""), "{reason}");
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
                    other.starts_with(path) && filter.selects(other, is_directory(other))
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
