//! `restore`: a snapshot in, files out.
//!
//! Two passes over the tree. The first makes directories and asks for files' pieces, which are fetched,
//! verified and written out of order; then it makes hard links. The second gives directories their final
//! attributes, when nothing below them changes any more. What is damaged, and what the destination refuses,
//! is named and left out, never written as if it were right; everything else is restored.

mod existing;
mod fetch;
mod file;
mod flags;
mod layout;
mod links;
mod parents;
mod pass;
mod refusals;
mod seal;
mod sieve;
mod subtree;
mod wal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::class::Class;
use crate::destination::{self, Destination, Shortfalls};
use crate::entry::TreePath;
use crate::facts::Facts;
use crate::patterns::Filter;
use crate::repo::snapshot::{Snapshot, SourceRecord};
use crate::repo::{self, Repository};
use crate::source::wal::TIMELINE_MARKER_NAME;

pub use refusals::{Refusal, Refusals};
pub use sieve::Sieve;
pub use wal::{RestoredWal, WalOptions, timeline_id};

/// What to restore of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// One source, or all of them, each into a directory of its name.
    pub source: Option<String>,
    /// A path in that source; empty for all of it. A directory's content goes into the destination
    /// itself; a file goes there under its own name.
    pub path: TreePath,
}

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What of the snapshot.
    pub selection: Selection,
    /// What of that, by patterns.
    pub filter: Filter,
    /// Remove what the snapshot does not have.
    pub delete: bool,
    /// How WAL sources are restored.
    pub wal: WalOptions,
}

/// Counters of a run, for people who watch and for the report.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Files finished so far.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Something that could not be restored as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it would be in the destination.
    pub path: TreePath,
    /// What of it is lost.
    pub loss: Loss,
    /// What is wrong with what is stored.
    pub detail: String,
}

/// What damage costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The file's content: the file is not there.
    Content,
    /// The directory's own entry: it was made anew, for nobody but its owner, to hold what is in it.
    Attributes,
    /// All entries after this one (from the first, where there is none) up to the path.
    Entries {
        /// Where it would be in the destination.
        after: Option<TreePath>,
    },
    /// Maybe segments of later restore points.
    LaterSegments,
}

impl Damage {
    fn of_content(path: TreePath, detail: impl ToString) -> Self {
        Self { path, loss: Loss::Content, detail: detail.to_string() }
    }
}

impl Loss {
    /// The word in JSON output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Attributes => "attributes",
            Self::Entries { .. } => "entries",
            Self::LaterSegments => "later-segments",
        }
    }
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct Report {
    /// Entries restored, of all kinds.
    pub entries: u64,
    /// Files written or found right.
    pub files: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes fetched from the store.
    pub fetched_bytes: u64,
    /// Files left alone because of what was there.
    pub skipped: u64,
    /// Entries removed because the snapshot does not have them.
    pub removed: u64,
    /// Names that the snapshot does not have and that stay all the same, because the backup did not look
    /// at them: excluded, on another file system, or the repository itself.
    pub kept: u64,
    /// Files whose bytes are not to be had any more.
    pub damage: Vec<Damage>,
    /// Entries that the snapshot itself has only in part: not stored, or changed while read.
    pub incomplete: Vec<TreePath>,
    /// What of each WAL was restored.
    pub wal: Vec<RestoredWal>,
    /// Include patterns that nothing matched.
    pub unmatched: Vec<String>,
    /// What the destination refused. Everything else is restored.
    pub refused: Refusals,
    /// What the destination could not give to entries that are there.
    pub shortfalls: Shortfalls,
}

