//! A line between a client and a server that is slow, far, or breaks.

mod lane;
mod line;
#[cfg(test)]
mod tests;

pub use line::{Counts, Direction, Forwarding};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::host::{Host, connect, reset};
use line::{Cuts, Line};

/// A proxy for bytes. What is set holds from now on for all connections, the open ones too. Ends
/// when dropped, with all its connections.
pub struct TcpProxy {
    line: Arc<Line>,
    host: Host,
}

impl TcpProxy {
    /// A line to `upstream` that is as good as the loopback.
    pub fn start(upstream: SocketAddr) -> Self {
        let line = Arc::new(Line::default());
        let served = Arc::clone(&line);
        let host = Host::start(move |client| serve(Arc::clone(&served), client, upstream));
        Self { line, host }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Bytes leave this long after they came. Connecting takes no longer than before.
    pub fn set_latency(&self, direction: Direction, latency: Duration) {
        self.line.change(|settings| settings.lane_mut(direction).latency = latency);
    }

    /// A round trip of this length, half of it in each direction.
    pub fn set_round_trip(&self, round_trip: Duration) {
        self.set_latency(Direction::Up, round_trip / 2);
        self.set_latency(Direction::Down, round_trip / 2);
    }

    /// What all connections together may carry in a second; none for no limit.
    pub fn set_bandwidth(&self, direction: Direction, bytes_per_second: Option<u64>) {
        self.line
            .change(|settings| settings.lane_mut(direction).bytes_per_second = bytes_per_second);
    }

    /// More connections than this at a time are hung up on.
    pub fn set_most_connections(&self, most: usize) {
        self.line.change(|settings| settings.most_connections = most);
    }

    /// Whether and how bytes are passed on.
    pub fn set_forwarding(&self, forwarding: Forwarding) {
        self.line.change(|settings| settings.forwarding = forwarding);
    }

    /// Resets every connection when `bytes` more bytes have passed in `direction`, all connections
    /// together, and again when as many more have, `times` times in all. Takes the place of what
    /// was set before for the direction; 0 times: never.
    pub fn cut_every(&self, direction: Direction, bytes: u64, times: u64) {
        self.line.lane(direction).lock().unwrap().cuts = Cuts::new(bytes, times);
    }

    /// Resets every connection.
    pub fn cut_now(&self) {
        self.line.cut();
    }

    /// What passed so far.
    pub fn counts(&self) -> Counts {
        self.line.counts()
    }

    /// Blocks until the counts are as wanted.
    ///
    /// # Panics
    /// After two minutes.
    pub fn wait_until(&self, is_enough: impl Fn(&Counts) -> bool) -> Counts {
        self.line.wait_until(is_enough)
    }
}

async fn serve(line: Arc<Line>, mut client: TcpStream, upstream: SocketAddr) {
    let Some(_open) = line.open() else {
        return reset(client);
    };
    let mut cut = line.cuts_to_come();
    let Some(mut server) = connect(upstream).await else {
        return reset(client);
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let carried = async {
        tokio::try_join!(
            lane::carry(&line, Direction::Up, &mut from_client, &mut to_server),
            lane::carry(&line, Direction::Down, &mut from_server, &mut to_client),
        )
    };
    let is_whole = tokio::select! {
        biased;
        _ = cut.changed() => false,
        carried = carried => carried.is_ok(),
    };
    if !is_whole {
        reset(client);
        reset(server);
    }
}
