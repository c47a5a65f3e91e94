//! What a directory source leaves out by pattern. It stands on the ground because two floors use it: the
//! source, which leaves out what matches, and the destination, which must not remove what the source never
//! looked at.
//!
//! Patterns are those of gitignore, relative to the source's root: the last match wins, `!` takes
//! back an earlier match, a trailing `/` matches directories only. As in git, nothing below an
//! excluded directory can be taken back, since it is never looked into.

use std::ffi::{CStr, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::pread;

use crate::entry::TreePath;

/// The file that marks a directory as a cache (<https://bford.info/cachedir/>).
pub const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether an open directory holds a valid [`CACHE_TAG`]. Costs one system call where there is none.
pub fn is_tagged_cache(directory: impl AsFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = openat(directory, CACHE_TAG, flags, Mode::empty()) else {
        return false;
    };
    let mut head = [0; CACHE_SIGNATURE.len()];
    pread(&tag, &mut head, 0) == Ok(head.len()) && head == CACHE_SIGNATURE
}

/// Compiled patterns.
#[derive(Clone, Debug)]
pub struct Exclude {
    matcher: Gitignore,
    patterns: Vec<String>,
}

impl Default for Exclude {
    /// No patterns: nothing is left out.
    fn default() -> Self {
        Self { matcher: Gitignore::empty(), patterns: Vec::new() }
    }
}

impl Exclude {
    /// Compiles patterns. Fails with the reason where one is not valid or can match nothing.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        // With `.` as its root the matcher takes our relative paths as they are.
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            if pattern.trim().is_empty() || pattern.starts_with('#') {
                return Err(format!(
                    "exclude pattern {pattern:?} matches nothing: \
                     remove it, or write \\# for a name that begins with #"
                ));
            }
            builder
                .add_line(None, pattern)
                .map_err(|error| format!("exclude pattern {pattern:?} is not valid: {error}"))?;
        }
        let matcher =
            builder.build().map_err(|error| format!("exclude patterns cannot be used: {error}"))?;
        Ok(Self { matcher, patterns: patterns.to_vec() })
    }

    /// The patterns as they were given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether the entry at `path`, from the source's root, is left out. Costs a match against each pattern.
    pub fn matches(&self, path: &TreePath, is_directory: bool) -> bool {
        if self.matcher.is_empty() {
            return false;
        }
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        self.matcher.matched(path, is_directory).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_gitignore() {
        let patterns = ["*.log", "!keep.log", "/top", "build/", "a/b", "**/deep/*.tmp"];
        let exclude = Exclude::new(&patterns.map(str::to_owned)).unwrap();
        let matches = |path: &str, is_directory| {
            exclude.matches(&TreePath::from_bytes(path).unwrap(), is_directory)
        };
        assert!(matches("x.log", false) && matches("d/x.log", false));
        assert!(!matches("keep.log", false) && !matches("d/keep.log", false));
        assert!(matches("top", false) && !matches("d/top", false));
        assert!(matches("build", true) && !matches("build", false));
        assert!(matches("a/b", false) && !matches("c/a/b", false));
        assert!(matches("x/deep/y.tmp", false) && !matches("y.tmp", false));
    }

    #[test]
    fn bad_patterns_are_named() {
        for bad in ["", "  ", "# no", "[a", "a{b"] {
            let reason = Exclude::new(&["fine".to_owned(), bad.to_owned()]).unwrap_err();
            assert!(reason.contains(&format!("{bad:?}")), "{reason}");
        }
    }
}
