//! `cat`: the bytes of one file, verified, on standard output.

use std::ffi::OsString;

use data_encoding::BASE64;
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::ls::entry_row;
use super::output::{Output, fields};
use super::selection::Selection;
use super::series::SeriesArgs;
use crate::cat;
use crate::repo::tree::leaf::Fidelity;
use crate::units::MIB;

/// A longer file does not belong into a JSON object.
const JSON_LIMIT_BYTES: u64 = 64 * MIB as u64;

/// Print the content of a file
#[derive(Debug, clap::Args)]
pub(super) struct CatArgs {
    /// Which file: SNAPSHOT:SOURCE/PATH
    #[arg(value_name = "SNAPSHOT:SOURCE/PATH")]
    what: OsString,
    #[command(flatten)]
    series: SeriesArgs,
}

/// Prints it.
pub(super) async fn run(
    args: &CatArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let selection = Selection::parse(&args.what)?;
    let (source, path) = selection.file(&args.what)?;
    let repository = context.open().await?;
    let snapshot = selection.snapshot(&repository, &args.series).await?;
    let mut file = cat::open(&repository, &snapshot, source, path).await?;
    let is_changed = file.stored().fidelity == Fidelity::Changed;
    let failure = is_changed.then(|| {
        Failure::partial(format!("{path} changed while it was backed up: it may mix two states"))
    });
    if !out.is_json() {
        while let Some(bytes) = file.next().await? {
            out.write(&bytes)?;
        }
        out.flush()?;
        return failure.map_or(Ok(()), Err);
    }
    if file.stored().entry.size_bytes > JSON_LIMIT_BYTES {
        return Err(Failure::usage(format!(
            "{path} has more than {} MiB: leave --json out to have its bytes as they are",
            JSON_LIMIT_BYTES / MIB as u64
        )));
    }
    let mut content = Vec::new();
    while let Some(bytes) = file.next().await? {
        content.extend_from_slice(&bytes);
    }
    let mut answer = fields(json!({"snapshot": snapshot.id.to_string(), "source": source}));
    answer.extend(entry_row(file.stored()));
    answer.insert("content_base64".to_owned(), json!(BASE64.encode(&content)));
    out.answer("", answer, failure)
}
