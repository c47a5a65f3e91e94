//! Chunks that this session may refer to: those it stored itself, those of the parent that it came
//! across, those that the index led to. Bounded: what is pushed out costs space, never correctness.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::repo::id::{ChunkId, PackId};
use crate::repo::reference::{ChunkRef, Frame};

/// Chunks in a generation. Two generations are kept: about 100 bytes a chunk, 40 MiB at most.
const GENERATION_CHUNKS: usize = 200_000;

#[derive(Clone, Debug)]
struct Spot {
    frame: Arc<Frame>,
    offset_bytes: u32,
    length_bytes: u32,
}

/// A map that forgets the oldest half when it is full.
#[derive(Debug, Default)]
pub struct Known {
    young: HashMap<ChunkId, Spot>,
    old: HashMap<ChunkId, Spot>,
    distrusted: HashSet<PackId>,
}

impl Known {
    /// Where `id` is, if it is known with this length.
    pub fn get(&self, id: &ChunkId, length_bytes: u32) -> Option<ChunkRef> {
        let spot = self.young.get(id).or_else(|| self.old.get(id))?;
        let pack = spot.frame.place().map(|place| place.pack);
        if pack.is_some_and(|pack| self.distrusted.contains(&pack)) {
            return None;
        }
        (spot.length_bytes == length_bytes).then(|| ChunkRef {
            frame: Arc::clone(&spot.frame),
            offset_bytes: spot.offset_bytes,
            length_bytes,
            id: *id,
        })
    }

    /// Knows nothing in `pack` any more.
    pub fn distrust(&mut self, pack: PackId) {
        self.distrusted.insert(pack);
    }

    /// Remembers a chunk.
    pub fn insert(&mut self, reference: &ChunkRef) {
        if self.young.len() >= GENERATION_CHUNKS {
            self.old = std::mem::take(&mut self.young);
        }
        let spot = Spot {
            frame: Arc::clone(&reference.frame),
            offset_bytes: reference.offset_bytes,
            length_bytes: reference.length_bytes,
        };
        self.young.insert(reference.id, spot);
    }
}
