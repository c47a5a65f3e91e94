//! Snapshots, sessions, abort records and checkpoints: the records that a repository's life turns
//! on. FORMAT.md §10, §12, §13.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::entry::TreePath;
use crate::facts::Facts;
use crate::repo::error::Error;
use crate::repo::facts_record::FactsRecord;
use crate::repo::id::{PackId, SessionId};
use crate::repo::reference::ChunkRef;

/// Problems of a source that a snapshot spells out; the rest is only counted.
pub const PROBLEMS_KEPT: usize = 100;

/// One restore point.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Snapshot {
    /// Its id: that of the session which committed it.
    #[n(0)]
    pub id: SessionId,
    /// The job: a policy's name, or host and sources.
    #[n(1)]
    pub job: String,
    /// The machine that made it.
    #[n(2)]
    pub host: String,
    /// When the run began, in nanoseconds since 1970.
    #[n(3)]
    pub started: i64,
    /// When it ended.
    #[n(4)]
    pub finished: i64,
    /// The snapshot that it was compared with.
    #[n(5)]
    pub parent: Option<SessionId>,
    /// The checkpoint that the session read.
    #[n(6)]
    pub checkpoint: u64,
    /// What it holds.
    #[n(7)]
    pub sources: Vec<SourceRecord>,
    /// Something is missing or may be wrong.
    #[n(8)]
    pub partial: bool,
    /// Who wrote it.
    #[n(9)]
    pub program: String,
    /// Packs that the session wrote.
    #[n(10)]
    pub packs: Vec<PackRecord>,
    /// Labels from the policy.
    #[n(11)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Which secret chunk ids and page hashes come from.
    #[n(12)]
    pub secret: u8,
}

/// A pack that a session wrote: `[id, length, hash]`.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(array)]
pub struct PackRecord {
    /// Its id.
    #[n(0)]
    pub id: PackId,
    /// Its length.
    #[n(1)]
    pub length_bytes: u64,
    /// BLAKE3 of the whole object.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// One source of a snapshot.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SourceRecord {
    /// Its name, unique in the snapshot.
    #[n(0)]
    pub name: String,
    /// `directory`, `wal`, or a kind of a later version.
    #[n(1)]
    pub kind: String,
    /// Where it was read, for people.
    #[n(2)]
    pub location: String,
    /// The root node of its tree.
    #[n(3)]
    pub root: ChunkRef,
    /// Entries in the tree.
    #[n(4)]
    pub entries: u64,
    /// Sum of the sizes of its files.
    #[n(5)]
    pub size_bytes: u64,
    /// What the source says of its cut.
    #[n(6)]
    pub facts: FactsRecord,
    /// How many entries are missing or may be wrong.
    #[n(7)]
    pub problem_count: u64,
    /// The first of them.
    #[n(8)]
    pub problems: Vec<ProblemRecord>,
    /// Whether anything is missing or may be wrong.
    #[n(9)]
    pub partial: bool,
    /// Bytes read from files in this run.
    #[n(10)]
    pub read_bytes: u64,
    /// Entries left out by rule.
    #[n(11)]
    pub excluded: u64,
}

/// Something that an entry lacks.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ProblemRecord {
    /// The entry's path.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// What happened: `unreadable`, `changed` …
    #[n(1)]
    pub fault: String,
    /// The operating system's word.
    #[n(2)]
    pub detail: String,
}

impl SourceRecord {
    /// The facts, if the kind is one that this version knows.
    pub fn facts(&self) -> Option<Facts> {
        self.facts.read(&self.kind)
    }

    /// The paths of the first problems.
    pub fn problem_paths(&self) -> impl Iterator<Item = TreePath> {
        self.problems.iter().filter_map(|problem| TreePath::from_bytes(problem.path.clone()))
    }
}

impl Snapshot {
    /// Checks what FORMAT.md demands of a snapshot read from `object`.
    pub fn check(&self, object: &str, session: SessionId) -> Result<(), Error> {
        let damaged = |reason: &str| Error::damaged(object, reason);
        if self.id != session {
            return Err(damaged("is not the snapshot that its name says"));
        }
        if self.sources.len() > 4096 {
            return Err(damaged("has too many sources"));
        }
        let mut names = std::collections::BTreeSet::new();
        for source in &self.sources {
            if !is_source_name(&source.name) || !names.insert(&source.name) {
                return Err(damaged("has a source with a name that cannot be"));
            }
        }
        Ok(())
    }

