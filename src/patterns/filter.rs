//! What a restore is asked for: patterns that choose, and patterns that leave out.

use std::sync::{Arc, Mutex, PoisonError};

use super::Patterns;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_patterns_of_a_filter_are_named() {
        let one = |text: &str| vec![text.to_owned()];
        let reason = Filter::new(&one("[a"), &[]).unwrap_err();
        assert!(reason.starts_with("include pattern \"[a\""), "{reason}");
        let reason = Filter::new(&[], &one(" ")).unwrap_err();
        assert!(reason.starts_with("exclude pattern \" \""), "{reason}");
    }
}
