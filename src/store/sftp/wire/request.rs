//! What is asked, as bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::VERSION;

const OPEN_READ: u32 = 0x01;
const OPEN_WRITE: u32 = 0x02;
const OPEN_CREATE: u32 = 0x08;
const OPEN_TRUNCATE: u32 = 0x10;
const OPEN_EXCLUSIVE: u32 = 0x20;
/// Says that attributes hold permissions and nothing else.
const HAS_PERMISSIONS: u32 = 0x04;

/// A request. Paths are what the server is told, handles what it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Opens a file, or a directory to sync it.
    OpenRead(&'a str),
    /// Creates a file, which must not exist, with these permissions.
    OpenNew(&'a str, u32),
    /// Empties a file that exists, to write it anew.
    OpenOver(&'a str),
    /// Gives a handle back.
    Close(&'a [u8]),
    /// Reads so many bytes at an offset.
    Read(&'a [u8], u64, u32),
    /// Writes so many bytes at an offset; they follow the encoded request.
    Write(&'a [u8], u64, u32),
    /// The attributes of an open file.
    StatHandle(&'a [u8]),
    /// The attributes of a file, symbolic links followed.
    Stat(&'a str),
    /// Opens a directory to list it.
    OpenDirectory(&'a str),
    /// Its next names.
    ReadDirectory(&'a [u8]),
    /// Removes a file.
    Remove(&'a str),
    /// Makes a directory with these permissions.
    MakeDirectory(&'a str, u32),
    /// Gives a file another name, which should not exist.
    Rename(&'a str, &'a str),
    /// The same by a second name: `hardlink@openssh.com`.
    Link(&'a str, &'a str),
    /// Makes what was written durable: `fsync@openssh.com`.
    Sync(&'a [u8]),
    /// What the server takes at once: `limits@openssh.com`.
    Limits,
    /// How full the disk is: `statvfs@openssh.com`.
    Space(&'a str),
}

/// The first packet of a session.
pub fn hello() -> Bytes {
    let mut packet = BytesMut::with_capacity(9);
    packet.put_u32(5);
    packet.put_u8(1);
    packet.put_u32(VERSION);
    packet.freeze()
}

impl Request<'_> {
    /// The packet; of [`Request::Write`] what precedes the bytes to be written.
    pub fn encode(&self, id: u32) -> Bytes {
        let mut packet = BytesMut::with_capacity(64);
        packet.put_u32(0);
        packet.put_u8(self.kind());
        packet.put_u32(id);
        self.put_arguments(&mut packet);
        let follows = if let Self::Write(_, _, length) = self { *length } else { 0 };
        let length = length_of(packet.len() - 4).saturating_add(follows);
        packet[..4].copy_from_slice(&length.to_be_bytes());
        packet.freeze()
    }

    fn kind(&self) -> u8 {
        match self {
            Self::OpenRead(_) | Self::OpenNew(..) | Self::OpenOver(_) => 3,
            Self::Close(_) => 4,
            Self::Read(..) => 5,
            Self::Write(..) => 6,
            Self::StatHandle(_) => 8,
            Self::OpenDirectory(_) => 11,
            Self::ReadDirectory(_) => 12,
            Self::Remove(_) => 13,
            Self::MakeDirectory(..) => 14,
            Self::Stat(_) => 17,
            Self::Rename(..) => 18,
            Self::Link(..) | Self::Sync(_) | Self::Limits | Self::Space(_) => 200,
        }
    }

    fn put_arguments(&self, packet: &mut BytesMut) {
        match *self {
            Self::OpenRead(path) => {
                put_string(packet, path);
                packet.put_u32(OPEN_READ);
                packet.put_u32(0);
            }
            Self::OpenNew(path, mode) => {
                put_string(packet, path);
                packet.put_u32(OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE);
                put_permissions(packet, mode);
            }
            Self::OpenOver(path) => {
                put_string(packet, path);
                packet.put_u32(OPEN_WRITE | OPEN_TRUNCATE);
                packet.put_u32(0);
            }
            Self::Close(handle) | Self::StatHandle(handle) | Self::ReadDirectory(handle) => {
                put_string(packet, handle);
            }
            Self::Read(handle, offset, length) | Self::Write(handle, offset, length) => {
                put_string(packet, handle);
                packet.put_u64(offset);
                packet.put_u32(length);
            }
            Self::Stat(path) | Self::OpenDirectory(path) | Self::Remove(path) => {
                put_string(packet, path);
            }
            Self::MakeDirectory(path, mode) => {
                put_string(packet, path);
                put_permissions(packet, mode);
            }
            Self::Rename(from, to) => {
                put_string(packet, from);
                put_string(packet, to);
            }
            Self::Link(from, to) => {
                put_string(packet, "hardlink@openssh.com");
                put_string(packet, from);
                put_string(packet, to);
            }
            Self::Sync(handle) => {
                put_string(packet, "fsync@openssh.com");
                put_string(packet, handle);
            }
            Self::Limits => put_string(packet, "limits@openssh.com"),
            Self::Space(path) => {
                put_string(packet, "statvfs@openssh.com");
                put_string(packet, path);
            }
        }
    }
}

fn put_string(packet: &mut BytesMut, string: impl AsRef<[u8]>) {
    let string = string.as_ref();
    packet.put_u32(length_of(string.len()));
    packet.put_slice(string);
}

fn put_permissions(packet: &mut BytesMut, mode: u32) {
    packet.put_u32(HAS_PERMISSIONS);
    packet.put_u32(mode);
}

/// Nothing that is sent comes near four gigabytes.
fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_draft_says() {
        assert_eq!(&hello()[..], b"\0\0\0\x05\x01\0\0\0\x03");
        assert_eq!(
            &Request::OpenNew("ab", 0o600).encode(7)[..],
            b"\0\0\0\x17\x03\0\0\0\x07\0\0\0\x02ab\0\0\0\x2a\0\0\0\x04\0\0\x01\x80"
        );
        assert_eq!(
            &Request::Read(b"\xff", 1 << 32, 3).encode(1)[..],
            b"\0\0\0\x16\x05\0\0\0\x01\0\0\0\x01\xff\0\0\0\x01\0\0\0\0\0\0\0\x03"
        );
        assert_eq!(
            &Request::Sync(b"h").encode(2)[..],
            b"\0\0\0\x1f\xc8\0\0\0\x02\0\0\0\x11fsync@openssh.com\0\0\0\x01h"
        );
    }

    #[test]
    fn a_write_announces_the_bytes_that_follow() {
        let packet = Request::Write(b"h", 0, 1_000).encode(1);
        assert_eq!(packet[..4], u32::to_be_bytes(u32::try_from(packet.len()).unwrap() - 4 + 1_000));
        assert!(packet.ends_with(&1_000_u32.to_be_bytes()));
    }
}
