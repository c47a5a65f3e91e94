//! A long line on loopback: whatever is read is written so many milliseconds later, in both directions,
//! however much is under way. It costs no throughput of its own.
//!
//! Threads that block, not tasks: a timer of the runtime may fire a millisecond late, which at 15 ms
//! would be a longer line than was asked for.
//!
//!     delay-line UPSTREAM ONE_WAY_MILLISECONDS
//!
//! Listens on a free port of 127.0.0.1 and prints it; ends when its standard input ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops at the first trouble")]
#![expect(clippy::print_stdout, reason = "who starts it is told the port")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes taken from the sender at a time, at most.
const READ_BYTES: usize = 256 << 10;
/// Reads under way at most: 15 ms hold 2,000 of them only above 2 GB/s, even where each is small.
const UNDER_WAY: usize = 8192;

/// Bytes, and when they are due on the other side.
type Chunk = (Instant, Vec<u8>);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [upstream, milliseconds] = arguments.as_slice() else {
        panic!("delay-line UPSTREAM ONE_WAY_MILLISECONDS");
    };
    let delay = Duration::from_secs_f64(milliseconds.parse::<f64>().unwrap() / 1000.0);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let upstream = upstream.clone();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let upstream = upstream.clone();
            thread::spawn(move || connect(near, &upstream, delay));
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// Joins the two ends. The handshake with the upstream takes no time, as on a real line it takes half
/// of what the client's own handshake takes, which is over when this starts.
fn connect(near: TcpStream, upstream: &str, delay: Duration) {
    let Ok(far) = TcpStream::connect(upstream) else {
        return;
    };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    line(near, far, delay);
    line(far_too, near_too, delay);
}

/// One direction.
fn line(from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || give(to, &receiver));
}

fn take(mut from: TcpStream, sender: &SyncSender<Chunk>, delay: Duration) {
    let mut buffer = vec![0; READ_BYTES];
    // An end is as late as everything else: it is an empty chunk.
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let chunk = (Instant::now() + delay, buffer[..length].to_vec());
        if sender.send(chunk).is_err() || length == 0 {
            return;
        }
    }
}

fn give(mut to: TcpStream, receiver: &Receiver<Chunk>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Gone already if the other side was quicker.
    drop(to.shutdown(Shutdown::Write));
}
