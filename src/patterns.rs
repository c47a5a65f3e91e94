//! Patterns in the manner of gitignore, relative to a source's root: what a backup leaves out, what
//! `find` finds, and what a restore is asked for.
//!
//! Without a slash a pattern is matched with names, with one with paths from the root; `*`, `?`, `[…]`
//! and `**`; a trailing `/` matches directories only. The last match wins, and `!` takes back an earlier
//! one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::entry::TreePath;

/// Compiled patterns.
#[derive(Clone, Debug)]
pub struct Patterns(Gitignore);

impl Patterns {
    /// Compiles patterns. A bad one is told with the reason; `what` says what they are, as in
    /// `exclude pattern`.
    pub fn new(patterns: &[String], what: &str) -> Result<Self, String> {
        // With `.` as its root the matcher takes our relative paths as they are.
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            if pattern.trim().is_empty() || pattern.starts_with('#') {
                return Err(format!(
                    "{what} {pattern:?} matches nothing: \
                     remove it, or write \\# for a name that begins with #"
                ));
            }
            builder
                .add_line(None, pattern)
                .map_err(|error| format!("{what} {pattern:?} is not valid: {error}"))?;
        }
        let compiled =
            builder.build().map_err(|error| format!("{what}s cannot be used: {error}"))?;
        Ok(Self(compiled))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the last pattern that matches the entry itself takes it (`true`) or takes it back
    /// (`false`); `None` where none matches. Says nothing of the directories that the entry is in.
    pub fn verdict(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        if self.0.is_empty() || path.is_empty() {
            return None;
        }
        match self.0.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
            Match::None => None,
        }
    }

    /// Whether the entry or a directory that it is in is taken. As in git, nothing below a directory
    /// that is taken can be taken back: it is never looked into.
    pub fn take_whole(&self, path: &TreePath, is_directory: bool) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let takes = |(part, is_directory)| self.verdict(part, is_directory) == Some(true);
        ancestors(path).map(|part| (part, true)).chain([(path.as_bytes(), is_directory)]).any(takes)
    }

    /// Whether the entry, or else the nearest directory that it is in of which a pattern says
    /// something, is taken: a directory stands for all below it but what is taken back there.
    pub fn take_nearest(&self, path: &TreePath, is_directory: bool) -> bool {
        let own = self.verdict(path.as_bytes(), is_directory);
        let nearest = own.or_else(|| {
            let parts: Vec<&[u8]> = ancestors(path).collect();
            parts.into_iter().rev().find_map(|part| self.verdict(part, true))
        });
        nearest.unwrap_or(false)
    }
}

/// The directories that hold a path, from the top down, without the root and the path itself.
fn ancestors(path: &TreePath) -> impl Iterator<Item = &[u8]> {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| bytes.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Patterns::new(&texts, "pattern").unwrap()
    }

    fn path(text: &str) -> TreePath {
        TreePath::from_bytes(text).unwrap()
    }

    #[test]
    fn what_is_taken_whole_cannot_be_taken_back_below() {
        let patterns = patterns(&["cache/", "*.log", "!keep.log", "!cache/keep"]);
        let takes = |text: &str| patterns.take_whole(&path(text), false);
        assert!(takes("a.log") && takes("x/a.log") && takes("x/cache/y/z"));
        assert!(takes("cache/keep") && takes("cache/keep.log"));
        assert!(!takes("keep.log") && !takes("cache") && !takes("") && !takes("x"));
        assert!(patterns.take_whole(&path("cache"), true));
    }

    #[test]
    fn the_nearest_word_decides() {
        let patterns = patterns(&["etc/", "!*.tmp", "!etc/private/", "etc/private/known"]);
        let takes = |text: &str| patterns.take_nearest(&path(text), false);
        assert!(takes("etc/a") && takes("x/etc/b/c") && takes("etc/private/known"));
        assert!(!takes("etc/a.tmp") && !takes("etc/private/key") && !takes("a") && !takes(""));
    }

    #[test]
    fn bad_patterns_are_named() {
        for bad in ["", "  ", "# no", "[a", "a{b"] {
            let reason =
                Patterns::new(&["fine".to_owned(), bad.to_owned()], "pattern").unwrap_err();
            assert!(reason.contains(&format!("{bad:?}")), "{reason}");
        }
    }
}
