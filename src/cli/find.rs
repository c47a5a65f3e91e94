//! `find`: where is that file, and since when?

use std::ffi::OsString;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Output, fields};
use super::selection::Selection;
use super::series::SeriesArgs;
use super::{ls, show, snapshots};
use crate::find::{self, Case, Found, Pattern, Report};

/// Find entries by name or path, in one snapshot or in all
///
/// If nothing is found the exit code is 10.
#[derive(Debug, clap::Args)]
pub(super) struct FindArgs {
    /// A name, or with a slash a path, in which * ? […] and ** stand for others
    pattern: String,
    /// Only in this snapshot: id, latest or latest:NAME
    #[arg(short, long, value_name = "SNAPSHOT")]
    snapshot: Option<OsString>,
    /// Take upper and lower case for the same
    #[arg(short, long)]
    ignore_case: bool,
    /// Mode, owner, size, time and how files are cut
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    series: SeriesArgs,
}

/// Searches.
pub(super) async fn run(
    args: &FindArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let case = if args.ignore_case { Case::Ignored } else { Case::Exact };
    let pattern = Pattern::parse(&args.pattern, case).map_err(Failure::usage)?;
    let selection = args.snapshot.as_ref().map(|text| Selection::parse(text)).transpose()?;
    if selection.as_ref().is_some_and(|selection| !selection.path.is_root()) {
        let reason = "--snapshot takes no path; put the path into the pattern";
        return Err(Failure::usage(reason));
    }
    let repository = context.open().await?;
    let chosen = match selection {
        None => None,
        Some(selection) => {
            let mut snapshot = selection.snapshot(&repository, &args.series).await?;
            if let Some(name) = &selection.source {
                snapshot.require_source(name)?;
                snapshot.sources.retain(|source| source.name == *name);
            }
            Some(vec![snapshot])
        }
    };
    let is_one = chosen.is_some();
    let report = find::run(&repository, pattern, chosen).await?;
    let mut text = String::new();
    for found in &report.found {
        let line = line(found, args.long, is_one);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    let answer = fields(json!({
        "searched_snapshots": report.searched,
        "found": report.found.iter().map(row).collect::<Vec<_>>(),
        "unreadable": snapshots::unreadable_rows(&report.unreadable),
    }));
    // What cannot be read may have it.
    let failure = snapshots::unreadable(&report.unreadable).or_else(|| nothing(args, &report));
    out.answer(&text, answer, failure)
}

/// That nothing was found, if so: silence could be taken for a search that did not happen.
fn nothing(args: &FindArgs, report: &Report) -> Option<Failure> {
    if !report.found.is_empty() {
        return None;
    }
    let pattern = show::text(&args.pattern);
    let message = match report.searched {
        0 => format!("nothing matches {pattern}: the repository has no snapshot"),
        count => {
            let case = if args.ignore_case { "" } else { ", or take any case with --ignore-case" };
            let snapshots = show::count(count, "snapshot");
            format!(
                "nothing matches {pattern} in {snapshots}; write * for the part of a name that is \
                 not known{case}"
            )
        }
    };
    Some(Failure::new(Exit::Missing, message))
}

fn line(found: &Found, is_long: bool, is_one: bool) -> String {
    let place = show::joined(&found.source, found.stored.entry.path.as_bytes());
    let place = if is_long { ls::long_line(&found.stored, &place) } else { place };
    let short =
        |id: &crate::repo::id::SessionId| id.to_string().chars().take(8).collect::<String>();
    let (Some(newest), Some(oldest)) = (found.snapshots.first(), found.snapshots.last()) else {
        return place;
    };
    match found.snapshots.len() {
        _ if is_one => place,
        1 => format!("{}  {place}", short(newest)),
        count => {
            format!("{}  {place}  (in {count} snapshots since {})", short(newest), short(oldest))
        }
    }
}

fn row(found: &Found) -> Value {
    let ids: Vec<String> = found.snapshots.iter().map(ToString::to_string).collect();
    let mut row = fields(json!({"source": found.source, "snapshots": ids}));
    row.extend(ls::entry_row(&found.stored));
    Value::Object(row)
}
