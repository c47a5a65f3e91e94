//! A stream that ends once, kept as one file: what another program writes into our standard input.
//!
//! It is cut and stored while it comes, so that it takes no disk and little memory however long it is.
//! Its length is known at its end. That it ended early cannot be seen: a program that dies closes the
//! pipe as one that is done does. What can be judged is the length, and it is judged before anything
//! becomes visible: a stream that is too short, or cannot be read to its end, makes no snapshot.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{getegid, geteuid};

use super::file::Owners;
use super::{
    Attributes, Batch, Compared, Content, Cut, CutterChoice, Error, Fault, Files, Previous,
    Problem, Reach, Source,
};
use crate::entry::{Cutter, Entry, Extent, FileTime, Kind, Seen, TreePath};
use crate::facts::{DirectoryFacts, Facts};
use crate::units::to_u64;
use crate::world::World;

/// Dumps of databases change in small places.
const AVERAGE_BYTES: u32 = 64 << 10;

/// What a stream is kept as.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The name under which a snapshot keeps the source.
    pub name: String,
    /// The name of the file that holds the stream: one component.
    pub file_name: String,
    /// Where it comes from, for people.
    pub location: String,
    /// How it is cut: by content only, since its length is not known.
    pub cutter: CutterChoice,
    /// A shorter stream is an error.
    pub least_bytes: u64,
    /// Whether an empty stream is meant.
    pub allow_empty: bool,
}

/// A stream as a source. It can be cut once.
#[derive(Debug)]
pub struct StreamSource {
    options: StreamOptions,
    input: Mutex<Option<File>>,
}

impl StreamSource {
    /// Takes a descriptor that can be read to an end. Reads nothing yet.
    pub fn new(options: StreamOptions, input: OwnedFd) -> Result<Self, Error> {
        let wrong =
            |reason: &str| Error::Option { name: options.name.clone(), reason: reason.to_owned() };
        let path = TreePath::from_bytes(options.file_name.as_bytes());
        if path.is_none_or(|path| path.is_root() || path.components().count() != 1) {
            return Err(wrong("the name of a stream must be one name, without a slash"));
        }
        if let CutterChoice::Forced(Cutter::Pages { .. } | Cutter::Whole) = options.cutter {
            return Err(wrong(
                "a stream has no length before its end and is cut by its content: leave --cutter \
                 out, or write cdc:64KiB",
            ));
        }
        Ok(Self { options, input: Mutex::new(Some(File::from(input))) })
    }
}

/// What became of the stream.
#[derive(Debug)]
enum State {
    /// Nobody has begun to read it.
    Waiting(File),
    /// It is being read.
    Begun,
    /// It ended after so many bytes.
    Ended { bytes: u64 },
    /// It cannot be read on.
    Broken { reason: String },
}

type Shared = Arc<Mutex<State>>;

fn set(shared: &Shared, state: State) -> State {
    let mut held = shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut held, state)
}

#[async_trait]
impl Source for StreamSource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn location(&self) -> String {
        self.options.location.clone()
    }

    async fn cut(&self, world: &World, _: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = input.take() else {
            return Err(unusable(&self.options, "was read before: a stream can be read once"));
        };
        // Whoever gave it to us may have used it without waiting; then a pause would look like a failure.
        let flags = fcntl_getfl(&file);
        let waiting = flags.and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK));
        waiting
            .map_err(|errno| unusable(&self.options, &std::io::Error::from(errno).to_string()))?;
        let now = i64::try_from(world.clock.now().as_nanosecond()).unwrap_or(0);
        Ok(Box::new(StreamCut {
            options: self.options.clone(),
            now: FileTime::from_nanoseconds(now),
            is_told: false,
            state: Arc::new(Mutex::new(State::Waiting(file))),
        }))
    }
}

fn unusable(options: &StreamOptions, reason: &str) -> Error {
    Error::Unusable {
        name: options.name.clone(),
        path: PathBuf::from(&options.location),
        reason: reason.to_owned(),
    }
}

struct StreamCut {
    options: StreamOptions,
    now: FileTime,
    is_told: bool,
    state: Shared,
}

