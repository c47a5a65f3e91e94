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

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

mod exclude;
mod filter;

pub use exclude::{CACHE_TAG, Exclude, check as check_exclude, is_tagged_cache};
pub use filter::Filter;

/// Compiled patterns.
#[derive(Clone, Debug)]
pub struct Patterns(Gitignore);

impl Default for Patterns {
    /// No patterns: nothing matches.
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

impl Patterns {
    /// Compiles patterns. A bad one is told with the reason; `what` says what they are, as in
    /// `exclude pattern`.
    pub fn new(patterns: &[String], what: &str) -> Result<Self, String> {
        // With `.` as its root the matcher takes our relative paths as they are.
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            check(pattern, what)?;
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

/// The directories that hold a path, from the top down, without the root and the path itself.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at))
}

/// Refuses a pattern that can match nothing, and says what to write instead.
fn check(pattern: &str, what: &str) -> Result<(), String> {
    let nothing = |advice: &str| Err(format!("{what} {pattern:?} matches nothing: {advice}"));
    if pattern.trim().is_empty() {
        return nothing("remove it");
    }
    if pattern.starts_with('#') {
        return nothing("remove it, or write \\# for a name that begins with #");
    }
    let bare = pattern.strip_prefix('!').unwrap_or(pattern);
    let trimmed = bare.trim_end();
    if trimmed.len() < bare.len() && !trimmed.ends_with('\\') {
        return nothing(&format!(
            "blanks at its end are not part of it; write {trimmed:?}, or \\ before a blank that is"
        ));
    }
    if bare.trim_matches('/').is_empty() {
        return nothing("write * for everything below the source");
    }
    if bare == "~" || bare.starts_with("~/") {
        return nothing(
            "~ is not replaced by a home directory; write the path from the source's root",
        );
    }
    let rooted = bare.starts_with('/') || bare.starts_with('.');
    let inner = bare.strip_prefix('/').unwrap_or(bare);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let mut plain: Vec<&str> = Vec::new();
    for component in inner.split('/') {
        match component {
            ".." if plain.pop().is_none() => {
                return nothing("it leads out of the source; write a path from the source's root");
            }
            "" | "." | ".." => {}
            name => plain.push(name),
        }
    }
    let plain = plain.join("/");
    if plain.is_empty() {
        return nothing("write * for everything below the source");
    }
    if plain == inner {
        return Ok(());
    }
    let anchor = if rooted || !plain.contains('/') { "/" } else { "" };
    let end = if bare.ends_with('/') { "/" } else { "" };
    nothing(&format!(
        "names in a path are never empty, . or ..; write {:?}",
        format!("{anchor}{plain}{end}")
    ))
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
    fn patterns_that_match_nothing_are_refused_with_advice() {
        for (bad, advice) in [
            ("./x", "write \"/x\""),
            ("a/../b", "write \"/b\""),
            ("c/a//b", "write \"c/a/b\""),
            ("a/./b/", "write \"a/b/\""),
            ("/a//b", "write \"/a/b\""),
            ("../x", "leads out"),
            ("x ", "write \"x\""),
            ("!./x", "write \"/x\""),
            ("/", "write *"),
            ("!", "write *"),
            (".", "write *"),
            ("~/x", "home directory"),
        ] {
            let reason = check(bad, "pattern").unwrap_err();
            assert!(reason.contains(advice), "{bad:?}: {reason}");
        }
        for good in
            ["x", "/x", "x/", ".git", "..x", "a.", "**/x", "a/**/b", "x\\ ", " x", "a~", "!x"]
        {
            assert_eq!(check(good, "pattern"), Ok(()), "{good:?}");
        }
    }
}
