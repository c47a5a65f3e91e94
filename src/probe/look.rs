//! What is looked at, in order: deleting first, since it decides how the rest names its objects.

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::race::honoured;
use super::{Deletion, Error, Options, Probe, Seen, noise};
use crate::class::Class;
use crate::store;
use crate::store::Key;

/// Objects that are read and listed right after they were written.
const FRESH: usize = 3;
/// Length of the object of which ranges are read.
const RANGED_BYTES: usize = 100_000;
/// Ranges of it: the first byte, some across the middle, the last byte, all.
const RANGES: [(usize, usize); 4] = [(0, 1), (33_333, 77_777), (99_999, 100_000), (0, 100_000)];

impl Probe<'_> {
    /// Looks at everything.
    pub(super) async fn look(&mut self, options: Options) -> Result<Seen, Error> {
        let deletion = self.delete().await?;
        self.deletion = Some(deletion);
        let broken = self.race().await?;
        self.fresh().await?;
        self.ranges().await?;
        let mut findings = Vec::new();
        if broken.is_empty() {
            findings.push(honoured());
        }
        findings.push("what was written could be read and was listed at once".to_owned());
        findings.push("ranges, ends and lengths of objects are right".to_owned());
        if options.skip_listing {
            let why = "the repository's own packs are listed completely, over more than one page";
            findings.push(why.to_owned());
        } else {
            findings.push(self.listing(deletion).await?);
        }
        findings.push(
            match deletion {
                Deletion::Allowed => "what was deleted was gone at once",
                Deletion::Denied => "this credential may not delete: objects of probes stay",
                Deletion::Ignored => {
                    "the store says that it deletes, and does not: no space would ever be freed"
                }
            }
            .to_owned(),
        );
        Ok(Seen { broken, findings, deletion })
    }

    /// The content of an object that was stored just now, up to `limit_bytes`.
    pub(super) async fn written(&self, key: &Key, limit_bytes: usize) -> Result<Bytes, Error> {
        match self.store.get(key, limit_bytes as u64).await {
            Ok(content) => Ok(content),
            Err(store::Error::Missing { .. }) => {
                Err(self.unusable("what was stored could not be read right after"))
            }
            Err(store::Error::Length { found_bytes, .. }) => Err(self.unusable(format!(
                "an object of {limit_bytes} bytes came back with {found_bytes}"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    async fn check_written(&self, key: &Key, content: &Bytes) -> Result<(), Error> {
        if self.written(key, content.len()).await? == content {
            Ok(())
        } else {
            Err(self.unusable("what was stored came back as something else"))
        }
    }

    /// Whether there is an object. Asked as readers ask, for an answer may be kept on the way.
    pub(super) async fn exists(&self, key: &Key) -> Result<bool, Error> {
        match self.store.get(key, 0).await {
            Ok(_) | Err(store::Error::Length { .. }) => Ok(true),
            Err(store::Error::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&mut self) -> Result<Deletion, Error> {
        let content = Bytes::from_static(b"probe");
        let key = self.create("delete", content.clone()).await?;
        self.check_written(&key, &content).await?;
        match self.store.delete(&key).await {
            Ok(()) if self.exists(&key).await? => Ok(Deletion::Ignored),
            Ok(()) => Ok(Deletion::Allowed),
            Err(error) if matches!(error.class(), Class::Denied | Class::Refused) => {
                Ok(Deletion::Denied)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes, reads and lists in turn. Each key was asked for before: an answer kept somewhere on the
    /// way would show.
    async fn fresh(&mut self) -> Result<(), Error> {
        let prefix = format!("{}fresh-", self.prefix);
        let mut expected = Vec::new();
        for number in 0..FRESH {
            let name = format!("fresh-{number}");
            let content = Bytes::from(vec![b'f'; number + 1]);
            if self.exists(&Key::new(format!("{}{name}", self.prefix))).await? {
                return Err(self.unusable("an object was there before it was stored"));
            }
            let key = self.create(name, content.clone()).await?;
            self.check_written(&key, &content).await?;
            expected.push(store::Object { key, size_bytes: content.len() as u64 });
            let listed: Vec<_> = self.store.list(&prefix).try_collect().await?;
            if listed != expected {
                let saw = if listed.len() == expected.len() {
                    "a listing has other objects than were stored, or in another order".to_owned()
                } else {
                    format!(
                        "a listing shows {} of {} objects that were stored before it began",
                        listed.len(),
                        expected.len()
                    )
                };
                return Err(self.unusable(saw));
            }
        }
        let first = self.store.first(&prefix).await?;
        if first.as_ref() == expected.first() {
            Ok(())
        } else {
            Err(self
                .unusable("the first object of a prefix is not the one that a listing has first"))
        }
    }

    async fn ranges(&mut self) -> Result<(), Error> {
        let content = noise(RANGED_BYTES);
        let key = self.create("ranges", content.clone()).await?;
        for (start, end) in RANGES {
            let found = self.store.get_range(&key, start as u64..end as u64).await;
            if found.map_err(|error| self.short(error))? != content.slice(start..end) {
                let saw = format!("bytes {start} to {end} of an object came back wrong");
                return Err(self.unusable(saw));
            }
        }
        let (tail, size_bytes) = self.store.get_tail(&key, 100).await?;
        if tail != content.slice(RANGED_BYTES - 100..) || size_bytes != RANGED_BYTES as u64 {
            return Err(self.unusable("the end of an object came back wrong"));
        }
        let past = RANGED_BYTES as u64..RANGED_BYTES as u64 + 1;
        match self.store.get_range(&key, past).await {
            Err(store::Error::Length { .. }) => Ok(()),
            Ok(_) => Err(self.unusable("bytes came back from behind the end of an object")),
            Err(error) => Err(error.into()),
        }
    }

    /// An object that is shorter than it was stored.
    fn short(&self, error: store::Error) -> Error {
        match error {
            store::Error::Length { .. } | store::Error::Missing { .. } => {
                self.unusable(format!("what was stored could not be read right after: {error}"))
            }
            error => error.into(),
        }
    }

    /// Whether this credential could overwrite, tried on an object of this probe's own.
    pub(super) async fn overwrite(&mut self) -> Result<bool, Error> {
        let key = self.create("overwrite", Bytes::from_static(b"first")).await?;
        let second = Bytes::from_static(b"other");
        // What counts is what is there.
        Ok(self.store.overwrite_probe(&key, second.clone()).await?
            && self.written(&key, second.len()).await? == second)
    }
}
