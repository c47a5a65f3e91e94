//! What every command has in common: JSON that parses, pipes that stay clean, completions, signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, run_until};

/// One run of every command that needs nothing but a repository with snapshots.
const COMMANDS: [&[&str]; 15] = [
    &["backup", "data"],
    &["snapshots"],
    &["ls", "latest"],
    &["ls", "-lR", "latest:data"],
    &["find", "*"],
    &["diff", "latest", "latest"],
    &["cat", "latest:data/a.txt"],
    &["stats"],
    &["check"],
    &["check", "--read-data=1/2"],
    &["key", "list"],
    &["store", "test", "--size=1MiB"],
    &["restore", "latest", "--to", "x", "--dry-run"],
    &["restore", "latest", "--to", "back"],
    &["completions", "bash"],
];

#[test]
fn every_command_answers_in_json() {
    let place = Place::new();
    place.back_up();
    for arguments in COMMANDS {
        let said = place.recover(arguments.iter().chain(&["--json"])).ok();
        said.json(arguments[0]);
    }
    place.with_key(None, ["init", "--keys", "k2", "-r", "r2", "--json"]).ok().json("init");
    let answer = place.recover(["restore", "latest:data", "--to", "r", "--json"]).ok();
    assert_eq!(answer.json("restore")["files"], 2);
}

#[test]
fn every_failure_answers_in_json() {
    let place = Place::new();
    for (arguments, code) in [
        (vec!["snapshots", "--json", "--key-file", "nowhere"], 2),
        (vec!["--json", "ls", "latest"], 10),
        (vec!["ls", "--json", "latest", "--nonsense"], 2),
        (vec!["backup", "--json", "missing"], 4),
        (vec!["init", "--json", "--keys", "keys"], 7),
        (vec!["cat", "--json", "latest:data/a.txt", "--key-file", "keys/agent.key"], 10),
    ] {
        let command = arguments.iter().find(|word| !word.starts_with("--")).unwrap();
        let said = place.run(&arguments);
        assert_eq!(said.code, code, "{arguments:?} {said:?}");
        said.json(command);
    }
    place.run(["--json"]).json("");
}

#[test]
fn pipes_stay_clean_and_quiet_is_quiet() {
    let place = Place::new();
    for arguments in COMMANDS {
        let said = place.recover(arguments).ok();
        assert!(!said.stdout.contains(&0x1b), "{arguments:?}");
        assert_eq!(said.stderr, "", "{arguments:?}");
    }
    let said = place.run(["--quiet", "backup", "data"]).ok();
    assert_eq!((said.text().as_str(), said.stderr.as_str()), ("", ""));
    let said = place.run(["backup", "data", "--log", "info", "--log-format", "json"]).ok();
    for line in said.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn nobody_need_read_to_the_end() {
    let place = Place::new();
    for n in 0..3000 {
        place.write(&format!("data/many/{n:0200}"), b"");
    }
    place.back_up();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("backstay"))
        .args(["-r", "repository", "--key-file", "keys/agent.key", "ls", "-R", "latest"])
        .current_dir(place.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "data/\n");
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), complaint.as_str()), (Some(130), ""));
}

#[test]
fn completions_for_every_shell() {
    let place = Place::bare();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = place.with_key(None, ["completions", shell]).ok().text();
        for command in ["snapshots", "restore", "completions"] {
            assert!(text.contains(command), "{shell}");
        }
    }
}

#[test]
fn help_names_every_exit_code() {
    let text = Place::bare().run(["--help"]).ok().text();
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "130"] {
        let named = text.lines().any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(named, "{code}");
    }
}

/// The demo's engine writes until it is told to stop, which makes it good to be told so.
#[test]
fn signals_end_a_run_with_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::bare();
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("backstay"))
            .args(["demo", "--engine", "engine", "--acknowledged", "acknowledged"])
            .current_dir(place.path("."))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        run_until(&mut child, || place.path("acknowledged").exists());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.starts_with("error: interrupted"), "{said}");
    }
}

#[test]
fn the_demo_proves_itself() {
    let place = Place::bare();
    let said =
        place.with_key(None, ["demo", "--directory", "demo", "--backups", "2", "--json"]).ok();
    let answer = said.json("demo");
    let number = |key: &str| answer[key].as_u64().unwrap();
    assert!(number("restored_records") >= number("promised_records"));
    place.with_key(None, ["demo", "--directory", "demo"]).refuses(7, &["exists already"]);
}
