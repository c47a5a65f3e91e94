//! What a server said that was no success: status, code, and when it wants to be asked again. Kept beside
//! the request, because `object_store` hands on a text alone.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use http::response::Parts;
use http_body_util::BodyExt as _;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};

/// No store says more when it refuses. What a web server adds is not read.
const TEXT_LIMIT_BYTES: usize = 64 << 10;

/// What a request was for, as far as its answer is to be understood by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether an object is there; a refusal has no body, and so no code.
    Head,
    /// To read or to delete an object.
    Object,
    /// A page of a listing.
    Page,
    /// Whatever a missing object is no answer to.
    #[default]
    Other,
}

impl Asked {
    pub(super) fn of(method: &Method, query: Option<&str>) -> Self {
        let mut pairs = query.unwrap_or_default().split('&');
        match *method {
            Method::HEAD => Self::Head,
            Method::GET if pairs.any(|pair| pair == "list-type=2" || pair == "comp=list") => {
                Self::Page
            }
            Method::GET | Method::DELETE => Self::Object,
            _ => Self::Other,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whose: the store's, or that of who gives credentials.
    pub(super) host: String,
    pub(super) asked: Asked,
    pub(super) status: u16,
    /// The server's word for it, such as `NoSuchBucket`; else empty.
    pub(super) code: String,
    /// Its sentence for people; else empty.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// Where the bucket is, if the server says so.
    pub(super) region: Option<String>,
    /// How far this machine's clock is ahead of the server's, to the second.
    pub(super) clock_ahead: SignedDuration,
}

/// The last refusal of an attempt.
pub(super) type Noted = Arc<Mutex<Option<Answer>>>;

tokio::task_local! {
    static NOTED: Noted;
}

/// Runs one attempt; returns what it came to, and what the server said.
pub(super) async fn noting<T>(
    work: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, (object_store::Error, Option<Answer>)> {
    let noted = Noted::default();
    let outcome = NOTED.scope(Arc::clone(&noted), work).await;
    outcome.map_err(|error| {
        let said = noted.lock().unwrap_or_else(PoisonError::into_inner).take();
        (error, said)
    })
}

impl Answer {
    pub(super) fn of(host: String, asked: Asked, head: &Parts, text: &str, now: Timestamp) -> Self {
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let code =
            tag(text, "Code").or_else(|| header("x-ms-error-code")).or_else(|| json(text, "error"));
        let message = tag(text, "Message").or_else(|| json(text, "error_description"));
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let date = header("date").and_then(|text| rfc2822::parse(text).ok());
        Self {
            host,
            asked,
            status: head.status.as_u16(),
            code: code.unwrap_or_default().to_owned(),
            message: one_line(message.unwrap_or_default()),
            retry_after: header("retry-after").and_then(|text| pause(text, header("date"))),
            region: header("x-amz-bucket-region")
                .or_else(|| tag(text, "Region"))
                .map(str::to_owned),
            clock_ahead: date
                .map_or(SignedDuration::ZERO, |date| now.duration_since(date.timestamp())),
        }
    }

    /// Keeps it for who made the attempt.
    pub(super) fn note(self) {
        // Outside of an attempt nobody asks.
        let _unasked = NOTED.try_with(|noted| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
        });
    }
}

/// What an XML element of this name holds.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    Some(after.split_once('<')?.0).filter(|found| !found.is_empty())
}

/// A text of a JSON object, as servers of tokens write it.
fn json<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("\"{name}\""))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(after.split_once('"')?.0)
}

