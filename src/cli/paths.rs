//! What `backup` is told to back up: paths, lists of paths below one of them, and standard input.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::lists::ListArgs;
use super::sources;
use crate::entry::TreePath;
use crate::patterns::check_exclude;
use crate::source::{
    CutterChoice, DirectoryOptions, DirectorySource, Source, StreamOptions, StreamSource,
};
use crate::world::Cpu;

/// What standard input is called where nothing else is said.
const STDIN_NAME: &str = "stdin";

/// Paths, and how they are read.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct PathArgs {
    /// What to back up; called NAME, else by the last part of PATH; - is standard input
    #[arg(required = true, value_name = "[NAME=]PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    lists: ListArgs,
    /// The name of the file that standard input becomes
    #[arg(
        long,
        value_name = "NAME",
        help = "The name of the file that standard input becomes [default: stdin]"
    )]
    stdin_name: Option<String>,
    /// Fail, and make no snapshot, if fewer bytes come from standard input
    #[arg(long, value_name = "BYTES", value_parser = sources::size)]
    stdin_least_bytes: Option<u64>,
    /// Leave out what this pattern matches, in the manner of gitignore; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Leave out what the patterns in this file match, one a line
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leave out directories that hold a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Do not enter other file systems
    #[arg(long)]
    one_file_system: bool,
    /// Hold all files open before the first is read: for the directory of a running database
    #[arg(long)]
    pin: bool,
    /// How files are cut: auto, whole, pages:8KiB, cdc:1MiB
    #[arg(long, value_name = "CUTTER", default_value = "auto", value_parser = sources::cutter)]
    cutter: CutterChoice,
    /// Accept an empty directory where the last snapshot had files, an empty list or standard input
    #[arg(long)]
    allow_empty: bool,
}

impl PathArgs {
    /// The sources. Reads lists, but no file that is backed up.
    pub(super) async fn sources(
        &self,
        is_dry_run: bool,
        own: &[PathBuf],
        cpu: &Cpu,
    ) -> Result<Vec<Box<dyn Source>>, Failure> {
        let mut exclude = self.exclude.clone();
        for file in &self.exclude_file {
            exclude.extend(read_patterns(file)?);
        }
        self.check_stdin(is_dry_run)?;
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        for text in &self.paths {
            if is_stdin(text) {
                sources.push(self.stream(text)?);
                continue;
            }
            let (name, path) = sources::name_and_path(text)?;
            sources.push(Box::new(DirectorySource::new(DirectoryOptions {
                only: self.listed(&path, cpu).await?,
                exclude: exclude.clone(),
                exclude_caches: self.exclude_caches,
                one_file_system: self.one_file_system,
                pin: self.pin,
                cutter: self.cutter,
                allow_empty: self.allow_empty,
                own: own.to_vec(),
                ..DirectoryOptions::new(name, path)
            })?));
        }
        Ok(sources)
    }

    /// The listed paths below `path`; `None` without lists.
    async fn listed(&self, path: &Path, cpu: &Cpu) -> Result<Option<Vec<TreePath>>, Failure> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        if self.paths.len() != 1 {
            return Err(Failure::usage(
                "--files-from lists paths below one PATH: give exactly one",
            ));
        }
        let listed = self.lists.read(path, cpu).await?;
        if listed.is_empty() && !self.allow_empty {
            return Err(Failure::usage(
                "the list names no path: did the command that made it fail? (--allow-empty if it is \
                 meant)",
            ));
        }
        Ok(Some(listed))
    }

    fn check_stdin(&self, is_dry_run: bool) -> Result<(), Failure> {
        let count = self.paths.iter().filter(|text| is_stdin(text)).count();
        let refused = |reason: &str| Err(Failure::usage(reason));
        match count {
            0 if self.stdin_name.is_some() || self.stdin_least_bytes.is_some() => refused(
                "--stdin-name and --stdin-least-bytes are about standard input: name it with the path -",
            ),
            0 => Ok(()),
            _ if count > 1 => refused("standard input can be read once: give - once"),
            _ if self.lists.takes_stdin() => {
                refused("standard input cannot be a list and a file at once")
            }
            _ if !self.lists.is_empty() => refused(
                "--files-from lists paths below one PATH, and standard input has none below it",
            ),
            _ if is_dry_run => {
                refused("a dry run reads nothing, so it cannot tell of standard input: leave - out")
            }
            _ if io::stdin().is_terminal() => refused(
                "standard input is a terminal: write the output of a command into it, as in \
                 pg_dump shop | backstay backup - --stdin-name shop.sql; a file called - goes as ./-",
            ),
            _ => Ok(()),
        }
    }

    fn stream(&self, text: &OsString) -> Result<Box<dyn Source>, Failure> {
        let file_name = self.stdin_name.as_deref().unwrap_or(STDIN_NAME);
        let name = if text == "-" {
            let name = OsString::from(file_name);
            sources::name_and_path(&name).map_or_else(|_| String::new(), |(name, _)| name)
        } else {
            sources::name_and_path(text)?.0
        };
        if name.is_empty() || file_name.contains('/') {
            return Err(Failure::usage(format!(
                "--stdin-name {file_name:?}: this must be the name of a file, without a slash, and without \
                 a dot in front unless the source is named, as in NAME=-"
            )));
        }
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input = input
            .map_err(|error| Failure::usage(format!("standard input cannot be used: {error}")))?;
        let options = StreamOptions {
            name,
            file_name: file_name.to_owned(),
            location: "standard input".to_owned(),
            cutter: self.cutter,
            least_bytes: self.stdin_least_bytes.unwrap_or(0),
            allow_empty: self.allow_empty,
        };
        Ok(Box::new(StreamSource::new(options, input)?))
    }
}

/// Whether a path stands for standard input. A file of that name goes as `./-`.
fn is_stdin(text: &OsString) -> bool {
    let bytes = text.as_encoded_bytes();
    bytes == b"-"
        || bytes
            .strip_suffix(b"=-")
            .is_some_and(|name| !name.contains(&b'/') && !name.contains(&b'='))
}

fn read_patterns(file: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("{}: {error}; check --exclude-file", file.display()))
    })?;
    let mut patterns = Vec::new();
    for (line, pattern) in (1..).zip(text.lines()) {
        if pattern.trim().is_empty() || pattern.starts_with('#') {
            continue;
        }
        check_exclude(pattern)
            .map_err(|reason| Failure::usage(format!("{}:{line}: {reason}", file.display())))?;
        patterns.push(pattern.to_owned());
    }
    Ok(patterns)
}
