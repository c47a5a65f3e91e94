//! Reading: from a reference to verified bytes. Every seal and every chunk id is checked before a
//! byte is handed out.

use std::sync::{Arc, PoisonError};

use futures::TryStreamExt as _;

use crate::class::Class;
use crate::repo::codec;
use crate::repo::envelope::{self, Shut};
use crate::repo::error::Error;
use crate::repo::id::PackId;
use crate::repo::layout;
use crate::repo::open::Repository;
use crate::repo::pack::{HEADER_LIMIT_BYTES, Header, PackKind, frame_aad};
use crate::repo::reference::{ChunkRef, Place, SEAL_BYTES};
use crate::repo::seal::{Sealer, numbered_nonce};
use crate::repo::secret::{Secret, commitment, data_pack_key};
use crate::repo::tree::inner::Inner;
use crate::repo::tree::leaf::{self, StoredEntry};
use crate::repo::wire::Malformed;
use crate::units::to_usize;

/// What opens frames of one pack.
#[derive(Clone, Debug)]
pub struct PackOpener {
    repository: Repository,
    sealer: Arc<Sealer>,
}

impl PackOpener {
    /// Opens, decodes and returns a frame's plaintext. Keeps a core busy: call it on the CPU pool.
    pub fn open(&self, place: &Place, stored: &[u8]) -> Result<Vec<u8>, Error> {
        let damaged = |what: &str| {
            Error::damaged(
                layout::pack(place.pack),
                format!("{what} (frame at byte {})", place.offset_bytes),
            )
        };
        let aad = frame_aad(self.repository.id(), place);
        let nonce = numbered_nonce(place.offset_bytes);
        let payload =
            self.sealer.open_copy(nonce, &aad, stored).map_err(|_| damaged("a seal is broken"))?;
        if place.stored_bytes == place.plain_bytes + SEAL_BYTES {
            return Ok(payload);
        }
        codec::decompress(&payload, to_usize(place.plain_bytes.into()))
            .ok_or_else(|| damaged("a frame does not decompress"))
    }
}

/// A chunk's bytes inside its frame, checked against its id.
pub fn verified_chunk<'a>(
    repository: &Repository,
    reference: &ChunkRef,
    frame: &'a [u8],
) -> Result<&'a [u8], Error> {
    let place = reference.frame.place();
    let place = place.ok_or_else(|| Error::Bug("reading a frame without a place".into()))?;
    let damaged = |what: &str| {
        Error::damaged(
            layout::pack(place.pack),
            format!("{what} (chunk {} of the frame at byte {})", reference.id, place.offset_bytes),
        )
    };
    let start = to_usize(reference.offset_bytes.into());
    let chunk = frame.get(start..start + to_usize(reference.length_bytes.into()));
    let chunk = chunk.ok_or_else(|| damaged("a frame is too short"))?;
    let keys = repository.secrets().get(place.pack.secret());
    let keys = keys.ok_or_else(|| damaged("needs a secret that this key does not have"))?;
    if keys.chunk_id(chunk) == reference.id {
        Ok(chunk)
    } else {
        Err(damaged("a chunk is not what it was"))
    }
}

impl Repository {
    /// The opener of a metadata pack's frames.
    pub fn metadata_opener(&self, pack: PackId) -> Result<PackOpener, Error> {
        let keys = self.secrets().get(pack.secret()).ok_or_else(|| {
            Error::Denied(format!(
                "{} needs secret {}, which this key does not have: the agent key was rotated since",
                layout::pack(pack),
                pack.secret()
            ))
        })?;
        let key = keys.pack_key("metadata", self.id(), pack);
        Ok(PackOpener { repository: self.clone(), sealer: Arc::new(Sealer::new(&key)) })
    }

    /// The opener of a data pack's frames. Costs one GET per session of which nothing was read yet.
    pub async fn data_opener(&self, pack: PackId) -> Result<PackOpener, Error> {
        let secret = self.session_secret(pack).await?;
        let key = data_pack_key(&secret, self.id(), pack);
        Ok(PackOpener { repository: self.clone(), sealer: Arc::new(Sealer::new(&key)) })
    }

