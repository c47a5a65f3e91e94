//! What a directory source leaves out by pattern: by the source, which leaves out what matches, and by the
//! destination, which must not remove what the source never looked at.
//!
//! As in git, nothing below an excluded directory can be taken back, since it is never looked into.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::pread;

use super::Patterns;

/// What such patterns are called in an error.
const WHAT: &str = "exclude pattern";

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

/// What is left out.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    patterns: Patterns,
    texts: Vec<String>,
}

impl Exclude {
    /// Compiles patterns. Fails with the reason where one is not valid or can match nothing.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        Ok(Self { patterns: Patterns::new(texts, WHAT)?, texts: texts.to_vec() })
    }

    /// Refuses patterns that begin with the source's own path, as other tools write them: ours begin at the
    /// source's root. `given` and `real` are the path of the source, `root` is the directory that is walked.
    pub fn check_against(&self, given: &Path, real: &Path, root: &Path) -> Result<(), String> {
        for pattern in &self.texts {
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
        &self.texts
    }

    /// Whether the entry at `path`, from the source's root, is left out. Costs a match against each pattern.
    pub fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        self.patterns.verdict(path, is_directory) == Some(true)
    }
}

/// Refuses a pattern that can match nothing, and says what to write instead.
pub fn check(pattern: &str) -> Result<(), String> {
    super::check(pattern, WHAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_gitignore() {
        let patterns = ["*.log", "!keep.log", "/top", "build/", "a/b", "**/deep/*.tmp"];
        let exclude = Exclude::new(&patterns.map(str::to_owned)).unwrap();
        let matches = |path: &str, is_directory| exclude.matches(path.as_bytes(), is_directory);
        assert!(matches("x.log", false) && matches("d/x.log", false));
        assert!(!matches("keep.log", false) && !matches("d/keep.log", false));
        assert!(matches("top", false) && !matches("d/top", false));
        assert!(matches("build", true) && !matches("build", false));
        assert!(matches("a/b", false) && !matches("c/a/b", false));
        assert!(matches("x/deep/y.tmp", false) && !matches("y.tmp", false));
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
