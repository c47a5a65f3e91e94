//! Checksums of uploads, in the notations of those clouds whose signature does not cover the content.

use bytes::Bytes;
use data_encoding::BASE64;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use object_store::client::HttpRequestBody;

/// What the server stored is not what was sent.
#[derive(Debug, thiserror::Error)]
#[error("the upload was changed on its way: the server's MD5 is another")]
pub(super) struct Changed;

/// The CRC-32C of a body, as Google writes it.
pub(super) fn crc32c(body: &HttpRequestBody) -> String {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for part in parts(body) {
        digest.update(&part);
    }
    let sum = u32::try_from(digest.finalize()).unwrap_or_default();
    BASE64.encode(&sum.to_be_bytes())
}

/// The MD5 of a body, as `Content-MD5` has it: against accidents, not against people.
pub(super) fn md5(body: &HttpRequestBody) -> String {
    let mut digest = Md5::new();
    for part in parts(body) {
        digest.update(&part);
    }
    BASE64.encode(&digest.finalize())
}

/// The parts of a body, which is in memory: none is copied.
fn parts(body: &HttpRequestBody) -> Vec<Bytes> {
    let mut body = body.clone();
    let mut parts = Vec::new();
    while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
        parts.extend(frame.into_data().ok());
    }
    parts
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;

    use super::*;

    #[test]
    fn sums_what_clouds_sum() {
        let parts = [Bytes::from_static(b"1234"), Bytes::from_static(b"56789")];
        let body: HttpRequestBody = PutPayload::from_iter(parts).into();
        // The check value of CRC-32C: 0xe3069283.
        assert_eq!(crc32c(&body), BASE64.encode(&[0xe3, 0x06, 0x92, 0x83]));
        assert_eq!(md5(&body), "JfnnlDI7RTiF9RgfG2JNCw==");
    }
}
