//! `completions`: what a shell needs to complete commands and options.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::failure::Failure;
use super::output::{Output, fields};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
pub(super) fn run(args: &CompletionsArgs, out: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "backstay", &mut script);
    let script = String::from_utf8_lossy(&script);
    let answer = fields(json!({"shell": args.shell.to_string(), "script": script}));
    out.answer(&script, answer, None)
}