/// How long to wait: `Retry-After` is seconds, or a date, which the server's own date makes a duration.
fn pause(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    let now = rfc2822::parse(date?).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The body of a refusal, as far as it came.
pub(super) struct Text {
    pub(super) text: String,
    /// Why there is no more.
    broken: Option<HttpError>,
}

impl Text {
    /// Refuses half an answer: without its code, what passes cannot be told from what does not.
    pub(super) fn check(&self, said: &Answer) -> Result<(), HttpError> {
        match &self.broken {
            Some(error) if said.code.is_empty() => {
                let broken = BrokenOff { status: said.status, cause: error.to_string() };
                Err(HttpError::new(error.kind(), broken))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("an answer of status {status} broke off: {cause}")]
struct BrokenOff {
    status: u16,
    cause: String,
}

/// Reads the body of a refusal.
pub(super) async fn text_of(mut body: HttpResponseBody) -> Text {
    let (mut bytes, mut broken) = (Vec::new(), None);
    while bytes.len() < TEXT_LIMIT_BYTES && broken.is_none() {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => broken = Some(error),
        }
    }
    bytes.truncate(TEXT_LIMIT_BYTES);
    Text { text: String::from_utf8_lossy(&bytes).into_owned(), broken }
}

/// A failure before any answer, which says nothing of the way.
pub(super) fn unknown(error: impl StdError + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// That there was no answer from a host: the store's, or that of who gives credentials.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {host}")]
pub(super) struct NoAnswer {
    pub(super) host: String,
    source: HttpError,
}

impl NoAnswer {
    pub(super) fn of(host: &str, error: reqwest::Error) -> HttpError {
        let source = transport(error);
        HttpError::new(source.kind(), Self { host: host.to_owned(), source })
    }
}

/// What happened on the way.
pub(super) fn transport(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    // The URL may hold a signature.
    HttpError::new(kind, error.without_url())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], text: &str) -> Answer {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        let now = "2026-10-21T08:28:00Z".parse().unwrap();
        Answer::of("host".to_owned(), Asked::Other, &head, text, now)
    }

    #[test]
    fn keeps_the_servers_words() {
        let text = "<?xml?><Error><Code>NoSuchBucket</Code><Message>The bucket\n is gone</Message></Error>";
        let said = answer(404, &[("x-amz-bucket-region", "eu-west-1")], text);
        assert_eq!((said.status, said.code.as_str()), (404, "NoSuchBucket"));
        assert_eq!(said.message, "The bucket is gone");
        assert_eq!(said.region.as_deref(), Some("eu-west-1"));
        let said = answer(404, &[("x-ms-error-code", "ContainerNotFound")], "");
        assert_eq!(said.code, "ContainerNotFound");
        let said =
            answer(400, &[], r#"{"error": "invalid_grant", "error_description": "Bad JWT"}"#);
        assert_eq!((said.code.as_str(), said.message.as_str()), ("invalid_grant", "Bad JWT"));
        assert_eq!(answer(403, &[], "<html>").code, "");
    }

    #[test]
    fn understands_when_to_come_back() {
        let after = |headers: &[(&str, &str)]| answer(503, headers, "").retry_after;
        assert_eq!(after(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let dates = [
            ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"),
            ("date", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(after(&dates), Some(Duration::from_secs(30)));
        assert_eq!(after(&dates[..1]), None);
        assert_eq!(after(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn compares_the_clocks() {
        let ahead = |date| answer(401, &[("date", date)], "").clock_ahead;
        assert_eq!(ahead("Wed, 21 Oct 2026 07:28:00 GMT"), SignedDuration::from_hours(1));
        assert_eq!(ahead("Wed, 21 Oct 2026 08:29:00 GMT"), SignedDuration::from_mins(-1));
        assert_eq!(ahead("today"), SignedDuration::ZERO);
        assert_eq!(answer(401, &[], "").clock_ahead, SignedDuration::ZERO);
    }

    #[test]
    fn knows_what_was_asked() {
        for (method, query, expected) in [
            (Method::HEAD, None, Asked::Head),
            (Method::GET, None, Asked::Object),
            (Method::GET, Some("prefix=list-type=2"), Asked::Object),
            (Method::GET, Some("list-type=2&prefix=a%2F"), Asked::Page),
            (Method::GET, Some("restype=container&comp=list"), Asked::Page),
            (Method::DELETE, None, Asked::Object),
            (Method::PUT, None, Asked::Other),
            (Method::POST, Some("restype=container&comp=batch"), Asked::Other),
        ] {
            assert_eq!(Asked::of(&method, query), expected, "{method} {query:?}");
        }
    }

    /// A body of so many bytes that then goes on, or breaks off.
    fn body(start: &str, filler_bytes: usize, breaks_off: bool) -> HttpResponseBody {
        let start = Ok(Frame::data(Bytes::from(start.to_owned())));
        let filler = Ok(Frame::data(Bytes::from(vec![b' '; filler_bytes])));
        let end = breaks_off.then(|| Err(unknown(std::io::Error::other("gone"))));
        HttpResponseBody::new(StreamBody::new(stream::iter([start, filler].into_iter().chain(end))))
    }

    #[tokio::test]
    async fn a_long_refusal_counts_by_its_beginning() {
        let code = "<Error><Code>AccessDenied</Code>";
        let found = text_of(body(code, 1 << 20, true)).await;
        assert_eq!(found.text.len(), TEXT_LIMIT_BYTES);
        found.check(&answer(403, &[], &found.text)).unwrap();
        let page = text_of(body("<html>", 1 << 20, true)).await;
        page.check(&answer(403, &[], &page.text)).unwrap();
    }

    #[tokio::test]
    async fn half_a_refusal_counts_if_its_code_came() {
        let found = text_of(body("<Error><Code>AccessDenied</Code>", 9, true)).await;
        found.check(&answer(403, &[], &found.text)).unwrap();
        let found = text_of(body("<Error><Co", 9, true)).await;
        let error = found.check(&answer(409, &[], &found.text)).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
        let whole = text_of(body("", 9, false)).await;
        whole.check(&answer(403, &[], &whole.text)).unwrap();
    }
}
