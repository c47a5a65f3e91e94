//! Bodies on their way: paced both ways, watched, and never longer than can be meant.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};

use super::answer;
use crate::store::remote::{Attempt, Pace};

/// Bytes handed on at a time where there is a limit: so many are on their way when it says stop.
const PIECE_BYTES: usize = 64 << 10;

/// A wait for the line's limit.
type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

fn wait(pace: &Arc<Pace>, count: usize, attempt: &Arc<Attempt>) -> Wait {
    let (pace, attempt) = (Arc::clone(pace), Arc::clone(attempt));
    Box::pin(async move {
        let _held = attempt.hold_back();
        pace.pass(count).await;
    })
}

/// A request's body, handed on piece by piece.
pub(super) struct Upload {
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
    pub(super) fn new(body: HttpRequestBody, pace: &Arc<Pace>) -> Self {
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
        let (pace, attempt) = (Arc::clone(&self.pace), Arc::clone(&self.attempt));
        let waiting = self.waiting.get_or_insert_with(|| wait(&pace, count, &attempt));
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
pub(super) struct Download<B> {
    body: B,
    pace: Option<Arc<Pace>>,
    limit_bytes: u64,
    left_bytes: u64,
    /// What came and was not handed on yet.
    part: Bytes,
    waiting: Option<Wait>,
    attempt: Arc<Attempt>,
}

impl<B> Download<B> {
    /// Fails once more than `limit_bytes` have come.
    pub(super) fn new(body: B, pace: Option<&Arc<Pace>>, limit_bytes: u64) -> Self {
        Self {
            body,
            pace: pace.map(Arc::clone),
            limit_bytes,
            left_bytes: limit_bytes,
            part: Bytes::new(),
            waiting: None,
            attempt: Attempt::current(),
        }
    }
}

impl<B: Body<Data = Bytes, Error = reqwest::Error> + Unpin> Download<B> {
    /// What comes next; nothing at the end.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(answer::transport(error)))),
                Some(Ok(frame)) => frame,
            };
            // The peer lives, however long our own limit holds back what it sent.
            self.attempt.moved();
            // Trailers say nothing that is used.
            let Ok(data) = frame.into_data() else { continue };
            match self.left_bytes.checked_sub(data.len() as u64) {
                Some(left_bytes) => self.left_bytes = left_bytes,
                None => return Poll::Ready(Some(Err(too_long(self.limit_bytes)))),
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error = reqwest::Error> + Unpin> Body for Download<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.part.is_empty() {
            match ready!(self.poll_part(context)) {
                Some(Ok(part)) => self.part = part,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let Some(pace) = self.pace.clone() else {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.part)))));
        };
        let count = self.part.len().min(PIECE_BYTES);
        let attempt = Arc::clone(&self.attempt);
        let waiting = self.waiting.get_or_insert_with(|| wait(&pace, count, &attempt));
        ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(Some(Ok(Frame::data(self.part.split_to(count)))))
    }

    /// No promise: `object_store` would set aside as much memory as a server only announces.
    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// An answer that goes on beyond all reason.
fn too_long(limit_bytes: u64) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, TooLong { limit_bytes })
}

#[derive(Debug, thiserror::Error)]
#[error("it is longer than {limit_bytes} bytes")]
struct TooLong {
    limit_bytes: u64,
}

/// Joins what comes of an object, and stops once it is more than was announced.
pub(super) async fn joined(
    mut pieces: BoxStream<'_, Result<Bytes, object_store::Error>>,
    announced_bytes: u64,
) -> Result<Bytes, object_store::Error> {
    // What comes in one piece is not copied.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut found_bytes = 0;
    while found_bytes <= announced_bytes
        && let Some(piece) = pieces.try_next().await?
    {
        found_bytes += piece.len() as u64;
        if found_bytes == piece.len() as u64 {
            first = piece;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(usize::try_from(announced_bytes).unwrap_or_default());
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&piece);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroU64;
    use std::time::Duration;

    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::world::Stopwatch;

    /// A body that comes in these frames.
    struct Frames(VecDeque<Bytes>);

    impl Frames {
        fn of(lengths_bytes: &[usize]) -> Self {
            Self(lengths_bytes.iter().map(|length| vec![7; *length].into()).collect())
        }
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = reqwest::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(u64::MAX)
        }
    }

    #[tokio::test]
    async fn an_answer_ends_where_it_makes_no_sense_any_more() {
        let whole = Download::new(Frames::of(&[60, 0, 40]), None, 100).collect().await;
        assert_eq!(whole.unwrap().to_bytes().len(), 100);
        let long = Download::new(Frames::of(&[60, 41]), None, 100);
        assert_eq!(long.size_hint().lower(), 0);
        let error = long.collect().await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Decode);
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_limit_takes_pieces_and_is_no_silence_of_the_peer() {
        let pace = Arc::new(Pace::new(NonZeroU64::new(1_000)));
        let started = Stopwatch::start();
        let mut body = Download::new(Frames::of(&[3 * PIECE_BYTES + 1]), Some(&pace), u64::MAX);
        let attempt = Arc::clone(&body.attempt);
        for expected in [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 1] {
            let next = tokio::time::timeout(Duration::ZERO, body.frame()).await;
            assert!(next.is_err() && attempt.is_held_back(), "{expected}");
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().len(), expected);
            assert!(!attempt.is_held_back());
        }
        assert!(body.frame().await.is_none());
        assert!(started.elapsed() > Duration::from_secs(190));
    }

    #[tokio::test]
    async fn an_object_is_as_long_as_was_announced_or_found_out() {
        for (pieces, announced_bytes, expected_bytes) in [
            (&[5][..], 5, 5),
            (&[2, 3], 5, 5),
            (&[2, 2], 5, 4),
            (&[2, 9, 1_000], 5, 11),
            (&[], 5, 0),
        ] {
            let pieces = pieces.iter().map(|length| Ok(Bytes::from(vec![7; *length])));
            let found = joined(stream::iter(pieces).boxed(), announced_bytes).await.unwrap();
            assert_eq!(found, vec![7; expected_bytes]);
        }
    }
}
