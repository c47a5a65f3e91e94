//! The command line: arguments in, exit code out. One file per subcommand; each understands its
//! arguments, calls a verb, and shows the verb's report.
//!
//! A new subcommand is a file with `Args` and `run`, a variant of `Command`, and a line each in
//! `Command::name` and `dispatch`.

mod backup;
mod bill;
mod cat;
mod check;
mod completions;
mod context;
mod demo;
mod diff;
#[cfg(test)]
mod documented;
mod failure;
mod find;
mod init;
mod key;
mod keyfiles;
mod lacking;
mod limits;
mod lists;
mod logging;
mod logs;
mod ls;
mod memory;
mod output;
mod paths;
mod preview;
mod probing;
mod progress;
mod restore;
mod run;
mod selection;
mod series;
mod show;
mod signal;
mod snapshots;
mod sources;
mod stats;
mod store;
mod table;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use self::context::{Context, Globals};
use self::failure::{Exit, Failure};
use self::output::Output;
use self::signal::Interruptions;
use crate::world::World;

/// Threads that wait: CPU work has a pool of its own.
const WORKERS: usize = 2;

/// Backup and disaster recovery
#[derive(Debug, clap::Parser)]
#[command(name = "backstay", version, about, after_help = failure::HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(init::InitArgs),
    Backup(backup::BackupArgs),
    Run(run::RunArgs),
    Snapshots(snapshots::SnapshotsArgs),
    Ls(ls::LsArgs),
    Find(find::FindArgs),
    Diff(diff::DiffArgs),
    Cat(cat::CatArgs),
    Restore(restore::RestoreArgs),
    Stats(stats::StatsArgs),
    Check(check::CheckArgs),
    Key(key::KeyArgs),
    Store(store::StoreArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// The word used in JSON.
    fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Backup(_) => "backup",
            Self::Run(_) => "run",
            Self::Snapshots(_) => "snapshots",
            Self::Ls(_) => "ls",
            Self::Find(_) => "find",
            Self::Diff(_) => "diff",
            Self::Cat(_) => "cat",
            Self::Restore(_) => "restore",
            Self::Stats(_) => "stats",
            Self::Check(_) => "check",
            Self::Key(_) => "key",
            Self::Store(_) => "store",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
        }
    }
}

async fn dispatch(command: &Command, context: &Context, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args, context, out).await,
        Command::Backup(args) => backup::run(args, context, out).await,
        Command::Run(args) => run::run(args, context, out).await,
        Command::Snapshots(args) => snapshots::run(args, context, out).await,
        Command::Ls(args) => ls::run(args, context, out).await,
        Command::Find(args) => find::run(args, context, out).await,
        Command::Diff(args) => diff::run(args, context, out).await,
        Command::Cat(args) => cat::run(args, context, out).await,
        Command::Restore(args) => restore::run(args, context, out).await,
        Command::Stats(args) => stats::run(args, context, out).await,
        Command::Check(args) => check::run(args, context, out).await,
        Command::Key(args) => key::run(args, context, out).await,
        Command::Store(args) => store::run(args, context, out).await,
        Command::Demo(args) => demo::run(args, context, out).await,
        Command::Completions(args) => completions::run(args, out),
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&arguments, &error),
    };
    let Cli { globals, command } = cli;
    let mut out = Output::new(command.name(), globals.json, globals.quiet);
    logging::begin(globals.log, globals.log_format, out.progress());
    tell_of_panics(out.progress().clone());
    keep_memory_private();
    raise_descriptor_limit();
    let context = Context::new(globals, World::system());
    let place = context.place();
    match start(&command, &context, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let failure = failure.at(place.as_deref());
            out.fail(&failure);
            failure.exit().into()
        }
    }
}

fn start(command: &Command, context: &Context, out: &mut Output) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Bug, format!("cannot start threads: {error}")))?;
    let work = async {
        let interruptions = Interruptions::listen()?;
        tokio::select! {
            biased;
            failure = interruptions.first() => Err(failure),
            outcome = dispatch(command, context, out) => outcome,
        }
    };
    let work = std::panic::AssertUnwindSafe(|| runtime.block_on(work));
    let outcome = std::panic::catch_unwind(work);
    // What still writes a file or waits for a server is not waited for.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|_| Err(Failure::panicked()))
}

/// A panic is one line like any other failure: where it was, and that it should be reported.
fn tell_of_panics(progress: progress::Progress) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
        let what = panic.payload_as_str().unwrap_or("for an unknown reason");
        let line = format!("error: internal error{place}: {what}; please report it\n");
        // There is nobody else to tell.
        drop(progress.write_above(&line));
    }));
}

/// Keys and the bytes of every file that is restored pass through the memory of this process: it leaves no
/// core dump, and no other process of the same user may read it.
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "the limit of core dumps stays as it is");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "other processes of this user may read the memory of this one");
    }
}

/// A pinned source holds all of its files open.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}

/// Answers a command line that asks for help, or that cannot be understood.
fn refuse(arguments: &[OsString], error: &clap::Error) -> ExitCode {
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let command = Cli::command();
    let named = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let name = named.into_iter().find(|name| command.find_subcommand(name).is_some());
    let mut out = Output::new(name.unwrap_or_default(), is_json, false);
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = error.render();
        let text = if logging::may_style(&std::io::stdout()) {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        // Whoever does not read the help does not miss it.
        drop(out.write(text.as_bytes()).and_then(|()| out.flush()));
        return ExitCode::SUCCESS;
    }
    let failure = Failure::usage(explain(error, name, arguments));
    out.fail(&failure);
    failure.exit().into()
}

/// What is wrong with a command line, on one line.
fn explain(error: &clap::Error, name: Option<&str>, arguments: &[OsString]) -> String {
    let is_secret = |argument: &OsString| {
        let text: &OsStr = argument;
        text.as_encoded_bytes().starts_with(b"--passphrase=")
    };
    if arguments.iter().any(is_secret) {
        return "--passphrase takes no value, as process lists would show it: put it into \
                BACKSTAY_PASSPHRASE or a file named by BACKSTAY_PASSPHRASE_FILE"
            .to_owned();
    }
    let help = name.map_or_else(String::new, |name| format!("{name} "));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        || error.kind() == ErrorKind::MissingSubcommand
    {
        return "no command was given: backstay --help lists them".to_owned();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nUsage:").next().unwrap_or(text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{}; see backstay {help}--help", words.join(" "))
}
