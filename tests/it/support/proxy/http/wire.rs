//! A connection as HTTP uses it: heads, then bodies.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::body::Framing;

const BUFFER_BYTES: usize = 256 << 10;
const MOST_HEAD_BYTES: usize = 64 << 10;

/// The end that is read.
pub(super) struct Reader(BufReader<OwnedReadHalf>);

/// The end that is written.
pub(super) struct Writer(OwnedWriteHalf);

/// Both ends of a connection.
pub(super) fn wire(connection: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = connection.into_split();
    (Reader(BufReader::with_capacity(BUFFER_BYTES, reader)), Writer(writer))
}

impl Reader {
    /// Everything up to an empty line; none if the connection ends before the first byte.
    pub(super) async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let count = self.0.read_until(b'\n', &mut head).await?;
            if count == 0 && head.is_empty() {
                return Ok(None);
            }
            if count == 0 || head.len() > MOST_HEAD_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(Some(head))
    }

    /// The next bytes of a body, which [`Reader::consume`] takes; none at its end.
    pub(super) async fn body(&mut self, framing: &mut Framing) -> io::Result<Option<&[u8]>> {
        if framing.is_done() {
            return Ok(None);
        }
        let bytes = self.0.fill_buf().await?;
        if bytes.is_empty() {
            return match framing {
                Framing::UntilEnd => Ok(None),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let count = framing.take(bytes);
        Ok(Some(&bytes[..count]))
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }

    /// Waits until the other side has hung up, or says something that nobody asked for.
    pub(super) async fn hung_up(&mut self) {
        // An error is an end too.
        self.0.fill_buf().await.map(|_| ()).unwrap_or_default();
    }
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

/// Hangs up without a farewell: the peer's next call fails with "connection reset".
pub(super) fn reset(reader: Reader, writer: Writer) {
    // If it fails the connection is gone already.
    writer.0.as_ref().set_zero_linger().unwrap_or_default();
    writer.0.forget();
    drop(reader);
}
