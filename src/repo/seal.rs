//! Sealing and opening: AES-256-GCM, and the form that small objects share. FORMAT.md §1, §4.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;

use crate::repo::error::Error;
use crate::repo::id::RepositoryId;
use crate::repo::secret::Secrets;
use crate::repo::wire::Cursor;
use crate::store::Key;
use crate::world::Random;

/// First bytes of every object.
pub const MAGIC: &[u8; 8] = b"BACKSTAY";
/// Version byte after the kind.
pub const VERSION: u8 = 1;
/// Bytes that a seal adds.
pub const TAG_BYTES: usize = 16;
/// Bytes before the sealed part of an object.
const HEADER_BYTES: usize = 60;

/// A nonce for keys that seal one thing only.
pub const NO_NONCE: [u8; 12] = [0; 12];

/// The nonce that belongs to a number: an offset, or a page.
pub fn numbered_nonce(number: u32) -> [u8; 12] {
    let mut nonce = NO_NONCE;
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// A seal that does not open: damage, or another key.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

/// A key for AES-256-GCM.
#[derive(Debug)]
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// Takes a derived key.
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "32 bytes always fit")]
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Replaces `plaintext` by ciphertext and tag. The caller sees to it that `nonce` is used once
    /// under this key.
    #[expect(clippy::expect_used, reason = "fails only above 64 GiB, and frames end at 16 MiB")]
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], plaintext: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plaintext,
            )
            .expect("sealing less than 64 GiB");
    }

    /// Replaces ciphertext and tag by the plaintext at the front of the slice, and returns it.
    pub fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Broken> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed)
            .map_err(|_| Broken)
    }
}

impl Sealer {
    /// The plaintext, in a buffer of its own.
    pub fn open_copy(&self, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Broken)?;
        let (ciphertext, tag) = sealed.split_at(length);
        let mut plaintext = vec![0; length];
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                ciphertext,
                tag,
                &mut plaintext,
            )
            .map_err(|_| Broken)?;
        Ok(plaintext)
    }
}

/// Kinds of objects that share the form of §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// A writer's announcement.
    Session = 3,
    /// A restore point.
    Snapshot = 4,
    /// A session that will never commit.
    Abort = 5,
    /// A collector's decision.
    Checkpoint = 6,
}

impl Sealed {
    fn parse(kind: u8) -> Option<Self> {
        [Self::Session, Self::Snapshot, Self::Abort, Self::Checkpoint]
            .into_iter()
            .find(|known| *known as u8 == kind)
    }
}

fn aad(header: &[u8], name: &Key) -> Vec<u8> {
    [header, name.as_str().as_bytes()].concat()
}

/// Seals a record into an object that can only be read under its own name.
pub fn seal_object(
    kind: Sealed,
    repository: RepositoryId,
    secrets: &Secrets,
    random: &dyn Random,
    name: &Key,
    record: &[u8],
) -> Bytes {
    let salt: [u8; 32] = random.array();
    let mut object = Vec::with_capacity(HEADER_BYTES + record.len() + TAG_BYTES);
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[kind as u8, VERSION, secrets.newest_number(), 0]);
    object.extend_from_slice(&repository.0);
    object.extend_from_slice(&salt);
    let key = secrets.newest().object_key("object", &salt);
    let mut body = record.to_vec();
    Sealer::new(&key).seal(NO_NONCE, &aad(&object, name), &mut body);
    object.extend_from_slice(&body);
    object.into()
}

/// Opens what [`seal_object`] made; tells which kind it is.
pub fn open_object(
    repository: RepositoryId,
    secrets: &Secrets,
    name: &Key,
    object: &[u8],
) -> Result<(Sealed, Vec<u8>), Error> {
    let damaged = |reason: &str| Error::damaged(name, reason);
    let (header, body) =
        object.split_at_checked(HEADER_BYTES).ok_or_else(|| damaged("shorter than its header"))?;
    let mut cursor = Cursor::new(header);
    let magic: [u8; 8] = cursor.array().map_err(|e| damaged(e.0))?;
    let [kind, version, secret, zero] = cursor.array().map_err(|e| damaged(e.0))?;
    let owner: [u8; 16] = cursor.array().map_err(|e| damaged(e.0))?;
    let salt: [u8; 32] = cursor.array().map_err(|e| damaged(e.0))?;
    if &magic != MAGIC {
        return Err(damaged("does not start like an object of Backstay"));
    }
    if owner != repository.0 {
        return Err(damaged("belongs to another repository"));
    }
    let kind = Sealed::parse(kind).ok_or_else(|| damaged("is of an unknown kind"))?;
    if version != VERSION {
        return Err(damaged("has an unknown version"));
    }
    if zero != 0 {
        return Err(damaged("byte 11 is not 0"));
    }
    let keys = secrets.get(secret).ok_or_else(|| {
        Error::Denied(format!(
            "{name} was sealed with secret {secret}, which this key does not have: \
             the agent key was rotated since"
        ))
    })?;
    let key = keys.object_key("object", &salt);
    let mut body = body.to_vec();
    let length = Sealer::new(&key)
        .open(NO_NONCE, &aad(header, name), &mut body)
        .map_err(|Broken| damaged("its seal is broken"))?
        .len();
    body.truncate(length);
    Ok((kind, body))
}
