//! Files: each opens with a word about itself, is short, and is part of a module tree.

use super::SourceFile;
use super::code::{code_of, line_of, words};

const MOST_LINES: usize = 500;
const MOST_FUNCTION_LINES: usize = 70;

/// Files that do not open with `//!`.
pub fn without_a_word(files: &[SourceFile]) -> Vec<String> {
    let silent = files.iter().filter(|file| !file.text.starts_with("//! "));
    silent
        .map(|file| format!("{} must open with `//!`: what lives here, and why", file.path))
        .collect()
}

/// Files and function bodies with too many lines.
pub fn too_long(files: &[SourceFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > MOST_LINES {
            violations.push(format!("{}: {lines} lines, {MOST_LINES} at most", file.path));
        }
        let code = code_of(&file.text);
        for start in words(&code, "fn") {
            let lines = body_lines(&code[start..]);
            if lines > MOST_FUNCTION_LINES {
                violations.push(format!(
                    "{}:{}: a function of {lines} lines, {MOST_FUNCTION_LINES} at most",
                    file.path,
                    line_of(&code, start)
                ));
            }
        }
    }
    violations
}

/// The lines between the braces of the function that `code` starts with; none for a declaration.
fn body_lines(code: &str) -> usize {
    let (mut depth, mut brackets) = (0_u32, 0_i32);
    let mut opened_at = 0;
    for (offset, next) in code.char_indices() {
        match next {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' if depth == 0 => (depth, opened_at) = (1, offset),
            '{' => depth += 1,
            '}' if depth == 1 => {
                let newlines = code[opened_at..offset].matches('\n').count();
                return newlines.saturating_sub(1);
            }
            '}' => depth = depth.saturating_sub(1),
            // The end of a declaration; not that of the 4 in `[u8; 4]`.
            ';' if depth == 0 && brackets == 0 => return 0,
            _ => {}
        }
        // `fn(u8)` inside other brackets or braces is a type.
        if depth == 0 && (brackets < 0 || next == '}') {
            return 0;
        }
    }
    0
}

/// Files that no `mod` names.
pub fn forgotten(files: &[SourceFile]) -> Vec<String> {
    let is_declared = |file: &SourceFile| {
        let Some((parents, name)) = declared_in(&file.path) else {
            return true;
        };
        let parents = files.iter().filter(|file| parents.contains(&file.path));
        parents.into_iter().any(|parent| {
            let code = code_of(&parent.text);
            words(&code, &format!("mod {name}")).any(|start| {
                let after = &code[start + "mod ".len() + name.len()..];
                after.trim_start().starts_with(';')
            })
        })
    };
    let forgotten = files.iter().filter(|file| !is_declared(file));
    forgotten.map(|file| format!("{} is in no module: no `mod` names it", file.path)).collect()
}

/// Where a file's `mod` may stand, and its name; none for the roots of binaries, libraries, tests
/// and benchmarks.
fn declared_in(path: &str) -> Option<(Vec<String>, String)> {
    let inner = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs"))?;
    let (directory, name) = inner.rsplit_once('/')?;
    let is_root = match directory {
        "src" | "fuzz/src" => matches!(name, "lib" | "main"),
        "src/bin" | "tests" | "benches" | "fuzz/fuzz_targets" => true,
        _ => name == "main",
    };
    if is_root {
        return None;
    }
    let parents = ["/lib.rs", "/main.rs", "/mod.rs", ".rs"].map(|end| format!("{directory}{end}"));
    Some((parents.into(), name.to_owned()))
}

#[test]
fn finds_planted_files() {
    let silent = SourceFile::new("src/a.rs", "use b;\n//! too late");
    let spoken = SourceFile::new("src/a.rs", "//! why");
    assert_eq!(without_a_word(&[silent]).len(), 1);
    assert_eq!(without_a_word(&[spoken]).len(), 0);
}

#[test]
fn finds_planted_lengths() {
    let lines = |count: usize| "    x();\n".repeat(count);
    let long_file = SourceFile::new("src/a.rs", &lines(501));
    assert_eq!(too_long(&[long_file]).len(), 1);
    for (text, is_wrong) in [
        (format!("fn a() {{\n{}}}\n", lines(70)), false),
        (format!("fn a() {{\n{}}}\n", lines(71)), true),
        (format!("fn a(\n    x: [u8; 4],\n) -> fn(u8) {{\n{}}}\n", lines(71)), true),
        (format!("fn a();\nfn b() {{\n{}}}\n", lines(40)), false),
        (format!("struct A {{ f: fn(u8) }}\nimpl A {{\n{}}}\n", lines(90)), false),
        (format!("fn a() {{\n // {{\n \"{{\";\n}}\nstatic B: C = {{\n{}}}", lines(90)), false),
    ] {
        let found = too_long(&[SourceFile::new("src/a.rs", &text)]);
        assert_eq!(!found.is_empty(), is_wrong, "{text}");
    }
}

#[test]
fn finds_forgotten_modules() {
    let files = [
        SourceFile::new("src/lib.rs", "pub mod store; // mod lost;"),
        SourceFile::new("src/store/mod.rs", "mod local;\nmod inline { }"),
        SourceFile::new("src/store/local/mod.rs", ""),
        SourceFile::new("src/store/inline.rs", ""),
        SourceFile::new("src/lost.rs", ""),
        SourceFile::new("tests/it/main.rs", "mod store;"),
        SourceFile::new("tests/it/store.rs", "mod fault;"),
        SourceFile::new("tests/it/store/fault.rs", ""),
        SourceFile::new("tests/it/store/gone.rs", ""),
        SourceFile::new("benches/scan.rs", ""),
    ];
    let found = forgotten(&files);
    let paths: Vec<_> = found.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(paths, ["src/store/inline.rs", "src/lost.rs", "tests/it/store/gone.rs"]);
}
