//! What a directory source leaves out by pattern.
//!
//! Patterns are those of gitignore, relative to the source's root: the last match wins, `!` takes
//! back an earlier match, a trailing `/` matches directories only. As in git, nothing below an
//! excluded directory can be taken back, since it is never looked into.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::entry::TreePath;

/// Compiled patterns.
#[derive(Clone, Debug)]
pub(super) struct Exclude {
    matcher: Gitignore,
    patterns: Vec<String>,
}

impl Exclude {
    /// Compiles patterns; a bad one is told with the reason.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
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
    pub(super) fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether the entry at `path` is left out.
    pub(super) fn matches(&self, path: &TreePath, is_directory: bool) -> bool {
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
