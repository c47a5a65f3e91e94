//! What a person watches while something long runs: amount, rate, and the end where it is known.
//! Drawn on the standard error of a terminal only.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plain;

/// How often the line is drawn anew.
const PERIOD: Duration = Duration::from_millis(200);

/// The place where progress is drawn, shared with the log so that they do not overwrite each other.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bars: MultiProgress,
    is_shown: bool,
}

/// Where a run stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Bytes done.
    pub bytes: u64,
    /// What else there is to say.
    pub words: String,
}

impl Progress {
    /// Shows progress if `wanted` and standard error is a terminal.
    pub(super) fn new(wanted: bool) -> Self {
        let is_shown = wanted && io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), is_shown }
    }

    /// Shows how `work` goes on until it is done.
    pub(super) async fn watch<T>(
        &self,
        work: impl Future<Output = T>,
        total_bytes: Option<u64>,
        sample: impl Fn() -> Sample,
    ) -> T {
        if !self.is_shown {
            return work.await;
        }
        let bar = self.bars.add(bar(total_bytes));
        let mut ticks = tokio::time::interval(PERIOD);
        let mut work = std::pin::pin!(work);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticks.tick() => {
                    let Sample { bytes, words } = sample();
                    bar.set_position(bytes);
                    bar.set_message(plain::escaped(&words).into_owned());
                    bar.tick();
                }
            }
        };
        bar.finish_and_clear();
        self.bars.remove(&bar);
        outcome
    }

    /// Writes one line to standard error, above the line of progress. Whatever is not plain in it is escaped.
    pub(super) fn write_above(&self, line: &str) -> io::Result<()> {
        let line = plain::escaped(line.strip_suffix('\n').unwrap_or(line));
        self.write_lines(&line)
    }

    /// The same for a line of JSON, which stays the same value.
    pub(super) fn write_json_above(&self, line: &str) -> io::Result<()> {
        self.write_lines(&plain::escaped_json(line.strip_suffix('\n').unwrap_or(line)))
    }

    fn write_lines(&self, text: &str) -> io::Result<()> {
        let line = format!("{text}\n");
        self.bars.suspend(|| io::stderr().lock().write_all(line.as_bytes()))
    }
}

fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:24} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  \
             {eta} left  {wide_msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}  {wide_msg}",
        ),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
