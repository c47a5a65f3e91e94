//! Packs: many frames in one object, since a PUT is billed alike for 1 byte and 32 MiB.
//!
//! In order: header, frames, sealed directory, trailer. Directory and trailer are last because a
//! streaming writer learns offsets late. A stored pack never changes. FORMAT.md §6.

use bytes::Bytes;

use crate::repo::error::Error;
use crate::repo::id::{ChunkId, PackId, RepositoryId};
use crate::repo::layout;
use crate::repo::reference::{FRAME_LIMIT_BYTES, Place, SEAL_BYTES};
use crate::repo::seal::{MAGIC, NO_NONCE, Sealer, VERSION, numbered_nonce};
use crate::repo::secret::{Keys, commitment};
use crate::repo::wire::{Cursor, Malformed, Read, put_length, put_var};
use crate::store::Key;
use crate::units::{to_u64, to_usize};

/// No header is longer, so one GET of this length has it.
pub const HEADER_LIMIT_BYTES: u64 = 4096;
/// Every trailer's length.
pub const TRAILER_BYTES: usize = 64;
const FIXED_HEADER_BYTES: usize = 86;
/// Where the hash stands in a trailer: it covers everything before.
pub const TRAILER_HASH_AT: usize = 24;
/// The least that a chunk takes in a directory.
const CHUNK_BYTES: usize = 25;
const TRAILER_MAGIC: &[u8; 8] = b"YATSKCAB";

/// What a pack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackKind {
    /// File content, readable with a recovery key.
    Data = 1,
    /// Tree nodes, readable with an agent key too.
    Metadata = 2,
}

/// One frame in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFrame {
    /// Where it is.
    pub place: Place,
    /// Its chunks in order, with their lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// The front of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it holds.
    pub kind: PackKind,
    /// What the frame key must hash to.
    pub commitment: [u8; 32],
    /// The session's secret as an age file; empty in a metadata pack.
    pub sealed_secret: Vec<u8>,
    /// Where frames start.
    pub length_bytes: u16,
}

/// The end of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the directory starts.
    pub directory_offset_bytes: u32,
    /// Its length, seal included.
    pub directory_bytes: u32,
    /// Length of the whole object.
    pub pack_bytes: u64,
    /// BLAKE3 of everything before it.
    pub hash: [u8; 32],
}

/// Binds what is sealed to its place: repository ‖ pack ‖ what follows.
pub fn frame_aad(repository: RepositoryId, place: &Place) -> [u8; 48] {
    let mut aad = [0; 48];
    aad[..16].copy_from_slice(&repository.0);
    aad[16..40].copy_from_slice(&place.pack.0);
    aad[40..44].copy_from_slice(&place.offset_bytes.to_le_bytes());
    aad[44..].copy_from_slice(&place.plain_bytes.to_le_bytes());
    aad
}

fn directory_aad(repository: RepositoryId, pack: PackId) -> [u8; 40] {
    let mut aad = [0; 40];
    aad[..16].copy_from_slice(&repository.0);
    aad[16..].copy_from_slice(&pack.0);
    aad
}

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    kind: PackKind,
    repository: RepositoryId,
    id: PackId,
    sealer: Sealer,
    parts: Vec<Bytes>,
    length_bytes: u32,
    frames: Vec<DirectoryFrame>,
    chunk_count: usize,
}

/// A pack that is complete and waits to be stored.
#[derive(Debug)]
pub struct FinishedPack {
    /// Its id.
    pub id: PackId,
    /// Its name.
    pub key: Key,
    /// What it holds.
    pub kind: PackKind,
    /// Its bytes.
    pub parts: Vec<Bytes>,
    /// Its end, for the index.
    pub trailer: Trailer,
    /// BLAKE3 of the whole object.
    pub hash: [u8; 32],
    /// Its directory.
    pub frames: Vec<DirectoryFrame>,
}

