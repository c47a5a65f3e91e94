//! The ends of a pipeline that cost next to nothing: a source in memory, a store that throws packs away,
//! a destination that is nowhere.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use backstay::destination::{
    Destination, Error as DestinationError, Existing, Linked, Output, Shortfalls,
};
use backstay::entry::{Cutter, Entry, Extent, FileTime, Kind, TreePath};
use backstay::facts::{DirectoryFacts, Facts};
use backstay::source::{
    Attributes, Batch, Compared, Content, Cut, Error, Files, Previous, Problem, Reach, Source,
};
use backstay::store::{self, Key, MemoryStore, Object, Store};
use backstay::world::{Random as _, SeededRandom, World};
use bytes::Bytes;
use futures::stream::BoxStream;

const BYTES: usize = 256 << 20;
const PAGE_BYTES: u32 = 8192;

/// What is backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Does not compress.
    Random,
    /// Words, which compress to about a third.
    Text,
    /// Pages of rows, a part of each random, cut by content.
    Database,
    /// The same, kept page by page.
    Pages,
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Random => "random",
            Self::Text => "text",
            Self::Database => "database",
            Self::Pages => "pages",
        })
    }
}

impl Data {
    pub(super) fn bytes(self) -> &'static [u8] {
        static MADE: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
        match self {
            Self::Random => MADE[0].get_or_init(|| noise(BYTES)),
            Self::Text => MADE[1].get_or_init(text),
            Self::Database | Self::Pages => MADE[2].get_or_init(pages),
        }
    }

    fn cutter(self) -> Cutter {
        match self {
            Self::Pages => Cutter::Pages { page_bytes: PAGE_BYTES },
            _ => Cutter::Content { average_bytes: 512 * 1024 },
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededRandom::new(1).fill(&mut bytes);
    bytes
}

fn text() -> Vec<u8> {
    let choice = noise(BYTES / 4);
    let mut text = Vec::with_capacity(BYTES + 16);
    for pair in choice.chunks_exact(2) {
        let word = u16::from_le_bytes([pair[0], pair[1]]) % 4096;
        text.extend_from_slice(format!("word{:x} ", u32::from(word) * 2_654_435).as_bytes());
        if text.len() >= BYTES {
            break;
        }
    }
    text.truncate(BYTES);
    text
}

/// Rows of a growing key, a few random bytes and padding, as small tables have them.
fn pages() -> Vec<u8> {
    let random = noise(BYTES / 8);
    let mut bytes = Vec::with_capacity(BYTES + 128);
    for (number, value) in random.chunks_exact(16).enumerate() {
        bytes.extend_from_slice(&(number as u64).to_be_bytes());
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(&[b' '; 104]);
        if bytes.len() >= BYTES {
            break;
        }
    }
    bytes.truncate(BYTES);
    bytes
}

fn entry(path: &str, kind: Kind, size_bytes: u64) -> Entry {
    let long_ago = FileTime { seconds: 1_000_000_000, nanoseconds: 1 };
    Entry {
        path: TreePath::from_bytes(path).unwrap(),
        kind,
        mode: 0o600,
        user_id: 0,
        group_id: 0,
        user_name: None,
        group_name: None,
        modified: long_ago,
        changed: long_ago,
        device: 1,
        inode: 1,
        links: 1,
        size_bytes,
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: backstay::entry::Seen::Whole,
    }
}

/// A directory with one file.
#[derive(Debug)]
pub(super) struct MemorySource(pub(super) Data);

#[async_trait]
impl Source for MemorySource {
    fn name(&self) -> &'static str {
        "data"
    }

    fn location(&self) -> String {
        "memory".into()
    }

    async fn cut(&self, _: &World, _: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        Ok(Box::new(MemoryCut { data: self.0, ended: false }))
    }
}

struct MemoryCut {
    data: Data,
    ended: bool,
}

