//! Patterns in the manner of gitignore, relative to a source's root: what a backup leaves out, what
//! `find` finds, and what a restore is asked for.
//!
//! It stands on the ground because sources, restores and destinations use it: paths are bytes here, from
//! the root on, without a slash in front.
//!
//! Without a slash a pattern is matched with names, with one with paths from the root; `*`, `?`, `[…]`
//! and `**`; a trailing `/` matches directories only. The last match wins, and `!` takes back an earlier
//! one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

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
    pub fn take_whole(&self, path: &[u8], is_directory: bool) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let takes = |(part, is_directory)| self.verdict(part, is_directory) == Some(true);
        ancestors(path).map(|part| (part, true)).chain([(path, is_directory)]).any(takes)
    }

    /// Whether the entry, or else the nearest directory that it is in of which a pattern says
    /// something, is taken: a directory stands for all below it but what is taken back there.
    pub fn take_nearest(&self, path: &[u8], is_directory: bool) -> bool {
        let own = self.verdict(path, is_directory);
        let nearest = own.or_else(|| {
            let parts: Vec<&[u8]> = ancestors(path).collect();
            parts.into_iter().rev().find_map(|part| self.verdict(part, true))
        });
        nearest.unwrap_or(false)
    }
}

/// What is wanted, and what of that is not; the default wants everything. One function decides for what
/// is restored, for what a dry run counts, and for what `--delete` may remove.
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
    pub fn selects(&self, path: &[u8], is_directory: bool) -> bool {
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

    /// Takes note that there is an entry.
    pub fn note(&self, path: &[u8], is_directory: bool) {
        let mut unmatched = self.unmatched.lock().unwrap_or_else(PoisonError::into_inner);
        unmatched.retain(|(_, pattern)| pattern.verdict(path, is_directory) != Some(true));
    }
}

/// The directories that hold a path, from the top down, without the root and the path itself.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Patterns::new(&texts, "pattern").unwrap()
    }

    #[test]
    fn what_is_taken_whole_cannot_be_taken_back_below() {
        let patterns = patterns(&["cache/", "*.log", "!keep.log", "!cache/keep"]);
        let takes = |text: &str| patterns.take_whole(text.as_bytes(), false);
        assert!(takes("a.log") && takes("x/a.log") && takes("x/cache/y/z"));
        assert!(takes("cache/keep") && takes("cache/keep.log"));
        assert!(!takes("keep.log") && !takes("cache") && !takes("") && !takes("x"));
        assert!(patterns.take_whole(b"cache", true));
    }

    #[test]
    fn the_nearest_word_decides() {
        let patterns = patterns(&["etc/", "!*.tmp", "!etc/private/", "etc/private/known"]);
        let takes = |text: &str| patterns.take_nearest(text.as_bytes(), false);
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

    #[test]
    fn bad_patterns_of_a_filter_are_named() {
        let one = |text: &str| vec![text.to_owned()];
        let reason = Filter::new(&one("[a"), &[]).unwrap_err();
        assert!(reason.starts_with("include pattern \"[a\""), "{reason}");
        let reason = Filter::new(&[], &one(" ")).unwrap_err();
        assert!(reason.starts_with("exclude pattern \" \""), "{reason}");
    }
}
