//! A list of paths as what is backed up of a directory: these, all that is below them, and the
//! directories that hold them. What is not listed is not looked at, so the cost of a walk follows the
//! list and not the tree. What of the listed paths is not there is named.

use std::sync::Arc;

use crate::entry::{Entry, FileTime, Kind, Seen, TreePath};
use crate::source::{Fault, Problem};

/// Which paths below a root are looked at. The default is all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    /// In path order, none below another; `None` stands for everything.
    paths: Option<Arc<[TreePath]>>,
}

impl Chosen {
    /// From a list in any order, with repetitions, where a path may lie below another. The root stands
    /// for everything.
    pub(super) fn new(mut paths: Vec<TreePath>) -> Self {
        paths.sort_unstable();
        // What is below a path comes right after it.
        paths.dedup_by(|later, earlier| later.starts_with(earlier));
        let everything = paths.first().is_some_and(TreePath::is_root);
        Self { paths: (!everything).then(|| paths.into()) }
    }

    /// Whether not everything is looked at.
    pub(super) fn is_a_list(&self) -> bool {
        self.paths.is_some()
    }

    /// Listed paths that are `path` or lie below it; none where `path` is below a listed one.
    pub(super) fn listed_at(&self, path: &TreePath) -> &[TreePath] {
        let paths = self.paths.as_deref().unwrap_or_default();
        let from = paths.partition_point(|listed| listed < path);
        let rest = paths.get(from..).unwrap_or_default();
        let count = rest.partition_point(|listed| listed.starts_with(path));
        rest.get(..count).unwrap_or_default()
    }

    /// The names to look at in the directory `path`, in order; `None` where that is all of them.
    pub(super) fn names_in(&self, path: &TreePath) -> Option<impl Iterator<Item = &[u8]>> {
        self.paths.as_ref()?;
        let listed = self.listed_at(path);
        let is_whole = match listed.first() {
            Some(first) => first == path,
            None => !path.is_root(),
        };
        if is_whole {
            return None;
        }
        let depth = path.components().count();
        let mut last: Option<&[u8]> = None;
        Some(listed.iter().filter_map(move |listed| {
            let name = listed.components().nth(depth)?;
            (last != Some(name)).then(|| *last.insert(name))
        }))
    }
}

/// Names each path that was asked for and is not there.
pub(super) fn missing(listed: &[TreePath], why: &str) -> Vec<Problem> {
    let problem = |path: &TreePath| Problem {
        path: path.clone(),
        fault: Fault::Missing,
        detail: format!("is listed, but {why}"),
    };
    listed.iter().map(problem).collect()
}

/// An entry of which no more than the name is known.
pub(super) fn name_only(path: TreePath, seen: Seen) -> Entry {
    Entry {
        path,
        kind: Kind::Unknown,
        mode: 0,
        user_id: 0,
        group_id: 0,
        user_name: None,
        group_name: None,
        modified: FileTime::default(),
        changed: FileTime::default(),
        device: 0,
        volume: 0,
        inode: 0,
        links: 1,
        size_bytes: 0,
        inode_flags: 0,
        seen,
        xattrs: Vec::new(),
        extents: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text).unwrap()
    }

    fn chosen(list: &[&str]) -> Chosen {
        Chosen::new(list.iter().map(|text| path(text)).collect())
    }

    /// The names in a directory, with a blank between; `*` for all.
    fn names(chosen: &Chosen, directory: &str) -> String {
        let directory = path(directory);
        let Some(names) = chosen.names_in(&directory) else {
            return "*".to_owned();
        };
        let names: Vec<&str> = names.map(|name| std::str::from_utf8(name).unwrap()).collect();
        names.join(" ")
    }

    #[test]
    fn only_what_leads_to_a_listed_path_is_looked_at() {
        let chosen = chosen(&["b/c/d", "a", "a/x", "b/c/e", "b.c", "a", "b/z"]);
        assert_eq!(names(&chosen, ""), "a b b.c");
        assert_eq!(names(&chosen, "b"), "c z");
        assert_eq!(names(&chosen, "b/c"), "d e");
        for whole in ["a", "a/x", "a/x/y", "b/c/d", "b.c"] {
            assert_eq!(names(&chosen, whole), "*", "{whole}");
        }
    }

    #[test]
    fn everything_is_everything_and_nothing_is_nothing() {
        assert_eq!(names(&Chosen::default(), ""), "*");
        assert_eq!(names(&chosen(&["", "a"]), ""), "*");
        assert_eq!(names(&chosen(&["", "a"]), "x/y"), "*");
        assert_eq!(names(&chosen(&[]), ""), "");
    }

    fn any_path() -> impl Strategy<Value = TreePath> {
        let component = prop::sample::select(vec!["a", "b", "a.", "a-", "\u{ff}"]);
        prop::collection::vec(component, 1..5).prop_map(|parts| path(&parts.join("/")))
    }

    proptest! {
        /// A walk by `names_in` over a tree comes to what a filter over the whole tree would leave.
        #[test]
        fn a_walk_by_names_sees_what_a_filter_would_leave(
            tree in prop::collection::btree_set(any_path(), 1..30),
            list in prop::collection::vec(any_path(), 0..8),
        ) {
            let mut all: BTreeSet<TreePath> = BTreeSet::new();
            for path in &tree {
                let mut next = Some(path.clone());
                while let Some(path) = next {
                    next = path.parent();
                    all.insert(path);
                }
            }
            let chosen = Chosen::new(list.clone());
            let mut seen = BTreeSet::new();
            let mut waiting = vec![TreePath::root()];
            while let Some(directory) = waiting.pop() {
                let below: BTreeSet<&[u8]> = all
                    .iter()
                    .filter(|path| path.parent().as_ref() == Some(&directory))
                    .map(TreePath::name)
                    .collect();
                let wanted: Vec<&[u8]> = match chosen.names_in(&directory) {
                    None => below.iter().copied().collect(),
                    Some(names) => names.filter(|name| below.contains(name)).collect(),
                };
                let paths = wanted.into_iter().map(|name| directory.join(name));
                waiting.extend(paths);
                seen.insert(directory);
            }
            let is_wanted = |path: &TreePath| {
                path.is_root()
                    || list.iter().any(|one| one.starts_with(path) || path.starts_with(one))
            };
            let expected: BTreeSet<TreePath> =
                all.iter().filter(|path| is_wanted(path)).cloned().collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
