//! Records in CBOR: maps with numbered fields, so that fields can be added and skipped.

use minicbor::{Decode, Encode};

use crate::repo::error::Error;

/// Encodes a record; cannot fail, since it writes to memory.
pub fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Infallible is the error type of writing to a vector; a custom encoder's message is the rest.
    if minicbor::encode(record, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// Decodes a record that was stored in `object`.
pub fn decode<'b, T: Decode<'b, ()>>(object: &impl ToString, bytes: &'b [u8]) -> Result<T, Error> {
    minicbor::decode(bytes)
        .map_err(|error| Error::damaged(object.to_string(), format!("not as expected: {error}")))
}

/// Codec of a list of repository secrets.
pub mod secrets {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};

    use crate::repo::secret::Secret;

    /// Writes an array of byte strings.
    pub fn encode<C, W: Write>(
        list: &[Secret],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(list.len() as u64)?;
        for secret in list {
            e.bytes(&secret.0)?;
        }
        Ok(())
    }

    /// Reads an array of 32-byte strings.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Secret>, DecodeError> {
        let mut list = Vec::new();
        for bytes in d.array_iter::<&minicbor::bytes::ByteSlice>()? {
            let bytes: [u8; 32] = bytes?
                .as_ref()
                .try_into()
                .map_err(|_| DecodeError::message("a secret of wrong length"))?;
            list.push(Secret(bytes));
        }
        Ok(list)
    }
}
