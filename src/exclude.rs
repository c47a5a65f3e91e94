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
            check(pattern)?;
            builder
                .add_line(None, pattern)
                .map_err(|error| format!("exclude pattern {pattern:?} is not valid: {error}"))?;
        }
        let matcher =
            builder.build().map_err(|error| format!("exclude patterns cannot be used: {error}"))?;
        Ok(Self { matcher, patterns: patterns.to_vec() })
    }

    /// Refuses patterns that begin with the source's own path, as other tools write them: ours begin at the
    /// source's root. `given` and `real` are the path of the source, `root` is the directory that is walked.
    pub fn check_against(&self, given: &Path, real: &Path, root: &Path) -> Result<(), String> {
        for pattern in &self.patterns {
            let bare = pattern.strip_prefix('!').unwrap_or(pattern);
            for own in [given, real].into_iter().filter(|own| own.is_absolute()) {
                let Some(rest) = own.to_str().and_then(|own| bare.strip_prefix(own)) else {
                    continue;
                };
                let is_below = rest.starts_with('/') || rest.is_empty();
                let is_there = root.join(bare.trim_matches('/')).symlink_metadata().is_ok();
                if own.parent().is_some() && is_below && !is_there {
                    return Err(format!(
                        "exclude pattern {pattern:?} matches nothing: patterns begin at {}; write {:?}",
                        own.display(),
                        if rest.len() > 1 { rest } else { "*" }
                    ));
                }
            }
        }
        Ok(())
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

/// Refuses a pattern that can match nothing, and says what to write instead.
pub fn check(pattern: &str) -> Result<(), String> {
    let nothing =
        |advice: &str| Err(format!("exclude pattern {pattern:?} matches nothing: {advice}"));
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
            "" | "." => {}
            ".." if plain.pop().is_none() => {
                return nothing("it leads out of the source; write a path from the source's root");
            }
            ".." => {}
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
            let reason = check(bad).unwrap_err();
            assert!(reason.contains(advice), "{bad:?}: {reason}");
        }
        for good in
            ["x", "/x", "x/", ".git", "..x", "a.", "**/x", "a/**/b", "x\\ ", " x", "a~", "!x"]
        {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn the_own_path_of_a_source_is_no_pattern() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let check =
            |pattern: String| Exclude::new(&[pattern]).unwrap().check_against(root, root, root);
        let reason = check(format!("{}/cache", root.display())).unwrap_err();
        assert!(reason.contains("write \"/cache\""), "{reason}");
        assert_eq!(check("/cache".to_owned()), Ok(()));
        // A source may hold a copy of such a path.
        let inner = root.join(root.strip_prefix("/").unwrap()).join("cache");
        std::fs::create_dir_all(inner).unwrap();
        assert_eq!(check(format!("{}/cache", root.display())), Ok(()));
    }
}
