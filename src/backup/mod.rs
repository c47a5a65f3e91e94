//! `backup`: sources in, one snapshot out.
//!
//! Three stages run side by side and are tied by bounded queues: the *scan* lists and compares with the
//! parent, the *reading* stage reads, cuts and stores what is new, and the *assembling* stage makes
//! tree nodes of what both say. A WAL encloses the other sources: its floor is noted before they are
//! cut, and its ceiling read after their last byte. Nothing is visible before all of it is durable.

mod assemble;
mod belief;
mod extent;
mod flow;
mod large;
mod list;
mod paged;
mod preview;
mod read;
mod scan;
mod segment;
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::backup::belief::Belief;
use crate::class::Class;
use crate::repo::facts_record::FactsRecord;
use crate::repo::session::{PROGRAM, Session};
use crate::repo::snapshot::{
    PROBLEMS_KEPT, PackRecord, ProblemRecord, Snapshot, SourceRecord, ad_hoc_job, is_source_name,
};
use crate::repo::writer::{Stored, Writer, WriterOptions};
use crate::repo::{self, Repository};
use crate::source::{self, Cut, Previous, Problem, Source};
use crate::units::to_u64;

pub use flow::Progress;
pub use preview::{Planned, Preview, preview};
pub use scan::Change;

/// Entries that wait between scan and reading stage.
const ORDERS: usize = 2048;
/// Leaves that wait between scan and assembling stage: some 8,000 entries. With fewer, small files could
/// not be gathered into full frames.
const DRAFTS: usize = 256;

/// How to back up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The job; without it, the sources name it.
    pub job: Option<String>,
    /// The machine's name.
    pub host: String,
    /// Labels for the snapshot.
    pub labels: BTreeMap<String, String>,
    /// Compression and memory.
    pub writer: WriterOptions,
    /// Read every file again, whatever the parent snapshot says.
    pub read_all: bool,
}

/// What a backup made.
#[derive(Debug)]
pub struct Report {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What was stored for it.
    pub stored: Stored,
    /// Files that the parent snapshot does not have.
    pub new_files: u64,
    /// Files that the parent snapshot has, but not as they are now.
    pub changed_files: u64,
    /// Files that were read.
    pub read_files: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Problems by source, all of them.
    pub problems: Vec<(String, Problem)>,
}

/// What keeps a backup from being made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] repo::Error),
    /// A source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// Names of sources clash or cannot be.
    #[error("{0}")]
    Names(String),
}

impl From<scan::Ended> for Error {
    fn from(ended: scan::Ended) -> Self {
        match ended {
            scan::Ended::Source(error) => Self::Source(error),
            scan::Ended::Repository(error) => Self::Repository(error),
        }
    }
}

impl Error {
    /// Decides exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Repository(error) => error.class(),
            Self::Source(error) => error.class(),
            Self::Names(_) => Class::Config,
        }
    }
}

fn check_names(sources: &[Box<dyn Source>]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for source in sources {
        let name = source.name();
        if !is_source_name(name) {
            return Err(Error::Names(format!(
                "{name:?} cannot be the name of a source: choose one without / and without a dot in \
                 front (NAME=PATH)"
            )));
        }
        if !seen.insert(name) {
            return Err(Error::Names(format!(
                "two sources are called {name:?}: name them apart (NAME=PATH)"
            )));
        }
    }
    if sources.is_empty() {
        return Err(Error::Names("nothing to back up: give at least one path".into()));
    }
    Ok(())
}

/// The job that a backup belongs to.
pub fn job_name(options: &Options, sources: &[Box<dyn Source>]) -> String {
    options.job.clone().unwrap_or_else(|| {
        let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
        ad_hoc_job(&names)
    })
}

struct Run<'a> {
    repository: &'a Repository,
    writer: Arc<Writer>,
    session: &'a Session,
    options: &'a Options,
    progress: Arc<Progress>,
    problems: Vec<(String, Problem)>,
}

/// Backs `sources` up into one snapshot.
pub async fn run(
    repository: &Repository,
    sources: &[Box<dyn Source>],
    options: &Options,
    progress: Arc<Progress>,
) -> Result<Report, Error> {
    check_names(sources)?;
    let job = job_name(options, sources);
    let session = Session::begin(repository, &job, &options.host).await?;
    let writer = Writer::new(repository, &session, options.writer)?;
    let mut run = Run {
        repository,
        writer,
        session: &session,
        options,
        progress: Arc::clone(&progress),
        problems: Vec::new(),
    };
    let (records, packs, stored) = run.all(sources).await?;
    let sources: Vec<SourceRecord> = records.into_values().collect();
    let problems = std::mem::take(&mut run.problems);
    let snapshot = Snapshot {
        id: session.place.session,
        job,
        host: options.host.clone(),
        started: session.started,
        finished: repository.now(),
        parent: session.parent.as_ref().map(|parent| parent.id),
        checkpoint: session.place.checkpoint,
        partial: sources.iter().any(|source| source.partial),
        sources,
        program: PROGRAM.to_owned(),
        packs,
        labels: (!options.labels.is_empty()).then(|| options.labels.clone()),
        secret: repository.secrets().newest_number(),
    };
    session.commit(repository, &snapshot).await?;
    Ok(Report {
        snapshot,
        stored,
        new_files: progress.new_files.load(Ordering::Relaxed),
        changed_files: progress.changed_files.load(Ordering::Relaxed),
        read_files: progress.read_files.load(Ordering::Relaxed),
        read_bytes: progress.read_bytes.load(Ordering::Relaxed),
        problems,
    })
}