impl StreamCut {
    /// The file, and the directory that stands above it, which exists nowhere.
    fn entries(&self) -> Vec<Entry> {
        let owners = Owners::default();
        let (user_id, group_id) = (geteuid().as_raw(), getegid().as_raw());
        let file = Entry {
            path: TreePath::root().join(self.options.file_name.as_bytes()),
            kind: Kind::File,
            mode: 0o600,
            user_id,
            group_id,
            user_name: owners.user(user_id),
            group_name: owners.group(group_id),
            modified: self.now,
            changed: self.now,
            device: 0,
            volume: 0,
            inode: 0,
            links: 1,
            size_bytes: 0,
            xattrs: Vec::new(),
            extents: None,
            inode_flags: 0,
            seen: Seen::Whole,
        };
        // What else is in a directory that it is restored into is none of its business.
        let root = Entry {
            path: TreePath::root(),
            kind: Kind::Directory,
            mode: 0o700,
            seen: Seen::LeftOut,
            ..file.clone()
        };
        vec![root, file]
    }
}

#[async_trait]
impl Cut for StreamCut {
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if std::mem::replace(&mut self.is_told, true) {
            return Ok(None);
        }
        Ok(Some(Batch { entries: self.entries(), ..Batch::default() }))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(StreamFiles { state: Arc::clone(&self.state), cutter: self.options.cutter })
    }

    async fn finish(self: Box<Self>, _compared: Compared) -> Result<Reach, Error> {
        let options = &self.options;
        let bytes = match set(&self.state, State::Ended { bytes: 0 }) {
            State::Ended { bytes } => bytes,
            State::Broken { reason } => return Err(unusable(options, &reason)),
            State::Waiting(_) | State::Begun => {
                return Err(unusable(options, "was not read to its end"));
            }
        };
        if bytes == 0 && !options.allow_empty {
            return Err(unusable(
                options,
                "is empty: did the command before the pipe fail? (--allow-empty if it is meant)",
            ));
        }
        if bytes < options.least_bytes {
            let reason = format!(
                "ended after {bytes} bytes, and at least {} are expected: did the command before the \
                 pipe fail? (--stdin-least-bytes)",
                options.least_bytes
            );
            return Err(unusable(options, &reason));
        }
        Ok(Reach { facts: Facts::Directory(DirectoryFacts::default()), problems: Vec::new() })
    }
}

struct StreamFiles {
    state: Shared,
    cutter: CutterChoice,
}

impl Files for StreamFiles {
    fn attributes(&self, _: &Entry) -> Result<Attributes, Problem> {
        Ok(Attributes::default())
    }

    fn open(&self, entry: &Entry) -> Result<Box<dyn Content>, Problem> {
        let path = entry.path.clone();
        let State::Waiting(file) = set(&self.state, State::Begun) else {
            let detail = "was opened before: a stream can be read once".to_owned();
            set(&self.state, State::Broken { reason: detail.clone() });
            return Err(Problem { path, fault: Fault::Unreadable, detail });
        };
        Ok(Box::new(Stream {
            entry: entry.clone(),
            file,
            at_bytes: 0,
            cutter: self.cutter,
            state: Arc::clone(&self.state),
        }))
    }
}

/// A stream that is being read.
struct Stream {
    entry: Entry,
    file: File,
    at_bytes: u64,
    cutter: CutterChoice,
    state: Shared,
}

impl Stream {
    fn broken(&self, reason: String) -> Problem {
        set(&self.state, State::Broken { reason: reason.clone() });
        Problem { path: self.entry.path.clone(), fault: Fault::Unreadable, detail: reason }
    }
}

impl Content for Stream {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn attributes(&mut self) -> Attributes {
        Attributes::default()
    }

    fn extents(&mut self) -> Result<Option<Vec<Extent>>, Problem> {
        Ok(None)
    }

