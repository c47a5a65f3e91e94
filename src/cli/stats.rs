//! `stats`: how much there is, and what it takes.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::bill::Bill;
use super::context::Context;
use super::failure::Failure;
use super::output::{Output, fields};
use super::{show, snapshots};
use crate::repo::Repository;
use crate::stats::{self, Newest, Report};
use crate::store::StoreClass;
use crate::units::Bytes;

/// Show how much the repository holds and what that takes
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {}

/// Counts.
pub(super) async fn run(_: &StatsArgs, context: &Context, out: &mut Output) -> Result<(), Failure> {
    let store = context.store()?;
    let prices = context.prices(None)?;
    let repository = context.open_store(Arc::clone(&store)).await?;
    let report = stats::run(&repository).await?;
    let total = report.total();
    let kinds: serde_json::Map<_, _> = report
        .kinds
        .iter()
        .map(|(name, kind)| {
            (name.clone(), json!({"objects": kind.objects, "size_bytes": kind.size_bytes}))
        })
        .collect();
    let job = |job: &Newest| {
        let mut row = snapshots::row(&job.snapshot);
        row.insert("snapshots".to_owned(), json!(job.snapshots));
        row
    };
    let mut answer = fields(json!({
        "repository": repository.store().place(),
        "repository_id": repository.id().to_string(),
        "format": repository.config().format,
        "store_class": repository.config().promised_class().map(StoreClass::as_str),
        "snapshots": report.snapshots,
        "partial_snapshots": report.partial,
        "restore_bytes": report.restore_bytes,
        "objects": total.objects,
        "stored_bytes": total.size_bytes,
        "kinds": kinds,
        "newest": report.jobs.iter().map(job).collect::<Vec<_>>(),
        "unreadable": snapshots::unreadable_rows(&report.unreadable),
    }));
    let bill = Bill::new(store.usage(), prices.as_ref());
    bill.add_to(&mut answer);
    let text = text(&repository, &report, out) + "\n" + &bill.line();
    out.answer(&text, answer, snapshots::unreadable(&report.unreadable))
}

fn text(repository: &Repository, report: &Report, out: &Output) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "repository {} in {}, format {}, {}",
        repository.id(),
        repository.store().place(),
        repository.config().format,
        match repository.config().promised_class() {
            Some(class) => format!("store class {class}"),
            None => "a store that was not probed".to_owned(),
        }
    );
    let total = report.total();
    let partial = match report.partial {
        0 => String::new(),
        count => format!(", {count} of them partial"),
    };
    let snapshots = show::count(report.snapshots, "snapshot");
    let _ = writeln!(
        text,
        "{snapshots}{partial}: {} to restore, stored in {} ({})\n",
        Bytes(report.restore_bytes),
        Bytes(total.size_bytes),
        ratio(report.restore_bytes, total.size_bytes)
    );
    let rows = report.kinds.iter().map(|(name, kind)| {
        vec![name.clone(), kind.objects.to_string(), Bytes(kind.size_bytes).to_string()]
    });
    let rows = rows.collect();
    text.push_str(&out.table(&["KIND", "OBJECTS>", "SIZE>"], rows));
    if !report.jobs.is_empty() {
        let rows = report.jobs.iter().map(|job| {
            let snapshot = &job.snapshot;
            let names: Vec<&str> = snapshot.sources.iter().map(|s| s.name.as_str()).collect();
            vec![
                snapshot.short_id(),
                show::time(snapshot.started),
                show::text(&snapshot.host),
                show::text(&names.join(", ")),
                job.snapshots.to_string(),
                Bytes(stats::size_bytes(snapshot)).to_string(),
            ]
        });
        let rows = rows.collect();
        let headings = ["NEWEST", "TIME", "HOST", "SOURCES", "SNAPSHOTS>", "SIZE>"];
        text.push('\n');
        text.push_str(&out.table(&headings, rows));
    }
    text
}

fn ratio(restore_bytes: u64, stored_bytes: u64) -> String {
    if stored_bytes == 0 || restore_bytes == 0 {
        return "nothing yet".to_owned();
    }
    format!("{:.1} to 1", restore_bytes as f64 / stored_bytes as f64)
}
