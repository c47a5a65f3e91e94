//! Repository secrets and the keys derived from them. FORMAT.md §3.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::repo::id::{ChunkId, Lane, PackId, RepositoryId};
use crate::repo::wire::put_bytes;

/// 32 bytes that are wiped from memory when dropped and never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The keys of one repository secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    chunk: [u8; 32],
    cut: [u8; 32],
    metadata: [u8; 32],
    names: [u8; 32],
    page: [u8; 32],
    tree: [u8; 32],
    config: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn head<const N: usize>(hash: [u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(hash.split_at(N).0);
    out
}

impl Keys {
    /// Derives all keys of `secret`.
    pub fn derive(secret: &Secret) -> Self {
        let derive =
            |name: &str| blake3::derive_key(&format!("backstay.dev format 1 {name}"), &secret.0);
        Self {
            chunk: derive("chunk id"),
            cut: derive("cut points"),
            metadata: derive("metadata"),
            names: derive("names"),
            page: derive("page hash"),
            tree: derive("tree"),
            config: derive("config"),
        }
    }

    /// The id of a chunk.
    pub fn chunk_id(&self, chunk: &[u8]) -> ChunkId {
        ChunkId(head(blake3::keyed_hash(&self.chunk, chunk).into()))
    }

    /// The short hash by which an unchanged page is recognised in its place.
    pub fn page_hash(&self, page: &[u8]) -> [u8; 8] {
        head(blake3::keyed_hash(&self.page, page).into())
    }

    /// Trailing zero bits of a path's hash, which decide where tree nodes end.
    pub fn path_zeros(&self, path: &[u8]) -> u32 {
        let hash = keyed(&self.tree, &[b"cut", path]);
        u64::from_le_bytes(head(hash)).trailing_zeros()
    }

    /// A hasher for the fingerprint of a leaf.
    pub fn fingerprint(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.tree);
        hasher.update(b"leaf");
        hasher
    }

    /// The lane of a series: one job on one host.
    pub fn lane(&self, job: &str, host: &str) -> Lane {
        let mut name = Vec::with_capacity(job.len() + host.len() + 4);
        put_bytes(&mut name, job.as_bytes());
        put_bytes(&mut name, host.as_bytes());
        Lane(head(keyed(&self.names, &[&name])))
    }

    /// The table that content-defined cutting looks bytes up in: 256 random numbers.
    pub fn gear_table(&self) -> [u64; 256] {
        let mut stream = blake3::Hasher::new_keyed(&self.cut).finalize_xof();
        let mut table = [0; 256];
        for entry in &mut table {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
        table
    }

    /// The key that authenticates a config.
    pub fn config_tag(&self, bytes: &[u8]) -> [u8; 32] {
        keyed(&self.config, &[bytes])
    }

    /// Key of a sealed object or an index table: `purpose` is `object` or `index`.
    pub fn object_key(&self, purpose: &str, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(keyed(&self.metadata, &[purpose.as_bytes(), salt]))
    }

    /// Key of a pack's directory (`directory`) or of a metadata pack's frames (`metadata`).
    pub fn pack_key(
        &self,
        purpose: &str,
        repository: RepositoryId,
        pack: PackId,
    ) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(keyed(&self.metadata, &[purpose.as_bytes(), &repository.0, &pack.0]))
    }
}

/// Key of a data pack's frames, from the secret of the session that wrote it.
pub fn data_pack_key(
    session: &Secret,
    repository: RepositoryId,
    pack: PackId,
) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed(&session.0, &[b"data", &repository.0, &pack.0]))
}

/// What a pack's header says of the frame key, so that a wrong key is told from damage.
pub fn commitment(frame_key: &[u8; 32]) -> [u8; 32] {
    keyed(frame_key, &[b"commitment"])
}

/// All repository secrets, oldest first; the newest is used for writing. Never empty.
#[derive(Clone, Debug)]
pub struct Secrets {
    list: Vec<(Secret, Keys)>,
}

impl Secrets {
    /// `None` unless there are 1 to 256 secrets.
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        if secrets.is_empty() || secrets.len() > 256 {
            return None;
        }
        let list = secrets
            .into_iter()
            .map(|secret| {
                let keys = Keys::derive(&secret);
                (secret, keys)
            })
            .collect();
        Some(Self { list })
    }

    /// Keys of the secret with this number.
    pub fn get(&self, number: u8) -> Option<&Keys> {
        self.list.get(usize::from(number)).map(|(_, keys)| keys)
    }

    /// Number of the newest secret.
    #[expect(clippy::cast_possible_truncation, reason = "at most 256 secrets, checked in new")]
    pub fn newest_number(&self) -> u8 {
        (self.list.len() - 1) as u8
    }

    /// Keys of the newest secret.
    pub fn newest(&self) -> &Keys {
        &self.list[self.list.len() - 1].1
    }

    /// Keys of the oldest secret, which names lanes.
    pub fn oldest(&self) -> &Keys {
        &self.list[0].1
    }

    /// The secrets themselves, for a bundle or an agent key.
    pub fn raw(&self) -> impl Iterator<Item = &Secret> {
        self.list.iter().map(|(secret, _)| secret)
    }
}