    fn cutter(&mut self) -> Result<Cutter, Problem> {
        Ok(match self.cutter {
            CutterChoice::Forced(cutter) => cutter,
            CutterChoice::Auto => Cutter::Content { average_bytes: AVERAGE_BYTES },
        })
    }

    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<usize, Problem> {
        if offset_bytes != self.at_bytes {
            return Err(self.broken(format!("cannot be read from byte {offset_bytes}")));
        }
        let mut filled_bytes = 0;
        while let Some(rest) = buffer.get_mut(filled_bytes..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => {
                    let bytes = self.at_bytes + to_u64(filled_bytes);
                    set(&self.state, State::Ended { bytes });
                    break;
                }
                Ok(read_bytes) => filled_bytes += read_bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let at = self.at_bytes + to_u64(filled_bytes);
                    return Err(self.broken(format!("cannot be read on after byte {at}: {error}")));
                }
            }
        }
        self.at_bytes += to_u64(filled_bytes);
        Ok(filled_bytes)
    }

    fn close(self: Box<Self>) -> Option<Problem> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn options() -> StreamOptions {
        StreamOptions {
            name: "dump".into(),
            file_name: "dump.sql".into(),
            location: "standard input".into(),
            cutter: CutterChoice::Auto,
            least_bytes: 0,
            allow_empty: false,
        }
    }

    /// A cut whose stream holds `bytes`, read in steps of `step_bytes` until it comes short.
    async fn read(
        options: StreamOptions,
        bytes: &[u8],
        step_bytes: usize,
    ) -> Result<Vec<u8>, String> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        let source =
            StreamSource::new(options, reader.into()).map_err(|error| error.to_string())?;
        let mut cut = source.cut(&World::still(1), None).await.unwrap();
        let entries = cut.next().await.unwrap().unwrap().entries;
        assert!(cut.next().await.unwrap().is_none());
        let mut content = cut.files().open(&entries[1]).unwrap();
        let mut found = Vec::new();
        loop {
            let at = to_u64(found.len());
            let came = content.append_to(&mut found, step_bytes, at).unwrap();
            if came < step_bytes {
                break;
            }
        }
        assert_eq!(content.close(), None);
        cut.finish(Compared::default()).await.map(|_| found).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_stream_is_read_to_its_end_whatever_the_steps() {
        let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        for step_bytes in [1, 7, 4096, 40_000, 100_000] {
            assert_eq!(read(options(), &bytes, step_bytes).await.as_ref(), Ok(&bytes));
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_too_short_makes_no_snapshot() {
        let said = read(options(), b"", 10).await.unwrap_err();
        assert!(
            said.contains("standard input: is empty") && said.contains("--allow-empty"),
            "{said}"
        );
        let allowed = StreamOptions { allow_empty: true, ..options() };
        assert_eq!(read(allowed, b"", 10).await, Ok(Vec::new()));
        let least = |least_bytes| StreamOptions { least_bytes, ..options() };
        assert!(read(least(4), b"abcd", 10).await.is_ok());
        let said = read(least(5), b"abcd", 4).await.unwrap_err();
        assert!(said.contains("ended after 4 bytes") && said.contains("5 are expected"), "{said}");
    }

    #[tokio::test]
    async fn what_cannot_be_a_stream_is_refused() {
        for file_name in ["", ".", "..", "a/b", "/a", "a/"] {
            let wrong = StreamOptions { file_name: file_name.into(), ..options() };
            let said = read(wrong, b"x", 1).await.unwrap_err();
            assert!(said.contains("one name"), "{file_name} {said}");
        }
        for cutter in [Cutter::Whole, Cutter::Pages { page_bytes: 4096 }] {
            let wrong = StreamOptions { cutter: CutterChoice::Forced(cutter), ..options() };
            assert!(read(wrong, b"x", 1).await.unwrap_err().contains("cut by its content"));
        }
    }

    /// A directory can be opened but not read.
    #[tokio::test]
    async fn a_stream_that_breaks_makes_no_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let input = File::open(directory.path()).unwrap();
        let source = StreamSource::new(options(), input.into()).unwrap();
        let mut cut = source.cut(&World::still(1), None).await.unwrap();
        let entries = cut.next().await.unwrap().unwrap().entries;
        let mut content = cut.files().open(&entries[1]).unwrap();
        assert!(content.read_at(&mut [0; 10], 0).is_err());
        drop(content);
        let error = cut.finish(Compared::default()).await.unwrap_err();
        assert!(error.to_string().contains("cannot be read on after byte 0"), "{error}");
        assert!(source.cut(&World::still(1), None).await.is_err(), "it can be read once");
    }
}
