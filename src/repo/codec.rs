//! Compression: one zstd frame per frame of chunks, or none where it does not pay. FORMAT.md §6.
//!
//! What was compressed is decoded and compared before anyone may upload it: a compressor's bug has
//! cost others their data (restic issues 4523 and 4677), and the check costs a fifth of compressing.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use crate::repo::error::Error;
use crate::units::{KIB, MIB};

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Keep everything as it is.
    Off,
    /// A zstd level, −7 to 22.
    Level(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Level(3)
    }
}

/// Samples of this size, one per MiB, tell whether trying the whole is worth it.
const SAMPLE_BYTES: usize = 16 * KIB;
/// A very fast level for samples: 9 GB/s on random bytes.
const SAMPLE_LEVEL: i32 = -5;
/// Scratch larger than this is given back, so that one 16 MiB segment does not cost RSS for good.
const SCRATCH_KEPT_BYTES: usize = 5 * MIB;

#[derive(Default)]
struct Contexts {
    compressor: Option<(i32, Compressor<'static>)>,
    sampler: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    compressed: Vec<u8>,
    decoded: Vec<u8>,
}

thread_local! {
    // Reusing contexts is 1.3 to 2.5 times as fast on small frames.
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Compresses `plain`; `None` where raw bytes are as short. The result has room for a seal's tag.
pub fn compress(
    how: Compression,
    plain: &[u8],
    spare_bytes: usize,
) -> Result<Option<Vec<u8>>, Error> {
    let Compression::Level(level) = how else {
        return Ok(None);
    };
    CONTEXTS.with_borrow_mut(|contexts| {
        let compressed = contexts.compress(level, plain);
        contexts.trim();
        Ok(compressed.map_err(|error| Error::Bug(format!("zstd: {error}")))?.map(|length| {
            let mut out = Vec::with_capacity(length + spare_bytes);
            out.extend_from_slice(contexts.compressed.get(..length).unwrap_or_default());
            out
        }))
    })
}

/// Decodes a zstd frame into exactly `plain_bytes` bytes; `None` if it is not that.
pub fn decompress(stored: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let decompressor = contexts.decompressor().ok()?;
        let plain = decompressor.decompress(stored, plain_bytes).ok()?;
        (plain.len() == plain_bytes).then_some(plain)
    })
}

impl Contexts {
    fn decompressor(&mut self) -> std::io::Result<&mut Decompressor<'static>> {
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new()?);
        }
        self.decompressor.as_mut().ok_or_else(|| std::io::Error::other("no decompressor"))
    }

    fn compress(&mut self, level: i32, plain: &[u8]) -> std::io::Result<Option<usize>> {
        if !self.worthwhile(plain)? {
            return Ok(None);
        }
        let mut compressor = match self.compressor.take() {
            Some((of, compressor)) if of == level => compressor,
            _ => Compressor::new(level)?,
        };
        let bound = zstd::zstd_safe::compress_bound(plain.len());
        self.compressed.clear();
        self.compressed.reserve(bound);
        let written = compressor.compress_to_buffer(plain, &mut self.compressed);
        self.compressor = Some((level, compressor));
        let length = written?;
        if length + length / 64 >= plain.len() {
            return Ok(None);
        }
        self.verify(plain)?;
        Ok(Some(length))
    }

    /// Whether any sample of `plain` shrinks.
    fn worthwhile(&mut self, plain: &[u8]) -> std::io::Result<bool> {
        if plain.len() < 4 * SAMPLE_BYTES {
            return Ok(true);
        }
        let mut sampler = match self.sampler.take() {
            Some(sampler) => sampler,
            None => Compressor::new(SAMPLE_LEVEL)?,
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(SAMPLE_BYTES));
        let mut worthwhile = false;
        for piece in plain.chunks(MIB / 2) {
            let sample = piece.get(..SAMPLE_BYTES).unwrap_or(piece);
            let length = sampler.compress_to_buffer(sample, &mut self.compressed)?;
            if length + sample.len() / 32 < sample.len() {
                worthwhile = true;
                break;
            }
        }
        self.sampler = Some(sampler);
        Ok(worthwhile)
    }

    fn verify(&mut self, plain: &[u8]) -> std::io::Result<()> {
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        decoded.reserve(plain.len());
        let compressed = std::mem::take(&mut self.compressed);
        let outcome = self
            .decompressor()
            .and_then(|decompressor| decompressor.decompress_to_buffer(&compressed, &mut decoded));
        self.compressed = compressed;
        let same = outcome.is_ok() && decoded == plain;
        self.decoded = decoded;
        if same {
            Ok(())
        } else {
            Err(std::io::Error::other("what was compressed does not decode"))
        }
    }

    fn trim(&mut self) {
        if self.compressed.capacity() > SCRATCH_KEPT_BYTES {
            let length = self.compressed.len();
            self.compressed.shrink_to(length);
        }
        if self.decoded.capacity() > SCRATCH_KEPT_BYTES {
            self.decoded = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Random, SeededRandom};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(text in proptest::collection::vec(0u8..4, 0..70_000)) {
            if let Some(stored) = compress(Compression::Level(3), &text, 16).unwrap() {
                prop_assert!(stored.len() < text.len());
                prop_assert_eq!(decompress(&stored, text.len()), Some(text.clone()));
                prop_assert_eq!(decompress(&stored, text.len() + 1), None);
                prop_assert_eq!(decompress(&stored, text.len() - 1), None);
            }
        }
    }

    #[test]
    fn random_bytes_are_kept_raw() {
        let mut bytes = vec![0; 3 * MIB];
        SeededRandom::new(1).fill(&mut bytes);
        assert_eq!(compress(Compression::Level(3), &bytes, 16).unwrap(), None);
        bytes[MIB..].fill(0);
        assert!(compress(Compression::Level(3), &bytes, 16).unwrap().is_some());
        assert_eq!(compress(Compression::Off, &[0; 1000], 16).unwrap(), None);
    }
}
