//! `check`: is everything there, and is it what was written?

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Output, fields};
use super::progress::Sample;
use super::show;
use crate::check::{self, Finding, Options, Progress, Report, Share};
use crate::units::Bytes;

/// Check that everything is there and is what was written; changes nothing
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Compare names and sizes only; read no tree
    #[arg(long, conflicts_with = "read_data")]
    names_only: bool,
    /// Read packs too: all of them, or a share such as 1/7 (a different seventh each day)
    #[arg(long, value_name = "PART/PARTS", num_args = 0..=1, require_equals = true,
          default_missing_value = "1/1", value_parser = share)]
    read_data: Option<Share>,
}

fn share(text: &str) -> Result<Share, String> {
    let wrong = || format!("{text:?} is no share: write PART/PARTS, such as 1/7");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let part: u64 = part.parse().map_err(|_| wrong())?;
    let parts: u64 = parts.parse().map_err(|_| wrong())?;
    match (part, parts) {
        (1, 1) => Ok(Share::All),
        (part, parts) if part >= 1 && part <= parts => Ok(Share::Part { part, parts }),
        _ => Err(wrong()),
    }
}

/// Checks.
pub(super) async fn run(
    args: &CheckArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let repository = context.open().await?;
    let options = Options { names_only: args.names_only, read_data: args.read_data };
    let progress = Arc::new(Progress::default());
    let work = check::run(&repository, options, Arc::clone(&progress));
    let sample =
        || Sample { bytes: progress.bytes(), words: show::count(progress.packs(), "pack") };
    let report = out.progress().clone().watch(work, None, sample).await;
    let place = repository.store().place();
    let report = report.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let unopened = options.read_data.is_some() && !repository.reads_content();
    let text = text(&report, &options, unopened);
    let answer = fields(json!({
        "repository": place,
        "snapshots": report.snapshots,
        "packs": report.packs,
        "pack_bytes": report.pack_bytes,
        "packs_read": report.packs_read,
        "read_bytes": report.read_bytes,
        "packs_opened": report.packs_opened,
        "nodes": report.nodes,
        "entries": report.entries,
        "unused_packs": report.unused_packs,
        "unused_bytes": report.unused_bytes,
        "strangers": report.strangers,
        "findings": report.findings.iter().map(row).collect::<Vec<_>>(),
    }));
    out.answer(&text, answer, failure(&report))
}

fn row(finding: &Finding) -> Value {
    json!({
        "object": finding.object,
        "reason": finding.reason,
        "snapshots": finding.snapshots,
        "files": finding.files,
        "file_count": finding.file_count,
    })
}

fn failure(report: &Report) -> Option<Failure> {
    let first = report.findings.first()?;
    let count = show::count(report.findings.len() as u64, "damaged object");
    let message = format!(
        "{count}, first {}: {}; restore what is not touched, and back up again: what sources still \
         have is stored anew",
        first.object, first.reason
    );
    Some(Failure::new(Exit::Integrity, message))
}

fn text(report: &Report, options: &Options, unopened: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}, {} ({})",
        show::count(report.snapshots, "snapshot"),
        show::count(report.packs, "pack"),
        Bytes(report.pack_bytes)
    );
    if !options.names_only {
        let _ = writeln!(
            text,
            "read {} of trees with {}; {} not referred to ({})",
            show::count(report.nodes, "node"),
            show::count(report.entries, "entry"),
            show::count(report.unused_packs, "pack"),
            Bytes(report.unused_bytes)
        );
    }
    if options.read_data.is_some() {
        let _ = writeln!(
            text,
            "read {} ({}), opened {}",
            show::count(report.packs_read, "pack"),
            Bytes(report.read_bytes),
            report.packs_opened
        );
    }
    if unopened {
        text.push_str(
            "an agent key does not open data packs: their hashes were checked, their chunks only \
             with the recovery key\n",
        );
    }
    for stranger in &report.strangers {
        let _ = writeln!(text, "not ours: {}", show::text(stranger));
    }
    for finding in &report.findings {
        let _ = writeln!(text, "damaged: {}: {}", finding.object, show::text(&finding.reason));
        for file in &finding.files {
            let _ = writeln!(text, "  touches {}", show::text(file));
        }
        show::more(&mut text, usize_of(finding.file_count).saturating_sub(finding.files.len()));
    }
    if report.findings.is_empty() {
        text.push_str("no damage found\n");
    }
    text
}

fn usize_of(count: u64) -> usize {
    crate::units::to_usize(count)
}
