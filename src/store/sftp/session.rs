//! One SFTP session: requests go out in two lanes, answers come back by their numbers.
//!
//! Requests may be dropped at any time. Nothing of a packet is sent by whoever asks, so that no stream
//! breaks off in its midst.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use russh::ChannelWriteHalf;
use russh::client::{Handle, Msg};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::listener::Listener;
use super::open_file::Orphan;
use super::server::{Server, has_limits};
use super::table::{Piece, Table, Trouble};
use super::wire::{Attributes, Name, Reply, Request, hello, status};

/// Small requests are put together up to this size: each packet of SSH costs both sides.
const TOGETHER_BYTES: usize = 8 << 10;

/// Which way a request takes. Within a lane the order is kept; across lanes it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// What is small and waited for.
    Fast,
    /// Files on their way to the server, and whatever concerns a file that is written: a handle that
    /// is given back too early may already be that of another file.
    Bulk,
}

/// A packet, possibly in several parts.
type Packet = Vec<Bytes>;

/// Answers to a request that may come any time.
pub(super) type Answer = oneshot::Receiver<Result<Reply, Trouble>>;

/// One connection with one SFTP channel. Ends when dropped.
#[derive(Debug)]
pub(super) struct Session {
    table: Arc<Table>,
    fast: mpsc::UnboundedSender<Packet>,
    bulk: mpsc::UnboundedSender<Packet>,
    writer: JoinHandle<()>,
    /// Operations that use this session now.
    pub(super) load: AtomicUsize,
    /// What the server can do.
    pub(super) server: Server,
    /// Keeps the connection: it ends with its last holder.
    _connection: Connection,
}

/// Russh's handle, which cannot be shown.
struct Connection(Handle<Listener>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_closed", &self.0.is_closed()).finish()
    }
}

impl Session {
    /// Greets the server on an open channel.
    pub(super) async fn start(
        connection: Handle<Listener>,
        channel: ChannelWriteHalf<Msg>,
        table: Arc<Table>,
    ) -> Result<Self, Trouble> {
        let (fast, fast_packets) = mpsc::unbounded_channel();
        let (bulk, bulk_packets) = mpsc::unbounded_channel();
        let writing = write_out(channel, fast_packets, bulk_packets, Arc::clone(&table));
        let mut session = Self {
            table,
            fast,
            bulk,
            writer: tokio::spawn(writing),
            load: AtomicUsize::new(0),
            server: Server::default(),
            _connection: Connection(connection),
        };
        let greeting = session.table.expect_greeting();
        session.send(Lane::Fast, vec![hello()]);
        let Reply::Version(version, extensions) = answer(greeting).await? else {
            return Err(Trouble::Odd);
        };
        session.server = Server::new(version, &extensions);
        if has_limits(&extensions) {
            // Whoever announces limits and then does not tell has none that we need to know.
            if let Ok(Reply::Extended(limits)) = session.ask(Lane::Fast, Request::Limits).await {
                session.server.set_limits(limits);
            }
        }
        Ok(session)
    }