impl PackBuilder {
    /// Starts a pack with its header.
    pub fn new(
        kind: PackKind,
        repository: RepositoryId,
        id: PackId,
        frame_key: &[u8; 32],
        sealed_secret: &[u8],
    ) -> Result<Self, Error> {
        let length = (FIXED_HEADER_BYTES + sealed_secret.len()).next_multiple_of(16);
        let too_long = |_| Error::Bug("the sealed session secret is too long".into());
        let length_bytes = u16::try_from(length).map_err(too_long)?;
        let secret_bytes = u16::try_from(sealed_secret.len()).map_err(too_long)?;
        let mut header = Vec::with_capacity(length);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&[kind as u8, VERSION]);
        header.extend_from_slice(&length_bytes.to_le_bytes());
        header.extend_from_slice(&repository.0);
        header.extend_from_slice(&id.0);
        header.extend_from_slice(&commitment(frame_key));
        header.extend_from_slice(&secret_bytes.to_le_bytes());
        header.extend_from_slice(sealed_secret);
        header.resize(length, 0);
        Ok(Self {
            kind,
            repository,
            id,
            sealer: Sealer::new(frame_key),
            parts: vec![header.into()],
            length_bytes: u32::from(length_bytes),
            frames: Vec::new(),
            chunk_count: 0,
        })
    }

    /// Bytes so far.
    pub fn length_bytes(&self) -> u32 {
        self.length_bytes
    }

    /// Chunks so far.
    pub fn chunk_count(&self) -> usize {
        self.chunk_count
    }

    /// What was appended last, as it is stored. Costs nothing to clone.
    pub fn last_part(&self) -> Option<&Bytes> {
        self.parts.last()
    }

    /// Whether `more_bytes` would not fit under the limit of 4 GiB.
    pub fn is_full_for(&self, more_bytes: usize) -> bool {
        // A directory entry takes 30 bytes at most; a gibibyte of room is far more than it needs.
        to_usize(u64::from(self.length_bytes)) + more_bytes > 3 << 30
    }

    /// Seals a payload (raw chunks, or one zstd frame of them) and appends it.
    pub fn add(
        &mut self,
        mut payload: Vec<u8>,
        plain_bytes: u32,
        chunks: Vec<(ChunkId, u32)>,
    ) -> Result<Place, Error> {
        let bug = |what: &str| Error::Bug(format!("pack {}: {what}", self.id));
        let total: u64 = chunks.iter().map(|(_, length)| u64::from(*length)).sum();
        if chunks.is_empty() || total != u64::from(plain_bytes) || plain_bytes > FRAME_LIMIT_BYTES {
            return Err(bug("chunks and frame differ in length"));
        }
        let stored_bytes = u32::try_from(payload.len())
            .ok()
            .and_then(|length| length.checked_add(SEAL_BYTES))
            .ok_or_else(|| bug("a frame is too long"))?;
        let end = self.length_bytes.checked_add(stored_bytes);
        let end = end.ok_or_else(|| bug("is above 4 GiB"))?;
        let place =
            Place { pack: self.id, offset_bytes: self.length_bytes, stored_bytes, plain_bytes };
        let aad = frame_aad(self.repository, &place);
        self.sealer.seal(numbered_nonce(place.offset_bytes), &aad, &mut payload);
        self.length_bytes = end;
        self.parts.push(payload.into());
        self.chunk_count += chunks.len();
        self.frames.push(DirectoryFrame { place, chunks });
        Ok(place)
    }

    /// Appends directory and trailer. Hashes the whole pack: 5 ms for 32 MiB.
    pub fn finish(self, keys: &Keys) -> Result<FinishedPack, Error> {
        let first_offset_bytes = self.parts.first().map_or(0, Bytes::len);
        let mut directory = encode_directory(first_offset_bytes, &self.frames);
        let key = keys.pack_key("directory", self.repository, self.id);
        Sealer::new(&key).seal(NO_NONCE, &directory_aad(self.repository, self.id), &mut directory);
        let directory_bytes = u32::try_from(directory.len())
            .map_err(|_| Error::Bug(format!("pack {}: directory too long", self.id)))?;
        let mut parts = self.parts;
        parts.push(directory.into());
        let mut hasher = blake3::Hasher::new();
        for part in &parts {
            hasher.update(part);
        }
        let before = u64::from(self.length_bytes) + u64::from(directory_bytes);
        let trailer = Trailer {
            directory_offset_bytes: self.length_bytes,
            directory_bytes,
            pack_bytes: before + to_u64(TRAILER_BYTES),
            hash: [0; 32],
        };
        let numbers = trailer.encode();
        hasher.update(&numbers[..TRAILER_HASH_AT]);
        let trailer = Trailer { hash: hasher.finalize().into(), ..trailer };
        let end = trailer.encode();
        hasher.update(&end[TRAILER_HASH_AT..]);
        parts.push(Bytes::copy_from_slice(&end));
        Ok(FinishedPack {
            id: self.id,
            key: layout::pack(self.id),
            kind: self.kind,
            parts,
            trailer,
            hash: hasher.finalize().into(),
            frames: self.frames,
        })
    }
}

