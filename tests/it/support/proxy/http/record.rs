//! What passed: every request, and how much.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::head::Request;

const PATIENCE: Duration = Duration::from_mins(2);

/// Parameters whose values may be shown: everything else in a query may be a secret.
const HARMLESS: [&str; 10] = [
    "comp",
    "delimiter",
    "list-type",
    "marker",
    "max-keys",
    "maxresults",
    "partNumber",
    "prefix",
    "restype",
    "start-after",
];

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub method: String,
    /// The path, and the query with the values that are no secrets.
    pub path: String,
    /// None as long as the client got none.
    pub status: Option<u16>,
    /// Of the body, as the proxy received it.
    pub request_bytes: u64,
    /// Of the body, as the proxy sent it.
    pub response_bytes: u64,
}

/// What passed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many requests of each method.
    pub requests: BTreeMap<String, u64>,
    /// From the client, heads included.
    pub up_bytes: u64,
    /// To the client, heads included.
    pub down_bytes: u64,
}

impl Traffic {
    /// Requests of all methods.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Everything that passed.
#[derive(Debug, Default)]
pub(super) struct Records {
    inner: Mutex<(Vec<Recorded>, Traffic)>,
    changed: Condvar,
}

impl Records {
    /// Begins the record of a request and returns its number.
    pub(super) fn begin(&self, request: &Request) -> usize {
        let recorded = Recorded {
            method: request.method.clone(),
            path: without_secrets(&request.target),
            status: None,
            request_bytes: 0,
            response_bytes: 0,
        };
        let mut number = 0;
        self.update(|requests, traffic| {
            number = requests.len();
            requests.push(recorded);
            *traffic.requests.entry(request.method.clone()).or_default() += 1;
            traffic.up_bytes += request.raw.len() as u64;
        });
        number
    }

    pub(super) fn add_upload(&self, number: usize, bytes: usize) {
        self.update(|requests, traffic| {
            requests[number].request_bytes += bytes as u64;
            traffic.up_bytes += bytes as u64;
        });
    }

    pub(super) fn add_download(&self, number: usize, bytes: usize) {
        self.update(|requests, traffic| {
            requests[number].response_bytes += bytes as u64;
            traffic.down_bytes += bytes as u64;
        });
    }

    /// The client is sent a head with `status`.
    pub(super) fn answer(&self, number: usize, status: u16, head_bytes: usize) {
        self.update(|requests, traffic| {
            requests[number].status = Some(status);
            traffic.down_bytes += head_bytes as u64;
        });
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.inner.lock().unwrap().0.clone()
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.inner.lock().unwrap().1.clone()
    }

    pub(super) fn wait_until(&self, is_enough: impl Fn(&[Recorded]) -> bool) {
        let inner = self.inner.lock().unwrap();
        let missing = |inner: &mut (Vec<Recorded>, Traffic)| !is_enough(&inner.0);
        let (inner, end) = self.changed.wait_timeout_while(inner, PATIENCE, missing).unwrap();
        assert!(!end.timed_out(), "in {PATIENCE:?} it came to {:?} only", inner.1);
    }

    fn update(&self, update: impl FnOnce(&mut Vec<Recorded>, &mut Traffic)) {
        let mut inner = self.inner.lock().unwrap();
        let (requests, traffic) = &mut *inner;
        update(requests, traffic);
        self.changed.notify_all();
    }
}

fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if !HARMLESS.contains(&name) => name,
        _ => pair,
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[test]
fn keeps_no_secrets() {
    assert_eq!(without_secrets("/a/b"), "/a/b");
    let target = "/a?prefix=b/c&sig=s3cret%3D&X-Amz-Signature=s3cret&uploads";
    assert_eq!(without_secrets(target), "/a?prefix=b/c&sig&X-Amz-Signature&uploads");
}
