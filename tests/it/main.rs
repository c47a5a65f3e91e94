//! One integration binary: it links once, and servers are started once for all tests.

#![expect(
    unreachable_pub,
    reason = "support is public to all tests, and this binary exports nothing"
)]

// Each is marked as a test so that clippy lets helpers unwrap and panic too.
#[cfg(test)]
mod cli;
#[cfg(test)]
mod destination;
#[cfg(test)]
mod frozen;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod independent_reader;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
