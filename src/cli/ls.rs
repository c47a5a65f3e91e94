//! `ls`: what is in a snapshot.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::context::Context;
use super::failure::Failure;
use super::output::{Fields, Output, fields};
use super::selection::Selection;
use super::series::SeriesArgs;
use super::{logs, show};
use crate::entry::{Entry, Kind};
use crate::facts::{Facts, WalFacts};
use crate::list::{Entries, EntriesOptions, Listed};
use crate::repo::snapshot::SourceRecord;
use crate::repo::tree::leaf::{Fidelity, StoredEntry};
use crate::units::Bytes;

/// List what is in a snapshot
#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {
    /// Which snapshot, and what of it: SNAPSHOT[:SOURCE[/PATH]]
    #[arg(value_name = "SNAPSHOT[:SOURCE[/PATH]]")]
    what: OsString,
    /// Mode, owner, size, time and how files are cut
    #[arg(short, long)]
    long: bool,
    /// Everything below, not only what stands directly in the directory
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    series: SeriesArgs,
}

/// Lists it.
pub(super) async fn run(args: &LsArgs, context: &Context, out: &mut Output) -> Result<(), Failure> {
    let selection = Selection::parse(&args.what)?;
    let repository = context.open().await?;
    let snapshot = selection.snapshot(&repository, &args.series).await?;
    let named = selection.source.clone().filter(|_| selection.path.is_root());
    let is_named = selection.source.is_some();
    let options = EntriesOptions {
        source: selection.source,
        path: selection.path,
        recursive: args.recursive,
        with_top: false,
    };
    let mut entries = Entries::new(&repository, &snapshot, options)?;
    // The first one is asked for before anything is written: there may be no such path.
    let mut next = entries.next().await?;
    let mut head = fields(json!({"snapshot": snapshot.id.to_string()}));
    if let Some(log) = named.as_deref().and_then(|name| snapshot.source(name)).and_then(log_of) {
        head.insert("wal".to_owned(), logs::stored_row(&log));
        if args.long && !out.is_json() {
            out.write(format!("{}\n", logs::stored_line(&log)).as_bytes())?;
        }
    }
    out.begin_rows(head, "entries")?;
    while let Some(listed) = next {
        out.row(|| line(&listed, is_named, args.long), || row(&listed))?;
        next = entries.next().await?;
    }
    out.end_rows(Fields::new(), None)
}

fn line(listed: &Listed<'_>, is_named: bool, is_long: bool) -> String {
    let Listed { source, stored } = listed;
    let entry = &stored.entry;
    let place = if is_named {
        show::path(entry.path.as_bytes())
    } else {
        show::joined(&source.name, entry.path.as_bytes())
    };
    let slash = if entry.is_directory() && !is_long { "/" } else { "" };
    let line = if is_long { long_line(stored, &place) } else { format!("{place}{slash}") };
    match log_of(source).filter(|_| entry.path.is_root()) {
        Some(log) => format!("{line}  ({})", logs::stored_line(&log)),
        None => line,
    }
}

/// The facts of a source that is a log.
fn log_of(source: &SourceRecord) -> Option<WalFacts> {
    match source.facts() {
        Some(Facts::Wal(log)) => Some(log),
        _ => None,
    }
}

/// A line in the manner of `ls -l`, with how the file is cut in front of its path.
pub(super) fn long_line(stored: &StoredEntry, place: &str) -> String {
    let entry = &stored.entry;
    let owner = |name: Option<&str>, id: u32| match name {
        Some(name) => show::text(name),
        None => id.to_string(),
    };
    let user = owner(entry.user_name.as_deref(), entry.user_id);
    let group = owner(entry.group_name.as_deref(), entry.group_id);
    let size = match entry.kind {
        Kind::File => Bytes(entry.size_bytes).to_string(),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            format!("{major}, {minor}")
        }
        _ => "-".to_owned(),
    };
    let cutter = stored.content.cutter.map_or_else(|| "-".to_owned(), |cutter| cutter.to_string());
    let target = match &entry.kind {
        Kind::Symlink { target } => format!(" -> {}", show::path(target)),
        _ => String::new(),
    };
    let worth = match stored.fidelity {
        Fidelity::Exact => "",
        Fidelity::Changed => "  (changed while it was read)",
        Fidelity::Absent => "  (could not be read, not stored)",
    };
    format!(
        "{}  {user:>8} {group:>8}  {size:>10}  {}  {cutter:<12}  {place}{target}{worth}",
        show::mode(entry),
        show::file_time(entry.modified),
    )
}

fn row(listed: &Listed<'_>) -> Fields {
    let mut row = fields(json!({"source": listed.source.name}));
    row.extend(entry_row(&listed.stored));
    if let Some(log) = log_of(listed.source).filter(|_| listed.stored.entry.path.is_root()) {
        row.insert("wal".to_owned(), logs::stored_row(&log));
    }
    row
}

/// An entry for programs.
pub(super) fn entry_row(stored: &StoredEntry) -> Fields {
    let entry = &stored.entry;
    let mut row = Fields::new();
    show::json_path(&mut row, "path", entry.path.as_bytes());
    row.extend(fields(json!({
        "kind": show::kind(&entry.kind),
        "mode": format!("{:04o}", entry.mode),
        "user_id": entry.user_id,
        "group_id": entry.group_id,
        "user_name": entry.user_name.as_deref(),
        "group_name": entry.group_name.as_deref(),
        "modified": show::json_file_time(entry.modified),
        "inode": entry.inode,
        "links": entry.links,
        "xattrs": xattrs(entry),
    })));
    match &entry.kind {
        Kind::File => {
            let cutter = stored.content.cutter.map(|cutter| cutter.to_string());
            row.insert("size_bytes".to_owned(), json!(entry.size_bytes));
            row.insert("cutter".to_owned(), json!(cutter));
            let fidelity = match stored.fidelity {
                Fidelity::Exact => "exact",
                Fidelity::Changed => "changed",
                Fidelity::Absent => "absent",
            };
            row.insert("fidelity".to_owned(), json!(fidelity));
        }
        Kind::Symlink { target } => show::json_path(&mut row, "target", target),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            row.insert("device".to_owned(), json!({"major": major, "minor": minor}));
        }
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::Unknown => {}
    }
    row
}

fn xattrs(entry: &Entry) -> Vec<Value> {
    let name = |xattr: &crate::entry::Xattr| {
        let mut row = Fields::new();
        show::json_path(&mut row, "name", &xattr.name);
        row.insert("size_bytes".to_owned(), json!(xattr.value.len()));
        Value::Object(row)
    };
    entry.xattrs.iter().map(name).collect()
}
