//! A destination in memory: what a restore brought, entry by entry, to be compared in microseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backstay::destination::{Destination, Error, Existing, Linked, Output, Shortfalls};
use backstay::entry::{Entry, TreePath};
use backstay::units::to_usize;

/// One restored name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// All its attributes.
    pub entry: Entry,
    /// The bytes of a file, holes as zeros.
    pub bytes: Vec<u8>,
    /// Whether it was finished, or sealed in the case of a directory.
    pub is_whole: bool,
}

/// What a restore brought.
pub type Items = BTreeMap<TreePath, Item>;

/// Keeps everything.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    items: Arc<Mutex<Items>>,
}

impl Kept {
    /// What came so far.
    pub fn items(&self) -> Items {
        self.items.lock().unwrap().clone()
    }

    fn put(&self, entry: &Entry, bytes: Vec<u8>, is_whole: bool) {
        let item = Item { entry: entry.clone(), bytes, is_whole };
        self.items.lock().unwrap().insert(entry.path.clone(), item);
    }
}

impl Destination for Kept {
    fn begin(&self) -> Result<(), Error> {
        Ok(())
    }

    fn directory(&self, entry: &Entry) -> Result<(), Error> {
        self.put(entry, Vec::new(), false);
        Ok(())
    }

    fn special(&self, entry: &Entry) -> Result<(), Error> {
        self.put(entry, Vec::new(), true);
        Ok(())
    }

    fn link(&self, entry: &Entry, first: &TreePath) -> Result<Linked, Error> {
        let bytes = self.items.lock().unwrap()[first].bytes.clone();
        self.put(entry, bytes, true);
        Ok(Linked::Made)
    }

    fn existing(&self, _: &Entry) -> Result<Option<Box<dyn Existing>>, Error> {
        Ok(None)
    }

    fn may_hold_files(&self) -> bool {
        false
    }

    fn discard(&self, entry: &Entry) -> Result<(), Error> {
        self.items.lock().unwrap().remove(&entry.path);
        Ok(())
    }

    fn skip(&self, _: &Entry) -> Result<bool, Error> {
        Ok(false)
    }

    fn create(&self, entry: &Entry) -> Result<Box<dyn Output>, Error> {
        self.put(entry, vec![0; to_usize(entry.size_bytes)], false);
        Ok(Box::new(KeptFile { kept: self.clone(), path: entry.path.clone() }))
    }

    fn seal_directory(&self, entry: &Entry) -> Result<(), Error> {
        self.put(entry, Vec::new(), true);
        Ok(())
    }

    fn finish(&self) -> Result<Shortfalls, Error> {
        Ok(Shortfalls::default())
    }

    fn suspend(&self) -> Result<Shortfalls, Error> {
        self.finish()
    }
}

struct KeptFile {
    kept: Kept,
    path: TreePath,
}

impl Output for KeptFile {
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), Error> {
        let mut items = self.kept.items.lock().unwrap();
        let item = items.get_mut(&self.path).unwrap();
        let start = to_usize(offset_bytes);
        item.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        self.kept.items.lock().unwrap().get_mut(&self.path).unwrap().is_whole = true;
        Ok(())
    }
}
