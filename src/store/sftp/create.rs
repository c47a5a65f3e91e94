//! Writing an object so that it is either wholly there, durably, or not at all. In order: create a file
//! under a name that no listing shows, write, sync, publish. Three round trips.

use std::collections::VecDeque;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::open_file::{OpenFile, Unfinished};
use super::pool::Ticket;
use super::server::Space;
use super::session::{Answer, Lane, done, handle};
use super::table::Trouble;
use super::wire::{Reply, Request, status};
use super::{SftpStore, failure};
use crate::class::Class;
use crate::store::Key;
use crate::store::local::UNFINISHED;
use crate::store::remote::{Failure, Kind};
use crate::world::{Random, SystemRandom};

/// Permissions of files and directories: nobody else's business.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// What is sent before the first answer came: OpenSSH takes half of it at a time.
const AHEAD_BYTES: u32 = 4 << 20;
/// And in how many pieces at most: what OpenSSH's own client sends.
const AHEAD_PIECES: u32 = 64;
/// A disk with less room than this beyond what was to be written is full.
const ROOM_BYTES: u64 = 1 << 20;

impl SftpStore {
    pub(super) async fn create_object(&self, key: &Key, parts: &[Bytes]) -> Result<(), Failure> {
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        let ticket = self.pool.session(size_bytes).await?;
        self.orphans.remove(&ticket);
        let publishing = self.publishing.get_or_try_init(|| self.try_publishing(&ticket)).await?;
        let directory = key.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
        let (mut unfinished, mut file) = self.open_unfinished(&ticket, directory).await?;
        let writing = self.write_parts(&ticket, &file, parts).await;
        if let Err(trouble) = writing {
            return Err(self.explain(&ticket, &trouble, &unfinished.path, size_bytes).await);
        }
        // All of it has arrived, so nothing can overtake it.
        file.hurry();
        unfinished.hurry();
        let path = self.location.path_of(key.as_str());
        self.publish(&ticket, publishing, file, unfinished, &path).await?;
        self.refusals.forget(size_bytes);
        Ok(())
    }

    /// A new file under a name that nobody else uses, in a directory of the repository, which is made
    /// if need be.
    pub(super) async fn open_unfinished(
        &self,
        ticket: &Ticket,
        directory: &str,
    ) -> Result<(Unfinished, OpenFile), Failure> {
        let random: [u8; 12] = (&SystemRandom as &dyn Random).array();
        let name = format!("{directory}/{UNFINISHED}{}", HEXLOWER.encode(&random));
        let path = self.location.path_of(name.trim_start_matches('/'));
        let mut unfinished = Unfinished::new(ticket.shared(), self.orphans.clone(), path);
        let open = || ticket.submit(Lane::Fast, Request::OpenNew(&unfinished.path, FILE_MODE));
        let opened = match handle(open()).await {
            Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => {
                let made = self.make_directories(ticket, directory).await;
                match handle(open()).await {
                    Err(Trouble::Status(status::NO_SUCH_FILE | status::NO_SUCH_PATH, _)) => {
                        unfinished.is_gone = true;
                        made?;
                        return Err(failure::a_file(&self.location, directory));
                    }
                    opened => opened,
                }
            }
            opened => opened,
        };
        match opened {
            Ok(handle) => Ok((unfinished, OpenFile::new(ticket.shared(), Lane::Bulk, handle))),
            Err(trouble) => {
                // One whose answer was lost may be there.
                unfinished.is_gone = !matches!(trouble, Trouble::Lost(_));
                Err(self.explain(ticket, &trouble, &unfinished.path, 0).await)
            }
        }
    }

    /// Makes the repository's directory and those down to `directory`, but nothing above. That they
    /// exist already is no failure, but looks like one.
    async fn make_directories(&self, ticket: &Ticket, directory: &str) -> Result<(), Failure> {
        let ends = directory.match_indices('/').map(|(at, _)| at).chain([directory.len()]);
        let below = ends.filter(|end| *end > 0).map(|end| &directory[..end]);
        let paths: Vec<String> =
            [""].into_iter().chain(below).map(|name| self.location.path_of(name)).collect();
        let make =
            |path: &String| ticket.submit(Lane::Fast, Request::MakeDirectory(path, DIRECTORY_MODE));
        let answers: Vec<Answer> = paths.iter().map(make).collect();
        let mut outcome = Ok(());
        for (index, (path, answer)) in paths.iter().zip(answers).enumerate() {
            let Err(trouble) = done(answer).await else {
                continue;
            };
            let is_root = index == 0;
            let failure = match trouble {
                Trouble::Status(status::NO_SUCH_FILE, _) if is_root => {
                    failure::no_parent(&self.location)
                }
                // What the first one says is why the next ones fail.
                _ if outcome.is_err() => continue,
                Trouble::Status(status::FAILURE | status::EXISTS, _) => continue,
                trouble => self.explain(ticket, &trouble, path, 0).await,
            };
            outcome = Err(failure);
        }
        outcome
    }

