//! `key`: who can open the repository.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::context::{Context, passphrase};
use super::failure::Failure;
use super::init::write_new_key;
use super::output::{Output, fields};
use crate::keys;
use crate::repo::envelope::Recipient;

/// List and change who can open the repository
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the ways to open it
    List,
    /// Let one more recipient (age1… or an SSH public key) read everything, old snapshots included
    Add {
        /// The recipient
        recipient: String,
        /// What to call it
        #[arg(long, default_value = "added")]
        label: String,
    },
    /// Draw a new agent key and refuse the old one
    ///
    /// What the old key could read before, it still can; what is written after, it cannot.
    /// Deduplication begins anew: the next backup stores what changed, and page files whole.
    RotateAgent {
        /// Where the new agent key goes; never overwritten
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write the agent key to a file again
    Agent {
        /// Where it goes; never overwritten
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Let a passphrase (`BACKSTAY_NEW_PASSPHRASE_FILE`) open everything, in place of the one before
    Passphrase,
}

/// Does it.
pub(super) async fn run(
    args: &KeyArgs,
    context: &Context,
    out: &mut Output,
) -> Result<(), Failure> {
    let repository = context.open().await?;
    match &args.action {
        Action::List => list(&keys::list(&repository), out),
        Action::Add { recipient, label } => {
            let recipients = [Recipient::parse(recipient)?];
            keys::add_recipients(&repository, label, &recipients).await?;
            let answer = fields(json!({"added": recipients[0].as_str(), "label": label}));
            out.summary(&format!("{label} can open everything from now on\n"), answer, None)
        }
        Action::RotateAgent { output } => {
            let passphrase = passphrase()?;
            let text = keys::rotate_agent_key(&repository, passphrase.as_ref()).await?;
            written(output, text.as_bytes(), out, "the old agent key is refused from now on")
        }
        Action::Agent { output } => {
            let text = keys::agent_key(&repository);
            written(output, text.as_bytes(), out, "keep it where the agent runs, and nowhere else")
        }
        Action::Passphrase => {
            let new = super::context::new_passphrase()?;
            keys::set_passphrase(&repository, &new).await?;
            let answer = fields(json!({"passphrase": true}));
            out.summary("the new passphrase opens everything from now on\n", answer, None)
        }
    }
}

fn written(
    output: &std::path::Path,
    text: &[u8],
    out: &mut Output,
    advice: &str,
) -> Result<(), Failure> {
    write_new_key(output, text)?;
    let answer = fields(json!({"written": output.display().to_string()}));
    out.summary(&format!("wrote {}; {advice}\n", output.display()), answer, None)
}

fn list(listing: &keys::Listing, out: &mut Output) -> Result<(), Failure> {
    let opens = |row: &keys::Row| {
        if row.recipients.is_empty() {
            "a passphrase".to_owned()
        } else {
            row.recipients.join(", ")
        }
    };
    let rows = listing.rows.iter().map(|row| vec![row.label.clone(), opens(row)]).collect();
    let mut text = out.table(&["KEY", "OPENS WITH"], rows);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "
config generation {}, {} repository secret(s); sessions are sealed to {}",
        listing.generation, listing.secrets, listing.content_recipient
    );
    let keys: Vec<_> = listing
        .rows
        .iter()
        .map(|row| json!({"label": row.label, "recipients": row.recipients}))
        .collect();
    let answer = fields(json!({
        "generation": listing.generation,
        "secrets": listing.secrets,
        "content_recipient": listing.content_recipient,
        "keys": keys,
    }));
    out.answer(&text, answer, None)
}
