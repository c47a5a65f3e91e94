//! The log: what happens on the way, on standard error, as text or as JSON lines.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Progress;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// From which weight on something is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, clap::ValueEnum)]
pub(super) enum LogLevel {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What someone should look at.
    #[default]
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Writes above the line of progress. Each event comes as one piece.
#[derive(Clone, Debug)]
struct Above {
    progress: Progress,
    format: LogFormat,
}

impl io::Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        match self.format {
            LogFormat::Text => self.progress.write_above(&line)?,
            LogFormat::Json => self.progress.write_json_above(&line)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Above {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Begins logging for this process.
pub(super) fn begin(level: LogLevel, format: LogFormat, progress: &Progress) {
    // Other crates speak of their own affairs: below a warning nobody asked for that.
    let others = if level < LogLevel::Warn { level } else { LogLevel::Warn };
    let filter = EnvFilter::new(format!("{},backstay={}", others.as_str(), level.as_str()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Above { progress: progress.clone(), format })
        // Nothing that a terminal obeys: what is logged comes from everywhere.
        .with_ansi(false);
    let begun = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A log that is set up already, by whoever runs us inside their own program, stays.
    drop(begun);
}

/// Whether colours and bold type may be used on a stream.
pub(super) fn may_style(stream: &impl io::IsTerminal) -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && stream.is_terminal()
}
