//! What lies in the destination beside the segments of a plan: an engine replays whatever it finds, the bad
//! write that a restore should stop before, and the segments of another life.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::destination::Destination;
use crate::entry::TreePath;
use crate::repo::Repository;
use crate::repo::snapshot::SourceRecord;
use crate::restore::wal::LogPlan;
use crate::restore::{Error, blocking};

/// Refuses a destination with segments that the restore neither writes nor removes. Reads only.
pub(in crate::restore) async fn check(
    repository: &Repository,
    destination: &Arc<dyn Destination>,
    sources: &[(&SourceRecord, TreePath)],
    plans: &BTreeMap<String, LogPlan>,
    delete: bool,
) -> Result<(), Error> {
    for (source, prefix) in sources {
        let Some(plan) = plans.get(&source.name) else {
            continue;
        };
        let directory = prefix.clone();
        let names = move |destination: &dyn Destination| {
            Ok((destination.names(&directory)?, destination.keeps_files()))
        };
        let (names, keeps_files) = blocking(repository, destination, names).await?;
        let naming = &plan.restored.facts.naming;
        let found = names.iter().find(|name| match naming.number(name) {
            // A kept file may be a segment of another life.
            Some(number) => keeps_files || !plan.numbers.contains(&number),
            None => naming.belongs_to(name).is_some(),
        });
        if let Some(name) = found.filter(|_| !delete || keeps_files) {
            let name = prefix.join(name);
            return Err(Error::Beyond {
                segment: name.to_string(),
                source_name: source.name.clone(),
            });
        }
    }
    Ok(())
}
