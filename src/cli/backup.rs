//! `backup`: paths in, one snapshot out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::bill::Bill;
use super::context::Context;
use super::failure::Failure;
use super::output::{Fields, Output, fields};
use super::paths::PathArgs;
use super::progress::Sample;
use super::{memory, preview, show, sources};
use crate::backup::{self, Options, Progress, Report};
use crate::repo::codec::Compression;
use crate::source::Source;
use crate::store::{Counted, Prices, Store as _};
use crate::units::Bytes;

/// Back up directories and files into one snapshot
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    paths: PathArgs,
    /// Read every file again, whatever the last snapshot says
    #[arg(long)]
    read_all: bool,
    /// List what is new and what has changed since the last snapshot; read and store nothing
    #[arg(long)]
    dry_run: bool,
    /// The job that the snapshot belongs to; without it, host and sources name it
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// The machine's name; without it, its own
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// A text that the snapshot carries; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = sources::label)]
    label: Vec<(String, String)>,
    /// How hard to compress: off, or a level from 1 to 19
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = sources::compression)]
    compression: Compression,
    /// How much memory the whole process may take; without it buffers get 56MiB, and 128MiB across a
    /// network, beside some 150MiB of other memory on two CPUs
    #[arg(long, value_name = "BYTES", value_parser = memory::memory)]
    memory: Option<u64>,
}

/// Backs up what the command line names.
pub(super) async fn run(
    args: &BackupArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let url = context.url(None)?;
    let (writer, context) = &memory::fit(args.compression, args.memory, &url, context)?;
    let writer = *writer;
    let store = context.store_at(&url, None)?;
    let prices = context.prices(None)?;
    let own = context.own_directories(&url);
    let sources = args.paths.sources(args.dry_run, &own, &context.world().cpu).await?;
    let labels: BTreeMap<_, _> = args.label.iter().cloned().collect();
    let options = Options {
        job: args.job.clone(),
        host: args.host.clone().unwrap_or_else(Context::host),
        labels,
        writer,
        read_all: args.read_all,
    };
    if args.dry_run {
        return preview::run(store, &sources, &options, prices.as_ref(), context, out).await;
    }
    execute(store, &sources, &options, prices.as_ref(), context, out).await
}

/// Backs `sources` up and tells what came of it.
pub(super) async fn execute(
    store: Arc<Counted>,
    sources: &[Box<dyn Source>],
    options: &Options,
    prices: Option<&Prices>,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let place = store.place();
    let repository = context.open_store(Arc::clone(&store)).await?;
    let progress = Arc::new(Progress::default());
    let work = backup::run(&repository, sources, options, Arc::clone(&progress));
    let report = out.progress().clone().watch(work, None, || sample(&progress)).await;
    let report = report.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let problems = report.problems.len();
    let failure = report.snapshot.partial.then(|| {
        let named = report.problems.first().map_or(String::new(), |(source, problem)| {
            format!(", first {}", show::joined(source, problem.path.as_bytes()))
        });
        let what = show::count(problems as u64, "problem");
        Failure::partial(format!(
            "snapshot {} is partial: {what}{named}; put it right and run the backup again",
            report.snapshot.short_id()
        ))
    });
    let bill = Bill::keeping(store.usage(), prices);
    let mut answer = answer(&report);
    bill.add_to(&mut answer);
    out.summary(&(text(&report) + &bill.line()), answer, failure)
}

fn sample(progress: &Progress) -> Sample {
    let entries = progress.entries.load(Ordering::Relaxed);
    let size_bytes = progress.size_bytes.load(Ordering::Relaxed);
    let words = format!("read; {} of {} seen", show::count(entries, "entry"), Bytes(size_bytes));
    Sample { bytes: progress.read_bytes.load(Ordering::Relaxed), words }
}

fn text(report: &Report) -> String {
    let snapshot = &report.snapshot;
    let entries = snapshot.sources.iter().map(|source| source.entries).sum();
    let size_bytes = snapshot.sources.iter().map(|source| source.size_bytes).sum();
    let mut text = String::new();
    let word = if snapshot.partial { "partial snapshot" } else { "snapshot" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{word} {}: {}, {} in {}",
        snapshot.short_id(),
        show::count(entries, "entry"),
        Bytes(size_bytes),
        show::duration(snapshot.finished - snapshot.started)
    );
    let _ = writeln!(
        text,
        "{} new, {} changed; read {}, {} of it new, stored as {}",
        show::count(report.new_files, "file"),
        report.changed_files,
        Bytes(report.read_bytes),
        Bytes(report.stored.new_bytes),
        Bytes(report.stored.stored_bytes)
    );
    text.push_str(&show::problems(&report.problems));
    text
}

fn answer(report: &Report) -> Fields {
    let snapshot = &report.snapshot;
    let mut answer = super::snapshots::row(snapshot);
    answer.extend(fields(json!({
        "new_files": report.new_files,
        "changed_files": report.changed_files,
        "read_files": report.read_files,
        "read_bytes": report.read_bytes,
        "new_bytes": report.stored.new_bytes,
        "new_chunks": report.stored.new_chunks,
        "stored_bytes": report.stored.stored_bytes,
        "packs": report.stored.packs,
        "duration_seconds": seconds(snapshot.finished - snapshot.started),
        "problems": report.problems.iter().map(show::json_problem).collect::<Vec<_>>(),
    })));
    answer
}

/// A duration for programs.
fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}
