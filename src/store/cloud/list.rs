//! Listing a bucket page by page.

use async_trait::async_trait;
use object_store::list::{PaginatedListOptions, PaginatedListResult};

use super::CloudStore;
use super::location::Dialect;
use crate::store::remote::{Failure, Kind, Pages};
use crate::store::{Key, Object};

/// Objects per page: the most that S3 gives.
const PAGE: usize = 1_000;

/// How far a listing has come.
pub(super) struct CloudPages<'a> {
    store: &'a CloudStore,
    prefix: String,
    /// Where the next page begins; none before the first.
    page_token: Option<String>,
    is_done: bool,
}

impl<'a> CloudPages<'a> {
    pub(super) fn new(store: &'a CloudStore, prefix: &str) -> Self {
        Self { store, prefix: prefix.to_owned(), page_token: None, is_done: false }
    }
}

#[async_trait]
impl Pages for CloudPages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<Object>>, Failure> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.store.page(&self.prefix, PAGE, self.page_token.as_deref()).await?;
        let mut objects = self.store.objects_of(&page);
        if self.page_token.is_none() {
            objects.extend(self.store.namesake(&self.prefix).await?);
        }
        self.is_done = page.page_token.is_none();
        self.page_token = page.page_token;
        Ok(Some(objects))
    }
}

impl CloudStore {
    pub(super) async fn first_object(&self, prefix: &str) -> Result<Option<Object>, Failure> {
        if let Some(object) = self.namesake(prefix).await? {
            return Ok(Some(object));
        }
        let mut page_token: Option<String> = None;
        loop {
            let page = self.page(prefix, 1, page_token.as_deref()).await?;
            let objects = self.objects_of(&page);
            let first = objects.into_iter().min_by(|a, b| a.key.cmp(&b.key));
            // A page may be empty and yet not be the last.
            match (first, page.page_token) {
                (None, Some(token)) => page_token = Some(token),
                (first, _) => return Ok(first),
            }
        }
    }

    /// The object whose key is `prefix` itself. `object_store` leaves it out of Azure's listings, where it
    /// could be a directory. No prefix of ours names an object, so this costs a request in no backup.
    async fn namesake(&self, prefix: &str) -> Result<Option<Object>, Failure> {
        if self.location.dialect != Dialect::Azure || prefix.is_empty() || prefix.ends_with('/') {
            return Ok(None);
        }
        let key = Key::new(prefix);
        if !key.is_well_formed() {
            return Ok(None);
        }
        match self.size_of(&key).await {
            Ok(found) => Ok(Some(Object { key, size_bytes: found.size_bytes })),
            Err(failure) if failure.kind == Kind::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn page(
        &self,
        prefix: &str,
        count: usize,
        page_token: Option<&str>,
    ) -> Result<PaginatedListResult, Failure> {
        let full_prefix = self.location.full_name(prefix);
        let options = PaginatedListOptions {
            max_keys: Some(count),
            page_token: page_token.map(str::to_owned),
            ..Default::default()
        };
        let page = self.ask(self.client.list_paginated(Some(&full_prefix), options)).await?;
        // Else the same page would be asked for without end.
        if page_token.is_some() && page.page_token.as_deref() == page_token {
            return Err(Failure::transient(
                "an answer that makes no sense: the listing goes on where it was",
            ));
        }
        Ok(page)
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
