//! Valid input for every target, from the library's own encoders, so that mutations get past the
//! first check. Nothing here is drawn: the same seeds come out every time.

mod keys;
mod nodes;
mod objects;
mod sftp;
mod texts;

use std::sync::OnceLock;

use backstay::repo::config::{Bundle, Config};
use backstay::repo::envelope::Identity;
use backstay::repo::id::{ChunkId, PackId, RepositoryId};
use backstay::repo::index::{IndexBuilder, IndexedPack};
use backstay::repo::layout;
use backstay::repo::reference::{ChunkRef, Frame, Place};
use backstay::repo::secret::{Secret, Secrets};
use backstay::store::Key;
use backstay::world::SeededRandom;
use bytes::Bytes;

pub use keys::{agent_key, config, config_object, envelope, key_bundle, key_file, wrapped_key};
pub use nodes::{extents, inner, leaf, list, pages};
pub use objects::{
    abort_record, checkpoint, chunk_reference, index_header, index_page, pack_directory,
    pack_header, pack_trailer, sealed_object, session, snapshot,
};
pub use sftp::sftp_replies;
pub use texts::{
    byte_count, cursor, cutter, decompress, layout, policy, segment_pattern, timeline_marker,
    tree_path,
};

/// The repository that all targets read from.
pub const REPOSITORY: RepositoryId = RepositoryId([3; 16]);
/// The pack that they read from.
pub const PACK: PackId = PackId(*b"session-id--\0\0\0\x05random-\0");
/// The text of the identity that opens what the seeds seal. It protects nothing.
pub const IDENTITY: &str =
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
/// Opens what the seeds wrap.
pub const PASSPHRASE: &str = "correct horse";

/// The secret that all seals are made with.
pub fn secrets() -> &'static Secrets {
    static SECRETS: OnceLock<Secrets> = OnceLock::new();
    SECRETS.get_or_init(|| Secrets::new(vec![Secret([9; 32])]).expect("one secret"))
}

/// The identity of [`IDENTITY`].
pub fn identity() -> Identity {
    Identity::parse(IDENTITY).expect("an identity")
}

/// Where sealed objects say that they are.
pub fn object_name() -> Key {
    layout::checkpoint(7)
}

/// The name of the index table.
pub fn index_name() -> Key {
    layout::index(PACK.session(), 0)
}

/// What stands before a config's record.
pub fn config_front() -> Vec<u8> {
    let record = empty_config();
    let object = record.to_object(REPOSITORY, 0, secrets().newest());
    object[..28].to_vec()
}

fn empty_config() -> Config {
    Config {
        format: 1,
        generation: 0,
        created: 1_700_000_000_000_000_000,
        read_features: Vec::new(),
        write_features: Vec::new(),
        collect_features: Vec::new(),
        envelopes: Vec::new(),
        content_recipients: Vec::new(),
        store_class: None,
        owner_tag: None,
    }
}

fn bundle() -> Bundle {
    Bundle { repository: REPOSITORY, secrets: secrets().clone(), identities: vec![identity()] }
}

/// An index table of two packs.
pub fn table() -> &'static Bytes {
    static TABLE: OnceLock<Bytes> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut builder = IndexBuilder::default();
        for number in 0..2 {
            let pack = IndexedPack {
                id: PackId::new(PACK.session(), number, [1; 7], 0),
                directory_offset_bytes: 4096,
                directory_bytes: 300,
                pack_bytes: 4460,
            };
            let ids: Vec<ChunkId> = (0..20).map(|n| ChunkId([n * 12; 24])).collect();
            builder.add(pack, ids.iter());
        }
        let random = SeededRandom::new(1);
        builder.finish(REPOSITORY, secrets(), &random, &index_name()).expect("a small table")
    })
}

/// A reference to chunk `n` of a frame in pack `pack`.
fn reference(pack: u8, frame: u32, n: u8) -> ChunkRef {
    let place = Place {
        pack: PackId([pack; 24]),
        offset_bytes: 4096 + frame * 70_000,
        stored_bytes: 70_000,
        plain_bytes: 1 << 20,
    };
    ChunkRef {
        frame: Frame::stored(place),
        offset_bytes: u32::from(n) * 1000,
        length_bytes: 900,
        id: ChunkId([n; 24]),
    }
}
