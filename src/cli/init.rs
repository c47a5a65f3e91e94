//! `init`: make a repository, but only in a store that can hold one, and only once its keys are safely on
//! the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::bill::Bill;
use super::context::{Context, passphrase};
use super::failure::Failure;
use super::keyfiles::{refuse_existing, write_keys};
use super::output::{Output, fields};
use super::probing;
use crate::class::Class;
use crate::probe;
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
    /// Do not look first what the store honours
    #[arg(long)]
    no_probe: bool,
}

/// Makes it.
pub(super) async fn run(
    args: &InitArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let store = context.store()?;
    let prices = context.prices(None)?;
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
    let at_place = |failure: Failure| failure.at(Some(&place));
    let probed = if args.no_probe {
        None
    } else {
        let absent = Repository::check_absent(&*store).await;
        absent.map_err(|error| at_place(error.into()))?;
        let probed = probing::run(&*store, probe::Options::default(), context, out).await;
        Some(probed.map_err(|error| at_place(error.into()))?)
    };
    options.store_class = probed.as_ref().map(|report| report.class);
    let counted = Arc::clone(&store);
    let draft = Repository::draft(store, context.world().clone(), options).await;
    let draft = draft.map_err(|error| at_place(error.into()))?;
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
    let mut answer = fields(json!({
        "repository": place,
        "repository_id": id.to_string(),
        "store_class": probed.as_ref().map(|report| report.class.as_str()),
        "probe": probed.as_ref().map(probing::answer),
        "agent_key": agent.display().to_string(),
        "recovery_key": has_recovery.then(|| recovery.display().to_string()),
    }));
    let bill = Bill::new(counted.usage(), prices.as_ref());
    bill.add_to(&mut answer);
    let mut text = text(&place, &id.to_string(), &agent, has_recovery.then_some(&recovery));
    text.push_str(&probed.as_ref().map_or_else(String::new, probing::brief));
    out.summary(&(text + &bill.line()), answer, None)
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
