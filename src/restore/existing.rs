//! What is there already: pieces whose bytes stand in the destination, from an interrupted restore or
//! an older state, are recognised by their hashes and not fetched again. Blocks.

use std::sync::Arc;

use crate::destination::Existing;
use crate::entry::Extent;
use crate::repo::Repository;
use crate::restore::Error;
use crate::restore::fetch::Shared;
use crate::restore::file::RestoredFile;
use crate::restore::layout::Piece;
use crate::units::{MIB, to_u64, to_usize};

/// Keeps the pieces that must be fetched. A chunk is compared as a whole, by its id; where pieces are
/// pages, each by its hash.
pub(super) fn missing(
    repository: &Repository,
    file: &RestoredFile,
    existing: &mut dyn Existing,
    pieces: Vec<Piece>,
) -> Result<Vec<Piece>, Error> {
    let mut missing = Vec::new();
    let mut rest = pieces.as_slice();
    while let Some(first) = rest.first() {
        let of_chunk = match file.page_bytes {
            Some(_) => 1,
            None => rest.iter().take_while(|piece| piece.chunk.id == first.chunk.id).count(),
        };
        let (together, after) = rest.split_at(of_chunk);
        rest = after;
        let bytes = read(existing, together)?;
        let same = bytes.is_some_and(|bytes| match file.page_bytes {
            Some(page_bytes) => same_pages(repository, first, &bytes, page_bytes),
            None => same_chunk(repository, first, &bytes),
        });
        if !same {
            missing.extend_from_slice(together);
        }
    }
    Ok(missing)
}

fn read(existing: &mut dyn Existing, pieces: &[Piece]) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let start = bytes.len();
        bytes.resize(start + to_usize(piece.length_bytes.into()), 0);
        let room = bytes.get_mut(start..).unwrap_or_default();
        if existing.read_at(room, piece.to_bytes)? < room.len() {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

fn same_chunk(repository: &Repository, piece: &Piece, bytes: &[u8]) -> bool {
    let secret = piece.chunk.frame.place().map(|place| place.pack.secret());
    let keys = secret.and_then(|secret| repository.secrets().get(secret));
    keys.is_some_and(|keys| keys.chunk_id(bytes) == piece.chunk.id)
}

fn same_pages(repository: &Repository, piece: &Piece, bytes: &[u8], page_bytes: u32) -> bool {
    let secret = piece.chunk.frame.place().map(|place| place.pack.secret());
    let Some(keys) = secret.and_then(|secret| repository.secrets().get(secret)) else {
        return false;
    };
    let hashes = bytes.chunks(to_usize(page_bytes.into())).map(|page| keys.page_hash(page));
    hashes.eq(piece.pages.iter().copied())
}

/// Writes zeros where an existing file has something else.
pub(super) fn clear(
    shared: &Shared,
    file: &Arc<RestoredFile>,
    existing: &mut dyn Existing,
    zeros: &[Extent],
) -> Result<(), Error> {
    let mut buffer = vec![0; MIB];
    for run in zeros {
        let mut at = run.offset_bytes;
        let end = run.offset_bytes + run.length_bytes;
        while at < end {
            let length = to_usize(end - at).min(buffer.len());
            let room = buffer.get_mut(..length).unwrap_or_default();
            let read = existing.read_at(room, at)?;
            let dirty = room.iter().take(read).any(|byte| *byte != 0);
            if dirty {
                room.fill(0);
                file.output(&*shared.destination)?.write_at(room, at)?;
            }
            at += to_u64(length);
        }
    }
    Ok(())
}
