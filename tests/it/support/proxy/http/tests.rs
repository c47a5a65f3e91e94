//! Requests go through, or happens to them what the rules say: against a server of a few lines
//! that keeps objects and knows `If-None-Match`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::super::http::{Answer, request};
use super::{Action, HttpProxy, Mode, Reply, Rule};

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Starts a server, which lives until the tests end, and shows what it keeps.
fn server() -> (SocketAddr, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let objects = Objects::default();
    let shared = Arc::clone(&objects);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let objects = Arc::clone(&shared);
            std::thread::spawn(
                move || while serve(connection.as_ref().unwrap(), &objects).is_some() {},
            );
        }
    });
    (address, objects)
}

/// Serves one request; none at the end of the connection.
fn serve(mut connection: &TcpStream, objects: &Objects) -> Option<()> {
    // One client does not send the next request before the reply: nothing is read too much.
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    if lower.contains("expect: 100-continue") {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    reader.read_exact(&mut body).ok()?;
    let (method, path) = head.split_once(' ').unwrap();
    let path = path.split(' ').next().unwrap().to_owned();
    let mut objects = objects.lock().unwrap();
    let is_conflict = lower.contains("if-none-match: *") && objects.contains_key(&path);
    let (status, content) = match method {
        "PUT" if is_conflict => (412, Vec::new()),
        "PUT" => {
            objects.insert(path, body);
            (200, Vec::new())
        }
        "DELETE" => {
            objects.remove(&path);
            (204, Vec::new())
        }
        _ => objects.get(&path).map_or((404, Vec::new()), |content| (200, content.clone())),
    };
    let framing = match status {
        204 => String::new(),
        _ if lower.contains("te: trailers") => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ => format!("Content-Length: {}\r\n", content.len()),
    };
    write!(connection, "HTTP/1.1 {status} X\r\n{framing}\r\n").ok()?;
    if framing.starts_with("Transfer") {
        for chunk in content.chunks(1_000) {
            write!(connection, "{:x}\r\n", chunk.len()).ok()?;
            connection.write_all(chunk).ok()?;
            connection.write_all(b"\r\n").ok()?;
        }
        connection.write_all(b"0\r\n\r\n").ok()?;
    } else if method != "HEAD" {
        connection.write_all(&content).ok()?;
    }
    (!lower.contains("connection: close")).then_some(())
}

fn send(proxy: &HttpProxy, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
    request(proxy.address(), method, path, &[], body)
}

fn create(proxy: &HttpProxy, path: &str, body: &[u8]) -> u16 {
    let headers = [("If-None-Match", "*")];
    request(proxy.address(), "PUT", path, &headers, body).unwrap().status
}

fn status(proxy: &HttpProxy, method: &str, path: &str) -> u16 {
    send(proxy, method, path, b"new").unwrap().status
}

#[test]
fn passes_large_bodies_and_records_them() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    let mut content: Vec<u8> = (0..32 << 20).map(|number: u32| number.to_le_bytes()[1]).collect();
    content.push(7);
    assert_eq!(send(&proxy, "PUT", "/a?sig=s3cret", &content).unwrap().status, 200);
    assert!(objects.lock().unwrap()["/a?sig=s3cret"] == content);
    assert!(send(&proxy, "GET", "/a?sig=s3cret", b"").unwrap().body == content);
    assert_eq!(send(&proxy, "HEAD", "/a?sig=s3cret", b"").unwrap().status, 200);
    assert_eq!(status(&proxy, "GET", "/b"), 404);

    let requests = proxy.requests();
    let rows = requests.iter().map(|request| {
        (
            &*request.method,
            &*request.path,
            request.status,
            request.request_bytes,
            request.response_bytes,
        )
    });
    let length = content.len() as u64;
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            ("PUT", "/a?sig", Some(200), length, 0),
            ("GET", "/a?sig", Some(200), 0, length),
            ("HEAD", "/a?sig", Some(200), 0, 0),
            ("GET", "/b", Some(404), 3, 0),
        ]
    );
    let traffic = proxy.traffic();
    assert_eq!((traffic.total(), traffic.requests["GET"]), (4, 2));
    for bytes in [traffic.up_bytes, traffic.down_bytes] {
        assert!((length + 100..length + 2_000).contains(&bytes), "{traffic:?}");
    }
}

#[test]
fn keeps_connections() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    objects.lock().unwrap().insert("/a".to_owned(), vec![b'x'; 2_500]);
    let connection = TcpStream::connect(proxy.address()).unwrap();
    let mut reader = BufReader::new(&connection);
    for _ in 0..3 {
        // In chunks, and after a word that the body is welcome.
        write!(&connection, "GET /a HTTP/1.1\r\nTE: trailers\r\n").unwrap();
        write!(&connection, "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n").unwrap();
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            reader.read_line(&mut text).unwrap();
        }
        assert_eq!(text, "HTTP/1.1 100 Continue\r\n\r\n");
        { &connection }.write_all(b"hi").unwrap();
        while !text.ends_with("\r\n0\r\n\r\n") {
            assert!(reader.read_line(&mut text).unwrap() > 0, "{text}");
        }
        assert_eq!(text.matches('x').count(), 2_500);
    }
    assert_eq!(proxy.traffic().total(), 3);
    assert_eq!(proxy.requests()[2].request_bytes, 2);
}

