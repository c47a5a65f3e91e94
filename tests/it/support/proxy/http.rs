//! A proxy that understands HTTP/1.1: it answers, changes, loses and counts single requests.
//! Whatever it passes on it passes on as it came, so signatures stay good.

mod body;
mod exchange;
mod head;
mod record;
mod rule;
#[cfg(test)]
mod tests;
mod wire;

pub use record::{Recorded, Traffic};
pub use rule::{Action, Hits, Mode, Reply, Rule};

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::host::Host;
use record::Records;
use rule::Rules;

/// A proxy for requests. What is set holds for requests that begin from now on. Ends when dropped,
/// with all its connections.
pub struct HttpProxy {
    shared: Arc<Shared>,
    host: Host,
}

/// What all connections share.
struct Shared {
    upstream: SocketAddr,
    rules: Mutex<Rules>,
    records: Records,
}

impl HttpProxy {
    /// A proxy to `upstream`, which need not be there before the first request.
    pub fn start(upstream: SocketAddr) -> Self {
        let shared = Shared { upstream, rules: Mutex::default(), records: Records::default() };
        let shared = Arc::new(shared);
        let served = Arc::clone(&shared);
        let host = Host::start(move |client| exchange::serve(Arc::clone(&served), client));
        Self { shared, host }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// What the store behind seems to be like.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.rules.lock().unwrap().mode = mode;
    }

    /// Adds a rule. The first that matches a request and is not used up decides, before the mode
    /// does. Returns how often it did.
    pub fn add(&self, rule: Rule) -> Hits {
        self.shared.rules.lock().unwrap().add(rule)
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.records.requests()
    }

    /// Requests by method and bytes each way, so far.
    pub fn traffic(&self) -> Traffic {
        self.shared.records.traffic()
    }

    /// Blocks until the requests are as wanted.
    ///
    /// # Panics
    /// After two minutes.
    pub fn wait_until(&self, is_enough: impl Fn(&[Recorded]) -> bool) {
        self.shared.records.wait_until(is_enough);
    }
}
