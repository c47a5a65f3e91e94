//! More keys than fit on one page of any store's listing: all of them must come, in order.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CONCURRENCY, Deletion, Error, Probe};
use crate::repo::layout;
use crate::store;
use crate::store::Key;

/// More than S3 and GCS have on a page; Azure has 5,000.
const KEYS: usize = 1_100;
/// What the keys are called together where they are made once and found again.
const KEPT: &str = "listing";

/// The same each time: who finds the key taken by equal bytes has stored it.
fn content(number: usize) -> Bytes {
    Bytes::from(format!("{number:04}"))
}

impl Probe<'_> {
    /// Lists many keys, and says what was seen.
    pub(super) async fn listing(&mut self, deletion: Deletion) -> Result<String, Error> {
        let own = deletion == Deletion::Allowed;
        let prefix = if own { format!("{}many-", self.prefix) } else { layout::kept_probes(KEPT) };
        let expected: Vec<Key> =
            (0..KEYS).map(|number| Key::new(format!("{prefix}{number:04}"))).collect();
        let found: BTreeSet<Key> =
            if own { BTreeSet::new() } else { self.rows(&prefix).await?.into_iter().collect() };
        let lacking: Vec<usize> =
            (0..KEYS).filter(|number| !found.contains(&expected[*number])).collect();
        if own {
            self.made.extend(expected.iter().cloned());
        } else {
            self.kept_objects += lacking.len() as u64;
        }
        let creates = lacking.iter().map(|number| self.make(&expected[*number], *number));
        let mut creates = stream::iter(creates).buffer_unordered(CONCURRENCY);
        while creates.next().await.transpose()?.is_some() {}
        drop(creates);
        if !self.compare(&prefix, &expected, own).await? {
            return Ok("someone deleted objects of probes meanwhile, so a listing of many says \
                       nothing: probe again"
                .to_owned());
        }
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

    async fn rows(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        Ok(self.store.list(prefix).map_ok(|object| object.key).try_collect().await?)
    }

    /// Whether all are listed that are there. Lengths are compared elsewhere: what has a fixed name may be
    /// someone else's.
    async fn compare(&self, prefix: &str, expected: &[Key], own: bool) -> Result<bool, Error> {
        let listed = self.rows(prefix).await?;
        if let Some([one, next]) = listed.array_windows().find(|[one, next]| one >= next) {
            return Err(self.unusable(format!("a listing has {next} after {one}")));
        }
        let listed: BTreeSet<&Key> = listed.iter().collect();
        let Some(lost) = expected.iter().find(|key| !listed.contains(key)) else {
            return Ok(true);
        };
        let is_there = self.exists(lost).await?;
        if is_there {
            let saw =
                format!("{KEYS} objects were stored, and a listing shows {} of them", listed.len());
            return Err(self.unusable(saw));
        }
        if own {
            return Err(self.unusable("an object that was stored just now is gone"));
        }
        Ok(false)
    }
}
