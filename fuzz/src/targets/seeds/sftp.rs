//! What OpenSSH's SFTP server says: greetings, answers of every kind, a file's bytes.

const GREETING: &[u8] = b"\x02\0\0\0\x03\
    \0\0\0\x11fsync@openssh.com\0\0\0\x011\0\0\0\x14hardlink@openssh.com\0\0\0\x011";
const STATUS: &[u8] = b"\x65\0\0\0\x01\0\0\0\x04\0\0\0\x07Failure\0\0\0\0";
const HANDLE: &[u8] = b"\x66\0\0\0\x03\0\0\0\x04\0\0\0\x81";
const DATA: &[u8] = b"\x67\0\0\0\x02\0\0\0\x0bhello world";
const ATTRIBUTES: &[u8] = b"\x69\0\0\0\x05\0\0\0\x0f\0\0\0\0\0\0\0\x0b\0\0\0\0\0\0\0\0\
    \0\0\x81\x80\x60\0\0\0\x60\0\0\0";
const NAMES: &[u8] = b"\x68\0\0\0\x07\0\0\0\x02\
    \0\0\0\x01a\0\0\0\x05-rw a\0\0\0\x05\0\0\0\0\0\0\0\x0b\0\0\x81\x80\
    \0\0\0\x02\xff.\0\0\0\0\x80\0\0\0\0\0\0\x01\0\0\0\x01k\0\0\0\x01v";
const EXTENDED: &[u8] = b"\xc9\0\0\0\x09\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\xfc\0";

/// Streams, each after a byte that says where to cut it.
pub fn sftp_replies() -> Vec<Vec<u8>> {
    let all = [STATUS, HANDLE, DATA, ATTRIBUTES, NAMES, EXTENDED];
    let mut streams: Vec<Vec<u8>> = all.map(|packet| stream(3, &[GREETING, packet])).into();
    streams.push(stream(7, &[GREETING, HANDLE, DATA, DATA, STATUS, NAMES, STATUS]));
    streams
}

fn stream(cut: u8, packets: &[&[u8]]) -> Vec<u8> {
    let mut stream = vec![cut];
    for packet in packets {
        stream.extend(u32::try_from(packet.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(packet);
    }
    stream
}
