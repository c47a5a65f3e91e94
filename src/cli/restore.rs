//! `restore`: a snapshot, or part of one, into a directory.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bill::Bill;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Fields, Output, fields};
use super::progress::Sample;
use super::selection::Selection;
use super::show;
use crate::destination::directory::{DirectoryDestination, Options as DirectoryOptions};
use crate::destination::{Overwrite, Shortfall};
use crate::list::{Entries, EntriesOptions};
use crate::repo::Repository;
use crate::repo::snapshot::Snapshot;
use crate::restore::{self, Damage, Loss, Options, Progress, Report, RestoredWal, WalOptions};
use crate::store::Store as _;
use crate::units::Bytes;

/// Restore a snapshot, or part of one, into a directory
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// Which snapshot, and what of it: SNAPSHOT[:SOURCE[/PATH]]
    #[arg(value_name = "SNAPSHOT[:SOURCE[/PATH]]")]
    what: OsString,
    /// Where to: a source that is named goes into DIR itself, a whole snapshot into DIR/SOURCE/
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// What to do with files that are there already; without it, DIR must be empty
    #[arg(long, value_enum, value_name = "WHEN")]
    overwrite: Option<When>,
    /// Remove what the snapshot does not have
    #[arg(long, requires = "overwrite")]
    delete: bool,
    /// Give files to accounts by name where this system has it, instead of by number
    #[arg(long)]
    map_names: bool,
    #[command(flatten)]
    wal: WalArgs,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
}

/// What holds for WAL sources only.
#[derive(Clone, Copy, Debug, clap::Args)]
struct WalArgs {
    /// Of a WAL, restore segments up to this number
    #[arg(long, value_name = "NUMBER")]
    until_segment: Option<u64>,
    /// Of a WAL, go on with segments of later snapshots, as far as they follow without a gap
    #[arg(long)]
    with_later_segments: bool,
    /// Of a WAL, do not leave the marker by which the next backup sees that a new timeline began
    #[arg(long)]
    keep_timeline: bool,
}

/// When a file that is there already is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// If its size or time is another
    IfChanged,
    /// Compare every byte, and write what differs
    Always,
    /// Keep it, whatever it is
    Never,
}

/// Restores.
pub(super) async fn run(
    args: &RestoreArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let selection = Selection::parse(&args.what)?;
    let store = context.store()?;
    let prices = context.prices(None)?;
    let place = store.place();
    let repository = context.open_store(Arc::clone(&store)).await?;
    let snapshot = selection.snapshot(&repository).await?;
    if args.dry_run {
        let (text, mut answer) = dry_run(args, &repository, &snapshot, selection).await?;
        let bill = Bill::new(store.usage(), prices.as_ref());
        bill.add_to(&mut answer);
        return out.answer(&(text + &bill.line()), answer, None);
    }
    let overwrite = match args.overwrite {
        None => Overwrite::Refuse,
        Some(When::IfChanged) => Overwrite::IfChanged,
        Some(When::Always) => Overwrite::Always,
        Some(When::Never) => Overwrite::Never,
    };
    let source = selection.source.clone().unwrap_or_default();
    let destination = Arc::new(DirectoryDestination::new(DirectoryOptions {
        path: args.to.clone(),
        overwrite,
        delete: args.delete,
        identity: format!("{} {}:{source}/{}", repository.id(), snapshot.id, selection.path),
        map_names: args.map_names,
    }));
    let total_bytes =
        if selection.path.is_root() { Some(total(&snapshot, &selection)?) } else { None };
    let options = Options {
        selection: restore::Selection { source: selection.source, path: selection.path },
        delete: args.delete,
        wal: WalOptions {
            until_segment: args.wal.until_segment,
            with_later_segments: args.wal.with_later_segments,
            keep_timeline: args.wal.keep_timeline,
        },
    };
    let progress = Arc::new(Progress::default());
    let into: Arc<DirectoryDestination> = Arc::clone(&destination);
    let work = restore::run(&repository, &snapshot, into, &options, Arc::clone(&progress));
    let sample =
        || Sample { bytes: progress.bytes(), words: show::count(progress.files(), "file") };
    let report = out.progress().clone().watch(work, total_bytes, sample).await;
    let report = report.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let shortfalls = destination.shortfall_count().max(report.shortfalls.len() as u64);
    let text = text(args, &snapshot, &report, shortfalls, destination.is_resumed());
    let mut answer = answer(&snapshot, &report, shortfalls);
    let bill = Bill::new(store.usage(), prices.as_ref());
    bill.add_to(&mut answer);
    out.summary(&(text + &bill.line()), answer, lacking(&report))
}