fn encode_directory(first_offset_bytes: usize, frames: &[DirectoryFrame]) -> Vec<u8> {
    let mut out = Vec::new();
    put_length(&mut out, first_offset_bytes);
    put_length(&mut out, frames.len());
    for frame in frames {
        put_var(&mut out, u64::from(frame.place.stored_bytes));
        put_var(&mut out, u64::from(frame.place.plain_bytes));
        put_length(&mut out, frame.chunks.len());
        for (id, length) in &frame.chunks {
            put_var(&mut out, u64::from(*length));
            out.extend_from_slice(&id.0);
        }
    }
    out
}

fn decode_directory(plain: &[u8], pack: PackId, end: u32) -> Read<Vec<DirectoryFrame>> {
    let mut cursor = Cursor::new(plain);
    let mut offset_bytes = cursor.var_u32()?;
    let header_bytes = FIXED_HEADER_BYTES as u64..=HEADER_LIMIT_BYTES;
    if !header_bytes.contains(&u64::from(offset_bytes)) {
        return Err(Malformed("its header's length is wrong"));
    }
    let count = cursor.count(3 + CHUNK_BYTES)?;
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let stored_bytes = cursor.var_u32()?;
        let plain_bytes = cursor.var_u32()?;
        let chunk_count = cursor.count(CHUNK_BYTES)?;
        if chunk_count == 0 {
            return Err(Malformed("a frame without chunks"));
        }
        let mut chunks = Vec::with_capacity(chunk_count);
        let mut total = 0u64;
        for _ in 0..chunk_count {
            let length = cursor.var_u32()?;
            total += u64::from(length);
            chunks.push((ChunkId(cursor.array()?), length));
        }
        if total != u64::from(plain_bytes) {
            return Err(Malformed("chunks and frame differ in length"));
        }
        let next = offset_bytes.checked_add(stored_bytes).filter(|next| *next <= end);
        let place = Place { pack, offset_bytes, stored_bytes, plain_bytes }.check()?;
        offset_bytes = next.ok_or(Malformed("frames reach beyond the directory"))?;
        frames.push(DirectoryFrame { place, chunks });
    }
    cursor.end()?;
    Ok(frames)
}

