//! From what someone grants a backup to the options of its writer.

use super::context::Context;
use super::failure::Failure;
use crate::memory::{LEAST_BYTES, Share};
use crate::repo::codec::Compression;
use crate::repo::writer::WriterOptions;
use crate::store;
use crate::units::{Bytes, MIB, parse_bytes};

/// The default across a network: three packs of 32 MiB are on their way while the next one fills.
const REMOTE_BUFFERS_BYTES: usize = 128 * MIB;
/// Over SSH packs are smaller, so that twice as many are on their way in that memory: a request costs no
/// money there, and while one file is synced and named others use the line.
const SSH_PACK_BYTES: usize = 16 * MIB;

/// Understands `256MiB`.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text) {
        None => Err("this is not a size; write one such as 256MiB".to_owned()),
        Some(bytes) if bytes < LEAST_BYTES => Err(format!(
            "a backup needs at least {}MiB; write a size such as 256MiB",
            LEAST_BYTES >> 20
        )),
        Some(bytes) => Ok(bytes),
    }
}

/// Options of the writer for the repository at `url`, and surroundings with as many threads as the memory is
/// enough for.
pub(super) fn fit(
    compression: Compression,
    memory_bytes: Option<u64>,
    url: &str,
    context: &Context,
) -> Result<(WriterOptions, Context), Failure> {
    let mut options = WriterOptions { compression, ..WriterOptions::default() };
    if store::is_over_ssh(url) {
        options.pack_bytes = SSH_PACK_BYTES;
    }
    if store::is_remote(url) {
        options.memory_bytes = REMOTE_BUFFERS_BYTES;
    }
    let Some(memory_bytes) = memory_bytes else {
        return Ok((options, context.clone()));
    };
    let level = match compression {
        Compression::Off => None,
        Compression::Level(level) => Some(level),
    };
    let share = Share::of(memory_bytes, level, context.world().cpu.parallelism());
    let share = share.map_err(|least| {
        Failure::usage(format!(
            "{} of memory is too little for this level of compression: grant at least {}MiB, or compress \
             less",
            Bytes(memory_bytes),
            least.div_ceil(1 << 20)
        ))
    })?;
    options.memory_bytes = share.buffers_bytes;
    Ok((options, context.with_threads(share.threads)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_understood_or_explained() {
        assert_eq!(memory("256MiB"), Ok(256 << 20));
        for text in ["64", "64MiB", "x", ""] {
            assert!(memory(text).is_err(), "{text}");
        }
    }
}
