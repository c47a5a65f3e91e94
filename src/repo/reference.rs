//! References from trees and snapshots to chunks: where a chunk lies, to the byte, so that a reader
//! needs one ranged GET and no index. FORMAT.md §7.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::SetOnce;

use crate::repo::id::{ChunkId, PackId};
use crate::repo::wire::{Cursor, Malformed, Read, put_length, put_var};

/// Longest chunk, frame and node. FORMAT.md §14.
pub const FRAME_LIMIT_BYTES: u32 = 16 * 1024 * 1024;
/// The least that a reference in a node takes.
pub const REFERENCE_BYTES: usize = 27;
/// What a seal adds to a frame.
pub const SEAL_BYTES: u32 = 16;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The pack.
    pub pack: PackId,
    /// Where the frame starts in it.
    pub offset_bytes: u32,
    /// Its length in the pack, seal included.
    pub stored_bytes: u32,
    /// Length of its plaintext.
    pub plain_bytes: u32,
}

impl Place {
    /// The first byte after the frame.
    pub fn end_bytes(&self) -> u64 {
        u64::from(self.offset_bytes) + u64::from(self.stored_bytes)
    }

    /// Itself, if a frame can lie there.
    pub(super) fn check(self) -> Read<Self> {
        if self.plain_bytes > FRAME_LIMIT_BYTES
            || self.stored_bytes > self.plain_bytes + SEAL_BYTES
            || self.stored_bytes < SEAL_BYTES
            || self.end_bytes() > u64::from(u32::MAX)
        {
            return Err(Malformed("a frame beyond the limits"));
        }
        Ok(self)
    }
}

/// A frame that has a place, or will have one once it is compressed and put into a pack.
#[derive(Debug, Default)]
pub struct Frame {
    place: SetOnce<Place>,
}

impl Frame {
    /// A frame that is stored already.
    pub fn stored(place: Place) -> Arc<Self> {
        Arc::new(Self { place: SetOnce::new_with(Some(place)) })
    }

    /// Its place, if it has one yet.
    pub fn place(&self) -> Option<Place> {
        self.place.get().copied()
    }

    /// Waits until it has a place.
    pub async fn wait(&self) -> Place {
        *self.place.wait().await
    }

    /// Gives it a place; only the first one counts.
    pub fn set(&self, place: Place) {
        // A second call would be the same frame placed twice, which the pack writer never does.
        drop(self.place.set(place));
    }
}

/// A reference to a chunk.
#[derive(Clone, Debug)]
pub struct ChunkRef {
    /// The frame that it lies in.
    pub frame: Arc<Frame>,
    /// Where it starts in the frame's plaintext.
    pub offset_bytes: u32,
    /// Its length.
    pub length_bytes: u32,
    /// What its content hashes to.
    pub id: ChunkId,
}

/// Collects the frames that a node refers to while its body is written.
#[derive(Debug, Default)]
pub struct FrameTable {
    packs: Vec<PackId>,
    pack_numbers: HashMap<PackId, usize>,
    frames: Vec<u8>,
    frame_numbers: HashMap<Place, usize>,
}

impl FrameTable {
    /// Appends a reference to a body. False if its frame has no place yet, which is a bug of the
    /// caller.
    #[must_use]
    pub fn put(&mut self, body: &mut Vec<u8>, reference: &ChunkRef) -> bool {
        let Some(place) = reference.frame.place() else {
            return false;
        };
        let number = self.frame(place);
        put_length(body, number);
        put_var(body, u64::from(reference.offset_bytes));
        put_var(body, u64::from(reference.length_bytes));
        body.extend_from_slice(&reference.id.0);
        true
    }

    fn frame(&mut self, place: Place) -> usize {
        if let Some(number) = self.frame_numbers.get(&place) {
            return *number;
        }
        let pack = *self.pack_numbers.entry(place.pack).or_insert_with(|| {
            self.packs.push(place.pack);
            self.packs.len() - 1
        });
        put_length(&mut self.frames, pack);
        put_var(&mut self.frames, u64::from(place.offset_bytes));
        put_var(&mut self.frames, u64::from(place.stored_bytes));
        put_var(&mut self.frames, u64::from(place.plain_bytes));
        let number = self.frame_numbers.len();
        self.frame_numbers.insert(place, number);
        number
    }

