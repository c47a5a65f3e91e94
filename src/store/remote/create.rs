//! Creating an object once, over a connection that may lose the answer.
//!
//! An upload that failed may have landed, and something on the way may have sent it twice. If "exists
//! already" comes back, only the bytes tell whether the one who was first is us. All registers hold
//! random bytes of their writer, so equal bytes are one's own.

use bytes::Bytes;

use super::{Kind, Remote, RemoteStore, Wanted};
use crate::store::count::RequestKind;
use crate::store::{Error, Key, is_joined};

/// How often a key may be taken and then not be there: a race with someone who deletes.
const UNDECIDED: u32 = 5;

impl<R: Remote> RemoteStore<R> {
    pub(super) async fn create_once(&self, key: &Key, parts: &[Bytes]) -> Result<(), Error> {
        let size_bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        for _ in 0..UNDECIDED {
            let attempt = || self.remote.create(key, parts);
            match self.retry.run(RequestKind::Put, size_bytes, attempt).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.kind == Kind::Exists => {}
                Err(failure) => {
                    return Err(failure.into_error("create", key, &self.remote.place()));
                }
            }
            match self.holds(key, parts, size_bytes).await {
                Ok(true) => return Ok(()),
                Ok(false) => break,
                // It has gone again, or a half of a race was reported as its end.
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Exists { key: key.clone() })
    }

    /// Whether the object under `key` is `parts`, joined. Costs a GET, which is counted here.
    async fn holds(&self, key: &Key, parts: &[Bytes], size_bytes: u64) -> Result<bool, Error> {
        self.retry.count(RequestKind::Get);
        let found = self.read(key, Wanted::Whole(size_bytes)).await?;
        Ok(found.size_bytes == size_bytes && is_joined(&found.content, parts))
    }
}
