//! `snapshots`: what can be restored.

use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Fields, Output, fields};
use super::{logs, show, sources};
use crate::class::Class;
use crate::facts::{DirectoryFacts, Facts};
use crate::list::{self, SnapshotsOptions, SnapshotsReport};
use crate::repo::catalog::Unreadable;
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::units::Bytes;

/// List snapshots, oldest first
#[derive(Debug, clap::Args)]
pub(super) struct SnapshotsArgs {
    /// Only those of this machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only those of this job
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Only those that have a source of this name
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those that carry this label, with this value if one is given; may be given several times
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = sources::wanted_label)]
    label: Vec<(String, Option<String>)>,
}

/// Lists them.
pub(super) async fn run(
    args: &SnapshotsArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let repository = context.open().await?;
    let options = SnapshotsOptions {
        host: args.host.clone(),
        job: args.job.clone(),
        source: args.source.clone(),
        labels: args.label.clone(),
    };
    let report = list::snapshots(&repository, &options).await?;
    let text = text(&report, repository.now(), out);
    let answer = fields(json!({
        "snapshots": report.snapshots.iter().map(row).collect::<Vec<_>>(),
        "unreadable": unreadable_rows(&report.unreadable),
    }));
    out.answer(&text, answer, unreadable(&report.unreadable))
}

fn text(report: &SnapshotsReport, now: i64, out: &Output) -> String {
    if report.snapshots.is_empty() {
        return "no snapshots\n".to_owned();
    }
    let rows = report.snapshots.iter().map(|snapshot| {
        let names: Vec<String> =
            snapshot.sources.iter().map(|source| show::text(&source.name)).collect();
        let mut notes: Vec<String> = Vec::new();
        notes.extend(snapshot.partial.then(|| "partial".to_owned()));
        notes.extend((snapshot.finished > now).then(|| "clock-ahead".to_owned()));
        for source in &snapshot.sources {
            if let Some(Facts::Wal(wal)) = source.facts() {
                notes.push(format!("{}: {}", show::text(&source.name), logs::stored_line(&wal)));
            }
        }
        let labels = snapshot.labels.iter().flatten();
        notes.extend(labels.map(|(key, value)| show::text(&format!("{key}={value}"))));
        vec![
            snapshot.short_id(),
            show::time(snapshot.started),
            show::text(&snapshot.host),
            policy(snapshot).map_or_else(|| "-".to_owned(), show::text),
            names.join(", "),
            entries(snapshot).to_string(),
            Bytes(size_bytes(snapshot)).to_string(),
            notes.join("; "),
        ]
    });
    let headings = ["ID", "TIME", "HOST", "JOB", "SOURCES", "ENTRIES>", "SIZE>", "NOTES"];
    let rows = rows.collect();
    out.table(&headings, rows)
}

/// The job's name, where someone gave it one.
pub(super) fn policy(snapshot: &Snapshot) -> Option<&str> {
    (!snapshot.job.contains('\0')).then_some(snapshot.job.as_str())
}

/// A snapshot for people who must be sure that it is the right one: whose it is, and of when.
pub(super) fn whose(snapshot: &Snapshot) -> String {
    format!(
        "snapshot {} of {}, {}",
        snapshot.short_id(),
        show::text(&snapshot.series()),
        show::time(snapshot.finished)
    )
}

fn entries(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(|source| source.entries).sum()
}

fn size_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(|source| source.size_bytes).sum()
}

/// A snapshot for programs.
pub(super) fn row(snapshot: &Snapshot) -> Fields {
    fields(json!({
        "id": snapshot.id.to_string(),
        "started": show::json_time(snapshot.started),
        "finished": show::json_time(snapshot.finished),
        "host": snapshot.host,
        "job": policy(snapshot),
        "parent": snapshot.parent.map(|parent| parent.to_string()),
        "partial": snapshot.partial,
        "entries": entries(snapshot),
        "size_bytes": size_bytes(snapshot),
        "labels": snapshot.labels.clone().unwrap_or_default(),
        "program": snapshot.program,
        "sources": snapshot.sources.iter().map(source_row).collect::<Vec<_>>(),
    }))
}

fn source_row(source: &SourceRecord) -> Value {
    let mut row = fields(json!({
        "name": source.name,
        "kind": source.kind,
        "location": source.location,
        "entries": source.entries,
        "size_bytes": source.size_bytes,
        "read_bytes": source.read_bytes,
        "excluded": source.excluded,
        "partial": source.partial,
        "problem_count": source.problem_count,
    }));
    match source.facts() {
        Some(Facts::Directory(DirectoryFacts { pinned, .. })) => {
            row.insert("pinned".to_owned(), json!(pinned));
        }
        Some(Facts::Wal(wal)) => {
            row.extend(fields(logs::stored_row(&wal)));
        }
        None => {}
    }
    Value::Object(row)
}

/// Snapshots that cannot be read, for programs.
pub(super) fn unreadable_rows(unreadable: &[Unreadable]) -> Vec<Value> {
    let row = |unreadable: &Unreadable| {
        json!({
            "id": unreadable.id.to_string(),
            "message": unreadable.error.to_string(),
        })
    };
    unreadable.iter().map(row).collect()
}

/// What to say of snapshots that cannot be read.
pub(super) fn unreadable(unreadable: &[Unreadable]) -> Option<Failure> {
    let first = unreadable.first()?;
    let what = show::count(unreadable.len() as u64, "snapshot");
    let message = format!("{what} cannot be read, first {}: {}", first.id, first.error);
    // Sealed with a secret that the key lacks, all of them: it is the key that is old.
    let old_key = unreadable.iter().all(|one| one.error.class() == Class::Denied);
    let exit = if old_key { Exit::Denied } else { Exit::Integrity };
    Some(Failure::new(exit, message))
}
