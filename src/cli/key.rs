//! `key`: who can open the repository.

use std::path::PathBuf;

use serde_json::json;

use super::context::{Context, passphrase, passphrase_in};
use super::failure::Failure;
use super::keyfiles::{refuse_existing, write_keys};
use super::output::{Output, fields};
use super::show;
use crate::keys;
use crate::repo::Repository;
use crate::repo::envelope::Recipient;

/// The variable that a new passphrase comes from; the old one may be needed to open.
const NEW_PASSPHRASE: &str = "BACKSTAY_NEW_PASSPHRASE";

/// Show and change who can open the repository
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List who can open the repository
    List,
    /// Let more recipients open everything, old snapshots included
    Add {
        /// What to call them
        #[arg(long, value_name = "NAME")]
        label: String,
        /// age recipients (age1…) or SSH public keys
        #[arg(required = true, value_name = "RECIPIENT")]
        recipients: Vec<String>,
    },
    #[command(about = "Let the passphrase in BACKSTAY_NEW_PASSPHRASE(_FILE) open everything, in \
                       place of the one before")]
    Passphrase,
    /// Write the agent key to a new file
    Agent {
        /// The file; must not exist yet
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Make a new one; the old one backs nothing up from now on, but still lists what it could list
        #[arg(long)]
        rotate: bool,
    },
}

/// Shows or changes keys.
pub(super) async fn run(
    args: &KeyArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    match &args.action {
        Action::List => list(&context.open().await?, out),
        Action::Add { label, recipients } => {
            let parsed: Result<Vec<_>, _> =
                recipients.iter().map(|text| Recipient::parse(text)).collect();
            let repository = context.open().await?;
            keys::add_recipients(&repository, label, &parsed?).await?;
            let text = format!("{} can open everything now\n", show::text(label));
            let answer = fields(json!({"action": "add", "label": label, "recipients": recipients}));
            out.summary(&text, answer, None)
        }
        Action::Passphrase => {
            let new = passphrase_in(NEW_PASSPHRASE)?.ok_or_else(|| {
                Failure::usage(format!(
                    "no new passphrase: set {NEW_PASSPHRASE} or {NEW_PASSPHRASE}_FILE"
                ))
            })?;
            keys::set_passphrase(&context.open().await?, &new).await?;
            let text = "the new passphrase opens everything now\n";
            out.summary(text, fields(json!({"action": "passphrase"})), None)
        }
        Action::Agent { to, rotate } => {
            refuse_existing(to)?;
            let repository = context.open().await?;
            let text = if *rotate {
                keys::rotate_agent_key(&repository, passphrase()?.as_ref()).await?
            } else {
                keys::agent_key(&repository)
            };
            let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or_else(|| std::path::Path::new("."));
            // If this fails the key is not lost: the recovery key can write it again.
            write_keys(directory, &[(to, Some(text.as_bytes()))])?;
            let old = if *rotate { "; the old one backs nothing up from now on" } else { "" };
            let told = format!("wrote the agent key to {}{old}\n", to.display());
            let answer = fields(json!({
                "action": "agent",
                "agent_key": to.display().to_string(),
                "rotated": rotate,
            }));
            out.summary(&told, answer, None)
        }
    }
}

fn list(repository: &Repository, out: &mut Output) -> Result<(), Failure> {
    let listing = keys::list(repository);
    let rows = listing.rows.iter().map(|row| {
        let who = match row.recipients.as_slice() {
            [] => "a passphrase".to_owned(),
            recipients => show::text(&recipients.join(", ")),
        };
        vec![show::text(&row.label), who]
    });
    let rows = rows.collect();
    let text = out.table(&["LABEL", "OPENED BY"], rows);
    let keys: Vec<_> = listing
        .rows
        .iter()
        .map(|row| json!({"label": row.label, "recipients": row.recipients}))
        .collect();
    let answer = fields(json!({
        "action": "list",
        "generation": listing.generation,
        "secrets": listing.secrets,
        "content_recipient": listing.content_recipient,
        "keys": keys,
    }));
    out.answer(&text, answer, None)
}