    /// The front of a pack. Costs one GET.
    pub async fn pack_header(&self, pack: PackId) -> Result<Header, Error> {
        let key = layout::pack(pack);
        let bytes = match self.store().get_range(&key, 0..HEADER_LIMIT_BYTES).await {
            // A pack smaller than the longest header is read whole.
            Err(crate::store::Error::Length { .. }) => {
                self.store().get(&key, HEADER_LIMIT_BYTES).await?
            }
            other => other?,
        };
        Header::parse(self.id(), pack, &bytes)
    }

    async fn session_secret(&self, pack: PackId) -> Result<Secret, Error> {
        if !self.reads_content() {
            return Err(Error::AgentKey);
        }
        let known = |this: &Self| {
            let secrets = this.session_secrets().lock().unwrap_or_else(PoisonError::into_inner);
            secrets.get(&pack.session()).cloned()
        };
        if let Some(secret) = known(self) {
            return Ok(secret);
        }
        let secret = match self.read_session_secret(pack).await {
            Err(error) if error.class() == Class::Damaged => {
                self.session_secret_elsewhere(pack, error).await?
            }
            other => other?,
        };
        let mut secrets = self.session_secrets().lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(pack.session(), secret.clone());
        Ok(secret)
    }

    async fn read_session_secret(&self, pack: PackId) -> Result<Secret, Error> {
        let header = self.pack_header(pack).await?;
        self.open_session_secret(pack, &header)
    }

    /// All data packs of a session carry its secret: where one header is damaged, another one helps.
    async fn session_secret_elsewhere(&self, pack: PackId, error: Error) -> Result<Secret, Error> {
        let prefix = layout::packs_of(pack.session());
        let others: Vec<_> = self.store().list(&prefix).try_collect().await?;
        for other in others.iter().filter_map(|object| layout::parse_pack(&object.key)) {
            if other != pack
                && let Ok(secret) = self.read_session_secret(other).await
            {
                tracing::warn!(%error, "using the session secret of another pack");
                return Ok(secret);
            }
        }
        Err(error)
    }

    /// Opens the session secret in a data pack's header and checks it against the commitment.
    pub fn open_session_secret(&self, pack: PackId, header: &Header) -> Result<Secret, Error> {
        let damaged = |what: &str| Error::damaged(layout::pack(pack), what);
        if header.kind != PackKind::Data {
            return Err(damaged("is a metadata pack where a data pack should be"));
        }
        let plain = envelope::open_with(self.identities(), &header.sealed_secret);
        let plain = plain.map_err(|shut| match shut {
            Shut::NotForUs => damaged("its session secret is sealed to someone else"),
            Shut::Damaged(reason) => damaged(&format!("its session secret: {reason}")),
        })?;
        let secret: [u8; 32] =
            plain.as_slice().try_into().map_err(|_| damaged("its session secret is too short"))?;
        let secret = Secret(secret);
        if commitment(&data_pack_key(&secret, self.id(), pack)) != header.commitment {
            return Err(damaged("its key is not the one that it was written with"));
        }
        Ok(secret)
    }

    /// The bytes of a metadata chunk, checked, as `read` makes something of them.
    pub async fn node<T>(
        &self,
        reference: &ChunkRef,
        read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let place = reference.frame.place();
        let place = place.ok_or_else(|| Error::Bug("reading a node without a place".into()))?;
        let frame = self.metadata_frame(place).await?;
        let node = verified_chunk(self, reference, &frame)?;
        read(node).map_err(|Malformed(reason)| {
            Error::damaged(layout::pack(place.pack), format!("node {} has {reason}", reference.id))
        })
    }

    /// A leaf.
    pub async fn leaf(&self, reference: &ChunkRef) -> Result<Vec<StoredEntry>, Error> {
        self.node(reference, leaf::decode).await
    }

    /// An inner node, which must be of `level` if that is known.
    pub async fn inner(&self, reference: &ChunkRef, level: Option<u8>) -> Result<Inner, Error> {
        let read = |node: &[u8]| {
            let inner = Inner::decode(node)?;
            if level.is_some_and(|level| level != inner.level) {
                return Err(Malformed("a level that its parent denies"));
            }
            Ok(inner)
        };
        self.node(reference, read).await
    }
}