impl Header {
    /// Reads the front of a pack, of which `bytes` are the first 4096 or all.
    pub fn parse(repository: RepositoryId, id: PackId, bytes: &[u8]) -> Result<Self, Error> {
        let read = || {
            let mut cursor = Cursor::new(bytes);
            let magic: [u8; 8] = cursor.array()?;
            let [kind, version] = cursor.array()?;
            let length_bytes = cursor.u16()?;
            let owner: [u8; 16] = cursor.array()?;
            let name: [u8; 24] = cursor.array()?;
            let commitment = cursor.array()?;
            let secret_bytes = usize::from(cursor.u16()?);
            let sealed_secret = cursor.take(secret_bytes)?.to_vec();
            if &magic != MAGIC || version != VERSION {
                return Err(Malformed("does not start like a pack"));
            }
            if owner != repository.0 || name != id.0 {
                return Err(Malformed("is not the pack that its name says"));
            }
            let kind = match kind {
                1 => PackKind::Data,
                2 => PackKind::Metadata,
                _ => return Err(Malformed("is of an unknown kind")),
            };
            let length = u64::from(length_bytes);
            if length > HEADER_LIMIT_BYTES
                || usize::from(length_bytes) < FIXED_HEADER_BYTES + secret_bytes
            {
                return Err(Malformed("its header's length is wrong"));
            }
            if (kind == PackKind::Metadata) != sealed_secret.is_empty() {
                return Err(Malformed("only data packs have a session secret, and all of them do"));
            }
            let padding = usize::from(length_bytes) - FIXED_HEADER_BYTES - secret_bytes;
            if cursor.take(padding)?.iter().any(|byte| *byte != 0) {
                return Err(Malformed("its header does not end in zeros"));
            }
            Ok(Self { kind, commitment, sealed_secret, length_bytes })
        };
        read().map_err(|Malformed(reason)| Error::damaged(layout::pack(id), reason))
    }
}

impl Trailer {
    fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&self.directory_offset_bytes.to_le_bytes());
        out[4..8].copy_from_slice(&self.directory_bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.pack_bytes.to_le_bytes());
        out[TRAILER_HASH_AT..56].copy_from_slice(&self.hash);
        out[56..].copy_from_slice(TRAILER_MAGIC);
        out
    }

    /// Whether the hash is that of the whole pack that this trailer ends.
    pub fn is_intact(&self, pack: &[u8]) -> bool {
        let end = pack.len().saturating_sub(TRAILER_BYTES - TRAILER_HASH_AT);
        let hash = blake3::hash(pack.get(..end).unwrap_or_default());
        hash == blake3::Hash::from_bytes(self.hash)
    }

    /// Reads the last bytes of a pack whose length is `pack_bytes`.
    pub fn parse(id: PackId, tail: &[u8], pack_bytes: u64) -> Result<Self, Error> {
        let read = || {
            let at = tail.len().checked_sub(TRAILER_BYTES).ok_or(Malformed("has no trailer"))?;
            let mut cursor = Cursor::new(tail.get(at..).unwrap_or_default());
            let zeros: [u8; 8];
            let trailer = Self {
                directory_offset_bytes: cursor.u32()?,
                directory_bytes: cursor.u32()?,
                pack_bytes: cursor.u64()?,
                hash: {
                    zeros = cursor.array()?;
                    cursor.array()?
                },
            };
            let magic: [u8; 8] = cursor.array()?;
            if zeros != [0; 8] || &magic != TRAILER_MAGIC || trailer.pack_bytes != pack_bytes {
                return Err(Malformed("does not end like a pack: it was cut off or overwritten"));
            }
            let directory_end =
                u64::from(trailer.directory_offset_bytes) + u64::from(trailer.directory_bytes);
            if directory_end + to_u64(TRAILER_BYTES) != pack_bytes {
                return Err(Malformed("its directory is not where it should be"));
            }
            Ok(trailer)
        };
        read().map_err(|Malformed(reason)| Error::damaged(layout::pack(id), reason))
    }
}

/// Opens the sealed directory that starts at `offset_bytes` of the pack.
pub fn open_directory(
    keys: &Keys,
    repository: RepositoryId,
    id: PackId,
    sealed: &[u8],
    offset_bytes: u32,
) -> Result<Vec<DirectoryFrame>, Error> {
    let damaged = |reason: &str| Error::damaged(layout::pack(id), reason);
    let key = keys.pack_key("directory", repository, id);
    let mut sealed = sealed.to_vec();
    let plain = Sealer::new(&key)
        .open(NO_NONCE, &directory_aad(repository, id), &mut sealed)
        .map_err(|_| damaged("its directory's seal is broken"))?;
    decode_directory(plain, id, offset_bytes).map_err(|e| damaged(e.0))
}
