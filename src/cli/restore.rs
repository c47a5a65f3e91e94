//! `restore`: a snapshot, or part of one, into a directory.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bill::Bill;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::lacking::{self, Kinds};
use super::output::{Fields, Output, fields};
use super::progress::Sample;
use super::selection::Selection;
use super::series::SeriesArgs;
use super::{logs, show, snapshots};
use crate::destination::directory::{DirectoryDestination, Options as DirectoryOptions};
use crate::destination::{Overwrite, ShortfallKind};
use crate::list::{Entries, EntriesOptions};
use crate::patterns::Filter;
use crate::repo::Repository;
use crate::repo::snapshot::Snapshot;
use crate::restore::{self, Damage, Loss, Options, Progress, Report, Sieve, WalOptions};
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
    /// Restore only what this pattern matches, and the directories that hold it; gitignore manner, from the
    /// source's root; may be given several times
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what this pattern matches; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// What to do with files that are there already; without it, DIR must be empty
    #[arg(long, value_enum, value_name = "WHEN")]
    overwrite: Option<When>,
    /// Remove what the snapshot does not have
    #[arg(long, requires = "overwrite")]
    delete: bool,
    /// Give files to accounts by name where this system has it, instead of by number
    #[arg(long)]
    map_names: bool,
    /// Take a restore for a success although it could not give this to some entries
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND[,KIND…]")]
    accept: Vec<ShortfallKind>,
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    wal: WalArgs,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
}

/// What holds for WAL sources only.
#[derive(Clone, Debug, clap::Args)]
struct WalArgs {
    /// Of a WAL, restore segments up to this one: its name, or its number as names have it
    #[arg(long, value_name = "SEGMENT")]
    until_segment: Option<String>,
    /// Of a WAL, go on with segments of later snapshots, as far as they follow without a gap
    #[arg(long)]
    with_later_segments: bool,
    /// The WAL is not replayed into the directories of its snapshot, so that it may end before them
    #[arg(long)]
    log_alone: bool,
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
    let filter = Filter::new(&args.include, &args.exclude).map_err(Failure::usage)?;
    let store = context.store()?;
    let prices = context.prices(None)?;
    let place = store.place();
    let repository = context.open_store(Arc::clone(&store)).await?;
    let snapshot = selection.snapshot(&repository, &args.series).await?;
    let overwrite = match args.overwrite {
        None => Overwrite::Refuse,
        Some(When::IfChanged) => Overwrite::IfChanged,
        Some(When::Always) => Overwrite::Always,
        Some(When::Never) => Overwrite::Never,
    };
    let destination = Arc::new(DirectoryDestination::new(DirectoryOptions {
        path: args.to.clone(),
        overwrite,
        delete: args.delete,
        identity: identity(&repository, &snapshot, &selection, &filter),
        map_names: args.map_names,
        keep_apart: store.directory().into_iter().collect(),
        keep: context.cache()?.into_iter().collect(),
    }));
    let is_whole = selection.path.is_root() && filter.is_everything();
    let options = Options {
        selection: restore::Selection {
            source: selection.source.clone(),
            path: selection.path.clone(),
        },
        filter,
        delete: args.delete,
        wal: WalOptions {
            until_segment: args.wal.until_segment.clone(),
            with_later_segments: args.wal.with_later_segments,
            log_alone: args.wal.log_alone,
            keep_timeline: args.wal.keep_timeline,
        },
    };
    if args.dry_run {
        let (text, mut answer, lacks) =
            dry_run(args, &repository, &snapshot, destination, &options).await?;
        let bill = Bill::new(store.usage(), prices.as_ref());
        bill.add_to(&mut answer);
        return out.answer(&(text + &bill.line()), answer, lacks);
    }
    let total_bytes = if is_whole { Some(total(&snapshot, &selection)?) } else { None };
    let progress = Arc::new(Progress::default());
    let into: Arc<DirectoryDestination> = Arc::clone(&destination);
    let work = restore::run(&repository, &snapshot, into, &options, Arc::clone(&progress));
    let sample =
        || Sample { bytes: progress.bytes(), words: show::count(progress.files(), "file") };
    let report = out.progress().clone().watch(work, total_bytes, sample).await;
    let report = report.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let accepted: Kinds = args.accept.iter().copied().collect();
    let text = text(args, &snapshot, &report, &accepted, destination.is_resumed());
    let mut answer = answer(&snapshot, &report);
    answer.extend(lacking::answer(&report, &accepted));
    let bill = Bill::new(store.usage(), prices.as_ref());
    bill.add_to(&mut answer);
    out.summary(&(text + &bill.line()), answer, lacking(&report, &accepted))
}

