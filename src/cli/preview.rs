//! `backup --dry-run`: what a backup would read, and that nothing was read or stored.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::bill::Bill;
use super::context::Context;
use super::failure::Failure;
use super::output::{Fields, Output, fields};
use super::show;
use crate::backup::{self, Change, Options, Planned, Preview};
use crate::source::Source;
use crate::store::{Counted, Prices, Store as _};
use crate::units::Bytes;

/// Rows that wait to be shown.
const ROWS: usize = 256;

/// Files of one kind of change.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    bytes: u64,
}

/// What would be read.
#[derive(Debug, Default)]
struct Tallies {
    new: Tally,
    changed: Tally,
    unsure: Tally,
}

impl Tallies {
    fn add(&mut self, planned: &Planned) {
        if !planned.entry.is_file() {
            return;
        }
        let tally = match planned.change {
            Change::New => &mut self.new,
            Change::Changed => &mut self.changed,
            Change::Unsure => &mut self.unsure,
        };
        tally.files += 1;
        tally.bytes = tally.bytes.saturating_add(planned.entry.size_bytes);
    }
}

/// Shows what a backup of `sources` would do.
pub(super) async fn run(
    store: Arc<Counted>,
    sources: &[Box<dyn Source>],
    options: &Options,
    prices: Option<&Prices>,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let place = store.place();
    let repository = context.open_store(Arc::clone(&store)).await?;
    out.begin_rows(fields(json!({"dry_run": true})), "changes")?;
    let (rows, mut listed) = mpsc::channel(ROWS);
    let work = async {
        let preview = backup::preview(&repository, sources, options, rows).await;
        preview.map_err(|error| Failure::from(error).at(Some(&place)))
    };
    let mut tallies = Tallies::default();
    let show = async {
        while let Some(planned) = listed.recv().await {
            tallies.add(&planned);
            if is_told(&planned) {
                out.row(|| line(&planned), || row(&planned))?;
            }
        }
        Ok::<_, Failure>(())
    };
    let (preview, ()) = tokio::try_join!(work, show)?;
    let bill = Bill::new(store.usage(), prices);
    out.say((text(&preview, &tallies) + &bill.line()).trim_end())?;
    let mut answer = answer(&preview, &tallies);
    bill.add_to(&mut answer);
    out.end_rows(answer, lacking(&preview))
}

/// A directory's times change with every name in it, so of those only new ones are told of. What is only
/// looked at again is counted.
fn is_told(planned: &Planned) -> bool {
    match planned.change {
        Change::New => !planned.entry.path.is_root(),
        Change::Changed => !planned.entry.is_directory(),
        Change::Unsure => false,
    }
}

fn line(planned: &Planned) -> String {
    let sign = if planned.change == Change::New { '+' } else { 'M' };
    let place = show::joined(&planned.source, planned.entry.path.as_bytes());
    if planned.entry.is_directory() {
        return format!("{sign}  {place}/");
    }
    if !planned.entry.is_file() {
        return format!("{sign}  {place}");
    }
    format!("{sign}  {place}  {}", Bytes(planned.entry.size_bytes))
}

fn row(planned: &Planned) -> Fields {
    let change = planned.change.as_str();
    let mut row = fields(json!({"change": change, "source": &*planned.source}));
    show::json_path(&mut row, "path", planned.entry.path.as_bytes());
    row.insert("kind".to_owned(), show::kind(&planned.entry.kind).into());
    row.insert("size_bytes".to_owned(), planned.entry.size_bytes.into());
    row
}

fn text(preview: &Preview, tallies: &Tallies) -> String {
    let parent = match &preview.parent {
        Some(parent) => {
            let short: String = parent.to_string().chars().take(8).collect();
            format!("compared with snapshot {short}")
        }
        None => "there is no snapshot to compare with".to_owned(),
    };
    let Tallies { new, changed, unsure } = tallies;
    let mut text = format!(
        "dry run: {}, {}; {parent}; nothing was stored\n{} new ({}), {} changed ({})",
        show::count(preview.entries, "entry"),
        Bytes(preview.size_bytes),
        show::count(new.files, "file"),
        Bytes(new.bytes),
        changed.files,
        Bytes(changed.bytes),
    );
    if unsure.files > 0 {
        let again = format!(
            ", {} to be read again, as time stamps alone do not prove them unchanged ({})",
            unsure.files,
            Bytes(unsure.bytes)
        );
        text.push_str(&again);
    }
    text.push_str("; only reading shows what of this is stored already, or cannot be read\n");
    text.push_str(&show::problems(&preview.problems));
    text
}

fn answer(preview: &Preview, tallies: &Tallies) -> Fields {
    let Tallies { new, changed, unsure } = tallies;
    let problems: Vec<Value> = preview.problems.iter().map(show::json_problem).collect();
    fields(json!({
        "parent": preview.parent.as_ref().map(ToString::to_string),
        "entries": preview.entries,
        "size_bytes": preview.size_bytes,
        "excluded": preview.excluded,
        "new_files": new.files,
        "new_file_bytes": new.bytes,
        "changed_files": changed.files,
        "changed_file_bytes": changed.bytes,
        "unsure_files": unsure.files,
        "unsure_file_bytes": unsure.bytes,
        "problems": problems,
    }))
}

fn lacking(preview: &Preview) -> Option<Failure> {
    let (source, first) = preview.problems.first()?;
    let what = show::count(preview.problems.len() as u64, "problem");
    let first = show::joined(source, first.path.as_bytes());
    Some(Failure::partial(format!(
        "the snapshot would be partial: {what}, first {first}; put it right before the backup"
    )))
}
