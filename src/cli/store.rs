//! `store`: what a place would be as a repository's store, before or after there is one.

use serde_json::{Value, json};

use super::bill::Bill;
use super::context::Context;
use super::failure::Failure;
use super::output::{Output, fields};
use super::probing;
use super::progress::Sample;
use super::show;
use crate::probe::{self, Deletion, SpeedOptions, Test, Transfer};
use crate::store::Store as _;
use crate::units::{Bytes, parse_bytes};

/// Smaller says nothing of speed, larger than this nobody means.
const TRANSFER_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 30;

/// Look at a store
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say what a store honours, how fast it is, and what this credential could do there
    ///
    /// Touches nothing but objects of its own, below probe/. Needs no key.
    Test {
        /// The store; without it, the repository's
        url: Option<String>,
        /// How much to transfer each way; less where that would take more than about 5 s
        #[arg(long, value_name = "BYTES", default_value = "128MiB", value_parser = size)]
        size: u64,
    },
}

fn size(text: &str) -> Result<u64, &'static str> {
    let bytes = parse_bytes(text).filter(|bytes| TRANSFER_BYTES.contains(bytes));
    bytes.ok_or("write a size from 1MiB to 64GiB")
}

/// Looks.
pub(super) async fn run(
    args: &StoreArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let Action::Test { url, size } = &args.action;
    let url = match url {
        Some(url) => url.clone(),
        None => context.url(None)?,
    };
    let store = context.store_at(&url, None)?;
    let prices = context.prices(None)?;
    let place = store.place();
    let options = SpeedOptions { transfer_bytes: *size };
    let work = probe::test(&*store, context.world(), options);
    let counted = || {
        let usage = store.usage();
        let words = "testing the store".to_owned();
        Sample { bytes: usage.uploaded_bytes + usage.downloaded_bytes, words }
    };
    let test = out.progress().clone().watch(work, None, counted).await;
    let test = test.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let bill = Bill::new(store.usage(), prices.as_ref());
    let text = text(&place, &test, out) + &bill.line();
    let mut answer = fields(json!({
        "store": place,
        "class": test.report.class.as_str(),
        "probe": probing::answer(&test.report),
        "may_delete": test.report.deletion == Deletion::Allowed,
        "may_overwrite": test.may_overwrite,
        "put_seconds": test.speed.put.as_secs_f64(),
        "get_seconds": test.speed.get.as_secs_f64(),
        "upload": transfer(test.speed.upload.as_ref()),
        "download": transfer(Some(&test.speed.download)),
    }));
    bill.add_to(&mut answer);
    out.answer(&text, answer, None)
}

fn transfer(transfer: Option<&Transfer>) -> Value {
    transfer.map_or(Value::Null, |transfer| {
        json!({
            "objects": transfer.objects,
            "bytes": transfer.bytes,
            "seconds": transfer.duration.as_secs_f64(),
            "bytes_per_second": transfer.bytes_per_second(),
        })
    })
}

fn text(place: &str, test: &Test, out: &Output) -> String {
    let row =
        |name: &str, value: String, remark: &str| vec![name.to_owned(), value, remark.to_owned()];
    let milliseconds = |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let speed = |transfer: &Transfer| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let rate = Bytes(transfer.bytes_per_second() as u64);
        format!("{rate}/s")
    };
    let amount = |transfer: &Transfer| {
        let objects = transfer.objects.max(1);
        format!(
            "{} of {}",
            show::count(transfer.objects, "object"),
            Bytes(transfer.bytes / objects)
        )
    };
    let (may_delete, remark) = match test.report.deletion {
        Deletion::Allowed => {
            ("yes", "give backups a credential that cannot (README, Least rights)")
        }
        Deletion::Denied => ("no", "as it should be for backups"),
        Deletion::Ignored => ("no", "the store says that it deletes, and does not"),
    };
    let (may_overwrite, other) = if test.may_overwrite {
        ("yes", "give backups a credential that cannot (README, Least rights)")
    } else {
        ("no", "as it should be for backups")
    };
    let upload = match &test.speed.upload {
        Some(upload) => row("upload", speed(upload), &amount(upload)),
        None => {
            row("upload", "unknown".to_owned(), "objects of an earlier test could not be deleted")
        }
    };
    let rows = vec![
        row("put", milliseconds(test.speed.put), "a small object, in the middle of 11"),
        row("get", milliseconds(test.speed.get), "the same"),
        upload,
        row("download", speed(&test.speed.download), &amount(&test.speed.download)),
        row("can delete", may_delete.to_owned(), remark),
        row("can overwrite", may_overwrite.to_owned(), other),
    ];
    let table = out.table(&["WHAT", "FOUND", "REMARK"], rows);
    format!("{place}\n{}\n{table}\n", probing::full(&test.report))
}
