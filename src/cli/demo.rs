//! `demo`: the quick start, and the engine that it runs as a process of its own.

use std::path::PathBuf;

use serde_json::json;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Output, fields};
use crate::demo::{self, Options};

/// Back up a small engine while it writes, lose it, restore it, and prove that it is back
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where everything goes; must be empty or missing, and stays [default: a new directory in the
    /// system's place for temporary files]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// How many backups to take
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    backups: u32,
    /// How fast the engine writes
    #[arg(long, default_value_t = 20_000)]
    records_per_second: u32,
    /// Be the engine: write here until killed
    #[arg(long, hide = true, requires = "acknowledged")]
    engine: Option<PathBuf>,
    /// Where the engine says what it has acknowledged
    #[arg(long, hide = true)]
    acknowledged: Option<PathBuf>,
}

/// Tells the story.
pub(super) async fn run(
    args: &DemoArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    if let (Some(engine), Some(acknowledged)) = (args.engine.clone(), args.acknowledged.clone()) {
        let rate = args.records_per_second;
        let work = move || demo::run_engine(&engine, &acknowledged, rate);
        return Ok(context.world().cpu.run(work).await?);
    }
    let directory = args.directory.clone().unwrap_or_else(|| {
        let number: [u8; 4] = context.world().random.array();
        let number = u32::from_le_bytes(number);
        std::env::temp_dir().join(format!("backstay-demo-{number:08x}"))
    });
    let taken = directory.read_dir().is_ok_and(|mut names| names.next().is_some());
    if taken {
        let reason = "is not empty: choose another directory with --directory";
        return Err(Failure::new(Exit::Refused, format!("{} {reason}", directory.display())));
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::usage(format!("cannot find this program: {error}")))?;
    let options = Options {
        directory: directory.clone(),
        program,
        backups: args.backups,
        records_per_second: args.records_per_second,
    };
    let told = !out.is_json();
    let (lines, mut heard) = tokio::sync::mpsc::unbounded_channel::<String>();
    let cpu = context.world().cpu.clone();
    let story = cpu.run(move || {
        // The listener lives as long as the story.
        demo::run(&options, &mut |line| drop(lines.send(line.to_owned())))
    });
    let mut story = std::pin::pin!(story);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(line) = heard.recv() => tell(out, told, &line)?,
            outcome = &mut story => break outcome,
        }
    };
    while let Ok(line) = heard.try_recv() {
        tell(out, told, &line)?;
    }
    let report = outcome?;
    let text = format!("\nEverything is in {}; delete it when you like.\n", directory.display());
    let commands: Vec<_> = report
        .commands
        .iter()
        .map(|(command, took)| json!({"command": command, "seconds": took.as_secs_f64()}))
        .collect();
    let answer = fields(json!({
        "directory": directory.display().to_string(),
        "commands": commands,
        "acknowledged_records": report.acknowledged,
        "promised_records": report.promised,
        "restored_records": report.restored,
        "last_segment": report.last_segment,
    }));
    out.answer(&text, answer, None)
}

fn tell(out: &mut Output, told: bool, line: &str) -> Result<(), Failure> {
    if told {
        out.write(format!("{line}\n").as_bytes())?;
        out.flush()?;
    }
    Ok(())
}
