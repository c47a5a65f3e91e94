//! Imports only fall: from a higher floor to a lower one, never sideways. The floors are read from
//! the table in `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::SourceFile;
use super::code::{code_of, words};

/// The floor of each top-level module.
pub struct Floors {
    named: BTreeMap<String, u32>,
    /// The floor of what the table does not name: its row ends with `…`.
    verbs: u32,
}

impl Floors {
    /// Reads rows such as ``| 2 | [`repo`] [`source`] | … |``.
    pub fn parse(map: &str) -> Self {
        let mut named = BTreeMap::new();
        let mut verbs = 0;
        for row in map.lines().filter_map(|line| line.strip_prefix("//! |")) {
            let mut columns = row.split('|');
            let number = columns.next().and_then(|column| column.trim().parse().ok());
            let (Some(number), Some(modules)) = (number, columns.next()) else {
                continue;
            };
            if modules.contains('…') {
                verbs = number;
            }
            let names = modules.split('`').skip(1).step_by(2);
            named.extend(names.map(|name| (name.to_owned(), number)));
        }
        assert!(
            named.len() > 5 && verbs > 0,
            "src/lib.rs has lost its table"
        );
        Self { named, verbs }
    }

    fn of(&self, module: &str) -> u32 {
        self.named.get(module).copied().unwrap_or(self.verbs)
    }
}

/// Every import that rises or stays on its floor, and every folder that the table lacks.
pub fn violations(floors: &Floors, files: &[SourceFile]) -> Vec<String> {
    let inside: Vec<_> = files
        .iter()
        .filter_map(|file| Some((file, module_path(&file.path)?)))
        .collect();
    let known: BTreeSet<&str> = inside.iter().map(|(_, path)| path[0].as_str()).collect();
    let mut violations = BTreeSet::new();
    for (file, path) in &inside {
        let from = &path[0];
        if file.path.matches('/').count() > 1 && !floors.named.contains_key(from) {
            violations.insert(format!("src/{from}/ is not in the table of src/lib.rs"));
        }
        for to in imports(&file.text, path.len()) {
            let sideways = to != *from && floors.of(&to) >= floors.of(from);
            if known.contains(to.as_str()) && sideways {
                violations.insert(format!(
                    "{}: floor {} must not import {to} of floor {}",
                    file.path,
                    floors.of(from),
                    floors.of(&to)
                ));
            }
        }
    }
    violations.into_iter().collect()
}

/// `src/store/local/mod.rs` is `store`, `local`. Roots, which join the floors, are none.
fn module_path(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let is_root = matches!(inner, "lib" | "main") || inner.starts_with("bin/");
    (!is_root).then(|| inner.split('/').map(str::to_owned).collect())
}

/// The top-level modules that a file at `depth` names: by `crate::x`, `crate::{x, y::z}`, or by
/// climbing there with `super::`.
fn imports(text: &str, depth: usize) -> BTreeSet<String> {
    let code = code_of(text);
    let climb = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for path in ["crate::", climb.as_str()] {
        for start in words(&code, path.trim_end_matches("::")) {
            let before = &code[..start];
            if before.ends_with("::") || before.ends_with('$') {
                continue;
            }
            if let Some(after) = code[start..].strip_prefix(path) {
                found.extend(heads(after));
            }
        }
    }
    found
}

/// The first names of a path or of each path in a group.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut depth = 0;
    let mut members = vec![String::new()];
    for next in group.chars() {
        match next {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ => {}
        }
        if let Some(member) = members.last_mut() {
            member.push(next);
        }
    }
    let names = members.iter();
    names
        .map(|member| identifier(member.trim_start_matches(',')))
        .collect()
}

fn identifier(text: &str) -> String {
    let text = text.trim_start();
    let is_part = |part: &char| part.is_alphanumeric() || *part == '_';
    text.chars().take_while(is_part).collect()
}

const MAP: &str = "\
//! | floor | modules | what |
//! |---|---|---|
//! | 5 | `cli` | x |
//! | 3 | `backup` `check` … | x |
//! | 2 | [`repo`] [`source`] | x |
//! | 1 | [`store`] | x |
//! | 0 | [`class`] | x |
";

#[test]
fn finds_planted_imports() {
    let floors = Floors::parse(MAP);
    let others = [
        "cli/mod.rs",
        "backup.rs",
        "prune.rs",
        "repo/mod.rs",
        "source/mod.rs",
        "store/mod.rs",
        "class.rs",
    ];
    for (path, text, is_wrong) in [
        ("src/store/s3.rs", "use crate::class::Class;", false),
        ("src/store/s3.rs", "use crate::repo::Pack;", true),
        ("src/store/s3.rs", "fn f() { crate::repo::open() }", true),
        ("src/store/s3.rs", "use super::super::repo::Pack;", true),
        ("src/store/s3.rs", "use super::repo::Pack;", false),
        ("src/store/s3.rs", "// use crate::repo::Pack;", false),
        (
            "src/repo/pack.rs",
            "use crate::{class::Class, source::Cut};",
            true,
        ),
        (
            "src/repo/pack.rs",
            "use crate::{class::Class, store::{A, source}};",
            false,
        ),
        ("src/repo/pack.rs", "use crate::repo::index;", false),
        ("src/backup.rs", "use crate::{repo, source};", false),
        // A verb that the table does not name stands with the verbs.
        ("src/backup.rs", "use crate::prune::plan;", true),
        ("src/class.rs", "use crate::cli::run;", true),
        ("src/main.rs", "use crate::cli::run;", false),
        ("src/strange/mod.rs", "", true),
    ] {
        let mut files: Vec<_> = others
            .iter()
            .map(|name| SourceFile::new(&format!("src/{name}"), ""))
            .collect();
        files.push(SourceFile::new(path, text));
        let found = violations(&floors, &files);
        assert_eq!(!found.is_empty(), is_wrong, "{path}: {text}: {found:?}");
    }
}