/// Bytes of what is selected.
fn total(snapshot: &Snapshot, selection: &Selection) -> Result<u64, Failure> {
    match &selection.source {
        Some(name) => Ok(snapshot.require_source(name)?.size_bytes),
        None => Ok(snapshot.sources.iter().map(|source| source.size_bytes).sum()),
    }
}

/// What the destination has not got.
fn lacking(report: &Report) -> Option<Failure> {
    if let Some(first) = report.damage.first() {
        let what = show::count(report.damage.len() as u64, "loss");
        let message = format!(
            "{what} by damage in the repository, first: {}; everything else was restored, and the \
             destination stays marked as unfinished",
            damage_line(first)
        );
        return Some(Failure::new(Exit::Integrity, message));
    }
    if let Some((log, (gap, _))) = report.wal.iter().find_map(|log| Some((log, log.gaps.first()?)))
    {
        let source = show::text(&log.source);
        return Some(Failure::partial(format!(
            "WAL {source} lacks segment {gap}: a replay ends before it; an older or newer snapshot \
             may have it"
        )));
    }
    let first = report.incomplete.first()?;
    let what = show::count(report.incomplete.len() as u64, "entry");
    let path = show::path(first.as_bytes());
    Some(Failure::partial(format!(
        "the snapshot itself has {what} only in part, first {path}; an older snapshot may have more"
    )))
}

fn text(
    args: &RestoreArgs,
    snapshot: &Snapshot,
    report: &Report,
    shortfalls: u64,
    is_resumed: bool,
) -> String {
    let mut text = String::new();
    let resumed = if is_resumed { ", going on from an interrupted restore" } else { "" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "restored {} ({}) of snapshot {} into {}{resumed}",
        show::count(report.entries, "entry"),
        show::count(report.files, "file"),
        snapshot.short_id(),
        show::path(args.to.as_os_str().as_encoded_bytes())
    );
    let _ = writeln!(
        text,
        "wrote {}, fetched {}; {} left alone, {} removed",
        Bytes(report.written_bytes),
        Bytes(report.fetched_bytes),
        show::count(report.skipped, "file"),
        report.removed
    );
    for log in &report.wal {
        let _ = writeln!(text, "{}", wal_line(log));
    }
    text.push_str(&show::first_lines(report.damage.iter().map(damage_line)));
    let incomplete = report.incomplete.iter();
    let incomplete = incomplete.map(|path| format!("incomplete {}", show::path(path.as_bytes())));
    text.push_str(&show::first_lines(incomplete));
    if shortfalls > 0 {
        let _ = writeln!(
            text,
            "{} could not be given to entries:",
            show::count(shortfalls, "attribute")
        );
        let line = |shortfall: &Shortfall| {
            let path = show::path(shortfall.path.as_bytes());
            format!("{path}: {}: {}", show::text(&shortfall.what), show::text(&shortfall.detail))
        };
        text.push_str(&show::first_lines(report.shortfalls.iter().map(line)));
    }
    text
}

