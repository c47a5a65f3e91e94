//! The third level: packs are read whole, hashed, and as far as the key goes opened, decoded and
//! compared with their chunk ids.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt as _;

use crate::check::{Check, Condition, Progress, Share};
use crate::repo::id::PackId;
use crate::repo::pack::{
    HEADER_LIMIT_BYTES, Header, PackKind, TRAILER_BYTES, Trailer, open_directory,
};
use crate::repo::reader::{PackOpener, verified_chunk};
use crate::repo::reference::{ChunkRef, Frame};
use crate::repo::{self, Repository};
use crate::units::{to_u64, to_usize};

/// Packs that are read at the same time: two of 32 MiB, and what they unpack to, fit a small pod.
const PACKS_AT_A_TIME: usize = 2;
/// Largest pack that is read whole.
const PACK_LIMIT_BYTES: u64 = u32::MAX as u64;

/// What reading a pack showed.
struct Verdict {
    id: PackId,
    bytes: u64,
    opened: bool,
    condition: Option<Condition>,
}

impl Check<'_> {
    /// Reads the packs of a share.
    pub(super) async fn read_packs(
        &mut self,
        share: Share,
        progress: &Arc<Progress>,
    ) -> Result<(), repo::Error> {
        let listed: Vec<PackId> = self
            .packs
            .iter()
            .filter(|(id, condition)| {
                matches!(condition, Condition::Listed(_)) && share.includes(id)
            })
            .map(|(id, _)| *id)
            .collect();
        let repository = self.repository.clone();
        let reads = futures::stream::iter(listed).map(|id| {
            let repository = repository.clone();
            async move { read_pack(&repository, id).await }
        });
        let mut reads = reads.buffer_unordered(PACKS_AT_A_TIME);
        while let Some(verdict) = reads.next().await {
            let verdict = verdict?;
            progress.packs.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(verdict.bytes, Ordering::Relaxed);
            self.report.packs_read += 1;
            self.report.read_bytes += verdict.bytes;
            self.report.packs_opened += u64::from(verdict.opened);
            if let Some(condition) = verdict.condition {
                let (Condition::Lost(reason) | Condition::Torn(_, reason)) = &condition else {
                    continue;
                };
                self.found(repo::layout::pack(verdict.id).as_str(), reason.clone());
                self.packs.insert(verdict.id, condition);
            }
        }
        Ok(())
    }
}

async fn read_pack(repository: &Repository, id: PackId) -> Result<Verdict, repo::Error> {
    let key = repo::layout::pack(id);
    let pack = match repository.store().get(&key, PACK_LIMIT_BYTES).await {
        Ok(pack) => pack,
        Err(error) => {
            let error = repo::Error::from(error);
            if !error.is_loss() {
                return Err(error);
            }
            let error = repository.confirm_loss(error).await?;
            let condition = Some(Condition::Lost(error.to_string()));
            return Ok(Verdict { id, bytes: 0, opened: false, condition });
        }
    };
    let bytes = to_u64(pack.len());
    let opener = opener(repository, id, &pack).await;
    let repository = repository.clone();
    let cpu = repository.world().cpu.clone();
    let (opened, condition) = cpu.run(move || judge(&repository, id, &pack, opener)).await;
    Ok(Verdict { id, bytes, opened, condition })
}

/// What opens the pack's frames, if the key does at all.
async fn opener(
    repository: &Repository,
    id: PackId,
    pack: &Bytes,
) -> Option<Result<PackOpener, repo::Error>> {
    let head = pack.get(..to_usize(HEADER_LIMIT_BYTES)).unwrap_or(pack);
    match Header::parse(repository.id(), id, head) {
        Ok(header) if header.kind == PackKind::Metadata => Some(repository.metadata_opener(id)),
        // The header itself is judged too, so its own secret is opened, not one known before.
        Ok(header) if repository.reads_content() => {
            Some(match repository.open_session_secret(id, &header) {
                Ok(_) => repository.data_opener(id).await,
                Err(error) => Err(error),
            })
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }
}

/// Judges a pack. Blocks.
fn judge(
    repository: &Repository,
    id: PackId,
    pack: &Bytes,
    opener: Option<Result<PackOpener, repo::Error>>,
) -> (bool, Option<Condition>) {
    let lost = |error: &dyn ToString| (false, Some(Condition::Lost(error.to_string())));
    let trailer = match Trailer::parse(id, pack, to_u64(pack.len())) {
        Ok(trailer) => trailer,
        Err(error) => return lost(&error),
    };
    let whole = trailer.is_intact(pack);
    let start = to_usize(trailer.directory_offset_bytes.into());
    let sealed = pack.get(start..pack.len() - TRAILER_BYTES).unwrap_or_default();
    let Some(keys) = repository.secrets().get(id.secret()) else {
        return (false, None);
    };
    let offset = trailer.directory_offset_bytes;
    let frames = match open_directory(keys, repository.id(), id, sealed, offset) {
        Ok(frames) => frames,
        Err(error) => return lost(&error),
    };
    let opener = match opener {
        Some(Ok(opener)) => opener,
        Some(Err(error)) => return lost(&error),
        None if whole => return (false, None),
        None => {
            return lost(
                &"its hash is wrong; with a recovery key check says which files it touches",
            );
        }
    };
    let mut torn = BTreeSet::new();
    for listed in frames {
        let place = listed.place;
        let range = to_usize(place.offset_bytes.into())..to_usize(place.end_bytes());
        let stored = pack.get(range).unwrap_or_default();
        let sound = opener.open(&place, stored).is_ok_and(|plain| {
            let frame = Frame::stored(place);
            let mut offset_bytes = 0;
            listed.chunks.into_iter().all(|(id, length_bytes)| {
                let frame = Arc::clone(&frame);
                let reference = ChunkRef { frame, offset_bytes, length_bytes, id };
                offset_bytes += length_bytes;
                verified_chunk(repository, &reference, &plain).is_ok()
            })
        });
        if !sound {
            torn.insert(place.offset_bytes);
        }
    }
    let condition = if !torn.is_empty() {
        let reason = format!("{} of its frames are damaged", torn.len());
        Some(Condition::Torn(torn, reason))
    } else if !whole {
        let reason = "its hash is wrong, though every frame in it is right";
        Some(Condition::Torn(BTreeSet::new(), reason.to_owned()))
    } else {
        None
    };
    (true, condition)
}