    /// The id as people use it: its first 8 digits are enough until they clash.
    pub fn short_id(&self) -> String {
        self.id.to_string().chars().take(8).collect()
    }

    /// The job as people name it: that of an ad-hoc backup by its sources.
    pub fn job_shown(&self) -> String {
        self.job.trim_start_matches('\0').replace('\0', ",")
    }

    /// The series, for people.
    pub fn series(&self) -> String {
        format!("job {} on host {}", self.job_shown(), self.host)
    }

    /// The source called `name`, or an error that says which there are.
    pub fn require_source(&self, name: &str) -> Result<&SourceRecord, Error> {
        self.source(name).ok_or_else(|| {
            let names: Vec<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
            Error::Snapshot {
                wanted: self.short_id(),
                reason: format!("it has no source {name:?}, but {}", names.join(", ")),
            }
        })
    }

    /// What to say where a source has nothing at `path`.
    pub fn no_such_path(&self, source: &str, path: &TreePath) -> Error {
        let short_id = self.short_id();
        Error::Snapshot {
            wanted: format!("{short_id}:{source}/{path}"),
            reason: format!("there is no such path; backstay ls {short_id}:{source} lists them"),
        }
    }

    /// The source called `name`.
    pub fn source(&self, name: &str) -> Option<&SourceRecord> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// Whether a name can be that of a source: it becomes a directory in a restore.
pub fn is_source_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// The job of a backup that no policy names: what it backs up.
pub fn ad_hoc_job(sources: &[&str]) -> String {
    let mut sources = sources.to_vec();
    sources.sort_unstable();
    sources.iter().flat_map(|source| ["\0", source]).collect()
}

/// A writer's announcement.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SessionRecord {
    /// Its id.
    #[n(0)]
    pub id: SessionId,
    /// When it began.
    #[n(1)]
    pub started: i64,
    /// The machine that it runs on.
    #[n(2)]
    pub host: String,
    /// Who it is.
    #[n(3)]
    pub program: String,
}

/// In place of a snapshot: the session will never commit.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AbortRecord {
    /// The session.
    #[n(0)]
    pub id: SessionId,
    /// When it was given up.
    #[n(1)]
    pub time: i64,
    /// Why.
    #[n(2)]
    pub reason: String,
}

/// A collector's decision. Writers and readers honour it; collecting comes with a later version.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Checkpoint {
    /// Counts from 1; 0 stands for "none yet".
    #[n(0)]
    pub number: u64,
    /// BLAKE3 of the checkpoint before.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub previous: Vec<u8>,
    /// When it was made.
    #[n(2)]
    pub time: i64,
    /// Sessions that began before this checkpoint number must not go on.
    #[n(3)]
    pub closing: u64,
    /// Snapshots of sessions that began before it count only if they are in the catalog.
    #[n(4)]
    pub floor: u64,
    /// Abort records below it may go.
    #[n(5)]
    pub purge_floor: u64,
    /// Snapshots that were forgotten.
    #[n(6)]
    pub removed: Vec<SessionId>,
    /// Packs that must not be referred to any more.
    #[n(7)]
    pub condemned: Vec<PackId>,
    /// Packs that are deleted or will be.
    #[n(8)]
    pub dead: Vec<PackId>,
    /// All valid snapshots below the floor.
    #[n(9)]
    pub catalog: Vec<SessionId>,
    /// Snapshots whose packs were not condemned.
    #[n(10)]
    pub marked: Vec<SessionId>,
}

impl Checkpoint {
    /// Whether a snapshot whose session began at checkpoint `began` counts.
    pub fn is_valid(&self, snapshot: SessionId, began: u64) -> bool {
        !self.removed.contains(&snapshot)
            && (began >= self.floor || self.catalog.contains(&snapshot))
    }

    /// Whether a pack may be referred to by a new session.
    pub fn permits(&self, pack: &PackId) -> bool {
        !self.condemned.contains(pack) && !self.dead.contains(pack)
    }
}
