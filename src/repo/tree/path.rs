//! Paths in nodes: each shares its first bytes with the one before, so that a node of a deep directory
//! is small. Spelled out they are not, which is why a reader adds up what it spells. FORMAT.md §8, §14.

use crate::entry::TreePath;
use crate::repo::wire::{Cursor, Malformed, Read, put_bytes, put_length};

/// Longest path, and longest target of a link.
pub const PATH_LIMIT_BYTES: usize = 1 << 20;
/// All paths of a node, spelled out.
pub const PATHS_LIMIT_BYTES: usize = 64 << 20;

/// Appends a path that shares its first bytes with the one before.
pub fn put_path(body: &mut Vec<u8>, before: &[u8], path: &[u8]) {
    let shared = before.iter().zip(path).take_while(|(a, b)| a == b).count();
    put_length(body, shared);
    put_bytes(body, path.get(shared..).unwrap_or_default());
}

/// Reads what [`put_path`] wrote, one path after the other.
#[derive(Debug, Default)]
pub struct PathReader {
    before: Vec<u8>,
    spelled_bytes: usize,
}

impl PathReader {
    /// The next path.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<TreePath> {
        let shared = usize::try_from(cursor.var()?).map_err(|_| Malformed("a path too long"))?;
        let suffix = cursor.bytes()?;
        if shared > self.before.len() || shared + suffix.len() > PATH_LIMIT_BYTES {
            return Err(Malformed("a path too long"));
        }
        self.spelled_bytes += shared + suffix.len();
        if self.spelled_bytes > PATHS_LIMIT_BYTES {
            return Err(Malformed("paths too long together"));
        }
        self.before.truncate(shared);
        self.before.extend_from_slice(suffix);
        TreePath::from_bytes(self.before.as_slice())
            .ok_or(Malformed("a path that would leave its source"))
    }
}
