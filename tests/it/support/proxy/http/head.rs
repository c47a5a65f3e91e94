//! The heads of requests and replies: kept as they came, and understood as far as needed.

use super::body::Framing;

const MOST_HEADERS: usize = 100;

/// Headers by name.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn new(headers: &[httparse::Header<'_>]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self(headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect())
    }

    /// The first value of `name`, whatever the case of its letters.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }

    fn has(&self, name: &str, word: &str) -> bool {
        self.get(name).is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }

    /// What a body's length is said to be, if anything is said.
    fn framing(&self) -> Option<Framing> {
        if self.has("transfer-encoding", "chunked") {
            return Some(Framing::chunked());
        }
        Some(Framing::Exact(self.get("content-length")?.parse().ok()?))
    }
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) raw: Vec<u8>,
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) fields: Fields,
}

impl Request {
    /// None if it is not HTTP.
    pub(super) fn parse(raw: Vec<u8>) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        head.parse(&raw).ok()?;
        let (method, target) = (head.method?.to_owned(), head.path?.to_owned());
        let fields = Fields::new(head.headers);
        Some(Self { raw, method, target, fields })
    }

    pub(super) fn framing(&self) -> Framing {
        self.fields.framing().unwrap_or(Framing::Exact(0))
    }

    /// Whether the client waits for a word before it sends the body.
    pub(super) fn waits(&self) -> bool {
        self.fields.has("expect", "100-continue")
    }

    /// Whether the client sends no other request over this connection.
    pub(super) fn is_last(&self) -> bool {
        self.fields.has("connection", "close")
    }

    /// Takes a header out.
    pub(super) fn remove(&mut self, name: &str) {
        let is_other = |line: &&[u8]| {
            let end = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            !line[..end].eq_ignore_ascii_case(name.as_bytes())
        };
        let lines = self.raw.split_inclusive(|byte| *byte == b'\n').filter(is_other);
        self.raw = lines.collect::<Vec<_>>().concat();
        self.fields.0.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }
}

/// A reply's head.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) raw: Vec<u8>,
    pub(super) status: u16,
    fields: Fields,
}

impl Response {
    /// None if it is not HTTP.
    pub(super) fn parse(raw: Vec<u8>) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        head.parse(&raw).ok()?;
        let status = head.code?;
        let fields = Fields::new(head.headers);
        Some(Self { raw, status, fields })
    }

    /// Whether another reply follows, which is the real one.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// How the body of the reply to a request with `method` ends.
    pub(super) fn framing(&self, method: &str) -> Framing {
        if method == "HEAD" || matches!(self.status, 100..200 | 204 | 304) {
            return Framing::Exact(0);
        }
        self.fields.framing().unwrap_or(Framing::UntilEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_header_out_and_leaves_the_rest_as_it_was() {
        let raw = b"PUT /a HTTP/1.1\r\nhOST: x\r\nIF-none-Match: *\r\nB:  y \r\n\r\n".to_vec();
        let mut request = Request::parse(raw).unwrap();
        request.remove("if-none-match");
        assert_eq!(request.raw, b"PUT /a HTTP/1.1\r\nhOST: x\r\nB:  y \r\n\r\n");
        assert_eq!(request.fields.get("If-None-Match"), None);
        assert_eq!(request.fields.get("host"), Some("x"));
    }

    #[test]
    fn knows_which_replies_have_a_body() {
        let framing = |head: &str, method: &str| {
            let head = format!("HTTP/1.1 {head}\r\n\r\n");
            Response::parse(head.into_bytes()).unwrap().framing(method)
        };
        assert_eq!(framing("200 OK\r\nContent-Length: 7", "GET"), Framing::Exact(7));
        assert_eq!(framing("200 OK\r\nContent-Length: 7", "HEAD"), Framing::Exact(0));
        assert_eq!(framing("204 No Content", "DELETE"), Framing::Exact(0));
        assert_eq!(framing("304 Not Modified\r\nContent-Length: 7", "GET"), Framing::Exact(0));
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: chunked", "GET"), Framing::chunked());
        assert_eq!(framing("200 OK", "GET"), Framing::UntilEnd);
    }
}
