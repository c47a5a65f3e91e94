//! The HTTP below `object_store`: every request passes here once. So here bytes are paced, silence is told
//! from slowness, and the server's own words are kept, of which `object_store` hands on only a text.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};

use super::answer::{self, Answer};
use super::checksum;
use crate::store::remote::{Attempt, Pace};

/// Bytes handed on at a time: so many are on their way when a limit says stop.
const PIECE_BYTES: usize = 64 << 10;

/// The way to one server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) client: reqwest::Client,
    pub(super) upload: Arc<Pace>,
    pub(super) download: Arc<Pace>,
    pub(super) checksum: UploadChecksum,
}

/// How an upload is kept from being changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadChecksum {
    /// The signature covers the content, or nothing can be done.
    Signed,
    /// It says its CRC-32C in the manner of Google, and the server refuses what was changed.
    SaysCrc32c,
    /// The server says the MD5 of what it stored, as Azure does, and we compare.
    ComparesMd5,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let host = parts.uri.authority().map_or_else(String::new, ToString::to_string);
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|error| answer::unknown(Unparsable(format!("{error}"))))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let uploads = *request.method() == http::Method::PUT;
        let mut expected_md5 = None;
        match self.checksum {
            UploadChecksum::SaysCrc32c if uploads => {
                let hash = format!("crc32c={}", checksum::crc32c(&body)).try_into();
                request.headers_mut().insert("x-goog-hash", hash.map_err(answer::unknown)?);
            }
            UploadChecksum::ComparesMd5 if uploads => expected_md5 = Some(checksum::md5(&body)),
            _ => {}
        }
        *request.body_mut() = Some(reqwest::Body::wrap(Upload::new(body, &self.upload)));
        let response = self.client.execute(request).await.map_err(answer::transport)?;
        let (head, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        Attempt::current().moved();
        let mut body = HttpResponseBody::new(Download::new(body, &self.download));
        if let (Some(expected), Some(found)) = (expected_md5, head.headers.get("content-md5"))
            && found.as_bytes() != expected.as_bytes()
        {
            return Err(answer::unknown(checksum::Changed));
        }
        if !head.status.is_success() {
            let text = answer::text_of(body).await?;
            Answer::of(host, &head, &text).note();
            body = text.into();
        }
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// A URL that one HTTP library makes and another does not take.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unparsable(String);

/// A wait for the line's limit.
type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

fn wait(pace: &Arc<Pace>, count: usize) -> Wait {
    let pace = Arc::clone(pace);
    Box::pin(async move { pace.pass(count).await })
}

/// A request's body, handed on piece by piece.
struct Upload {
    body: HttpRequestBody,
    /// The rest of the part that is being handed on.
    part: Bytes,
    left_bytes: u64,
    total_bytes: u64,
    pace: Arc<Pace>,
    waiting: Option<Wait>,
    attempt: Arc<Attempt>,
}

impl Upload {
    fn new(body: HttpRequestBody, pace: &Arc<Pace>) -> Self {
        let total_bytes = body.content_length() as u64;
        Self {
            body,
            part: Bytes::new(),
            left_bytes: total_bytes,
            total_bytes,
            pace: Arc::clone(pace),
            waiting: None,
            attempt: Attempt::current(),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("left_bytes", &self.left_bytes).finish_non_exhaustive()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.part.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.part = frame.into_data().unwrap_or_default(),
                other => return Poll::Ready(other),
            }
        }
        let count = self.part.len().min(PIECE_BYTES);
        let pace = Arc::clone(&self.pace);
        let waiting = self.waiting.get_or_insert_with(|| wait(&pace, count));
        ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        let piece = self.part.split_to(count);
        self.left_bytes = self.left_bytes.saturating_sub(count as u64);
        if self.left_bytes == 0 {
            self.attempt.handed_over(self.total_bytes);
        } else {
            self.attempt.moved();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }
}

/// An answer's body, taken in at the line's limit.
struct Download {
    body: reqwest::Body,
    pace: Arc<Pace>,
    /// What came, and the wait before it is handed on.
    waiting: Option<(Wait, Bytes)>,
    attempt: Arc<Attempt>,
}

impl Download {
    fn new(body: reqwest::Body, pace: &Arc<Pace>) -> Self {
        Self { body, pace: Arc::clone(pace), waiting: None, attempt: Attempt::current() }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        loop {
            if let Some((waiting, _)) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.attempt.moved();
                let data = self.waiting.take().map_or_else(Bytes::new, |(_, data)| data);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(answer::transport(error)))),
                // Trailers say nothing that is used.
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.waiting = Some((wait(&self.pace, data.len()), data));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How a peer that went away is noticed below HTTP too: by the kernel, in a minute.
pub(super) const SILENCE: Duration = Duration::from_mins(1);