/// However a run ends, nothing of it goes on.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.writer.give_up();
    }
}

impl Run<'_> {
    /// All sources, and what was stored for them, durably.
    async fn all(
        &mut self,
        sources: &[Box<dyn Source>],
    ) -> Result<(BTreeMap<usize, SourceRecord>, Vec<PackRecord>, Stored), Error> {
        let mut records = BTreeMap::new();
        let mut enclosing = Vec::new();
        for (place, source) in sources.iter().enumerate().filter(|(_, s)| s.encloses_others()) {
            enclosing.push((place, source, self.cut(&**source).await?));
        }
        for (place, source) in sources.iter().enumerate().filter(|(_, s)| !s.encloses_others()) {
            let cut = self.cut(&**source).await?;
            records.insert(place, self.source(&**source, cut).await?);
        }
        for (place, source, cut) in enclosing {
            records.insert(place, self.source(&**source, cut).await?);
        }
        let (packs, stored) = self.writer.finish().await?;
        Ok((records, packs, stored))
    }

    /// What the parent snapshot says of the source.
    fn previous(&self, source: &dyn Source) -> Option<&SourceRecord> {
        self.session.parent.as_ref()?.source(source.name())
    }

    async fn cut(&self, source: &dyn Source) -> Result<Box<dyn Cut>, Error> {
        let previous = self
            .previous(source)
            .map(|record| Previous { facts: record.facts(), entries: record.entries });
        Ok(source.cut(self.repository.world(), previous.as_ref()).await?)
    }

    async fn source(
        &mut self,
        source: &dyn Source,
        mut cut: Box<dyn Cut>,
    ) -> Result<SourceRecord, Error> {
        let read_before = self.progress.read_bytes.load(Ordering::Relaxed);
        let (scanned, mut assembled) = self.tree(source, &mut *cut).await?;
        let mut compared = std::mem::take(&mut assembled.compared);
        compared.complete = scanned.incomparable == 0 && scanned.has_parent;
        let reach = cut.finish(compared).await?;
        let mut problems = scanned.problems;
        problems.append(&mut assembled.problems);
        problems.extend(reach.problems);
        let (kind, facts) = FactsRecord::of(&reach.facts);
        let record = |problem: &Problem| ProblemRecord {
            path: problem.path.as_bytes().to_vec(),
            fault: problem.fault.as_str().to_owned(),
            detail: problem.detail.clone(),
        };
        let read_after = self.progress.read_bytes.load(Ordering::Relaxed);
        let row = SourceRecord {
            name: source.name().to_owned(),
            kind: kind.to_owned(),
            location: source.location(),
            root: assembled.root,
            entries: assembled.entries,
            size_bytes: assembled.size_bytes,
            facts,
            problem_count: to_u64(problems.len()),
            problems: problems.iter().take(PROBLEMS_KEPT).map(record).collect(),
            partial: !problems.is_empty(),
            read_bytes: read_after - read_before,
            excluded: scanned.excluded,
        };
        let name = source.name().to_owned();
        self.problems.extend(problems.into_iter().map(|problem| (name.clone(), problem)));
        Ok(row)
    }

    /// What proves that an entry is unchanged.
    fn belief(&self) -> Belief {
        let stored = self.session.parent.as_ref().map_or(self.session.started, |p| p.started);
        Belief::new(stored, self.session.started, self.options.read_all)
    }

    /// What the source is compared with.
    async fn parent(&self, source: &dyn Source) -> Result<Option<scan::Parent>, Error> {
        match (&self.session.parent, self.previous(source)) {
            (Some(snapshot), Some(record)) => {
                let root = &record.root;
                let others = snapshot.sources.iter().map(|source| &source.root);
                self.repository.approach(root, others).await?;
                Ok(scan::Parent::open(&self.writer, root, !self.options.read_all).await?)
            }
            _ => Ok(None),
        }
    }

    async fn tree(
        &self,
        source: &dyn Source,
        cut: &mut dyn Cut,
    ) -> Result<(scan::Scanned, assemble::Assembled), Error> {
        let parent = self.parent(source).await?;
        let newest = self.repository.secrets().newest_number();
        let stage = flow::Stage {
            writer: Arc::clone(&self.writer),
            files: cut.files(),
            progress: Arc::clone(&self.progress),
            parent_hashes: self.session.parent.as_ref().is_some_and(|p| p.secret == newest),
            failure: Arc::default(),
        };
        let failure = Arc::clone(&stage.failure);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (drafts, drafted) = mpsc::channel(DRAFTS);
        let reading = stage.spawn(read::run(stage.clone(), ordered));
        let assembling = stage.spawn(assemble::run(Arc::clone(&self.writer), drafted));
        let belief = self.belief();
        let scan = scan::Scan::new(&self.writer, &self.progress, parent, orders, drafts, belief);
        let stages = async {
            let scanned = scan.run(cut).await?;
            reading.join().await;
            Ok((scanned, assembling.join().await))
        };
        tokio::select! {
            biased;
            error = failure.wait() => Err(error.into()),
            error = self.writer.failed() => Err(error.into()),
            outcome = stages => outcome,
        }
    }
}
