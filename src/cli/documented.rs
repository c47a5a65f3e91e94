//! Every command line that a document shows is one that the program understands: a test reads them all, so
//! that no example names an option that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Where documents are, from the root of the project.
const PLACES: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "policies",
    "runbooks",
    "deploy",
    "benches",
    "tests/reader/README.md",
    "src/repo/FORMAT.md",
];

/// All documents below `path`.
fn documents(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            documents(&entry.unwrap().path(), found);
        }
    } else if ["md", "yaml", "yml", "json", "txt"]
        .iter()
        .any(|end| path.extension().is_some_and(|it| it == *end))
    {
        found.push(path.to_owned());
    }
}

/// The words after `backstay` of every command line in a text.
fn commands(text: &str) -> Vec<Vec<String>> {
    let command = Cli::command();
    let is_first = |word: &str| word.starts_with('-') || command.find_subcommand(word).is_some();
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        for (at, _) in line.match_indices("backstay ") {
            let before = line[..at].chars().next_back();
            // As a part of a word, or of a path to the program, it is something else.
            if before.is_some_and(|before| !matches!(before, ' ' | '`' | '(')) {
                continue;
            }
            let shown = &line[at + "backstay ".len()..];
            // In code, the command ends with it; anywhere else with a comment, a pipe, or what only
            // describes.
            let end = shown.find(['`', '|', '>', ';', '[', '…', '&']).unwrap_or(shown.len());
            let shown = shown[..end].split(" #").next().unwrap_or_default();
            let words: Vec<String> = shown.split_whitespace().map(unquoted).collect();
            if words.first().is_some_and(|word| is_first(word)) {
                found.push(words);
            }
        }
        if let Some((_, arguments)) = line.split_once("args: [") {
            let arguments = arguments.trim_end_matches(']').split(", ");
            found.push(arguments.map(unquoted).collect());
        }
    }
    found
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['\'', '"']).to_owned()
}

/// What is wrong with a command line.
fn fault(words: &[String]) -> Option<String> {
    let program = std::iter::once("backstay".to_owned());
    match Cli::try_parse_from(program.chain(words.iter().cloned())) {
        Err(error)
            if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            Some(format!("backstay {}: {error}", words.join(" ")))
        }
        _ => None,
    }
}

#[test]
fn every_command_line_in_the_documents_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for place in PLACES {
        documents(&root.join(place), &mut files);
    }
    let (mut faults, mut count) = (Vec::new(), 0);
    for file in files {
        let found = commands(&fs::read_to_string(&file).unwrap());
        count += found.len();
        let place = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        faults.extend(found.iter().filter_map(|words| Some(format!("{place}: {}", fault(words)?))));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 20, "only {count} command lines were found");
}

#[test]
fn a_wrong_one_is_found() {
    for text in [
        "# Found with: backstay snapshots --lable app=engine",
        "    $ backstay restore latest",
        "see `backstay key lost` for that",
        "              args: [run, --polciy, /policy/policy.yaml]",
        "    backstay --repository \\\n        x snapshots --nothing   # a comment",
    ] {
        let found = commands(text);
        assert_eq!(found.len(), 1, "{text}");
        assert!(fault(&found[0]).is_some(), "{text}");
    }
    for text in [
        "`backstay key list | add`",
        "    $ backstay restore latest:app --to restored   # comes back",
        "    args: [run, /policy/policy.yaml, --log-format, json]",
        "backstay --help",
    ] {
        let found = commands(text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(fault(&found[0]), None, "{text}");
    }
    for text in ["Backstay backup of x", "benches/backstay run", "a backstay holds a mast"] {
        assert!(commands(text).is_empty(), "{text}");
    }
}