    /// Writes `parts` one after the other, and has them synced if the server can.
    async fn write_parts(
        &self,
        ticket: &Ticket,
        file: &OpenFile,
        parts: &[Bytes],
    ) -> Result<(), Trouble> {
        let piece_bytes = ticket.server.write_bytes.min(self.upload_piece_bytes);
        let ahead = (AHEAD_BYTES / piece_bytes).clamp(1, AHEAD_PIECES);
        let mut rest: VecDeque<Bytes> = parts.iter().cloned().collect();
        let mut offset = 0;
        let mut under_way: VecDeque<Answer> = VecDeque::new();
        while let Some((piece, length)) = next_piece(&mut rest, piece_bytes) {
            self.upload.pass(usize::try_from(length).unwrap_or(usize::MAX)).await;
            under_way.push_back(ticket.write(file.handle(), offset, length, piece));
            offset += u64::from(length);
            if under_way.len() >= usize::try_from(ahead).unwrap_or(usize::MAX)
                && let Some(oldest) = under_way.pop_front()
            {
                done(oldest).await?;
            }
        }
        if ticket.server.can_sync {
            under_way.push_back(ticket.submit(Lane::Bulk, Request::Sync(file.handle())));
        }
        for answer in under_way {
            done(answer).await?;
        }
        Ok(())
    }

    /// Writes an object that exists anew, in place: only ever one that a probe made.
    pub(super) async fn overwrite_object(&self, key: &Key, content: &Bytes) -> Result<(), Failure> {
        let ticket = self.pool.session(content.len() as u64).await?;
        let path = self.location.path_of(key.as_str());
        let overwriting = async {
            let opened = ticket.submit(Lane::Fast, Request::OpenOver(&path));
            let file = OpenFile::new(ticket.shared(), Lane::Bulk, handle(opened).await?);
            self.write_parts(&ticket, &file, std::slice::from_ref(content)).await?;
            done(file.close()).await
        };
        let outcome: Result<(), Trouble> = overwriting.await;
        outcome.map_err(|trouble| self.failed(&trouble, &path))
    }

    /// What it means that something could not be written: servers say the same of full disks and of
    /// much else, so the disk is asked.
    pub(super) async fn explain(
        &self,
        ticket: &Ticket,
        trouble: &Trouble,
        path: &str,
        size_bytes: u64,
    ) -> Failure {
        let failure = self.failed(trouble, path);
        if !matches!(trouble, Trouble::Status(status::FAILURE, _)) {
            return failure;
        }
        if !ticket.server.can_tell_space {
            let text = format!("{}; its disk or the quota may be full", failure.text);
            let is_write = size_bytes > 0;
            let class = if is_write { Class::Full } else { failure.class };
            return Failure::answer(Kind::Object, class, text);
        }
        let space = ticket.ask(Lane::Fast, Request::Space(&self.location.root)).await;
        let Ok(Reply::Extended(space)) = space else {
            return failure;
        };
        match Space::parse(space) {
            Some(Space { is_read_only: true, .. }) => failure::read_only(&self.location),
            Some(space) if space.free_bytes < size_bytes.saturating_add(ROOM_BYTES) => {
                failure::full(&self.location)
            }
            Some(_) if size_bytes > 0 => {
                let may_pass = !self.refusals.add(size_bytes);
                failure::refused_write(&failure.text, &self.location, may_pass)
            }
            _ => failure,
        }
    }
}

/// The next `piece_bytes` of `rest`, or what is left, from as many parts as it takes. Copies nothing.
fn next_piece(rest: &mut VecDeque<Bytes>, piece_bytes: u32) -> Option<(Vec<Bytes>, u32)> {
    let mut piece = Vec::new();
    let mut missing = usize::try_from(piece_bytes).unwrap_or(usize::MAX);
    let mut length = 0;
    while missing > 0
        && let Some(part) = rest.front_mut()
    {
        let taken = part.split_to(missing.min(part.len()));
        if part.is_empty() {
            rest.pop_front();
        }
        if !taken.is_empty() {
            missing -= taken.len();
            length += u32::try_from(taken.len()).unwrap_or(u32::MAX);
            piece.push(taken);
        }
    }
    (!piece.is_empty()).then_some((piece, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_parts_into_pieces() {
        let parts = ["abc", "", "d", "efghij", "", "k"];
        for piece_bytes in 1..13 {
            let mut rest: VecDeque<Bytes> = parts.map(Bytes::from_static_str).into();
            let mut whole = Vec::new();
            while let Some((piece, length)) = next_piece(&mut rest, piece_bytes) {
                let piece = piece.concat();
                assert_eq!(piece.len(), usize::try_from(length).unwrap());
                assert!(length == piece_bytes || rest.iter().all(Bytes::is_empty));
                whole.extend(piece);
            }
            assert_eq!(whole, b"abcdefghijk");
        }
        assert_eq!(next_piece(&mut [Bytes::new()].into(), 4), None);
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Self;
    }

    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Self {
            Self::from_static(text.as_bytes())
        }
    }
}
