//! Creating an object once, over a connection that may lose the answer.
//!
//! A PUT that timed out may have landed. If the next attempt then hears "exists already", the one
//! who was first may have been us: only the bytes tell. Without such a doubt the answer is final,
//! and no GET is spent on it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::{ObjectStore, PutMode, PutPayload};

use super::S3Store;
use crate::store::{Error, Key, Store};

impl S3Store {
    pub(super) async fn create_object(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let path = self.path_of("create", key)?;
        let size_bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        // Shares the parts: nothing is joined or copied here, whatever the number of attempts.
        let payload: PutPayload = parts.iter().cloned().collect();
        let may_have_landed = AtomicBool::new(false);
        let attempt = || async {
            let put = self.client.put_opts(&path, payload.clone(), PutMode::Create.into());
            // Set while the request is under way, so that a timeout leaves it set.
            let in_doubt = may_have_landed.swap(true, Ordering::Relaxed);
            let outcome = put.await.map(drop).map_err(super::Failure::from);
            if let Err(failure) = &outcome {
                let is_final = !failure.may_have_landed();
                may_have_landed.store(in_doubt || !is_final, Ordering::Relaxed);
            }
            outcome
        };
        match self.retry.run(size_bytes, attempt).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is_exists() => {
                let in_doubt = may_have_landed.load(Ordering::Relaxed);
                if in_doubt && self.holds(key, &parts, size_bytes).await? {
                    return Ok(());
                }
                Err(Error::Exists { key: key.clone() })
            }
            Err(failure) => Err(failure.explain("create", key, &self.location)),
        }
    }

    /// Whether the object under `key` is `parts`, joined.
    async fn holds(&self, key: &Key, parts: &[Bytes], size_bytes: u64) -> Result<bool, Error> {
        let found = match self.get(key, size_bytes).await {
            Ok(found) => found,
            Err(Error::Length { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(is_joined(&found, parts))
    }
}

/// Whether `whole` is the concatenation of `parts`.
fn is_joined(whole: &[u8], parts: &[Bytes]) -> bool {
    let mut rest = whole;
    for part in parts {
        match rest.strip_prefix(part.as_ref()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_parts_with_the_whole() {
        let parts = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        assert!(is_joined(b"abc", &parts));
        for other in [&b"ab"[..], b"abcd", b"abd", b""] {
            assert!(!is_joined(other, &parts));
        }
    }
}
