//! One function per parser of stored bytes, for both worlds: `cargo fuzz` calls them through
//! `fuzz_targets/`, and the test suite includes this folder and runs each a few thousand times.
//!
//! A target hands hostile bytes to a parser. It must neither panic nor hang, nor allocate more than
//! its [`Target`] grants. What parses is checked further: it must keep the promises of its type, and
//! be encoded to bytes that parse to the same.

mod index;
mod keys;
mod names;
mod nodes;
mod pack;
mod records;
mod seeds;
mod sftp;
mod values;
mod wire;

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its file in `fuzz_targets/` and of its folder of regressions.
    pub name: &'static str,
    /// Parses, and panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Valid input from the library's own encoders, for mutations to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations in the test suite: fewer where the parser is slow by nature.
    pub mutations: u32,
    /// What a run may allocate at most at any time: so much whatever the input is …
    pub base_bytes: usize,
    /// … so many bytes for each byte of it …
    pub bytes_per_byte: usize,
    /// … and, in nodes, the paths that share their first bytes, spelled out.
    pub spells_paths: bool,
}

impl Target {
    /// What a run on `input_bytes` may allocate at most at any time.
    pub fn grant_bytes(&self, input_bytes: usize) -> usize {
        // FORMAT.md §14 has the limit. Half of the input is a path and each sixteenth byte begins
        // another that shares it, and targets keep two copies to compare them.
        let spelled = (input_bytes * input_bytes / 32).min(64 * MIB);
        let paths = if self.spells_paths { 2 * spelled } else { 0 };
        self.base_bytes + self.bytes_per_byte * input_bytes + paths
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const MANY: u32 = 50_000;

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target {
        name,
        run,
        seeds,
        mutations: MANY,
        base_bytes: 32 * KIB,
        bytes_per_byte: 32,
        spells_paths: false,
    }
}

/// Texts and age files, whose readers keep buffers of their own.
const fn buffered(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { base_bytes: 256 * KIB, ..target(name, run, seeds) }
}

/// Nodes of trees, whose entries share the first bytes of their paths.
const fn node(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { spells_paths: true, mutations: 3 * MANY, ..target(name, run, seeds) }
}

/// All of them.
pub const ALL: &[Target] = &[
    target("cursor", wire::cursor, seeds::cursor),
    node("leaf", nodes::leaf, seeds::leaf),
    node("inner", nodes::inner, seeds::inner),
    target("list", nodes::list, seeds::list),
    target("extents", nodes::extents, seeds::extents),
    Target { mutations: 3 * MANY, ..target("pages", nodes::pages, seeds::pages) },
    target("pack_header", pack::header, seeds::pack_header),
    target("pack_trailer", pack::trailer, seeds::pack_trailer),
    target("pack_directory", pack::directory, seeds::pack_directory),
    target("index_header", index::header, seeds::index_header),
    target("index_page", index::page, seeds::index_page),
    buffered("config", keys::config, seeds::config),
    buffered("config_object", keys::config_object, seeds::config_object),
    target("sealed_object", records::sealed_object, seeds::sealed_object),
    target("snapshot", records::snapshot, seeds::snapshot),
    target("session", records::session, seeds::session),
    target("abort_record", records::abort_record, seeds::abort_record),
    target("checkpoint", records::checkpoint, seeds::checkpoint),
    target("chunk_reference", records::chunk_reference, seeds::chunk_reference),
    buffered("key_bundle", keys::key_bundle, seeds::key_bundle),
    buffered("agent_key", keys::agent_key, seeds::agent_key),
    buffered("key_file", keys::key_file, seeds::key_file),
    Target { mutations: 10_000, ..buffered("envelope", keys::envelope, seeds::envelope) },
    Target {
        mutations: 200,
        // scrypt with the work factor by which the age crate measures the machine: 2^10 KiB.
        base_bytes: 8 * MIB,
        ..target("wrapped_key", keys::wrapped_key, seeds::wrapped_key)
    },
    target("layout", names::layout, seeds::layout),
    target("tree_path", names::tree_path, seeds::tree_path),
    target("timeline_marker", names::timeline_marker, seeds::timeline_marker),
    target("segment_pattern", names::segment_pattern, seeds::segment_pattern),
    target("byte_count", values::byte_count, seeds::byte_count),
    target("cutter", values::cutter, seeds::cutter),
    buffered("policy", values::policy, seeds::policy),
    // A frame's plaintext is claimed before it is there: FORMAT.md §14 has the limit.
    Target { base_bytes: 18 * MIB, ..target("decompress", values::decompress, seeds::decompress) },
    target("sftp_replies", sftp::replies, seeds::sftp_replies),
];

/// The target called `name`.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> &'static Target {
    let found = ALL.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target is called {name}"))
}
