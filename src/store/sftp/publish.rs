//! Giving a finished file its final name without replacing anything.

use std::sync::atomic::{AtomicBool, Ordering};

use super::SftpStore;
use super::open_file::{OpenFile, Unfinished};
use super::pool::Ticket;
use super::session::{Answer, Lane, attributes, done};
use super::table::Trouble;
use super::wire::{Request, status};
use crate::class::Class;
use crate::store::remote::{Failure, Kind};

/// How this server publishes.
#[derive(Debug)]
pub(super) struct Publishing {
    /// By a hard link, which refuses to replace by its nature.
    links: AtomicBool,
    /// Whether a rename refuses to replace.
    rename_refuses: bool,
}

impl SftpStore {
    /// Tries out, in the repository's directory, what refuses to replace. Two round trips.
    pub(super) async fn try_publishing(&self, ticket: &Ticket) -> Result<Publishing, Failure> {
        let (mut from, from_file) = self.open_unfinished(ticket, "").await?;
        let (mut to, to_file) = self.open_unfinished(ticket, "").await?;
        drop((from_file, to_file));
        let ask = |request: Request<'_>| ticket.submit(Lane::Bulk, request);
        let can_link = ticket.server.can_link;
        let linked = can_link.then(|| ask(Request::Link(&from.path, &to.path)));
        let renamed = ask(Request::Rename(&from.path, &to.path));
        let removed = ask(Request::Remove(&to.path));
        from.remove();
        let link_refuses = match linked {
            Some(linked) => is_refusal(self.code_of(linked, &to.path).await?),
            None => false,
        };
        let rename_refuses = is_refusal(self.code_of(renamed, &to.path).await?);
        let removes = self.code_of(removed, &to.path).await? == status::OK;
        to.is_gone = true;
        // Where nothing may be removed, each link would leave its first name behind.
        let links = link_refuses && (removes || !rename_refuses);
        tracing::debug!(links, rename_refuses, "how this server publishes");
        Ok(Publishing { links: links.into(), rename_refuses })
    }

    async fn code_of(&self, answer: Answer, path: &str) -> Result<u32, Failure> {
        match done(answer).await {
            Ok(()) => Ok(status::OK),
            Err(Trouble::Status(code, _)) => Ok(code),
            Err(trouble) => Err(self.failed(&trouble, path)),
        }
    }

    /// Publishes `unfinished`, all of which has arrived, as `path`.
    ///
    /// The name is durable as well: file systems with a journal write the name with the file whose
    /// count of names, or time of change, it changed. So the file is synced once more.
    pub(super) async fn publish(
        &self,
        ticket: &Ticket,
        publishing: &Publishing,
        file: OpenFile,
        mut unfinished: Unfinished,
        path: &str,
    ) -> Result<(), Failure> {
        let can_sync = ticket.server.can_sync;
        let mut file = Some(file);
        if !can_sync && let Some(file) = file.take() {
            // Some disks say only now that they are full.
            if let Err(trouble) = done(file.close()).await {
                return Err(self.explain(ticket, &trouble, &unfinished.path, 1).await);
            }
        }
        let links = publishing.links.load(Ordering::Relaxed);
        if !links && !publishing.rename_refuses && self.is_there(ticket, path).await? {
            return Err(taken());
        }
        let from = unfinished.path.as_str();
        let request = if links { Request::Link(from, path) } else { Request::Rename(from, path) };
        let published = ticket.submit(Lane::Fast, request);
        let synced =
            file.as_ref().map(|file| ticket.submit(Lane::Fast, Request::Sync(file.handle())));
        // Behind these, so that the end of this process leaves nothing unfinished.
        drop(file);
        if links {
            unfinished.remove();
        }
        if let Err(trouble) = done(published).await {
            if matches!(trouble, Trouble::Status(..)) && self.is_there(ticket, path).await? {
                return Err(taken());
            }
            let failure = self.explain(ticket, &trouble, path, 0).await;
            let is_told = matches!(trouble, Trouble::Status(..));
            if links && is_told && failure.kind != Kind::Place {
                // Some file systems know no links. The next attempt renames, and so do those of all
                // others that have tried to link meanwhile.
                publishing.links.store(false, Ordering::Relaxed);
                return Err(Failure::answer(Kind::Object, Class::Transient, failure.text));
            }
            return Err(failure);
        }
        unfinished.is_gone = true;
        if let Some(synced) = synced {
            done(synced).await.map_err(|trouble| self.failed(&trouble, path))?;
        }
        Ok(())
    }

    async fn is_there(&self, ticket: &Ticket, path: &str) -> Result<bool, Failure> {
        match attributes(ticket.submit(Lane::Fast, Request::Stat(path))).await {
            Ok(_) => Ok(true),
            Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => Ok(false),
            Err(trouble) => Err(self.failed(&trouble, path)),
        }
    }
}

/// Whether a server refuses what it would do otherwise.
fn is_refusal(code: u32) -> bool {
    !matches!(code, status::OK | status::UNSUPPORTED)
}

fn taken() -> Failure {
    Failure::answer(Kind::Exists, Class::Refused, "exists already")
}
