//! `check`: is everything there, and is it what was written?

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bill::Bill;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Fields, Output, fields};
use super::probing::{Probed, promised};
use super::progress::Sample;
use super::show;
use crate::check::{self, Finding, Options, Progress, Report, Share};
use crate::store::StoreClass;
use crate::units::Bytes;

/// Check that everything is there and undamaged
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Names and sizes only: read no tree
    #[arg(long, conflicts_with = "read_data")]
    names_only: bool,
    /// Read packs too: all of them, or part N of M (--read-data=1/7 on Mondays, 2/7 on Tuesdays …)
    #[arg(
        long,
        value_name = "N/M",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = share
    )]
    read_data: Option<Share>,
    /// Do not look whether the store still honours what it did when the repository was made
    #[arg(long)]
    no_probe: bool,
}

/// Understands `all` and `1/7`.
fn share(text: &str) -> Result<Share, String> {
    if text == "all" {
        return Ok(Share::All);
    }
    let numbers = text
        .split_once('/')
        .and_then(|(part, parts)| Some((part.parse::<u64>().ok()?, parts.parse::<u64>().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok(Share::Part { part, parts }),
        _ => Err("write a part and how many there are, such as 1/7".to_owned()),
    }
}

/// Checks.
pub(super) async fn run(
    args: &CheckArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let store = context.store()?;
    let prices = context.prices(None)?;
    let repository = context.open_past_cache(Arc::clone(&store)).await?;
    let options = Options { names_only: args.names_only, read_data: args.read_data };
    let progress = Arc::new(Progress::default());
    let work = check::run(&repository, options, Arc::clone(&progress));
    let sample =
        || Sample { bytes: progress.bytes(), words: show::count(progress.packs(), "pack") };
    let report = out.progress().clone().watch(work, None, sample).await?;
    let probed = if args.no_probe {
        Probed::Off
    } else {
        Probed::of(&repository, &report, context, out).await
    };
    let failure = damage(&report).or_else(|| probed.failure(&repository));
    let mut answer = answer(&report);
    answer.insert("store_class".into(), json!(promised(&repository).map(StoreClass::as_str)));
    answer.insert("probe".into(), probed.answer());
    let bill = Bill::new(store.usage(), prices.as_ref());
    bill.add_to(&mut answer);
    let text = text(&report, repository.reads_content()) + &probed.text() + &bill.line();
    out.answer(&text, answer, failure)
}

/// What is damaged.
fn damage(report: &Report) -> Option<Failure> {
    report.findings.first().map(|first| {
        let what = show::count(report.findings.len() as u64, "object");
        let touched = match first.files.first() {
            Some(file) => format!(", which touches {}", show::text(file)),
            None => String::new(),
        };
        Failure::new(
            Exit::Integrity,
            format!(
                "{what} damaged, first {}: {}{touched}; back up again what still exists, and \
                 restore the rest from elsewhere",
                first.object, first.reason
            ),
        )
    })
}

fn text(report: &Report, reads_content: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}, {} ({}), {} in {}",
        show::count(report.snapshots, "snapshot"),
        show::count(report.packs, "pack"),
        Bytes(report.pack_bytes),
        show::count(report.entries, "entry"),
        show::count(report.nodes, "node")
    );
    if report.packs_read > 0 {
        let hint = if reads_content { "" } else { "; the recovery key opens the others too" };
        let _ = writeln!(
            text,
            "read {} ({}) and compared their hashes, opened {} and compared every chunk{hint}",
            show::count(report.packs_read, "pack"),
            Bytes(report.read_bytes),
            report.packs_opened
        );
    }
    if report.unused_packs > 0 {
        let packs = show::count(report.unused_packs, "pack");
        let _ = writeln!(text, "{packs} ({}) that no snapshot needs", Bytes(report.unused_bytes));
    }
    if !report.strangers.is_empty() {
        let objects = show::count(report.strangers.len() as u64, "object");
        let _ = writeln!(text, "{objects} that Backstay did not make:");
        text.push_str(&show::first_lines(report.strangers.iter().map(|name| show::text(name))));
    }
    for finding in &report.findings {
        text.push_str(&finding_text(finding));
    }
    if report.findings.is_empty() {
        text.push_str("no damage found\n");
    }
    text
}

fn finding_text(finding: &Finding) -> String {
    let mut text = format!("DAMAGED {}: {}\n", finding.object, show::text(&finding.reason));
    if !finding.snapshots.is_empty() {
        let ids: Vec<&str> = finding.snapshots.iter().map(String::as_str).collect();
        let _ = writeln!(text, "  snapshots {}", ids.join(", "));
    }
    for file in &finding.files {
        let _ = writeln!(text, "  {}", show::text(file));
    }
    let hidden = finding.file_count.saturating_sub(finding.files.len() as u64);
    if hidden > 0 {
        let _ = writeln!(text, "  … and {hidden} more");
    }
    text
}

fn answer(report: &Report) -> Fields {
    let finding = |finding: &Finding| -> Value {
        json!({
            "object": finding.object,
            "reason": finding.reason,
            "snapshots": finding.snapshots,
            "files": finding.files,
            "file_count": finding.file_count,
        })
    };
    fields(json!({
        "snapshots": report.snapshots,
        "packs": report.packs,
        "pack_bytes": report.pack_bytes,
        "packs_read": report.packs_read,
        "read_bytes": report.read_bytes,
        "packs_opened": report.packs_opened,
        "nodes": report.nodes,
        "entries": report.entries,
        "strangers": report.strangers,
        "unused_packs": report.unused_packs,
        "unused_bytes": report.unused_bytes,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(share("all"), Ok(Share::All));
        assert_eq!(share("2/7"), Ok(Share::Part { part: 2, parts: 7 }));
        for text in ["0/7", "8/7", "1/0", "x", "1/", "/1"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