/// Tells this restore from others: one that is unfinished goes on only with the same.
fn identity(
    repository: &Repository,
    snapshot: &Snapshot,
    selection: &Selection,
    filter: &Filter,
) -> String {
    let source = selection.source.as_deref().unwrap_or_default();
    let mut identity = format!("{} {}:{source}/{}", repository.id(), snapshot.id, selection.path);
    for pattern in filter.texts() {
        identity.push(' ');
        identity.push_str(pattern);
    }
    identity
}

/// Bytes of what is selected.
fn total(snapshot: &Snapshot, selection: &Selection) -> Result<u64, Failure> {
    match &selection.source {
        Some(name) => Ok(snapshot.require_source(name)?.size_bytes),
        None => Ok(snapshot.sources.iter().map(|source| source.size_bytes).sum()),
    }
}

/// That include patterns matched nothing, which is not all that was asked for.
fn unmatched(patterns: &[String]) -> Option<Failure> {
    let first = show::text(patterns.first()?);
    let what = show::count(patterns.len() as u64, "include pattern");
    Some(Failure::partial(format!(
        "{what} matched nothing, first {first}; patterns are matched with paths from the source's \
         root, as backstay find shows them"
    )))
}

/// What the destination has not got.
fn lacking(report: &Report, accepted: &Kinds) -> Option<Failure> {
    if let Some(first) = report.damage.first() {
        let what = show::count(report.damage.len() as u64, "loss");
        let message = format!(
            "{what} by damage in the repository, first: {}; everything else was restored, and the \
             destination stays marked as unfinished",
            damage_line(first)
        );
        return Some(Failure::new(Exit::Integrity, message));
    }
    if let Some(failure) = lacking::refused(report) {
        return Some(failure);
    }
    if let Some(failure) = report.wal.iter().find_map(logs::lacking) {
        return Some(failure);
    }
    if let Some(failure) = unmatched(&report.unmatched) {
        return Some(failure);
    }
    let Some(first) = report.incomplete.first() else {
        return lacking::short(report, accepted);
    };
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
    accepted: &Kinds,
    is_resumed: bool,
) -> String {
    let mut text = String::new();
    let resumed = if is_resumed { ", going on from an interrupted restore" } else { "" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "restored {} ({}) of {} into {}{resumed}",
        show::count(report.entries, "entry"),
        show::count(report.files, "file"),
        snapshots::whose(snapshot),
        show::path(args.to.as_os_str().as_encoded_bytes())
    );
    let kept = match report.kept {
        0 => String::new(),
        count if args.include.is_empty() && args.exclude.is_empty() => {
            format!(", {count} kept that the backup did not look at")
        }
        count => {
            format!(", {count} kept that the patterns leave out or the backup did not look at")
        }
    };
    let _ = writeln!(
        text,
        "wrote {}, fetched {}; {} left alone, {} removed{kept}",
        Bytes(report.written_bytes),
        Bytes(report.fetched_bytes),
        show::count(report.skipped, "file"),
        report.removed
    );
    for log in &report.wal {
        let _ = writeln!(text, "{}", logs::restored_line(log));
    }
    text.push_str(&show::first_lines(report.damage.iter().map(damage_line)));
    let incomplete = report.incomplete.iter();
    let incomplete = incomplete.map(|path| format!("incomplete {}", show::path(path.as_bytes())));
    text.push_str(&show::first_lines(incomplete));
    text.push_str(&lacking::text(report, accepted));
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

fn answer(snapshot: &Snapshot, report: &Report) -> Fields {
    let row = |path: &[u8], more: Value| {
        let mut row = Fields::new();
        show::json_path(&mut row, "path", path);
        row.extend(fields(more));
        Value::Object(row)
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
    fields(json!({
        "snapshot": snapshot.id.to_string(),
        "host": snapshot.host,
        "job": snapshots::policy(snapshot),
        "finished": show::json_time(snapshot.finished),
        "entries": report.entries,
        "files": report.files,
        "written_bytes": report.written_bytes,
        "fetched_bytes": report.fetched_bytes,
        "skipped": report.skipped,
        "removed": report.removed,
        "kept": report.kept,
        "damage": damage.collect::<Vec<_>>(),
        "incomplete": incomplete.collect::<Vec<_>>(),
        "unmatched": report.unmatched,
        "wal": report.wal.iter().map(logs::restored_row).collect::<Vec<_>>(),
    }))
}

/// Counts what would be written; touches nothing.
async fn dry_run(
    args: &RestoreArgs,
    repository: &Repository,
    snapshot: &Snapshot,
    destination: Arc<DirectoryDestination>,
    options: &Options,
) -> Result<(String, Fields, Option<Failure>), Failure> {
    let into: Arc<DirectoryDestination> = Arc::clone(&destination);
    let looked = restore::dry_run(repository, snapshot, into, options).await?;
    let logs = restore::preview_logs(repository, snapshot, destination, options).await?;
    let wanted = EntriesOptions {
        source: options.selection.source.clone(),
        path: options.selection.path.clone(),
        recursive: true,
        with_top: true,
    };
    let mut listing = Entries::new(repository, snapshot, wanted)?;
    let (mut entries, mut files, mut size_bytes) = (0, 0, 0);
    let mut sieve = Sieve::new(&options.filter);
    while let Some(listed) = listing.next().await? {
        if listed.stored.entry.path.is_root() {
            sieve = Sieve::new(&options.filter);
        }
        let log = logs.iter().find(|log| log.source == listed.source.name);
        for stored in sieve.pass(vec![listed.stored]) {
            let entry = &stored.entry;
            if log.is_some_and(|log| entry.is_file() && !log.takes(entry.path.name())) {
                continue;
            }
            entries += 1;
            files += u64::from(entry.is_file());
            size_bytes += entry.size_bytes;
        }
    }
    if entries == 0 {
        return Err(restore::nothing_selected(snapshot).into());
    }
    let later: u64 = logs.iter().map(|log| log.later).sum();
    (entries, files) = (entries + later, files + later);
    size_bytes += logs.iter().map(|log| log.later_bytes).sum::<u64>();
    let mut text = format!(
        "would restore {} ({}, {}) of {} into {} and remove {}; nothing was written\n",
        show::count(entries, "entry"),
        show::count(files, "file"),
        Bytes(size_bytes),
        snapshots::whose(snapshot),
        show::path(args.to.as_os_str().as_encoded_bytes()),
        show::count(looked.removed, "name")
    );
    for log in &logs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", logs::restored_line(log));
    }
    let answer = fields(json!({
        "snapshot": snapshot.id.to_string(),
        "dry_run": true,
        "removed": looked.removed,
        "kept": looked.kept,
        "entries": entries,
        "files": files,
        "size_bytes": size_bytes,
        "unmatched": options.filter.unmatched(),
        "wal": logs.iter().map(logs::restored_row).collect::<Vec<_>>(),
    }));
    let lacks = logs.iter().find_map(logs::lacking);
    Ok((text, answer, lacks.or_else(|| unmatched(&options.filter.unmatched()))))
}
