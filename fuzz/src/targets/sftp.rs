//! What an SFTP server sends.

use backstay::store::sftp::wire::{Framer, Malformed, Receiver, Reply};
use bytes::BytesMut;

/// The most bytes that are asked for.
const PIECE_BYTES: usize = 4_096;

/// Whoever asked: for up to so many bytes under even numbers, for something else under odd ones.
#[derive(Default, PartialEq, Debug)]
struct Asked {
    replies: Vec<(u32, Reply)>,
    data: Vec<(u32, BytesMut)>,
}

impl Receiver for Asked {
    fn place_for(&mut self, id: u32, length: usize) -> Result<BytesMut, Malformed> {
        if id.is_multiple_of(2) && length <= PIECE_BYTES {
            Ok(BytesMut::new())
        } else {
            Err(Malformed("not asked for"))
        }
    }

    fn filled(&mut self, id: u32, buffer: BytesMut) {
        assert!(buffer.len() <= PIECE_BYTES, "more than was asked for");
        self.data.push((id, buffer));
    }

    fn reply(&mut self, id: u32, reply: Reply) -> Result<(), Malformed> {
        if let Reply::Handle(handle) = &reply {
            assert!((1..=256).contains(&handle.len()), "a handle of {} bytes", handle.len());
        }
        if let Reply::Status(_, text) = &reply {
            assert!(!text.chars().any(char::is_control), "not printable: {text:?}");
        }
        self.replies.push((id, reply));
        Ok(())
    }
}

/// The first byte says where the stream is cut; it must mean the same however it is cut.
pub fn replies(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else {
        return;
    };
    let read = |size: usize| {
        let (mut framer, mut asked) = (Framer::default(), Asked::default());
        let outcome = stream.chunks(size).try_for_each(|piece| framer.push(piece, &mut asked));
        (outcome, asked)
    };
    let whole = read(stream.len().max(1));
    assert_eq!(read(usize::from(size).max(1)), whole, "cut otherwise, it means something else");
}
