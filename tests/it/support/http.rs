//! One HTTP request at a time, by hand, to servers that the tests start: for making buckets, and
//! for asking whether a server behaves as the tests assume.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request over a connection of its own; none if nobody answers, or not to the end. A
/// body in chunks stays as it came.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(TIMEOUT)).ok()?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes()).ok()?;
    // Who answers early may not want the rest.
    let sent = connection.write_all(body);
    let mut answer = Vec::new();
    let received = connection.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let answer = Answer { status, head, body: answer.split_off(end) };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_whole = match length {
        Some(length) => method == "HEAD" || answer.body.len() == length,
        None => received.is_ok(),
    };
    (is_whole && (sent.is_ok() || status >= 400)).then_some(answer)
}
