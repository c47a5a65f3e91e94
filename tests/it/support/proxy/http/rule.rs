//! What is to happen to which request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::head::Request;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// It is read and answered, and the server does not see it.
    Answer(Reply),
    /// It is passed on this much later.
    Delay(Duration),
    /// The server does it, but instead of the reply the connection is reset.
    LoseReply,
    /// The connection ends when this many bytes of the reply's body have passed.
    TruncateReply { after_bytes: u64 },
    /// Both connections are reset when this many bytes of the request's body have passed, at the
    /// latest when all have.
    ResetUpload { after_bytes: u64 },
    /// It is read, and nothing is ever answered.
    BlackHole,
}

/// An answer of the proxy's own.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// Nothing but a status.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An error as S3, GCS and Azure word it.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error><Code>{code}</Code><Message>The proxy says so.</Message></Error>"
        );
        let reply = Self::new(status).header("x-ms-error-code", code);
        reply.header("Content-Type", "application/xml").body(body)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// An action and the requests that it is for: all, unless something is demanded of them.
#[derive(Debug)]
pub struct Rule {
    action: Action,
    method: Option<String>,
    target_part: Option<String>,
    header_part: Option<(String, String)>,
    skip: u64,
    times: u64,
    hits: Hits,
}

/// How often a rule decided.
#[derive(Clone, Debug, Default)]
pub struct Hits(Arc<AtomicU64>);

impl Hits {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Rule {
    pub fn new(action: Action) -> Self {
        Self {
            action,
            method: None,
            target_part: None,
            header_part: None,
            skip: 0,
            times: u64::MAX,
            hits: Hits::default(),
        }
    }

    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// The request's target, path and query as sent, has this in it.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.target_part = Some(part.to_owned());
        self
    }

    /// The header `name` has this in its value.
    #[must_use]
    pub fn header(mut self, name: &str, part: &str) -> Self {
        self.header_part = Some((name.to_owned(), part.to_owned()));
        self
    }

    /// The first so many that match are left alone.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Decides for so many only.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    fn decide(&mut self, request: &Request) -> Option<Action> {
        let is_wanted = self.times > 0
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.target_part.as_ref().is_none_or(|part| request.target.contains(part))
            && self.header_part.as_ref().is_none_or(|(name, part)| {
                request.fields.get(name).is_some_and(|value| value.contains(part))
            });
        if !is_wanted {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        self.hits.0.fetch_add(1, Ordering::Relaxed);
        Some(self.action.clone())
    }
}

/// What the store behind seems to be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    #[default]
    Honest,
    /// Its credential may list, read and create: whatever could overwrite or delete is refused
    /// with 403.
    LeastRights,
    /// It ignores that a request is to create only. The server must not check signatures.
    Liar,
}

/// The headers that let a request create, but not overwrite.
const CREATE_ONLY: [(&str, &str); 2] =
    [("if-none-match", "*"), ("x-goog-if-generation-match", "0")];

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) mode: Mode,
    rules: Vec<Rule>,
}

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) -> Hits {
        let hits = rule.hits.clone();
        self.rules.push(rule);
        hits
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What happens to `request`, which may be changed first; none if it is just passed on.
    pub(super) fn decide(&mut self, request: &mut Request) -> Option<Action> {
        let action = self.rules.iter_mut().find_map(|rule| rule.decide(request));
        match self.mode {
            Mode::Honest => action,
            Mode::LeastRights => {
                let refusal = || Action::Answer(Reply::error(403, "AccessDenied"));
                action.or_else(|| may_destroy(request).then(refusal))
            }
            Mode::Liar => {
                for (name, _) in CREATE_ONLY {
                    request.remove(name);
                }
                action
            }
        }
    }
}

/// Whether `request` could overwrite or delete something, or is unknown.
fn may_destroy(request: &Request) -> bool {
    let creates_only = CREATE_ONLY
        .iter()
        .any(|(name, value)| request.fields.get(name).is_some_and(|found| found == *value));
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let names: Vec<_> = query.split('&').map(|pair| pair.split('=').next().unwrap_or("")).collect();
    // A part of an object is none until it is completed.
    let is_part = query.split('&').any(|pair| pair == "comp=block")
        || names.contains(&"partNumber") && names.contains(&"uploadId");
    match request.method.as_str() {
        "GET" | "HEAD" => false,
        "PUT" => !creates_only && !is_part,
        "POST" if names.contains(&"uploads") => false,
        "POST" if names.contains(&"uploadId") => !creates_only,
        // A request for credentials is for no bucket.
        "POST" => path != "/",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, field: &str) -> Request {
        let text = format!("{method} {target} HTTP/1.1\r\n{field}\r\n\r\n");
        Request::parse(text.into_bytes()).unwrap()
    }

    #[test]
    fn tells_what_may_destroy() {
        let create = "If-None-Match: *";
        for (method, target, field, expected) in [
            ("GET", "/b/k", "a: b", false),
            ("HEAD", "/b/k", "a: b", false),
            ("PUT", "/b/k", "a: b", true),
            ("PUT", "/b/k", create, false),
            ("PUT", "/b/k", "If-None-Match: \"e\"", true),
            ("PUT", "/b/k", "x-goog-if-generation-match: 0", false),
            ("PUT", "/b/k", "x-goog-if-generation-match: 7", true),
            ("PUT", "/b/k?partNumber=1&uploadId=x", "a: b", false),
            ("PUT", "/b/k?partNumber=1", "a: b", true),
            ("POST", "/b/k?uploads", "a: b", false),
            ("POST", "/b/k?uploadId=x", "a: b", true),
            ("POST", "/b/k?uploadId=x", create, false),
            ("PUT", "/b/k?comp=block&blockid=x", "a: b", false),
            ("PUT", "/b/k?comp=blocklist", "a: b", true),
            ("PUT", "/b/k?comp=blocklist", create, false),
            ("POST", "/b?delete", "a: b", true),
            ("POST", "/", "a: b", false),
            ("DELETE", "/b/k", create, true),
            ("PATCH", "/b/k", create, true),
        ] {
            let found = may_destroy(&request(method, target, field));
            assert_eq!(found, expected, "{method} {target} {field}");
        }
    }

    #[test]
    fn decides_for_what_matches_only() {
        let mut rules = Rules::default();
        let rule = Rule::new(Action::LoseReply).method("PUT").path("pack/").header("A", "b");
        let hits = rules.add(rule.skip(1).times(2));
        let mut decide = |method: &str, target: &str, field: &str| {
            rules.decide(&mut request(method, target, field)).is_some()
        };
        assert!(!decide("GET", "/b/pack/1", "a: abc"));
        assert!(!decide("PUT", "/b/tree/1", "a: abc"));
        assert!(!decide("PUT", "/b/pack/1", "a: acc"));
        let decided = [(); 4].map(|()| decide("PUT", "/b/pack/1", "a: abc"));
        assert_eq!(decided, [false, true, true, false]);
        assert_eq!(hits.count(), 2);
    }
}
