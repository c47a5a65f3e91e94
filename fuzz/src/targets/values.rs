//! Values: figures that people write, what a file's first bytes say of it, policies, frames.

use std::path::Path;

use backstay::entry::{Cutter, TreePath};
use backstay::policy::Policy;
use backstay::repo::codec;
use backstay::repo::reference::FRAME_LIMIT_BYTES;
use backstay::source::cutter;
use backstay::units::parse_bytes;

/// A byte count.
pub fn byte_count(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(count) = parse_bytes(text)
    {
        assert_eq!(parse_bytes(&count.to_string()), Some(count));
    }
}

/// A file: eight bytes of size, its path up to a newline, its first bytes.
pub fn cutter(bytes: &[u8]) {
    let Some((size_bytes, rest)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (path, head) = rest.split_at(at);
    let Some(path) = TreePath::from_bytes(path) else {
        return;
    };
    let head = head.get(1..).unwrap_or_default();
    match cutter::choose(&path, u64::from_le_bytes(*size_bytes), head) {
        Cutter::Pages { page_bytes } => {
            assert!(page_bytes.is_power_of_two() && (4096..=65_536).contains(&page_bytes));
        }
        Cutter::Content { average_bytes } => assert!(average_bytes.is_power_of_two()),
        Cutter::Whole => {}
    }
}

/// A policy document. What is wrong with one is said in one printable line.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Policy::parse(text, Path::new("/etc/backstay/policy.yaml")) {
        Ok(policy) => {
            assert!(!policy.sources.is_empty() && !policy.name.is_empty());
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.chars().any(char::is_control), "not one printable line: {line:?}");
            assert!(line.len() < 8192, "a line of {} bytes", line.len());
        }
    }
}

/// A compressed frame, after four bytes of the length that it claims to have.
pub fn decompress(bytes: &[u8]) {
    let Some((length, stored)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    // Callers have checked the limit before.
    let length = u32::from_le_bytes(*length) % (FRAME_LIMIT_BYTES + 1);
    let length = usize::try_from(length).expect("24 bits");
    if let Some(plain) = codec::decompress(stored, length) {
        assert_eq!(plain.len(), length);
    }
}
