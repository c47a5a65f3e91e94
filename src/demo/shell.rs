//! Running commands as they are printed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::demo::{Error, Options};

/// Runs commands in one directory and remembers how long each took.
pub(super) struct Shell<'a> {
    options: &'a Options,
    pub(super) commands: Vec<(String, Duration)>,
}

impl<'a> Shell<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, commands: Vec::new() }
    }

    /// Runs `backstay` with `arguments` in the demo's directory, with `key` as its key file.
    pub(super) fn backstay(
        &mut self,
        key: Option<&str>,
        arguments: &[&str],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let line = format!("backstay {}", arguments.join(" "));
        let shown = match key {
            Some(key) => format!("$ BACKSTAY_KEY_FILE={key} {line}"),
            None => format!("$ {line}"),
        };
        say(&shown);
        let mut command = Command::new(&self.options.program);
        command
            .args(arguments)
            .current_dir(&self.options.directory)
            .env("BACKSTAY_REPOSITORY", "repository")
            .env_remove("BACKSTAY_PASSPHRASE")
            .env_remove("BACKSTAY_PASSPHRASE_FILE")
            .env_remove("BACKSTAY_KEY_FILE")
            .stdin(Stdio::null());
        if let Some(key) = key {
            command.env("BACKSTAY_KEY_FILE", key);
        }
        let clock = crate::world::Stopwatch::start();
        let output = command.output().map_err(|source| Error::Io {
            action: "run",
            path: self.options.program.clone(),
            source,
        })?;
        let took = clock.elapsed();
        for text in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(text).lines() {
                say(&format!("  {line}"));
            }
        }
        say(&format!("  ({} ms)", took.as_millis()));
        self.commands.push((line.clone(), took));
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::Command {
            command: line,
            outcome: output.status.to_string(),
            message: stderr.lines().last().unwrap_or_default().to_owned(),
        })
    }
}

/// The engine's process; killed when dropped.
pub(super) struct EngineProcess {
    child: Child,
}

impl EngineProcess {
    pub(super) fn start(
        options: &Options,
        engine: &Path,
        acknowledged: &Path,
    ) -> Result<Self, Error> {
        let child = Command::new(&options.program)
            .arg("demo")
            .arg("--engine")
            .arg(engine)
            .arg("--acknowledged")
            .arg(acknowledged)
            .args(["--records-per-second", &options.records_per_second.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let child = child.map_err(|source| Error::Io {
            action: "start",
            path: options.program.clone(),
            source,
        })?;
        Ok(Self { child })
    }

    /// Fails if the engine is not running any more.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::EngineEnded(status.to_string())),
            Err(error) => Err(Error::EngineEnded(error.to_string())),
        }
    }

    /// SIGKILL: the engine gets no chance to tidy up.
    pub(super) fn kill(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Io { action: "kill", path: PathBuf::from("engine"), source };
        self.child.kill().map_err(failed)?;
        self.child.wait().map_err(failed)?;
        Ok(())
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        // Already gone in the good case; else nobody is left to hear of an error.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