/// What keeps a restore from going on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] repo::Error),
    /// The destination.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// Patterns and a log.
    #[error(
        "source {source_name} is a WAL, of which a part cannot be replayed: give --include and --exclude \
         only with a directory, as in SNAPSHOT:SOURCE"
    )]
    PartOfLog {
        /// The source.
        source_name: String,
    },
    /// What was asked for is not in the snapshot.
    #[error("{wanted} is not in snapshot {snapshot}: {reason}")]
    NotThere {
        /// Source and path.
        wanted: String,
        /// The snapshot.
        snapshot: String,
        /// What there is.
        reason: String,
    },
    /// What was given for a segment is none.
    #[error(
        "{text} is no segment of this log, whose segments are named {naming}: give a segment's name, or its \
         number as names have it"
    )]
    Segment {
        /// What was given.
        text: String,
        /// How segments are named.
        naming: String,
    },
    /// A segment before what the directories hold already.
    #[error(
        "the directories of snapshot {snapshot} may hold writes of segments up to {ceiling}, which a replay \
         until segment {until} cannot take back: {remedy} (--log-alone if the log is not replayed into them)"
    )]
    TooEarly {
        /// The segment that was asked for.
        until: String,
        /// The snapshot.
        snapshot: String,
        /// The newest segment when the directories had been copied.
        ceiling: String,
        /// What to do instead.
        remedy: String,
    },
    /// The destination holds segments that an engine would replay too.
    #[error(
        "the destination holds {segment}, which is no part of what is restored of log {source_name}, and an \
         engine would replay it: add --delete (with --overwrite if-changed or always) to remove such \
         segments, or restore into an empty directory"
    )]
    Beyond {
        /// Where it is in the destination.
        segment: String,
        /// The log.
        source_name: String,
    },
}

impl Error {
    /// Decides exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Repository(error) => error.class(),
            Self::Destination(error) => error.class(),
            Self::NotThere { .. } => Class::Missing,
            Self::PartOfLog { .. } | Self::Segment { .. } => Class::Config,
            Self::TooEarly { .. } | Self::Beyond { .. } => Class::Refused,
        }
    }
}

/// The sources that a selection names, each with the path under which it goes into the destination.
pub fn selected<'a>(
    snapshot: &'a Snapshot,
    selection: &Selection,
) -> Result<Vec<(&'a SourceRecord, TreePath)>, Error> {
    let Some(name) = &selection.source else {
        let whole = |source: &'a SourceRecord| {
            let prefix = TreePath::from_bytes(source.name.as_bytes())?;
            Some((source, prefix))
        };
        return Ok(snapshot.sources.iter().filter_map(whole).collect());
    };
    let source = snapshot.source(name).ok_or_else(|| {
        let names: Vec<&str> = snapshot.sources.iter().map(|s| s.name.as_str()).collect();
        Error::NotThere {
            wanted: format!("source {name}"),
            snapshot: snapshot.short_id(),
            reason: format!("it has {}", names.join(", ")),
        }
    })?;
    Ok(vec![(source, TreePath::root())])
}

