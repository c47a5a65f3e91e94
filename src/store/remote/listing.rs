//! Listing page by page. Stores list keys in the order of their bytes; some servers walk directories
//! instead, where `a/b` comes before `a-b`. A page is put in order here. Should pages themselves overlap,
//! the listing fails rather than break the promise that others build on.

use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex;

use super::retry::Retry;
use super::{Pages, Remote};
use crate::class::Class;
use crate::store::count::RequestKind;
use crate::store::{Error, Key, Object};

/// How far a listing has come.
struct Cursor<'a> {
    /// Locked by one attempt at a time: they follow each other.
    pages: Mutex<Box<dyn Pages + 'a>>,
    prefix: Key,
    last: Option<Key>,
}

pub(super) fn list<'a>(
    remote: &'a impl Remote,
    retry: &'a Retry,
    prefix: &str,
) -> BoxStream<'a, Result<Object, Error>> {
    let cursor =
        Cursor { pages: Mutex::new(remote.pages(prefix)), prefix: Key::new(prefix), last: None };
    let pages = stream::try_unfold(cursor, move |mut cursor| async move {
        let attempt = || async { cursor.pages.lock().await.next().await };
        let page = retry
            .run(RequestKind::List, 0, attempt)
            .await
            .map_err(|failure| failure.into_error("list", &cursor.prefix, &remote.place()))?;
        let Some(mut objects) = page else {
            return Ok(None);
        };
        objects.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        if let (Some(last), Some(first)) = (&cursor.last, objects.first())
            && first.key <= *last
        {
            return Err(out_of_order(remote, last, &first.key));
        }
        cursor.last = objects.last().map(|object| object.key.clone()).or(cursor.last);
        Ok(Some((stream::iter(objects).map(Ok), cursor)))
    });
    pages.try_flatten().boxed()
}

fn out_of_order(remote: &impl Remote, last: &Key, next: &Key) -> Error {
    Error::Place {
        place: remote.place(),
        reason: format!(
            "this server does not list keys in order ({next} came after {last}); it cannot hold a \
             repository"
        ),
        class: Class::Config,
    }
}
