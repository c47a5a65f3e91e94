//! Limits from wherever they are said: the command line goes before a policy, and that before the
//! environment.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::context::variable;
use super::failure::Failure;
use crate::store::{LimitsGiven, Rate, parse_connections, parse_retry_for};

/// Global options for what the store may use of the line.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct LimitArgs {
    /// The speed to the store.
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        value_parser = Rate::parse,
        help = "Send no more than this per second, such as 10MiB or 80Mbit; or off \
                [env: BACKSTAY_UPLOAD_LIMIT]"
    )]
    upload_limit: Option<Rate>,
    /// The speed from the store.
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        value_parser = Rate::parse,
        help = "Fetch no more than this per second [env: BACKSTAY_DOWNLOAD_LIMIT]"
    )]
    download_limit: Option<Rate>,
    /// Connections at a time.
    #[arg(
        long,
        global = true,
        value_name = "N",
        value_parser = parse_connections,
        help = "Connections to the store at a time; without it 16, and 4 over SSH \
                [env: BACKSTAY_CONNECTIONS]"
    )]
    connections: Option<NonZeroUsize>,
    /// Patience.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        value_parser = parse_retry_for,
        help = "How long after its first failure a request is still tried again, such as 5m; also \
                how long a server that never answered is waited for, without it 5s \
                [env: BACKSTAY_RETRY_FOR]"
    )]
    retry_for: Option<Duration>,
}

impl LimitArgs {
    /// These, then what `policy` says, then the environment.
    pub(super) fn over(self, policy: LimitsGiven) -> Result<LimitsGiven, Failure> {
        let Self { upload_limit, download_limit, connections, retry_for } = self;
        let line =
            LimitsGiven { upload: upload_limit, download: download_limit, connections, retry_for };
        let said = line.or(policy);
        let environment = LimitsGiven {
            upload: from_environment("BACKSTAY_UPLOAD_LIMIT", Rate::parse)?,
            download: from_environment("BACKSTAY_DOWNLOAD_LIMIT", Rate::parse)?,
            connections: from_environment("BACKSTAY_CONNECTIONS", parse_connections)?,
            retry_for: from_environment("BACKSTAY_RETRY_FOR", parse_retry_for)?,
        };
        Ok(said.or(environment))
    }
}

/// What a variable says, where it is set. A value that cannot be meant is an error even where something
/// else goes before it.
fn from_environment<T>(
    name: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Failure> {
    let Some(text) = variable(name)? else {
        return Ok(None);
    };
    let value = parse(&text);
    value.map(Some).map_err(|reason| Failure::usage(format!("{name} is {text:?}: {reason}")))
}
