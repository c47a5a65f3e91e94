//! Cutting what a server sends into packets. The bytes of files, which are nearly all of it, are copied
//! once, to where they are wanted.

use bytes::BytesMut;

use super::reply::{Malformed, Reply};

/// The kind of packet that answers the greeting.
const VERSION: u8 = 2;
/// The kind of packet that brings a file's bytes.
const DATA: u8 = 103;
/// Length and kind.
const HEAD_BYTES: usize = 5;
/// Length, kind, request and length of the data.
const DATA_HEAD_BYTES: usize = 13;
/// More than any server packs into an answer without data: OpenSSH sends at most 256 KiB.
const MOST_BYTES: usize = 1 << 20;

/// Who gets what was cut.
pub trait Receiver {
    /// `length` bytes come for request `id`: the buffer behind whose content they are put.
    ///
    /// # Errors
    /// [`Malformed`] if nobody asked for so many.
    fn place_for(&mut self, id: u32, length: usize) -> Result<BytesMut, Malformed>;

    /// All of them have come.
    fn filled(&mut self, id: u32, buffer: BytesMut);

    /// Another answer.
    ///
    /// # Errors
    /// [`Malformed`] if nobody asked.
    fn reply(&mut self, id: u32, reply: Reply) -> Result<(), Malformed>;
}

#[derive(Debug)]
enum Inside {
    /// The first bytes of a packet.
    Head,
    /// A packet without data: its kind, and what has come of the rest.
    Body { kind: u8, body: BytesMut, missing_bytes: usize },
    /// A file's bytes.
    Data { id: u32, buffer: BytesMut, missing_bytes: usize },
}

/// Where in the stream we are.
#[derive(Debug)]
pub struct Framer {
    inside: Inside,
    head: [u8; DATA_HEAD_BYTES],
    head_bytes: usize,
    is_first: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self { inside: Inside::Head, head: [0; DATA_HEAD_BYTES], head_bytes: 0, is_first: true }
    }
}

impl Framer {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`Malformed`]; the stream makes no sense from there on.
    pub fn push(&mut self, mut bytes: &[u8], to: &mut impl Receiver) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            match &mut self.inside {
                Inside::Head => self.take_head(&mut bytes, to)?,
                Inside::Body { body: to, missing_bytes, .. }
                | Inside::Data { buffer: to, missing_bytes, .. } => {
                    let taken = take(&mut bytes, *missing_bytes);
                    *missing_bytes -= taken.len();
                    to.extend_from_slice(taken);
                }
            }
            self.hand_on(to)?;
        }
        Ok(())
    }

    /// Takes bytes of the head, and looks at it once it is complete.
    fn take_head(&mut self, bytes: &mut &[u8], to: &mut impl Receiver) -> Result<(), Malformed> {
        let wanted = if self.head_bytes >= HEAD_BYTES { DATA_HEAD_BYTES } else { HEAD_BYTES };
        let taken = take(bytes, wanted - self.head_bytes);
        self.head[self.head_bytes..][..taken.len()].copy_from_slice(taken);
        self.head_bytes += taken.len();
        let is_data = self.head[HEAD_BYTES - 1] == DATA;
        match self.head_bytes {
            HEAD_BYTES if !is_data || self.is_first => self.enter_body(),
            DATA_HEAD_BYTES => self.enter_data(to),
            _ => Ok(()),
        }
    }

    fn number(&self, at: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|next| self.head[at + next]);
        u32::from_be_bytes([a, b, c, d])
    }

    fn enter_body(&mut self) -> Result<(), Malformed> {
        let (length, kind) = (size(self.number(0)), self.head[HEAD_BYTES - 1]);
        if self.is_first && (kind != VERSION || length > MOST_BYTES) {
            return Err(Malformed(
                "it begins with something else, maybe a text that a login script prints; let that \
                 print nothing where nobody is at a terminal",
            ));
        }
        if !(1..=MOST_BYTES).contains(&length) {
            return Err(Malformed("a packet of no or too many bytes"));
        }
        self.inside = Inside::Body { kind, body: BytesMut::new(), missing_bytes: length - 1 };
        Ok(())
    }

    fn enter_data(&mut self, to: &mut impl Receiver) -> Result<(), Malformed> {
        let (length, id, missing_bytes) =
            (size(self.number(0)), self.number(5), size(self.number(9)));
        if Some(length) != missing_bytes.checked_add(DATA_HEAD_BYTES - 4) {
            return Err(Malformed("a packet of data whose two lengths do not agree"));
        }
        self.inside = Inside::Data { id, buffer: to.place_for(id, missing_bytes)?, missing_bytes };
        Ok(())
    }

    /// Hands on what is complete.
    fn hand_on(&mut self, to: &mut impl Receiver) -> Result<(), Malformed> {
        match &mut self.inside {
            Inside::Body { missing_bytes: 0, .. } | Inside::Data { missing_bytes: 0, .. } => {}
            _ => return Ok(()),
        }
        self.head_bytes = 0;
        match std::mem::replace(&mut self.inside, Inside::Head) {
            Inside::Head => Ok(()),
            Inside::Data { id, buffer, .. } => {
                to.filled(id, buffer);
                Ok(())
            }
            Inside::Body { kind, body, .. } => {
                let (id, reply) = Reply::parse(kind, body.freeze())?;
                if std::mem::take(&mut self.is_first) != matches!(reply, Reply::Version(..)) {
                    return Err(Malformed("a second greeting"));
                }
                to.reply(id, reply)
            }
        }
    }
}

fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Up to `count` bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard {
        replies: Vec<(u32, Reply)>,
        data: Vec<(u32, Vec<u8>)>,
    }

    impl Receiver for Heard {
        fn place_for(&mut self, _: u32, length: usize) -> Result<BytesMut, Malformed> {
            if length > 8 { Err(Malformed("too much")) } else { Ok(BytesMut::new()) }
        }

        fn filled(&mut self, id: u32, buffer: BytesMut) {
            self.data.push((id, buffer.to_vec()));
        }

        fn reply(&mut self, id: u32, reply: Reply) -> Result<(), Malformed> {
            self.replies.push((id, reply));
            Ok(())
        }
    }

    const GREETING: &[u8] = b"\0\0\0\x05\x02\0\0\0\x03";
    const STREAM: &[u8] = b"\0\0\0\x05\x02\0\0\0\x03\
        \0\0\0\x0c\x67\0\0\0\x07\0\0\0\x03abc\
        \0\0\0\x09\x65\0\0\0\x08\0\0\0\x01\
        \0\0\0\x09\x67\0\0\0\x09\0\0\0\0";

    #[test]
    fn cuts_alike_wherever_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let (mut framer, mut heard) = (Framer::default(), Heard::default());
            for piece in STREAM.chunks(size) {
                framer.push(piece, &mut heard).unwrap();
            }
            assert_eq!(heard.data, [(7, b"abc".to_vec()), (9, vec![])], "{size}");
            assert_eq!(heard.replies[1], (8, Reply::Status(1, String::new())));
        }
    }

    #[test]
    fn refuses_streams_that_make_no_sense() {
        for (tail, what) in [
            (&b"\0\0\0\x0d\x67\0\0\0\x07\0\0\0\x03abc"[..], "do not agree"),
            (b"\0\0\0\x12\x67\0\0\0\x07\0\0\0\x09", "too much"),
            (b"\0\x20\0\0\x65", "too many bytes"),
            (b"\0\0\0\0\x65", "no or too many"),
            (GREETING, "second greeting"),
        ] {
            let (mut framer, mut heard) = (Framer::default(), Heard::default());
            framer.push(GREETING, &mut heard).unwrap();
            let error = framer.push(tail, &mut heard).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let error = Framer::default().push(b"Welcome, user!\n", &mut Heard::default()).unwrap_err();
        assert!(error.to_string().contains("login script"), "{error}");
    }
}
