//! What a server says it can do, and what we therefore ask of it.

use bytes::{Buf, Bytes};

/// What every server takes at once.
const COMMON_BYTES: u32 = 32 << 10;
/// More at once gains nothing.
const MOST_BYTES: u32 = 255 << 10;

/// A server's extensions and limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// The version of the protocol that it speaks.
    pub(super) version: u32,
    /// `fsync@openssh.com`: what was written can be made durable.
    pub(super) can_sync: bool,
    /// `hardlink@openssh.com`: a file can be given a second name, which never replaces.
    pub(super) can_link: bool,
    /// `statvfs@openssh.com`: a full disk can be told from other failures.
    pub(super) can_tell_space: bool,
    /// Bytes asked for at once.
    pub(super) read_bytes: u32,
    /// Bytes written at once.
    pub(super) write_bytes: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self::new(super::wire::VERSION, &[])
    }
}

/// Whether a server tells its limits: `limits@openssh.com`.
pub(super) fn has_limits(extensions: &[(Bytes, Bytes)]) -> bool {
    has(extensions, "limits@openssh.com")
}

fn has(extensions: &[(Bytes, Bytes)], name: &str) -> bool {
    extensions.iter().any(|(other, _)| other == name)
}

impl Server {
    pub(super) fn new(version: u32, extensions: &[(Bytes, Bytes)]) -> Self {
        let has = |name| has(extensions, name);
        Self {
            version,
            can_sync: has("fsync@openssh.com"),
            can_link: has("hardlink@openssh.com"),
            can_tell_space: has("statvfs@openssh.com"),
            read_bytes: COMMON_BYTES,
            write_bytes: COMMON_BYTES,
        }
    }

    /// Takes four numbers: bytes per packet, per read, per write, and handles; 0 is no limit.
    pub(super) fn set_limits(&mut self, mut limits: Bytes) {
        let mut next = || limits.try_get_u64().ok();
        let (Some(_), Some(read), Some(write)) = (next(), next(), next()) else {
            return;
        };
        self.read_bytes = chosen(read);
        self.write_bytes = chosen(write);
    }
}

/// What is asked for at once under a limit.
fn chosen(limit_bytes: u64) -> u32 {
    match u32::try_from(limit_bytes) {
        Ok(0) => COMMON_BYTES,
        Ok(limit_bytes) => limit_bytes.min(MOST_BYTES),
        Err(_) => MOST_BYTES,
    }
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free_bytes: u64,
    pub(super) is_read_only: bool,
}

impl Space {
    /// Reads the answer to `statvfs@openssh.com`: eleven numbers.
    pub(super) fn parse(mut answer: Bytes) -> Option<Self> {
        let mut numbers = [0; 11];
        for number in &mut numbers {
            *number = answer.try_get_u64().ok()?;
        }
        let [_, block_bytes, _, _, free_blocks, _, _, _, _, flags, _] = numbers;
        let free_bytes = free_blocks.saturating_mul(block_bytes);
        Some(Self { free_bytes, is_read_only: flags & 1 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u64]) -> Bytes {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn takes_what_the_server_takes() {
        let mut server = Server::default();
        assert_eq!((server.read_bytes, server.write_bytes), (32_768, 32_768));
        server.set_limits(numbers(&[262_144, 261_120, 16_384, 1_019]));
        assert_eq!((server.read_bytes, server.write_bytes), (261_120, 16_384));
        server.set_limits(numbers(&[0, 0, u64::MAX, 0]));
        assert_eq!((server.read_bytes, server.write_bytes), (32_768, 261_120));
        server.set_limits(numbers(&[1]));
        assert_eq!(server.write_bytes, 261_120);
    }

    #[test]
    fn knows_a_full_disk() {
        let answer = numbers(&[4_096, 4_096, 100, 10, 2, 9, 9, 9, 1, 1, 255]);
        let space = Space { free_bytes: 8_192, is_read_only: true };
        assert_eq!(Space::parse(answer.clone()), Some(space));
        assert_eq!(Space::parse(answer.slice(..80)), None);
    }
}
