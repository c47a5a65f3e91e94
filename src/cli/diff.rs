//! `diff`: what changed from one snapshot to another.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use serde_json::{Value, json};

use super::context::Context;
use super::failure::Failure;
use super::output::{Fields, Output, fields};
use super::selection::Selection;
use super::series::SeriesArgs;
use super::{ls, show};
use crate::diff::{Change, Difference, Differences};
use crate::repo::snapshot::Snapshot;
use crate::repo::tree::leaf::StoredEntry;

/// Show what changed from one snapshot to another
///
/// + added, - removed, M other content, U other attributes, T another type.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// The first: SNAPSHOT[:SOURCE[/PATH]]
    #[arg(value_name = "A")]
    before: OsString,
    /// The second; a source and path named once hold for both
    #[arg(value_name = "B")]
    after: OsString,
    #[command(flatten)]
    series: SeriesArgs,
}

/// Compares.
pub(super) async fn run(
    args: &DiffArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let (first, second) = (Selection::parse(&args.before)?, Selection::parse(&args.after)?);
    let place = match (&first.source, &second.source) {
        (Some(_), Some(_)) if first.path != second.path => {
            return Err(Failure::usage(
                "both sides must name the same path, or only one of them any",
            ));
        }
        (None, _) => &second,
        _ => &first,
    };
    // The other side may be of another series: its id says so.
    let any = SeriesArgs::default();
    let series_of = |side: &Selection| if side.is_latest() { &args.series } else { &any };
    let repository = context.open().await?;
    let (a, b) = (
        first.snapshot(&repository, series_of(&first)).await?,
        second.snapshot(&repository, series_of(&second)).await?,
    );
    let ids = json!({"before": a.id.to_string(), "after": b.id.to_string()});
    let pairs = pairs(&a, &b, &first, &second)?;
    out.begin_rows(fields(ids), "differences")?;
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (a_name, b_name) in &pairs {
        let name = b_name.as_ref().or(a_name.as_ref()).map_or("", String::as_str);
        let record = |snapshot: &'_ Snapshot, name: &Option<String>| {
            name.as_ref().and_then(|name| snapshot.source(name).cloned())
        };
        let (before, after) = (record(&a, a_name), record(&b, b_name));
        let path = place.path.clone();
        let open = Differences::open(&repository, before.as_ref(), after.as_ref(), path);
        let mut differences = open.await?;
        while let Some(found) = differences.next().await? {
            *counts.entry(found.change.as_str()).or_default() += 1;
            out.row(|| line(name, &found), || row(name, &found))?;
        }
    }
    let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let summary = if words.is_empty() { "no differences".to_owned() } else { words.join(", ") };
    out.end_rows(fields(json!({"counts": counts})), None)?;
    out.note(&summary);
    Ok(())
}

/// Names of sources on both sides.
type Pair = (Option<String>, Option<String>);

/// Which sources are compared with which: those of the same name, or the two that were named.
fn pairs(
    a: &Snapshot,
    b: &Snapshot,
    first: &Selection,
    second: &Selection,
) -> Result<Vec<Pair>, Failure> {
    let named = |one: &Selection, other: &Selection| one.source.clone().or(other.source.clone());
    if let (Some(before), Some(after)) = (named(first, second), named(second, first)) {
        a.require_source(&before)?;
        b.require_source(&after)?;
        return Ok(vec![(Some(before), Some(after))]);
    }
    let names: BTreeSet<&str> =
        a.sources.iter().chain(&b.sources).map(|source| source.name.as_str()).collect();
    let side = |snapshot: &Snapshot, name: &str| snapshot.source(name).map(|s| s.name.clone());
    Ok(names.into_iter().map(|name| (side(a, name), side(b, name))).collect())
}

fn line(source: &str, found: &Difference) -> String {
    let place = show::joined(source, found.path().as_bytes());
    format!("{}  {place}", found.change.sign())
}

fn row(source: &str, found: &Difference) -> Fields {
    let mut row = fields(json!({"change": found.change.as_str(), "source": source}));
    show::json_path(&mut row, "path", found.path().as_bytes());
    let side = |stored: &StoredEntry| Value::Object(ls::entry_row(stored));
    if found.change != Change::Added {
        row.insert("before".to_owned(), found.before.as_ref().map_or(Value::Null, side));
    }
    if found.change != Change::Removed {
        row.insert("after".to_owned(), found.after.as_ref().map_or(Value::Null, side));
    }
    row
}