/// Makes sure that a filter takes no log apart.
pub fn check_filter(filter: &Filter, sources: &[(&SourceRecord, TreePath)]) -> Result<(), Error> {
    let is_log = |source: &SourceRecord| matches!(source.facts(), Some(Facts::Wal(_)));
    match sources.iter().find(|(source, _)| is_log(source)) {
        Some((log, _)) if !filter.is_everything() => {
            Err(Error::PartOfLog { source_name: log.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Restores into `destination`.
pub async fn run(
    repository: &Repository,
    snapshot: &Snapshot,
    destination: Arc<dyn Destination>,
    options: &Options,
    progress: Arc<Progress>,
) -> Result<Report, Error> {
    if !repository.reads_content() {
        return Err(repo::Error::AgentKey.into());
    }
    let mut sources = selected(snapshot, &options.selection)?;
    check_filter(&options.filter, &sources)?;
    let plans = wal::prepare(repository, snapshot, &sources, options).await?;
    wal::check_beyond(repository, &destination, &sources, &plans, options.delete).await?;
    // Segments are placed after the directory that they are replayed into.
    sources.sort_by_key(|(source, _)| plans.contains_key(&source.name));
    blocking(repository, &destination, |destination| destination.begin()).await?;
    let (damage, mut damaged) = mpsc::unbounded_channel();
    let refused = Arc::new(refusals::Refused::default());
    let mut report = Report::default();
    let filter = &options.filter;
    let mut flagged = Vec::new();
    for (source, prefix) in sources {
        let mut pass = pass::Pass {
            repository,
            source,
            prefix,
            path: &options.selection.path,
            filter,
            destination: &destination,
            delete: options.delete,
            report: &mut report,
            log: plans.get(&source.name),
            keep_timeline: options.wal.keep_timeline,
            links: links::Links::default(),
            refused: Arc::clone(&refused),
            parents: parents::Parents::default(),
            stand_ins: Vec::new(),
            root_entry: None,
            has_flags: false,
            is_dry: false,
            extra_names: options.delete.then(Names::new),
        };
        pass.contents(snapshot, Arc::clone(&progress), damage.clone()).await?;
        while let Ok(damage) = damaged.try_recv() {
            pass.report.damage.push(damage);
        }
        pass.seal().await?;
        if pass.has_flags {
            flagged.push((source, pass.prefix));
        }
    }
    report.unmatched = filter.unmatched();
    if report.entries == 0 && report.damage.is_empty() && !filter.is_everything() {
        // Nothing was begun that could be left half done.
        blocking(repository, &destination, |destination| destination.finish()).await?;
        return Err(nothing_selected(snapshot));
    }
    report.files = progress.files();
    report.written_bytes = progress.bytes();
    if report.damage.is_empty() && refused.is_empty() {
        for (source, prefix) in flagged {
            let path = &options.selection.path;
            let part = (path, filter);
            flags::protect(repository, source, &prefix, part, &destination, &refused).await?;
        }
    }
    report.refused = refused.take();
    let is_whole = report.damage.is_empty() && report.refused.count == 0;
    let end = move |destination: &dyn Destination| {
        if is_whole { destination.finish() } else { destination.suspend() }
    };
    report.shortfalls = blocking(repository, &destination, end).await?;
    Ok(report)
}

/// Looks at what a restore would refuse and remove, and changes nothing. Of the report only what is about
/// removal is filled in.
pub async fn dry_run(
    repository: &Repository,
    snapshot: &Snapshot,
    destination: Arc<dyn Destination>,
    options: &Options,
) -> Result<Report, Error> {
    let sources = selected(snapshot, &options.selection)?;
    check_filter(&options.filter, &sources)?;
    let plans = wal::prepare(repository, snapshot, &sources, options).await?;
    blocking(repository, &destination, |destination| destination.look()).await?;
    let refused = Arc::new(refusals::Refused::default());
    let mut report = Report::default();
    if options.delete {
        for (source, prefix) in sources {
            let log = plans.get(&source.name);
            let mut names = Names::new();
            if let Some(log) = log {
                names.extend(log.later.iter().map(|stored| stored.entry.path.name().to_vec()));
                names.insert(TIMELINE_MARKER_NAME.as_bytes().to_vec());
            }
            let mut pass = pass::Pass {
                repository,
                source,
                prefix,
                path: &options.selection.path,
                filter: &options.filter,
                destination: &destination,
                // What shall stay is not known where a later snapshot cannot be read.
                delete: log.is_none_or(|log| log.unreadable.is_empty()),
                report: &mut report,
                log,
                keep_timeline: options.wal.keep_timeline,
                links: links::Links::default(),
                refused: Arc::clone(&refused),
                parents: parents::Parents::default(),
                stand_ins: Vec::new(),
                root_entry: None,
                has_flags: false,
                is_dry: true,
                extra_names: Some(names),
            };
            pass.look();
            pass.seal().await?;
        }
    }
    report.refused = refused.take();
    Ok(report)
}

/// That a filter leaves nothing of a snapshot.
pub fn nothing_selected(snapshot: &Snapshot) -> Error {
    Error::NotThere {
        wanted: "what --include and --exclude select".to_owned(),
        snapshot: snapshot.short_id(),
        reason: "patterns are matched with paths from the source's root, as backstay find and \
                 backstay ls --recursive show them"
            .to_owned(),
    }
}

/// What a restore would take of each log, and what it would refuse; touches nothing.
pub async fn preview_logs(
    repository: &Repository,
    snapshot: &Snapshot,
    destination: Arc<dyn Destination>,
    options: &Options,
) -> Result<Vec<RestoredWal>, Error> {
    let sources = selected(snapshot, &options.selection)?;
    check_filter(&options.filter, &sources)?;
    let plans = wal::prepare(repository, snapshot, &sources, options).await?;
    wal::check_beyond(repository, &destination, &sources, &plans, options.delete).await?;
    Ok(plans.into_values().map(|plan| plan.restored).collect())
}

/// Calls the destination on the CPU pool.
async fn blocking<T: Send + 'static>(
    repository: &Repository,
    destination: &Arc<dyn Destination>,
    call: impl FnOnce(&dyn Destination) -> Result<T, destination::Error> + Send + 'static,
) -> Result<T, Error> {
    let destination = Arc::clone(destination);
    Ok(repository.world().cpu.run(move || call(&*destination)).await?)
}

/// Names that a directory shall keep.
type Names = BTreeSet<Vec<u8>>;
