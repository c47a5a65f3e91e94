//! Packs: header, trailer, and the directory behind its seal.

use backstay::repo::id::{PackId, RepositoryId};
use backstay::repo::pack::{HEADER_LIMIT_BYTES, Header, TRAILER_BYTES, Trailer, open_directory};
use backstay::repo::reference::{FRAME_LIMIT_BYTES, SEAL_BYTES};
use backstay::repo::seal::{NO_NONCE, Sealer};

use super::seeds::{PACK, REPOSITORY, secrets};

/// The front of a pack.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(REPOSITORY, PACK, bytes) {
        assert!(u64::from(header.length_bytes) <= HEADER_LIMIT_BYTES);
        assert!(header.sealed_secret.len() < usize::from(header.length_bytes));
    }
}

/// The end of a pack, whose length is in the first eight bytes.
pub fn trailer(bytes: &[u8]) {
    let Some((pack_bytes, tail)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let pack_bytes = u64::from_le_bytes(*pack_bytes);
    if let Ok(trailer) = Trailer::parse(PACK, tail, pack_bytes) {
        let end = u64::from(trailer.directory_offset_bytes) + u64::from(trailer.directory_bytes);
        assert_eq!(end + TRAILER_BYTES as u64, pack_bytes);
        // Whether the hash is right is for the whole pack to say; here it must not panic.
        trailer.is_intact(tail);
    }
}

/// The directory's plaintext, after four bytes that say where the directory starts.
pub fn directory(bytes: &[u8]) {
    let Some((start, plain)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let start = u32::from_le_bytes(*start);
    let keys = secrets().newest();
    let sealed = seal_directory(REPOSITORY, PACK, plain);
    let Ok(frames) = open_directory(keys, REPOSITORY, PACK, &sealed, start) else {
        return;
    };
    let mut end = frames.first().map_or(0, |frame| frame.place.offset_bytes.into());
    for frame in &frames {
        let place = frame.place;
        assert_eq!(u64::from(place.offset_bytes), end, "a gap between frames");
        end = place.end_bytes();
        assert!(end <= u64::from(start), "a frame in the directory");
        assert!(place.plain_bytes <= FRAME_LIMIT_BYTES);
        assert!((SEAL_BYTES..=place.plain_bytes + SEAL_BYTES).contains(&place.stored_bytes));
        let sum: u64 = frame.chunks.iter().map(|(_, length)| u64::from(*length)).sum();
        assert_eq!(sum, u64::from(place.plain_bytes));
    }
}

/// Puts a plaintext behind the seal of a pack's directory.
pub fn seal_directory(repository: RepositoryId, pack: PackId, plain: &[u8]) -> Vec<u8> {
    let key = secrets().newest().pack_key("directory", repository, pack);
    let aad = [repository.0.as_slice(), &pack.0].concat();
    let mut sealed = plain.to_vec();
    Sealer::new(&key).seal(NO_NONCE, &aad, &mut sealed);
    sealed
}
