//! The program as people and scripts meet it: run as a process of its own, judged by its exit code,
//! its one line of complaint and its JSON.

mod answers;
mod elsewhere;
mod late;
mod listed;
mod logs;
mod memory;
mod outside;
mod piped;
mod policies;
mod previewing;
mod reading;
mod refusals;
mod round_trip;
mod selecting;
mod shortfalls;
mod storage;
mod store_surface;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longer than any command takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

/// A place with a repository, its keys, and a small tree called `data`.
pub struct Place {
    directory: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// One line of complaint that has all of `words` in it, and this exit code.
    #[track_caller]
    pub fn refuses(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        let prefix = if code == 3 { "warning: " } else { "error: " };
        assert!(self.stderr.starts_with(prefix), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {self:?}");
        }
    }

    /// The JSON object, of which the parts that every one has are checked.
    #[track_caller]
    pub fn json(&self, command: &str) -> Value {
        let value: Value = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.stdout)));
        assert_eq!(value["schema"], 1);
        assert_eq!(value["command"], command);
        assert_eq!(value["ok"], self.code == 0, "{self:?}");
        assert_eq!(value.get("error").is_some(), self.code != 0, "{self:?}");
        if let Some(error) = value.get("error") {
            assert_eq!(error["exit_code"], self.code, "{self:?}");
            assert!(error["class"].is_string() && error["message"].is_string());
        }
        assert_eq!(self.stderr, "", "all is in the JSON");
        value
    }
}

/// The program with a clean environment, in `directory`.
pub fn program(directory: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("backstay"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKSTAY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(directory).env("NO_COLOR", "1").timeout(LIMIT);
    command
}

pub fn said(command: &mut assert_cmd::Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until `is_ready`, as long as the program runs.
pub fn run_until(child: &mut Child, is_ready: impl Fn() -> bool) {
    while !is_ready() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Place {
    /// An empty place.
    pub fn bare() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A place with a repository and something to back up.
    pub fn new() -> Self {
        let place = Self::bare();
        // What the store honours is looked at by tests of their own.
        place.with_key(None, ["init", "--keys", "keys", "--no-probe"]).ok();
        place.write("data/a.txt", b"alpha\n");
        place.write("data/sub/b.txt", &[7; 5000]);
        std::os::unix::fs::symlink("../a.txt", place.path("data/sub/link")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The program here, with the agent key.
    pub fn command(&self) -> assert_cmd::Command {
        let mut command = program(self.directory.path());
        command.env("BACKSTAY_REPOSITORY", "repository");
        command.env("BACKSTAY_KEY_FILE", "keys/agent.key");
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        said(self.command().args(arguments))
    }

    /// Runs with the recovery key.
    pub fn recover<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.with_key(Some("keys/recovery.key"), arguments)
    }

    /// Runs with this key, or with none.
    pub fn with_key<S: AsRef<OsStr>>(
        &self,
        key: Option<&str>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Said {
        let mut command = self.command();
        match key {
            Some(key) => command.env("BACKSTAY_KEY_FILE", key),
            None => command.env_remove("BACKSTAY_KEY_FILE"),
        };
        said(command.args(arguments))
    }

    /// Backs `data` up and returns the snapshot's id.
    pub fn back_up(&self) -> String {
        let answer = self.run(["backup", "data", "--json"]).ok().json("backup");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Every object whose name begins with `prefix`.
    pub fn objects(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.path("repository").join(prefix)];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { directories.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}