#[async_trait]
impl Cut for MemoryCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        let file = entry("file", Kind::File, self.data.bytes().len() as u64);
        let entries = vec![entry("", Kind::Directory, 0), file];
        Ok(Some(Batch { entries, ..Batch::default() }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(MemoryFiles(self.data))
    }

    async fn finish(self: Box<Self>, _: Compared) -> Result<Reach, Error> {
        Ok(Reach { facts: Facts::Directory(DirectoryFacts::default()), problems: Vec::new() })
    }
}

struct MemoryFiles(Data);

impl Files for MemoryFiles {
    fn attributes(&self, _: &Entry) -> Result<Attributes, Problem> {
        Ok(Attributes::default())
    }

    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem> {
        Ok(Box::new(MemoryContent { data: self.0, entry: entry.clone() }))
    }
}

struct MemoryContent {
    data: Data,
    entry: Entry,
}

impl Content for MemoryContent {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn attributes(&mut self) -> Attributes {
        Attributes::default()
    }

    fn extents(&mut self) -> Result<Option<Vec<Extent>>, Problem> {
        Ok(None)
    }

    fn cutter(&mut self) -> Result<Cutter, Problem> {
        Ok(self.data.cutter())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        let rest = &self.data.bytes()[usize::try_from(offset_bytes).unwrap()..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn close(self: Box<Self>) -> Option<Problem> {
        None
    }
}

/// Keeps everything but packs.
#[derive(Debug, Default)]
pub(super) struct WithoutPacks(MemoryStore);

#[async_trait]
impl Store for WithoutPacks {
    async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), store::Error> {
        let is_pack = key.as_str().starts_with("pack/");
        if is_pack { Ok(()) } else { self.0.create(key, parts).await }
    }

    async fn get(&self, key: &Key, limit_bytes: u64) -> Result<Bytes, store::Error> {
        self.0.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, store::Error> {
        self.0.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, length: u64) -> Result<(Bytes, u64), store::Error> {
        self.0.get_tail(key, length).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Object, store::Error>> {
        self.0.list(prefix)
    }

    async fn first(&self, prefix: &str) -> Result<Option<Object>, store::Error> {
        self.0.first(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<(), store::Error> {
        self.0.delete(key).await
    }

    async fn overwrite_probe(&self, key: &Key, content: Bytes) -> Result<bool, store::Error> {
        self.0.overwrite_probe(key, content).await
    }

    fn place(&self) -> String {
        "memory without packs".into()
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Destination for Nowhere {
    fn begin(&self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn directory(&self, _: &Entry) -> Result<(), DestinationError> {
        Ok(())
    }

    fn special(&self, _: &Entry) -> Result<(), DestinationError> {
        Ok(())
    }

    fn link(&self, _: &Entry, _: &TreePath) -> Result<Linked, DestinationError> {
        Ok(Linked::Made)
    }

    fn existing(&self, _: &Entry) -> Result<Option<Box<dyn Existing>>, DestinationError> {
        Ok(None)
    }

    fn may_hold_files(&self) -> bool {
        false
    }

    fn discard(&self, _: &Entry) -> Result<(), DestinationError> {
        Ok(())
    }

    fn skip(&self, _: &Entry) -> Result<bool, DestinationError> {
        Ok(false)
    }

    fn create(&self, _: &Entry) -> Result<Box<dyn Output>, DestinationError> {
        Ok(Box::new(Nothing))
    }

    fn seal_directory(&self, _: &Entry) -> Result<(), DestinationError> {
        Ok(())
    }

    fn finish(&self) -> Result<Shortfalls, DestinationError> {
        Ok(Shortfalls::default())
    }

    fn suspend(&self) -> Result<Shortfalls, DestinationError> {
        Ok(Shortfalls::default())
    }
}

struct Nothing;

impl Output for Nothing {
    fn write_at(&self, bytes: &[u8], _: u64) -> Result<(), DestinationError> {
        divan::black_box(bytes);
        Ok(())
    }

    fn finish(&self) -> Result<(), DestinationError> {
        Ok(())
    }
}
