//! `run`: what a policy document asks for, once and now.

use std::path::PathBuf;

use super::context::Context;
use super::failure::Failure;
use super::output::Output;
use super::{backup, sources};
use crate::backup::Options;
use crate::policy::{self, Policy};
use crate::repo::codec::Compression;

/// Back up what a policy asks for
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The policy document
    policy: PathBuf,
    /// Read every file again, whatever the last snapshot says
    #[arg(long)]
    read_all: bool,
}

/// Runs the policy.
pub(super) async fn run(
    args: &RunArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let policy = Policy::read(&args.policy)?;
    let url = context.url(Some(&policy))?;
    let store = context.store_at(&url, Some(&policy))?;
    let prices = context.prices(Some(&policy))?;
    let sources = sources::of_policy(&policy, &context.own_directories(&url))?;
    let compression = match policy.compression {
        policy::Compression::Off => Compression::Off,
        policy::Compression::Level(level) => Compression::Level(level),
    };
    let options = Options {
        job: Some(policy.name.clone()),
        host: policy.host.clone().unwrap_or_else(Context::host),
        labels: policy.labels.clone(),
        writer: backup::writer(compression, policy.memory_bytes, &url),
        read_all: args.read_all,
    };
    backup::execute(store, &sources, &options, prices.as_ref(), context, out).await
}