#[test]
fn answers_itself() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    let reply = Reply::error(503, "SlowDown").header("Retry-After", "2");
    let rule = Rule::new(Action::Answer(reply)).method("PUT").path("/pack/");
    let hits = proxy.add(rule.skip(1).times(2));
    let statuses = [(); 4].map(|()| status(&proxy, "PUT", "/pack/1"));
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!(hits.count(), 2);

    proxy.add(Rule::new(Action::Answer(Reply::error(429, "Busy").header("Retry-After", "9"))));
    let answer = send(&proxy, "PUT", "/b", &vec![0; 5 << 20]).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("9")));
    assert!(answer.text().contains("<Code>Busy</Code>"), "{answer:?}");
    assert!(!objects.lock().unwrap().contains_key("/b"));
    proxy.clear();
    assert_eq!(status(&proxy, "GET", "/b"), 404);
    let requests = proxy.requests();
    assert_eq!((requests[4].status, requests[4].request_bytes), (Some(429), 5 << 20));
}

#[test]
fn loses_replies_of_what_was_done() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    proxy.add(Rule::new(Action::LoseReply).times(1));
    assert!(send(&proxy, "PUT", "/a", b"content").is_none());
    assert_eq!(objects.lock().unwrap()["/a"], b"content");
    assert_eq!(proxy.requests()[0].status, None);
    assert_eq!(create(&proxy, "/a", b"content"), 412);
}

#[test]
fn truncates_replies() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    objects.lock().unwrap().insert("/a".to_owned(), b"0123456789".to_vec());
    proxy.add(Rule::new(Action::TruncateReply { after_bytes: 4 }));
    let mut connection = TcpStream::connect(proxy.address()).unwrap();
    connection.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert_eq!(text, "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n0123");
    assert_eq!(proxy.requests()[0].response_bytes, 4);
}

#[test]
fn resets_uploads() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    for after_bytes in [0, 1 << 20, u64::MAX - 1] {
        proxy.add(Rule::new(Action::ResetUpload { after_bytes }).times(1));
        assert!(send(&proxy, "PUT", "/a", &vec![1; 4 << 20]).is_none());
        let is_whole = after_bytes > 4 << 20;
        assert!(is_whole || objects.lock().unwrap().is_empty());
    }
    assert_eq!(status(&proxy, "PUT", "/a"), 200);
}

#[test]
fn delays() {
    let (upstream, _) = server();
    let proxy = HttpProxy::start(upstream);
    proxy.add(Rule::new(Action::Delay(Duration::from_millis(300))).times(1));
    let start = Instant::now();
    assert_eq!(status(&proxy, "PUT", "/a"), 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn never_answers() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    proxy.add(Rule::new(Action::BlackHole));
    let mut connection = TcpStream::connect(proxy.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    connection.write_all(b"PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd").unwrap();
    proxy.wait_until(|requests| requests.iter().any(|request| request.request_bytes == 4));
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(objects.lock().unwrap().is_empty());
}

#[test]
fn refuses_whatever_could_destroy() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    proxy.set_mode(Mode::LeastRights);
    assert_eq!(create(&proxy, "/a", b"old"), 200);
    assert_eq!(create(&proxy, "/a", b"new"), 412);
    assert_eq!(status(&proxy, "PUT", "/a"), 403);
    assert_eq!(status(&proxy, "PUT", "/b"), 403);
    assert_eq!(status(&proxy, "DELETE", "/a"), 403);
    assert_eq!(status(&proxy, "GET", "/a"), 200);
    let expected = BTreeMap::from([("/a".to_owned(), b"old".to_vec())]);
    assert_eq!(*objects.lock().unwrap(), expected);
    proxy.set_mode(Mode::Honest);
    assert_eq!(status(&proxy, "DELETE", "/a"), 204);
}

#[test]
fn lies() {
    let (upstream, objects) = server();
    let proxy = HttpProxy::start(upstream);
    proxy.set_mode(Mode::Liar);
    assert_eq!(create(&proxy, "/a", b"old"), 200);
    assert_eq!(create(&proxy, "/a", b"new"), 200);
    assert_eq!(objects.lock().unwrap()["/a"], b"new");
}

#[test]
fn hangs_up_when_nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = HttpProxy::start(listener.local_addr().unwrap());
    drop(listener);
    assert!(send(&proxy, "GET", "/a", b"").is_none());
    assert_eq!(proxy.requests()[0].status, None);
}
