//! `demo`: the quick start. An engine that never stops writing is backed up, lost, restored, proven.

use std::path::PathBuf;

use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::json;
use tokio::sync::mpsc;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Output, fields};
use crate::demo::{self, Options};

/// See a small engine backed up while it writes, destroyed, restored and proven
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where everything goes; must not exist yet
    #[arg(long, value_name = "DIR", default_value = "backstay-demo")]
    directory: PathBuf,
    /// How many backups are taken while the engine writes
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    backups: u32,
    /// What the engine writes
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    records_per_second: u32,
    /// Be the engine, in this directory
    #[arg(long, hide = true, value_name = "DIR", requires = "acknowledged")]
    engine: Option<PathBuf>,
    /// Where the engine says what it has acknowledged
    #[arg(long, hide = true, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
}

/// Runs the demo, or the engine in it.
pub(super) async fn run(
    args: &DemoArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    if let (Some(engine), Some(acknowledged)) = (&args.engine, &args.acknowledged) {
        return be_the_engine(engine, acknowledged, args.records_per_second, context).await;
    }
    if args.directory.symlink_metadata().is_ok() {
        let message = "it exists already; choose another one with --directory, or remove it";
        return Err(Failure::new(
            Exit::Refused,
            format!("{}: {message}", args.directory.display()),
        ));
    }
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Bug, format!("cannot find out which program this is: {error}"))
    })?;
    let options = Options {
        directory: args.directory.clone(),
        program,
        backups: args.backups,
        records_per_second: args.records_per_second,
    };
    let (lines, mut said) = mpsc::unbounded_channel::<String>();
    let story = async {
        let telling = move || {
            // Nobody listens any more only when the run was interrupted.
            demo::run(&options, &mut |line| drop(lines.send(line.to_owned())))
        };
        context.world().cpu.run(telling).await
    };
    let mut story = std::pin::pin!(story);
    let report = loop {
        tokio::select! {
            biased;
            Some(line) = said.recv() => out.say(&line)?,
            report = &mut story => break report?,
        }
    };
    while let Ok(line) = said.try_recv() {
        out.say(&line)?;
    }
    let commands: Vec<_> = report
        .commands
        .iter()
        .map(|(line, took)| json!({"command": line, "duration_seconds": took.as_secs_f64()}))
        .collect();
    let answer = fields(json!({
        "directory": args.directory.display().to_string(),
        "commands": commands,
        "acknowledged_records": report.acknowledged,
        "promised_records": report.promised,
        "restored_records": report.restored,
        "last_segment": report.last_segment,
    }));
    let text = format!("\nEverything is in {}: look around.\n", args.directory.display());
    out.summary(&text, answer, None)
}

async fn be_the_engine(
    engine: &std::path::Path,
    acknowledged: &std::path::Path,
    records_per_second: u32,
    context: &Context,
) -> Result<(), Failure> {
    // Whatever happens to the demo, its engine must not write on for ever.
    let failed = |error: rustix::io::Errno| Failure::new(Exit::Bug, format!("engine: {error}"));
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    let (engine, acknowledged) = (engine.to_owned(), acknowledged.to_owned());
    let writing = move || demo::run_engine(&engine, &acknowledged, records_per_second);
    Ok(context.world().cpu.run(writing).await?)
}
