//! What may be named in one folder only.

use super::SourceFile;
use super::code::{code_of, line_of, words};

/// A path's start, and where it may stand.
const FENCES: [(&str, &str); 10] = [
    ("object_store", "src/store/"),
    ("spawn_blocking", "src/store/"),
    ("block_in_place", "src/store/"),
    ("clap", "src/cli/"),
    ("clap_complete", "src/cli/"),
    ("kube", "src/cluster/"),
    ("Timestamp::now", "src/world/"),
    ("Zoned::now", "src/world/"),
    ("SystemTime::now", "src/world/"),
    ("Instant::now", "src/world/"),
];

/// Every word that stands outside its fence. Tests may do as they like.
pub fn violations(files: &[SourceFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let code = code_of(&file.text);
        for (word, home) in FENCES {
            if file.path.starts_with(home) {
                continue;
            }
            for offset in words(&code, word) {
                let line = line_of(&code, offset);
                violations.push(format!("{}:{line}: {word} belongs in {home}", file.path));
            }
        }
    }
    violations
}

#[test]
fn finds_planted_words() {
    for (path, text, is_wrong) in [
        ("src/repo/pack.rs", "use object_store::path::Path;", true),
        (
            "src/store/s3/mod.rs",
            "use object_store::path::Path;",
            false,
        ),
        ("src/repo/pack.rs", "// unlike object_store", false),
        ("src/daemon/mod.rs", "#[derive(clap::Args)]", true),
        ("src/cli/mod.rs", "#[derive(clap::Args)]", false),
        ("src/check.rs", "let now = jiff::Timestamp::now();", true),
        (
            "src/check.rs",
            "let start = std::time::Instant::now();",
            true,
        ),
        ("src/world/clock.rs", "Timestamp::now()", false),
        (
            "src/source/directory.rs",
            "tokio::task::spawn_blocking(walk)",
            true,
        ),
        ("tests/it/store.rs", "Instant::now()", false),
    ] {
        let found = violations(&[SourceFile::new(path, text)]);
        assert_eq!(!found.is_empty(), is_wrong, "{path}: {text}");
    }
}
