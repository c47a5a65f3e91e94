//! Listing a bucket page by page.
//!
//! S3 lists keys in the order of their bytes; some servers walk directories instead, where `a/b`
//! comes before `a-b`. A page is put in order here. Should pages themselves overlap, the listing
//! fails rather than break the promise that others build on.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};

use super::S3Store;
use super::failure::Failure;
use crate::class::Class;
use crate::store::{Error, Key, Object};

/// Objects per page: the most that S3 gives.
const PAGE: usize = 1_000;

/// How far a listing has come.
struct Cursor {
    prefix: String,
    page_token: Option<String>,
    last: Option<Key>,
}

impl S3Store {
    pub(super) fn list_objects(&self, prefix: &str) -> BoxStream<'_, Result<Object, Error>> {
        let start = Cursor { prefix: prefix.to_owned(), page_token: None, last: None };
        let pages = stream::try_unfold(Some(start), move |cursor| async move {
            match cursor {
                Some(cursor) => self.next_page(cursor).await.map(Some),
                None => Ok(None),
            }
        });
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
    }

    pub(super) async fn first_object(&self, prefix: &str) -> Result<Option<Object>, Error> {
        let mut page_token = None;
        loop {
            let page = self.page(prefix, 1, page_token).await?;
            let objects = self.objects_of(&page);
            let first = objects.into_iter().min_by(|a, b| a.key.cmp(&b.key));
            // A page may be empty and yet not be the last.
            match (first, page.page_token) {
                (None, Some(token)) => page_token = Some(token),
                (first, _) => return Ok(first),
            }
        }
    }

    async fn next_page(
        &self,
        mut cursor: Cursor,
    ) -> Result<(VecDeque<Object>, Option<Cursor>), Error> {
        let page = self.page(&cursor.prefix, PAGE, cursor.page_token.take()).await?;
        let mut objects = self.objects_of(&page);
        objects.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        if let (Some(last), Some(first)) = (&cursor.last, objects.first())
            && first.key <= *last
        {
            return Err(Error::Place {
                place: self.location.url.clone(),
                reason: format!(
                    "this server does not list keys in order ({} came after {last}); it cannot \
                     hold a repository",
                    first.key
                ),
                class: Class::Config,
            });
        }
        if let Some(object) = objects.last() {
            cursor.last = Some(object.key.clone());
        }
        let next = page.page_token.map(|token| Cursor { page_token: Some(token), ..cursor });
        Ok((objects.into(), next))
    }

    async fn page(
        &self,
        prefix: &str,
        count: usize,
        page_token: Option<String>,
    ) -> Result<PaginatedListResult, Error> {
        let full_prefix = self.location.full_name(prefix);
        let attempt = || async {
            let options = PaginatedListOptions {
                max_keys: Some(count),
                page_token: page_token.clone(),
                ..Default::default()
            };
            let page = self.client.list_paginated(Some(&full_prefix), options);
            page.await.map_err(Failure::from)
        };
        let outcome = self.retry.run(0, attempt).await;
        outcome.map_err(|failure| failure.explain("list", &Key::new(prefix), &self.location))
    }

    /// A page's rows as keys of ours. Leaves out what other programs put there to make a prefix
    /// look like a folder.
    fn objects_of(&self, page: &PaginatedListResult) -> Vec<Object> {
        let rows = page.result.objects.iter();
        rows.filter_map(|row| {
            let name = self.location.key_of(row.location.as_ref())?;
            Some(Object { key: Key::new(name), size_bytes: row.size })
        })
        .collect()
    }
}
