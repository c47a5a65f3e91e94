//! A destination that refuses chosen calls with chosen errors of the operating system, and passes the others
//! on.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use backstay::destination::{
    Destination, Error, Existing, Linked, Looked, Output, Removed, Shortfalls,
};
use backstay::entry::{Entry, TreePath};

/// A call about one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Directory,
    Special,
    Link,
    Existing,
    Skip,
    Create,
    Write,
    Finish,
    Seal,
    Remove,
}

/// Every call.
pub const CALLS: [Call; 10] = [
    Call::Directory,
    Call::Special,
    Call::Link,
    Call::Existing,
    Call::Skip,
    Call::Create,
    Call::Write,
    Call::Finish,
    Call::Seal,
    Call::Remove,
];

type Decide = dyn Fn(Call, &TreePath) -> Option<i32> + Send + Sync;

/// Refuses what `decide` gives an error number for.
#[derive(Clone)]
pub struct Refusing {
    inner: Arc<dyn Destination>,
    decide: Arc<Decide>,
}

impl Refusing {
    pub fn new(
        inner: Arc<dyn Destination>,
        decide: impl Fn(Call, &TreePath) -> Option<i32> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, decide: Arc::new(decide) }
    }

    fn ask(&self, call: Call, path: &TreePath) -> Result<(), Error> {
        match (self.decide)(call, path) {
            None => Ok(()),
            Some(errno) => Err(Error::Io {
                action: "planned failure at",
                path: PathBuf::from(path.to_string()),
                source: io::Error::from_raw_os_error(errno),
            }),
        }
    }
}

impl Destination for Refusing {
    fn begin(&self) -> Result<(), Error> {
        self.inner.begin()
    }

    fn directory(&self, entry: &Entry) -> Result<(), Error> {
        self.ask(Call::Directory, &entry.path)?;
        self.inner.directory(entry)
    }

    fn special(&self, entry: &Entry) -> Result<(), Error> {
        self.ask(Call::Special, &entry.path)?;
        self.inner.special(entry)
    }

    fn link(&self, entry: &Entry, first: &TreePath) -> Result<Linked, Error> {
        self.ask(Call::Link, &entry.path)?;
        self.inner.link(entry, first)
    }

    fn note_copy(&self, path: &TreePath) {
        self.inner.note_copy(path);
    }

    fn existing(&self, entry: &Entry) -> Result<Option<Box<dyn Existing>>, Error> {
        self.ask(Call::Existing, &entry.path)?;
        self.inner.existing(entry)
    }

    fn may_hold_files(&self) -> bool {
        self.inner.may_hold_files()
    }

    fn discard(&self, entry: &Entry) -> Result<(), Error> {
        self.inner.discard(entry)
    }

    fn skip(&self, entry: &Entry) -> Result<bool, Error> {
        self.ask(Call::Skip, &entry.path)?;
        self.inner.skip(entry)
    }

    fn create(&self, entry: &Entry) -> Result<Box<dyn Output>, Error> {
        self.ask(Call::Create, &entry.path)?;
        let output = self.inner.create(entry)?;
        Ok(Box::new(RefusingOutput { output, refusing: self.clone(), path: entry.path.clone() }))
    }

    fn looked_at(&self, looked: Looked) {
        self.inner.looked_at(looked);
    }

    fn remove_extraneous(
        &self,
        directory: &TreePath,
        keep: &BTreeSet<Vec<u8>>,
    ) -> Result<Removed, Error> {
        self.ask(Call::Remove, directory)?;
        self.inner.remove_extraneous(directory, keep)
    }

    fn seal_directory(&self, entry: &Entry) -> Result<(), Error> {
        self.ask(Call::Seal, &entry.path)?;
        self.inner.seal_directory(entry)
    }

    fn protect(&self, entry: &Entry) -> Result<(), Error> {
        self.inner.protect(entry)
    }

    fn finish(&self) -> Result<Shortfalls, Error> {
        self.inner.finish()
    }

    fn suspend(&self) -> Result<Shortfalls, Error> {
        self.inner.suspend()
    }
}

struct RefusingOutput {
    output: Box<dyn Output>,
    refusing: Refusing,
    path: TreePath,
}

impl Output for RefusingOutput {
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), Error> {
        self.refusing.ask(Call::Write, &self.path)?;
        self.output.write_at(bytes, offset_bytes)
    }

    fn finish(&self) -> Result<(), Error> {
        self.refusing.ask(Call::Finish, &self.path)?;
        self.output.finish()
    }
}
