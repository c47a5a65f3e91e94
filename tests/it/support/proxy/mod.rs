//! A network that misbehaves as told: proxies on 127.0.0.1 between a client and a server, one for
//! bytes ([`TcpProxy`]) and one for requests ([`HttpProxy`]). They can be put in a row, and run on
//! a thread of their own: the client may be another process that the test waits for.

mod host;
mod http;
mod tcp;

pub use http::{Action, HttpProxy, Mode, Reply, Rule};
pub use tcp::{Direction, Forwarding, TcpProxy};
