//! The story that the demo tells, from an empty directory to a proof.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::demo::engine::{Acknowledged, DATA_DIRECTORY, Engine, LOG_DIRECTORY};
use crate::demo::shell::{EngineProcess, Shell};
use crate::demo::{Error, Options, Report, engine};

/// Segments that close between two backups.
const SEGMENTS_BETWEEN: u64 = 4;
/// How often the engine is asked how far it is.
const POLL: Duration = Duration::from_millis(20);

const POLICY: &str = "\
# A directory that is pinned while it is copied, and the log that encloses it.
apiVersion: backstay.dev/v1
kind: Policy
metadata:
  name: demo
spec:
  sources:
    - name: engine
      directory:
        path: engine
        pin: true
        exclude: [/wal/, /LOCK]
    - name: wal
      wal:
        path: engine/wal
        segments: \"{number}.wal\"
        closed: allButNewest
        directory: engine
";

struct Paths {
    engine: PathBuf,
    log: PathBuf,
    acknowledged: PathBuf,
    policy: PathBuf,
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

pub(super) fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let directory = &options.directory;
    fs::create_dir_all(directory).map_err(io("make", directory))?;
    let paths = Paths {
        engine: directory.join("engine"),
        log: directory.join("engine").join(LOG_DIRECTORY),
        acknowledged: directory.join("acknowledged"),
        policy: directory.join("policy.yaml"),
    };
    let mut shell = Shell::new(options);
    say("An engine with a write-ahead log starts to write, and does not stop.");
    let mut process = EngineProcess::start(options, &paths.engine, &paths.acknowledged)?;
    say("");
    say(
        "1. A repository, and two keys. The recovery key belongs somewhere safe, not in the cluster.",
    );
    shell.backstay(None, &["init", "--keys", "keys"], say)?;
    fs::write(&paths.policy, POLICY).map_err(io("write", &paths.policy))?;
    say("");
    say("2. Backups, while it writes. The agent key cannot read what it stores.");
    for _ in 0..options.backups {
        await_segments(&paths, &mut process)?;
        shell.backstay(Some("keys/agent.key"), &["run", "policy.yaml"], say)?;
    }
    lose(&paths, &mut process, say)?;
    let acknowledged = Acknowledged::read(&paths.acknowledged)?;
    say("");
    say("4. The restore: the directory first, then the log's segments into their place.");
    let recovery = Some("keys/recovery.key");
    shell.backstay(recovery, &["snapshots"], say)?;
    shell.backstay(recovery, &["restore", "latest:engine", "--to", "engine"], say)?;
    shell.backstay(recovery, &["restore", "latest:wal", "--to", "engine/wal"], say)?;
    say("");
    say("5. The engine opens what came back, replays the log, and every record is compared.");
    prove(&paths, &acknowledged, shell, say)
}

/// Waits until a few more segments were closed, so that each backup has something new.
fn await_segments(paths: &Paths, process: &mut EngineProcess) -> Result<(), Error> {
    let closed = || {
        Acknowledged::read(&paths.acknowledged)
            .map(|acknowledged| acknowledged.closed.len() as u64)
            .unwrap_or_default()
    };
    let begin = closed();
    while closed() < begin + SEGMENTS_BETWEEN {
        process.check()?;
        thread::sleep(POLL);
    }
    Ok(())
}

fn lose(
    paths: &Paths,
    process: &mut EngineProcess,
    say: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    say("");
    say(
        "3. The loss: the engine is killed in the middle of a write, and its directory is deleted.",
    );
    process.check()?;
    process.kill()?;
    say("$ kill -9 ENGINE; rm -rf engine");
    fs::remove_dir_all(&paths.engine).map_err(io("delete", &paths.engine))
}

/// Opens the restored engine and compares every record with what it must be.
fn prove(
    paths: &Paths,
    acknowledged: &Acknowledged,
    shell: Shell<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    let last_segment = last_segment(&paths.log)?;
    let promised = acknowledged.closed.get(&last_segment).copied().unwrap_or_default();
    let restored = Engine::open(&paths.engine, engine::Options::default())?;
    let proof = restored.prove()?;
    if proof.last_sequence < promised || promised == 0 {
        return Err(Error::Lost { promised, restored: proof.last_sequence });
    }
    say(&format!(
        "  Records 1 to {} are back and right: all {promised} that stood in closed segments \
         (the last is {last_segment}) when the last backup ended.",
        proof.last_sequence
    ));
    say(&format!(
        "  {} more had been acknowledged when the engine died, in the open segment and after the \
         last backup: that is what the time between backups costs.",
        acknowledged.highest.saturating_sub(proof.last_sequence)
    ));
    debug_assert!(paths.engine.join(DATA_DIRECTORY).exists());
    Ok(Report {
        commands: shell.commands,
        acknowledged: acknowledged.highest,
        promised,
        restored: proof.last_sequence,
        last_segment,
    })
}

fn last_segment(log: &Path) -> Result<u64, Error> {
    let mut last = 0;
    for entry in fs::read_dir(log).map_err(io("list", log))? {
        let name = entry.map_err(io("list", log))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".wal")?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}
