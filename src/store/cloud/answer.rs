//! What a server said that was no success: status, code, and when it wants to be asked again. Kept beside
//! the request, because `object_store` hands on a text alone.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::response::Parts;
use http_body_util::{BodyExt as _, Limited};
use jiff::fmt::rfc2822;
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};

/// No server says more when it refuses.
const TEXT_LIMIT_BYTES: usize = 64 << 10;

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whose: the store's, or that of who gives credentials.
    pub(super) host: String,
    pub(super) status: u16,
    /// The server's word for it, such as `NoSuchBucket`; else empty.
    pub(super) code: String,
    /// Its sentence for people; else empty.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// Where the bucket is, if the server says so.
    pub(super) region: Option<String>,
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
    pub(super) fn of(host: String, head: &Parts, text: &str) -> Self {
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let code =
            tag(text, "Code").or_else(|| header("x-ms-error-code")).or_else(|| json(text, "error"));
        let message = tag(text, "Message").or_else(|| json(text, "error_description"));
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            host,
            status: head.status.as_u16(),
            code: code.unwrap_or_default().to_owned(),
            message: one_line(message.unwrap_or_default()),
            retry_after: header("retry-after").and_then(|text| pause(text, header("date"))),
            region: header("x-amz-bucket-region")
                .or_else(|| tag(text, "Region"))
                .map(str::to_owned),
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

/// The body of a refusal.
pub(super) async fn text_of(body: HttpResponseBody) -> Result<String, HttpError> {
    let limited = Limited::new(body, TEXT_LIMIT_BYTES).collect().await;
    let bytes =
        limited.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, Boxed(error)))?;
    Ok(String::from_utf8_lossy(&bytes.to_bytes()).into_owned())
}

/// Gives a boxed error a type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Boxed(Box<dyn StdError + Send + Sync>);

/// A failure before any answer, which says nothing of the way.
pub(super) fn unknown(error: impl StdError + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
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
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], text: &str) -> Answer {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        Answer::of("host".to_owned(), &head, text)
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
}
