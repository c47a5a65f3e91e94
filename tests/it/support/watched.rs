//! A source whose moments are heard: a test acts when a cut begins, when a listing ends, before a file
//! is opened and before each read of it, and so makes every race happen each time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backstay::entry::{Cutter, Entry, Extent, TreePath};
use backstay::source::{
    Attributes, Batch, Compared, Content, Cut, Error, Files, Previous, Problem, Reach, Source,
};
use backstay::world::World;

/// Where a backup of the source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The cut is about to begin.
    Cutting,
    /// The cut has begun.
    Cut,
    /// A batch of the listing is about to be asked for.
    Listing,
    /// The listing is at its end.
    Listed,
    /// A file is about to be opened.
    Opening(TreePath),
    /// An open file is about to be read from this byte on.
    Reading(TreePath, u64),
    /// A file was read and is about to be closed.
    Closing(TreePath),
    /// The cut is about to be finished.
    Finishing,
}

/// What the test does at a moment; an error is what opening or reading brings then.
type Ear = dyn Fn(&Moment) -> Result<(), Problem> + Send + Sync;

/// A source that tells its moments.
pub struct Watched {
    inner: Box<dyn Source>,
    ear: Arc<Ear>,
}

impl Watched {
    /// Tells `ear` the moments of `inner`.
    pub fn boxed(
        inner: impl Source + 'static,
        ear: impl Fn(&Moment) -> Result<(), Problem> + Send + Sync + 'static,
    ) -> Box<dyn Source> {
        Box::new(Self { inner: Box::new(inner), ear: Arc::new(ear) })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Source for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn encloses_others(&self) -> bool {
        self.inner.encloses_others()
    }

    async fn cut(&self, world: &World, previous: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        (self.ear)(&Moment::Cutting).unwrap();
        let cut = self.inner.cut(world, previous).await?;
        (self.ear)(&Moment::Cut).unwrap();
        Ok(Box::new(WatchedCut { inner: cut, ear: Arc::clone(&self.ear) }))
    }
}

struct WatchedCut {
    inner: Box<dyn Cut>,
    ear: Arc<Ear>,
}

#[async_trait]
impl Cut for WatchedCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        (self.ear)(&Moment::Listing).unwrap();
        let batch = self.inner.next().await?;
        if batch.is_none() {
            (self.ear)(&Moment::Listed).unwrap();
        }
        Ok(batch)
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(WatchedFiles { inner: self.inner.files(), ear: Arc::clone(&self.ear) })
    }

    async fn finish(self: Box<Self>, compared: Compared) -> Result<Reach, Error> {
        (self.ear)(&Moment::Finishing).unwrap();
        self.inner.finish(compared).await
    }
}

struct WatchedFiles {
    inner: Arc<dyn Files>,
    ear: Arc<Ear>,
}

impl Files for WatchedFiles {
    fn attributes(&self, entry: &Entry) -> Result<Attributes, Problem> {
        self.inner.attributes(entry)
    }

    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem> {
        (self.ear)(&Moment::Opening(entry.path.clone()))?;
        let inner = self.inner.open(entry)?;
        Ok(Box::new(WatchedContent { inner, ear: Arc::clone(&self.ear) }))
    }
}

struct WatchedContent {
    inner: Box<dyn Content>,
    ear: Arc<Ear>,
}

impl Content for WatchedContent {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    fn attributes(&mut self) -> Attributes {
        self.inner.attributes()
    }

    fn extents(&mut self) -> Result<Option<Vec<Extent>>, Problem> {
        self.inner.extents()
    }

    fn cutter(&mut self) -> Result<Cutter, Problem> {
        self.inner.cutter()
    }

    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        let path = self.inner.entry().path.clone();
        (self.ear)(&Moment::Reading(path, offset_bytes))?;
        self.inner.read_at(buffer, offset_bytes)
    }

    fn append_to(
        &mut self,
        buffer: &mut Vec<u8>,
        length_bytes: usize,
        offset_bytes: u64,
    ) -> Result<usize, Problem> {
        let path = self.inner.entry().path.clone();
        (self.ear)(&Moment::Reading(path, offset_bytes))?;
        self.inner.append_to(buffer, length_bytes, offset_bytes)
    }

    fn close(self: Box<Self>) -> Option<Problem> {
        let path = self.inner.entry().path.clone();
        let told = (self.ear)(&Moment::Closing(path)).err();
        self.inner.close().or(told)
    }
}