    /// The whole node: kind, table, body.
    pub fn node(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let packs = self.packs.len() * 24;
        let mut node = Vec::with_capacity(16 + packs + self.frames.len() + body.len());
        node.push(kind);
        put_length(&mut node, self.packs.len());
        for pack in &self.packs {
            node.extend_from_slice(&pack.0);
        }
        put_length(&mut node, self.frame_numbers.len());
        node.extend_from_slice(&self.frames);
        node.extend_from_slice(body);
        node
    }
}

/// The frames of a node that is being read.
#[derive(Debug)]
pub struct Frames(Vec<Arc<Frame>>);

impl Frames {
    /// Reads a node's kind, which must be `kind`, and its frame table.
    pub fn read(cursor: &mut Cursor<'_>, kind: u8) -> Read<Self> {
        if cursor.u8()? != kind {
            return Err(Malformed("a node of another kind"));
        }
        // Each pack has a frame, and each frame a reference: that bounds what a small node can make us
        // allocate.
        let packs = cursor.count(24 + 4)?;
        let packs: Vec<PackId> =
            (0..packs).map(|_| Ok(PackId(cursor.array()?))).collect::<Read<_>>()?;
        let frames = cursor.count(4 + REFERENCE_BYTES)?;
        let frame = |cursor: &mut Cursor<'_>| {
            let pack = usize::try_from(cursor.var()?).ok().and_then(|n| packs.get(n));
            let place = Place {
                pack: *pack.ok_or(Malformed("a frame of a pack that is not listed"))?,
                offset_bytes: cursor.var_u32()?,
                stored_bytes: cursor.var_u32()?,
                plain_bytes: cursor.var_u32()?,
            };
            Ok(Frame::stored(place.check()?))
        };
        (0..frames).map(|_| frame(cursor)).collect::<Read<_>>().map(Self)
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a reference.
    pub fn reference(&self, cursor: &mut Cursor<'_>) -> Read<ChunkRef> {
        let frame = usize::try_from(cursor.var()?).ok().and_then(|n| self.0.get(n));
        let frame = frame.ok_or(Malformed("a reference to a frame that is not listed"))?;
        let reference = ChunkRef {
            frame: Arc::clone(frame),
            offset_bytes: cursor.var_u32()?,
            length_bytes: cursor.var_u32()?,
            id: ChunkId(cursor.array()?),
        };
        reference.check()
    }
}

impl ChunkRef {
    fn check(self) -> Read<Self> {
        let end = u64::from(self.offset_bytes) + u64::from(self.length_bytes);
        let plain_bytes = self.frame.place().map_or(0, |place| place.plain_bytes);
        if end > u64::from(plain_bytes) {
            return Err(Malformed("a reference beyond its frame"));
        }
        Ok(self)
    }
}

// In records outside nodes: `[pack, frame offset, stored length, plain length, offset, length, id]`.
impl<C> minicbor::Encode<C> for ChunkRef {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let place = self
            .frame
            .place()
            .ok_or_else(|| minicbor::encode::Error::message("a frame without a place"))?;
        e.array(7)?;
        place.pack.encode(e, context)?;
        e.u32(place.offset_bytes)?.u32(place.stored_bytes)?.u32(place.plain_bytes)?;
        e.u32(self.offset_bytes)?.u32(self.length_bytes)?;
        self.id.encode(e, context)
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ChunkRef {
    fn decode(
        d: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let malformed = |e: Malformed| minicbor::decode::Error::message(e.0);
        if d.array()? != Some(7) {
            return Err(minicbor::decode::Error::message("a reference of wrong length"));
        }
        let place = Place {
            pack: PackId::decode(d, context)?,
            offset_bytes: d.u32()?,
            stored_bytes: d.u32()?,
            plain_bytes: d.u32()?,
        };
        let reference = Self {
            frame: Frame::stored(place.check().map_err(malformed)?),
            offset_bytes: d.u32()?,
            length_bytes: d.u32()?,
            id: ChunkId::decode(d, context)?,
        };
        reference.check().map_err(malformed)
    }
}
