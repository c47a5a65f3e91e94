//! What has to be done to every byte, on one core, with nothing around it: the same crates, block sizes
//! and checks as in the repository.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use backstay::repo::chunker::{Chunker, Gear};
use backstay::repo::codec::{self, Compression};

/// Chunks of the default average.
const AVERAGE_BYTES: u32 = 512 * 1024;
const TAG_BYTES: usize = 16;

/// The loop and its keys.
pub(super) struct Ideal {
    gear: Gear,
    key: LessSafeKey,
}

/// A chunk as it would be stored.
pub(super) struct Frame {
    sealed: Vec<u8>,
    plain_bytes: usize,
    is_raw: bool,
    id: blake3::Hash,
}

impl Ideal {
    pub(super) fn new() -> Self {
        let table = std::array::from_fn(|place| {
            let hash = blake3::hash(&(place as u64).to_le_bytes());
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
        });
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        Self { gear: Gear::new(table), key }
    }

    /// Cuts, hashes, compresses, decodes to compare, seals, and hashes what a pack would hold.
    pub(super) fn store(&self, mut bytes: &[u8]) -> Vec<Frame> {
        let chunker = Chunker::new(AVERAGE_BYTES);
        let mut frames = Vec::new();
        let mut pack = blake3::Hasher::new();
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(chunker.longest_bytes())];
            let (chunk, rest) = bytes.split_at(chunker.cut(&self.gear, window));
            bytes = rest;
            let id = blake3::keyed_hash(&[3; 32], chunk);
            let compressed = codec::compress(Compression::Level(3), chunk, TAG_BYTES).unwrap();
            let is_raw = compressed.is_none();
            let mut sealed = compressed.unwrap_or_else(|| {
                let mut raw = Vec::with_capacity(chunk.len() + TAG_BYTES);
                raw.extend_from_slice(chunk);
                raw
            });
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).unwrap();
            pack.update(&sealed);
            frames.push(Frame { sealed, plain_bytes: chunk.len(), is_raw, id });
        }
        divan::black_box(pack.finalize());
        frames
    }

    /// Opens, decodes and verifies.
    pub(super) fn restore(&self, frames: &[Frame]) {
        for frame in frames {
            let mut opened = frame.sealed.clone();
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let payload = self.key.open_in_place(nonce, Aad::empty(), &mut opened).unwrap();
            let id = if frame.is_raw {
                blake3::keyed_hash(&[3; 32], payload)
            } else {
                let plain = codec::decompress(payload, frame.plain_bytes).unwrap();
                blake3::keyed_hash(&[3; 32], &plain)
            };
            assert!(id == frame.id);
        }
    }
}
