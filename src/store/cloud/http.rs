//! The HTTP below `object_store`: every request passes here once. So here bytes are paced, silence is told
//! from slowness, and the server's own words are kept, of which `object_store` hands on only a text.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::answer::{self, Answer, Asked, NoAnswer};
use super::body::{Download, Upload};
use super::{checksum, location, page};
use crate::store::remote::{Attempt, Pace};
use crate::world::{Clock as _, SystemClock};

/// No answer is longer that is no object: a page of 1,000 keys has few MiB.
const ANSWER_LIMIT_BYTES: u64 = 32 << 20;
/// No object is longer that is read at once.
const OBJECT_LIMIT_BYTES: u64 = 256 << 20;

/// The way to one server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) client: reqwest::Client,
    pub(super) upload: Arc<Pace>,
    /// None where there is no limit.
    pub(super) download: Option<Arc<Pace>>,
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
        let asked = Asked::of(&parts.method, parts.uri.query());
        let url: Result<reqwest::Url, _> = parts.uri.to_string().parse();
        let url = url.map_err(|error| answer::unknown(Unparsable(format!("{error}"))))?;
        let host = location::authority(&url);
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
        let response = self.client.execute(request).await;
        let response = response.map_err(|error| NoAnswer::of(&host, error))?;
        let (head, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        Attempt::current().moved();
        let limit_bytes = match asked {
            Asked::Object => OBJECT_LIMIT_BYTES,
            Asked::Head | Asked::Page | Asked::Other => ANSWER_LIMIT_BYTES,
        };
        let body = HttpResponseBody::new(Download::new(body, self.download.as_ref(), limit_bytes));
        if let (Some(expected), Some(found)) = (expected_md5, head.headers.get("content-md5"))
            && found.as_bytes() != expected.as_bytes()
        {
            return Err(answer::unknown(checksum::Changed));
        }
        let body = if !head.status.is_success() {
            let refusal = answer::text_of(body).await;
            let said = Answer::of(host, asked, &head, &refusal.text, SystemClock.now());
            refusal.check(&said)?;
            said.note();
            refusal.text.into()
        } else if asked == Asked::Page {
            page::without_odd_rows(body.collect().await?.to_bytes()).into()
        } else {
            body
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// A URL that one HTTP library makes and another does not take.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unparsable(String);

/// How a peer that went away is noticed below HTTP too: by the kernel, in a minute.
pub(super) const SILENCE: Duration = Duration::from_mins(1);
