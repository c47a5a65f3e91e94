//! More keys than fit on one page of any store's listing: all of them must come, in order.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CONCURRENCY, Deletion, Error, Probe};
use crate::repo::layout;
use crate::store;
use crate::store::{Key, Object};

/// A page of every store has 1,000 keys at most, or 5,000, which no server forces on us.
const KEYS: usize = 1_100;
/// What the keys are called together where they are made once and found again.
const KEPT: &str = "listing";

/// Content and length do not matter, but both are the same each time: who finds the key taken by
/// equal bytes has stored it.
fn content(number: usize) -> Bytes {
    Bytes::from(format!("{number:04}"))
}

impl Probe<'_> {
    /// Lists many keys, and says what was seen.
    pub(super) async fn listing(&mut self, deletion: Deletion) -> Result<String, Error> {
        let own = deletion == Deletion::Allowed;
        let prefix = if own { format!("{}many-", self.prefix) } else { layout::kept_probes(KEPT) };
        let expected: Vec<Object> = (0..KEYS)
            .map(|number| Object {
                key: Key::new(format!("{prefix}{number:04}")),
                size_bytes: content(number).len() as u64,
            })
            .collect();
        let found = if own { BTreeSet::new() } else { self.rows(&prefix).await? };
        let lacking: Vec<usize> =
            (0..KEYS).filter(|number| !found.contains(&expected[*number].key)).collect();
        if own {
            self.made.extend(expected.iter().map(|object| object.key.clone()));
        } else {
            self.kept_objects += lacking.len() as u64;
        }
        let creates = lacking.iter().map(|number| self.make(&expected[*number].key, *number));
        let mut creates = stream::iter(creates).buffer_unordered(CONCURRENCY);
        while creates.next().await.transpose()?.is_some() {}
        drop(creates);
        self.compare(&prefix, &expected, own).await?;
        let again = if lacking.is_empty() { ", all of them from an earlier probe" } else { "" };
        Ok(format!("a listing of {KEYS} objects is complete and in order{again}"))
    }

    async fn make(&self, key: &Key, number: usize) -> Result<(), Error> {
        match self.store.create(key, vec![content(number)]).await {
            // Another probe makes the same ones at the same time.
            Err(store::Error::Exists { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn rows(&self, prefix: &str) -> Result<BTreeSet<Key>, Error> {
        Ok(self.store.list(prefix).map_ok(|object| object.key).try_collect().await?)
    }

    async fn compare(&self, prefix: &str, expected: &[Object], own: bool) -> Result<(), Error> {
        let listed: Vec<Object> = self.store.list(prefix).try_collect().await?;
        if let Some(pair) = listed.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            let saw = format!("a listing has {} after {}", pair[1].key, pair[0].key);
            return Err(self.unusable(saw));
        }
        // Someone else's objects below the kept name do no harm.
        let ours: Vec<&Object> =
            listed.iter().filter(|object| own || expected.contains(object)).collect();
        if ours.iter().copied().eq(expected) {
            return Ok(());
        }
        let lost = expected.iter().find(|object| !ours.contains(object));
        let is_there = match lost {
            Some(object) => self.exists(&object.key).await?,
            None => true,
        };
        Err(self.unusable(match (is_there, own) {
            (true, _) => {
                format!("{KEYS} objects were stored, and a listing shows {} of them", ours.len())
            }
            (false, true) => "an object that was stored just now is gone".to_owned(),
            (false, false) => format!(
                "objects below {prefix} vanish while they are listed; if someone deletes them, try \
                 again when that is done"
            ),
        }))
    }
}
