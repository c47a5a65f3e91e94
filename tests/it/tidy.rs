//! The shape of the house, held by tests: imports only fall, fences stand, files stay small and
//! are not forgotten. The checkers are functions over text, so that each is shown to find what was
//! planted for it.

mod code;
mod fences;
mod files;
mod floors;

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path from the root of the repository, and its text.
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// A planted one.
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// Every Rust file of ours.
fn all_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> =
        ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"]
            .map(|name| root.join(name))
            .into();
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(SourceFile {
                    path: path.strip_prefix(root).unwrap().display().to_string(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn imports_only_fall() {
    let files = all_files();
    let map = files.iter().find(|file| file.path == "src/lib.rs").unwrap();
    assert_none(&floors::violations(&floors::Floors::parse(&map.text), &files));
}

#[test]
fn fences_stand() {
    assert_none(&fences::violations(&all_files()));
}

#[test]
fn every_file_says_why_it_is_there() {
    assert_none(&files::without_a_word(&all_files()));
}

#[test]
fn files_and_functions_are_short() {
    assert_none(&files::too_long(&all_files()));
}

#[test]
fn no_module_is_forgotten() {
    assert_none(&files::forgotten(&all_files()));
}
