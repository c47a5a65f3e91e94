//! `init`: make a repository, but only once its keys are safely on the disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::{Context, passphrase};
use super::failure::{Exit, Failure};
use super::output::{Output, fields};
use crate::class::Class;
use crate::repo::envelope::Recipient;
use crate::repo::{InitOptions, Repository};
use crate::store::Store as _;

/// Make a repository and its keys
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The directory that gets recovery.key and agent.key; nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Let this age recipient (age1…) or SSH public key recover, instead of a new recovery.key;
    /// may be given several times
    #[arg(long, value_name = "RECIPIENT")]
    recipient: Vec<String>,
    /// Whether a passphrase opens it.
    #[arg(
        long,
        help = "Let the passphrase in BACKSTAY_PASSPHRASE or BACKSTAY_PASSPHRASE_FILE open \
                everything"
    )]
    passphrase: bool,
}

/// Makes it.
pub(super) async fn run(
    args: &InitArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let store = context.store()?;
    let place = store.place();
    let mut options = InitOptions::default();
    for text in &args.recipient {
        options.recipients.push(Recipient::parse(text)?);
    }
    if args.passphrase {
        options.passphrase = Some(passphrase()?.ok_or_else(|| {
            Failure::usage(
                "--passphrase takes it from the environment: set BACKSTAY_PASSPHRASE or \
                 BACKSTAY_PASSPHRASE_FILE",
            )
        })?);
    }
    let agent = args.keys.join("agent.key");
    let recovery = args.keys.join("recovery.key");
    for file in [&agent, &recovery] {
        refuse_existing(file)?;
    }
    let draft = Repository::draft(store, context.world().clone(), options).await;
    let draft = draft.map_err(|error| Failure::from(error).at(Some(&place)))?;
    let id = draft.id();
    let written = write_keys(
        &args.keys,
        &[
            (&recovery, draft.keys().recovery.as_ref().map(|text| text.as_bytes())),
            (&agent, Some(draft.keys().agent.as_bytes())),
        ],
    )?;
    if let Err(error) = draft.store().await {
        // Only where the repository may have been made after all are its keys worth keeping.
        let is_certain = error.class() != Class::Transient;
        let mut failure = Failure::from(error).at(Some(&place));
        if is_certain {
            written.take_back();
        } else {
            let kept =
                format!("{}; the new keys in {} are kept", failure.message(), args.keys.display());
            failure = Failure::new(failure.exit(), kept);
        }
        return Err(failure);
    }
    let has_recovery = written.files.contains(&recovery);
    let answer = fields(json!({
        "repository": place,
        "repository_id": id.to_string(),
        "agent_key": agent.display().to_string(),
        "recovery_key": has_recovery.then(|| recovery.display().to_string()),
    }));
    out.summary(
        &text(&place, &id.to_string(), &agent, has_recovery.then_some(&recovery)),
        answer,
        None,
    )
}

fn text(place: &str, id: &str, agent: &Path, recovery: Option<&PathBuf>) -> String {
    let recovery = match recovery {
        Some(file) => format!(
            "  {}  reads everything: KEEP IT OFFLINE, in two places. Without it nothing can be \
             restored.\n",
            file.display()
        ),
        None => "  Your own recipients or passphrase read everything. Without them nothing can be \
                 restored.\n"
            .to_owned(),
    };
    format!(
        "made repository {id} in {place}\n{recovery}  {}  backs up and lists, but reads no content: \
         give it to the machines.\n",
        agent.display()
    )
}

fn refuse_existing(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(exists(file)),
        Err(error) => Err(failed(file, &error)),
    }
}

fn exists(file: &Path) -> Failure {
    let reason = "it exists already, and keys are never overwritten; choose another directory";
    Failure::new(Exit::Refused, format!("{}: {reason}", file.display()))
}

fn failed(file: &Path, error: &io::Error) -> Failure {
    let exit = if Class::of_io(error) == Class::Full { Exit::Full } else { Exit::Usage };
    let advice = "no repository was made; choose another directory with --keys";
    Failure::new(exit, format!("{}: {error}; {advice}", file.display()))
}

/// Key files that were written.
struct Written {
    files: Vec<PathBuf>,
}

impl Written {
    /// Removes them again: they are keys to nothing.
    fn take_back(&self) {
        for file in &self.files {
            if let Err(error) = std::fs::remove_file(file) {
                tracing::warn!("{}: {error}; remove it, it is the key to nothing", file.display());
            }
        }
    }
}

/// Writes key files and makes them durable, all of them or none.
fn write_keys(directory: &Path, keys: &[(&Path, Option<&[u8]>)]) -> Result<Written, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory, &error))?;
    let mut written = Written { files: Vec::new() };
    for (file, text) in keys {
        let Some(text) = text else {
            continue;
        };
        let outcome = write_key(file, text, &mut written);
        if let Err(error) = outcome {
            written.take_back();
            return Err(match error.kind() {
                ErrorKind::AlreadyExists => exists(file),
                _ => failed(file, &error),
            });
        }
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| {
        written.take_back();
        failed(directory, &error)
    })?;
    Ok(written)
}

fn write_key(path: &Path, text: &[u8], written: &mut Written) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    written.files.push(path.to_owned());
    file.write_all(text)?;
    file.sync_all()
}

/// Writes one key file that must not exist yet, and makes it durable.
pub(super) fn write_new_key(file: &Path, text: &[u8]) -> Result<(), Failure> {
    refuse_existing(file)?;
    let mut written = Written { files: Vec::new() };
    write_key(file, text, &mut written).map_err(|error| {
        written.take_back();
        Failure::usage(format!("{}: {error}; choose another file", file.display()))
    })
}
