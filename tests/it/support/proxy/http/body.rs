//! Where a body ends.

/// What tells the end of a body, and how far it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Exact(u64),
    /// Chunks, each with its length before it.
    Chunked(Chunk),
    /// The end of the connection.
    UntilEnd,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// A digit of the chunk's length, which is this so far.
    Length(u64),
    /// The rest of the line after the length.
    Extension(u64),
    /// The chunk and the line end after it.
    Data(u64),
    /// After the last chunk, a line of which nothing was seen yet, or something was.
    Trailer {
        is_empty: bool,
    },
    Done,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Length(0))
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Exact(0) | Self::Chunked(Chunk::Done))
    }

    /// How many of the bytes that follow belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::UntilEnd => bytes.len(),
            Self::Exact(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                usize::try_from(taken).unwrap()
            }
            Self::Chunked(chunk) => {
                let mut taken = 0;
                while taken < bytes.len() && *chunk != Chunk::Done {
                    let (step, next) = chunk.step(&bytes[taken..]);
                    (taken, *chunk) = (taken + step, next);
                }
                taken
            }
        }
    }
}

impl Chunk {
    /// Reads some of `bytes`, which are not empty.
    fn step(self, bytes: &[u8]) -> (usize, Self) {
        let next = match (self, bytes[0]) {
            (Self::Data(left), _) => {
                let taken = (bytes.len() as u64).min(left);
                let next = if taken == left { Self::Length(0) } else { Self::Data(left - taken) };
                return (usize::try_from(taken).unwrap(), next);
            }
            (Self::Length(0) | Self::Extension(0), b'\n') => Self::Trailer { is_empty: true },
            (Self::Length(length) | Self::Extension(length), b'\n') => Self::Data(length + 2),
            (Self::Length(length), byte) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Length(length * 16 + u64::from(digit)),
                None => Self::Extension(length),
            },
            (Self::Trailer { is_empty: true }, b'\n') => Self::Done,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { is_empty: true },
            (Self::Trailer { is_empty }, byte) => {
                Self::Trailer { is_empty: is_empty && byte == b'\r' }
            }
            (Self::Extension(_) | Self::Done, _) => self,
        };
        (1, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_chunks_however_they_come() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;x=0\r\nhel\r\n\r\nA\r\n0123456789\r\n000\r\nEtag: 0\r\nB: c\r\n\r\n",
        ] {
            let stream = format!("{body}HTTP/1.1 200 OK\r\n\r\n");
            for piece_bytes in 1..stream.len() {
                let mut framing = Framing::chunked();
                let mut taken = 0;
                for piece in stream.as_bytes().chunks(piece_bytes) {
                    taken += framing.take(piece);
                    if framing.is_done() {
                        break;
                    }
                }
                assert_eq!(taken, body.len(), "{body:?} in pieces of {piece_bytes}");
                assert!(framing.is_done());
            }
        }
    }

    #[test]
    fn finds_the_end_of_a_known_length() {
        let mut framing = Framing::Exact(5);
        assert_eq!(framing.take(b"abc"), 3);
        assert!(!framing.is_done());
        assert_eq!(framing.take(b"abc"), 2);
        assert!(framing.is_done());
        assert!(Framing::Exact(0).is_done());
    }
}
