//! What a backup would do: the scan of a real run, so that both decide alike, without what follows it.
//! No file is opened for reading and nothing is written to the repository, not even an announcement.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::read::Order;
use super::scan::{Change, Scan};
use super::{Error, ORDERS, Options, Progress, Run, check_names, job_name};
use crate::entry::Entry;
use crate::repo::Repository;
use crate::repo::id::SessionId;
use crate::repo::session::Session;
use crate::repo::writer::Writer;
use crate::source::{Problem, Source};

/// An entry that a backup would read.
#[derive(Debug)]
pub struct Planned {
    /// The source's name.
    pub source: Arc<str>,
    /// The entry, as the listing has it.
    pub entry: Entry,
    /// Why it would be read.
    pub change: Change,
}

/// What a backup would do.
#[derive(Debug, Default)]
pub struct Preview {
    /// The snapshot that was compared with.
    pub parent: Option<SessionId>,
    /// Entries seen.
    pub entries: u64,
    /// Sum of the sizes of files seen.
    pub size_bytes: u64,
    /// Entries left out by rule.
    pub excluded: u64,
    /// What the listing could not see, by source.
    pub problems: Vec<(String, Problem)>,
}

/// Lists `sources` and compares them with the parent snapshot. What would be read goes to `planned`, in
/// path order. Costs 2 LIST, and GETs for the parent's tree. Only for sources whose cut reads no file.
pub async fn preview(
    repository: &Repository,
    sources: &[Box<dyn Source>],
    options: &Options,
    planned: mpsc::Sender<Planned>,
) -> Result<Preview, Error> {
    check_names(sources)?;
    let job = job_name(options, sources);
    let session = Session::unannounced(repository, &job, &options.host).await?;
    let progress = Arc::new(Progress::default());
    let run = Run {
        repository,
        writer: Writer::new(repository, &session, options.writer)?,
        session: &session,
        options,
        progress: Arc::clone(&progress),
        problems: Vec::new(),
    };
    let parent = session.parent.as_ref().map(|parent| parent.id);
    let mut preview = Preview { parent, ..Preview::default() };
    for source in sources {
        run.preview(&**source, &planned, &mut preview).await?;
    }
    preview.entries = progress.entries.load(Ordering::Relaxed);
    preview.size_bytes = progress.size_bytes.load(Ordering::Relaxed);
    Ok(preview)
}

impl Run<'_> {
    async fn preview(
        &self,
        source: &dyn Source,
        planned: &mpsc::Sender<Planned>,
        preview: &mut Preview,
    ) -> Result<(), Error> {
        let mut cut = self.cut(source).await?;
        let parent = self.parent(source).await?;
        let belief = self.belief();
        let (orders, ordered) = mpsc::channel(ORDERS);
        // Nobody makes a tree of what the scan finds.
        let (drafts, _) = mpsc::channel(1);
        let scan = Scan::new(&self.writer, &self.progress, parent, orders, drafts, belief);
        let name: Arc<str> = source.name().into();
        let (scanned, ()) = tokio::join!(scan.run(&mut *cut), tell(name, ordered, planned));
        let scanned = scanned?;
        let problems = scanned.problems.into_iter();
        preview.problems.extend(problems.map(|problem| (source.name().to_owned(), problem)));
        preview.excluded += scanned.excluded;
        Ok(())
    }
}

/// Passes on what the reading stage would be asked for.
async fn tell(
    source: Arc<str>,
    mut ordered: mpsc::Receiver<Order>,
    planned: &mpsc::Sender<Planned>,
) {
    while let Some(order) = ordered.recv().await {
        if let Order::Read(request) = order {
            let change = Change::of(&request.entry, request.parent.as_ref());
            let source = Arc::clone(&source);
            // The receiver is gone: it needs no more.
            drop(planned.send(Planned { source, entry: request.entry, change }).await);
        }
    }
}
