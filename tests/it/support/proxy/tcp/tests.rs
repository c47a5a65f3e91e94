//! The line does what it is told: against a server that sends back what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Direction, Forwarding, TcpProxy};

const SHORT: Duration = Duration::from_millis(200);

/// A server that sends back everything, until the tests end.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || {
                let (mut reader, mut writer) =
                    (connection.as_ref().unwrap(), connection.as_ref().unwrap());
                std::io::copy(&mut reader, &mut writer).unwrap_or_default();
                writer.shutdown(Shutdown::Write).unwrap_or_default();
            });
        }
    });
    address
}

fn connect(proxy: &TcpProxy) -> TcpStream {
    let connection = TcpStream::connect(proxy.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    connection
}

/// Sends `bytes` and reads as many.
fn round_trip(connection: &TcpStream, bytes: usize) -> std::io::Result<()> {
    let content = vec![7; bytes];
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| { &*connection }.write_all(&content));
        let mut found = vec![0; bytes];
        { connection }.read_exact(&mut found)?;
        sent.join().unwrap()?;
        assert!(found == content);
        Ok(())
    })
}

fn is_reset(connection: &TcpStream) -> bool {
    let read = { connection }.read(&mut [0]);
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn passes_everything_and_counts_it() {
    let proxy = TcpProxy::start(echo());
    let mut connection = connect(&proxy);
    round_trip(&connection, 10_000_000).unwrap();
    assert_eq!(proxy.counts().open, 1);
    connection.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the end comes back too");
    let counts = proxy.wait_until(|counts| counts.open == 0);
    assert_eq!((counts.connections, counts.most_open, counts.cuts), (1, 1, 0));
    assert_eq!((counts.up_bytes, counts.down_bytes), (10_000_000, 10_000_000));
}

#[test]
fn is_far_without_being_slow() {
    let proxy = TcpProxy::start(echo());
    proxy.set_round_trip(Duration::from_millis(300));
    let connection = connect(&proxy);
    let start = Instant::now();
    round_trip(&connection, 1).unwrap();
    let near = start.elapsed();
    assert!((300..450).contains(&near.as_millis()), "{near:?}");
    // One portion after the other would take a minute.
    let start = Instant::now();
    round_trip(&connection, 64 << 20).unwrap();
    let far = start.elapsed();
    assert!((300..5_000).contains(&far.as_millis()), "{far:?}");
    proxy.set_latency(Direction::Down, Duration::ZERO);
    let start = Instant::now();
    round_trip(&connection, 1).unwrap();
    let half = start.elapsed();
    assert!((150..290).contains(&half.as_millis()), "{half:?}");
}

#[test]
fn is_as_slow_as_told_for_all_connections_together() {
    let proxy = TcpProxy::start(echo());
    for (direction, other) in [(Direction::Up, Direction::Down), (Direction::Down, Direction::Up)] {
        proxy.set_bandwidth(direction, Some(1_000_000));
        proxy.set_bandwidth(other, None);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| round_trip(&connect(&proxy), 500_000).unwrap());
            }
        });
        let elapsed = start.elapsed();
        assert!((950..1_500).contains(&elapsed.as_millis()), "{direction:?}: {elapsed:?}");
    }
}

#[test]
fn cuts_as_often_as_told_and_where() {
    let proxy = TcpProxy::start(echo());
    proxy.cut_every(Direction::Up, 100_000, 3);
    for cuts in 1..=3 {
        while round_trip(&connect(&proxy), 60_000).is_ok() {}
        let counts = proxy.counts();
        assert_eq!((counts.cuts, counts.up_bytes), (cuts, cuts * 100_000));
    }
    round_trip(&connect(&proxy), 1_000_000).unwrap();
    assert_eq!(proxy.counts().cuts, 3);

    proxy.cut_every(Direction::Down, 0, 1);
    let before = proxy.counts();
    round_trip(&connect(&proxy), 1).unwrap_err();
    let after = proxy.counts();
    assert_eq!((after.cuts, after.down_bytes), (4, before.down_bytes));
}

#[test]
fn cuts_every_connection_at_once() {
    let proxy = TcpProxy::start(echo());
    let connections = [connect(&proxy), connect(&proxy)];
    for connection in &connections {
        round_trip(connection, 1).unwrap();
    }
    proxy.cut_now();
    assert!(connections.iter().all(is_reset));
    assert_eq!(proxy.wait_until(|counts| counts.open == 0).cuts, 1);
    round_trip(&connect(&proxy), 1).unwrap();
}

#[test]
fn swallows_everything() {
    let proxy = TcpProxy::start(echo());
    let connection = connect(&proxy);
    round_trip(&connection, 1).unwrap();
    proxy.set_forwarding(Forwarding::Swallowed);
    connection.set_read_timeout(Some(SHORT)).unwrap();
    let later = connect(&proxy);
    later.set_read_timeout(Some(SHORT)).unwrap();
    for connection in [connection, later] {
        { &connection }.write_all(&vec![7; 64 << 20]).unwrap();
        let error = { &connection }.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(proxy.counts().up_bytes, 1);
    proxy.wait_until(|counts| counts.open == 0);
}

#[test]
fn stalls_and_goes_on() {
    let proxy = TcpProxy::start(echo());
    let connection = connect(&proxy);
    round_trip(&connection, 1).unwrap();
    proxy.set_forwarding(Forwarding::Stalled);
    connection.set_read_timeout(Some(SHORT)).unwrap();
    connection.set_write_timeout(Some(SHORT)).unwrap();
    let error = { &connection }.write_all(&vec![7; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "nobody reads");
    let error = { &connection }.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    proxy.set_forwarding(Forwarding::On);
    connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    { &connection }.read_exact(&mut vec![0; 100_000]).unwrap();
}

#[test]
fn hangs_up_on_whom_it_does_not_want() {
    let proxy = TcpProxy::start(echo());
    proxy.set_most_connections(2);
    let connections = [connect(&proxy), connect(&proxy)];
    for connection in &connections {
        round_trip(connection, 1).unwrap();
    }
    assert!(is_reset(&connect(&proxy)));
    drop(connections);
    proxy.wait_until(|counts| counts.open == 0);
    round_trip(&connect(&proxy), 1).unwrap();
    proxy.set_forwarding(Forwarding::Refused);
    assert!(is_reset(&connect(&proxy)));
    assert_eq!(proxy.counts().most_open, 2);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    assert!(is_reset(&connect(&TcpProxy::start(nobody))));
}

#[test]
fn ends_with_its_connections() {
    let proxy = TcpProxy::start(echo());
    let (connection, address) = (connect(&proxy), proxy.address());
    round_trip(&connection, 1).unwrap();
    drop(proxy);
    assert!(!matches!({ &connection }.read(&mut [0]), Ok(1..)));
    TcpStream::connect(address).unwrap_err();
}