    /// Who waits for what.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    fn send(&self, lane: Lane, packet: Packet) {
        // If nobody sends any more, the table says so to whoever waits.
        drop(match lane {
            Lane::Fast => self.fast.send(packet),
            Lane::Bulk => self.bulk.send(packet),
        });
        for handle in self.table.take_unwanted() {
            let id = self.table.expect_nothing();
            drop(self.bulk.send(vec![Request::Close(&handle).encode(id)]));
        }
    }

    /// Sends a request at once; its answer is waited for when that is polled.
    pub(super) fn submit(&self, lane: Lane, request: Request<'_>) -> Answer {
        let (id, answer) = self.table.expect_reply();
        self.send(lane, vec![request.encode(id)]);
        answer
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, lane: Lane, request: Request<'_>) -> Result<Reply, Trouble> {
        answer(self.submit(lane, request)).await
    }

    /// Sends a request whose outcome changes nothing.
    pub(super) fn tell(&self, lane: Lane, request: Request<'_>) {
        let id = self.table.expect_nothing();
        self.send(lane, vec![request.encode(id)]);
    }

    /// Has a file removed that nobody needs; where the session ends before that was answered, the next
    /// one removes it.
    pub(super) fn clean_up(&self, lane: Lane, orphan: Orphan) {
        let path = orphan.path.clone();
        let id = self.table.expect_removal(orphan);
        self.send(lane, vec![Request::Remove(&path).encode(id)]);
    }

    /// Sends bytes to be written; `parts` together are `length` bytes.
    pub(super) fn write(&self, handle: &[u8], offset: u64, length: u32, parts: Packet) -> Answer {
        let (id, answer) = self.table.expect_reply();
        let mut packet = vec![Request::Write(handle, offset, length).encode(id)];
        packet.extend(parts);
        self.send(Lane::Bulk, packet);
        answer
    }

    /// Asks for up to `length` bytes behind what `buffer` holds.
    pub(super) fn read(
        &self,
        handle: &[u8],
        offset: u64,
        length: u32,
        buffer: BytesMut,
    ) -> oneshot::Receiver<Piece> {
        let most = usize::try_from(length).unwrap_or(usize::MAX);
        let (id, piece) = self.table.expect_piece(buffer, most);
        self.send(Lane::Fast, vec![Request::Read(handle, offset, length).encode(id)]);
        piece
    }

    /// How many operations use this session.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.table.end("it was closed");
        self.writer.abort();
    }
}

async fn write_out(
    channel: ChannelWriteHalf<Msg>,
    mut fast: mpsc::UnboundedReceiver<Packet>,
    mut bulk: mpsc::UnboundedReceiver<Packet>,
    table: Arc<Table>,
) {
    let writing = async {
        loop {
            let packet = tokio::select! {
                biased;
                packet = fast.recv() => packet.map(|packet| together(packet, &mut fast)),
                packet = bulk.recv() => packet,
            };
            for part in packet? {
                channel.data_bytes(part).await.ok()?;
            }
        }
    };
    tokio::select! {
        None::<()> = writing => table.end("the connection was closed"),
        () = table.until_end() => {}
    }
}

/// Joins small packets that wait already.
fn together(first: Packet, waiting: &mut mpsc::UnboundedReceiver<Packet>) -> Packet {
    let Ok(next) = waiting.try_recv() else {
        return first;
    };
    let mut joined = BytesMut::with_capacity(TOGETHER_BYTES);
    for part in first.iter().chain(&next) {
        joined.extend_from_slice(part);
    }
    while joined.len() < TOGETHER_BYTES
        && let Ok(packet) = waiting.try_recv()
    {
        for part in packet {
            joined.extend_from_slice(&part);
        }
    }
    vec![joined.freeze()]
}

/// What came for a request.
pub(super) async fn answer(answer: Answer) -> Result<Reply, Trouble> {
    let reply = answer.await.unwrap_or_else(|_| Err(Trouble::Lost("it was closed".to_owned())))?;
    match reply {
        Reply::Status(code, text) if code != status::OK => Err(Trouble::Status(code, text)),
        reply => Ok(reply),
    }
}

/// That a request succeeded.
pub(super) async fn done(reply: Answer) -> Result<(), Trouble> {
    match answer(reply).await? {
        Reply::Status(..) => Ok(()),
        _ => Err(Trouble::Odd),
    }
}

/// The handle that was asked for.
pub(super) async fn handle(reply: Answer) -> Result<Bytes, Trouble> {
    match answer(reply).await? {
        Reply::Handle(handle) => Ok(handle),
        _ => Err(Trouble::Odd),
    }
}

/// The attributes that were asked for.
pub(super) async fn attributes(reply: Answer) -> Result<Attributes, Trouble> {
    match answer(reply).await? {
        Reply::Attributes(attributes) => Ok(attributes),
        _ => Err(Trouble::Odd),
    }
}

/// Rows of a directory; none after the last.
pub(super) async fn names(reply: Answer) -> Result<Option<Vec<Name>>, Trouble> {
    match answer(reply).await {
        Ok(Reply::Names(names)) => Ok(Some(names)),
        Ok(_) => Err(Trouble::Odd),
        Err(Trouble::Status(status::END_OF_FILE, _)) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}