fn damage_line(damage: &Damage) -> String {
    let path = show::path(damage.path.as_bytes());
    let detail = show::text(&damage.detail);
    match &damage.loss {
        Loss::Content => format!("damaged {path}: {detail}"),
        Loss::Attributes => format!("attributes of {path} lost: {detail}"),
        Loss::Entries { after: Some(after) } => {
            let after = show::path(after.as_bytes());
            format!("all after {after} up to {path} lost: {detail}")
        }
        Loss::Entries { after: None } => format!("all up to {path} lost: {detail}"),
        Loss::LaterSegments => format!("later segments of {path} maybe lost: {detail}"),
    }
}

fn wal_line(log: &RestoredWal) -> String {
    let source = show::text(&log.source);
    match (log.first, log.last) {
        (Some(first), Some(last)) => {
            let later = match log.later {
                0 => String::new(),
                count => format!(", {count} of them from later snapshots"),
            };
            format!("WAL {source}: segments {first} to {last}{later}")
        }
        _ => format!("WAL {source}: no closed segment"),
    }
}

fn answer(snapshot: &Snapshot, report: &Report, shortfalls: u64) -> Fields {
    let row = |path: &[u8], more: Value| {
        let mut row = Fields::new();
        show::json_path(&mut row, "path", path);
        row.extend(fields(more));
        Value::Object(row)
    };
    let wal = |log: &RestoredWal| {
        json!({
            "source": log.source,
            "first_segment": log.first,
            "last_segment": log.last,
            "later_segments": log.later,
            "gaps": log.gaps,
        })
    };
    let damage = |damage: &Damage| {
        let mut more = Fields::new();
        more.insert("loss".into(), damage.loss.as_str().into());
        if let Loss::Entries { after: Some(after) } = &damage.loss {
            show::json_path(&mut more, "after", after.as_bytes());
        }
        more.insert("detail".into(), damage.detail.clone().into());
        row(damage.path.as_bytes(), Value::Object(more))
    };
    let damage = report.damage.iter().map(damage);
    let incomplete = report.incomplete.iter().map(|path| row(path.as_bytes(), json!({})));
    let short = report.shortfalls.iter();
    let short = short.map(|s| row(s.path.as_bytes(), json!({"what": s.what, "detail": s.detail})));
    fields(json!({
        "snapshot": snapshot.id.to_string(),
        "entries": report.entries,
        "files": report.files,
        "written_bytes": report.written_bytes,
        "fetched_bytes": report.fetched_bytes,
        "skipped": report.skipped,
        "removed": report.removed,
        "damage": damage.collect::<Vec<_>>(),
        "incomplete": incomplete.collect::<Vec<_>>(),
        "wal": report.wal.iter().map(wal).collect::<Vec<_>>(),
        "shortfall_count": shortfalls,
        "shortfalls": short.collect::<Vec<_>>(),
    }))
}

/// Counts what would be written; touches nothing.
async fn dry_run(
    args: &RestoreArgs,
    repository: &Repository,
    snapshot: &Snapshot,
    selection: Selection,
) -> Result<(String, Fields), Failure> {
    let options = EntriesOptions {
        source: selection.source,
        path: selection.path,
        recursive: true,
        with_top: true,
    };
    let mut listing = Entries::new(repository, snapshot, options)?;
    let (mut entries, mut files, mut size_bytes) = (0, 0, 0);
    while let Some(listed) = listing.next().await? {
        entries += 1;
        files += u64::from(listed.stored.entry.is_file());
        size_bytes += listed.stored.entry.size_bytes;
    }
    let text = format!(
        "would restore {} ({}, {}) of snapshot {} into {}; nothing was written\n",
        show::count(entries, "entry"),
        show::count(files, "file"),
        Bytes(size_bytes),
        snapshot.short_id(),
        show::path(args.to.as_os_str().as_encoded_bytes())
    );
    let answer = fields(json!({
        "snapshot": snapshot.id.to_string(),
        "dry_run": true,
        "entries": entries,
        "files": files,
        "size_bytes": size_bytes,
    }));
    Ok((text, answer))
}
