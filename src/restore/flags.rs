//! Inode flags: a last walk over a source, after everything else is done. An immutable file can get no
//! further name, and nothing can be made in an immutable directory.

use std::sync::Arc;

use crate::destination::Destination;
use crate::entry::{Entry, TreePath};
use crate::patterns::Filter;
use crate::repo::Repository;
use crate::repo::snapshot::SourceRecord;
use crate::restore::pass::place;
use crate::restore::refusals::Refused;
use crate::restore::subtree::{Step, Subtree};
use crate::restore::{Error, blocking};

/// Gives the entries of a source their flags. What of the tree cannot be read was named before.
pub(super) async fn protect(
    repository: &Repository,
    source: &SourceRecord,
    prefix: &TreePath,
    (path, filter): (&TreePath, &Filter),
    destination: &Arc<dyn Destination>,
    refused: &Arc<Refused>,
) -> Result<(), Error> {
    let mut subtree = Subtree::open(repository, &source.root, path).await?;
    subtree.select(filter);
    while let Some(step) = subtree.next().await? {
        let Step::Entries(entries) = step else {
            continue;
        };
        let flagged = entries.into_iter().map(|stored| stored.entry);
        let flagged = flagged.filter(|entry| entry.inode_flags != 0).map(|entry| Entry {
            path: place(prefix, path, &entry.path, entry.is_directory()),
            ..entry
        });
        let flagged: Vec<Entry> = flagged.collect();
        if flagged.is_empty() {
            continue;
        }
        let refused = Arc::clone(refused);
        let protect = move |destination: &dyn Destination| {
            for entry in &flagged {
                refused.take_in(&entry.path, destination.protect(entry))?;
            }
            Ok(())
        };
        blocking(repository, destination, protect).await?;
    }
    Ok(())
}
