//! The small numbers of the format: fixed and variable-length integers, strings and lists, read
//! from bytes that may be hostile and written to a vector. FORMAT.md §1.

use crate::units::{to_u64, to_usize};

/// Why bytes could not be read: a rule of FORMAT.md that they break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Result of reading stored bytes.
pub type Read<T> = Result<T, Malformed>;

/// Appends a `var`.
pub fn put_var(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a length or count.
pub fn put_length(out: &mut Vec<u8>, value: usize) {
    put_var(out, to_u64(value));
}

/// Appends an `svar`.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_var(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends `bytes`: a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads numbers off the front of a slice; every read checks that the bytes are there.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Fails unless everything was read.
    pub fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes after the end")) }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Malformed("ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed("ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    /// A `u8`.
    pub fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A `u16`.
    pub fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A `u32`.
    pub fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A `u64`.
    pub fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A `var`.
    pub fn var(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(Malformed("number above 64 bits"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("number longer than 10 bytes"))
    }

    /// A `var` that must fit 32 bits.
    pub fn var_u32(&mut self) -> Read<u32> {
        u32::try_from(self.var()?).map_err(|_| Malformed("number above 32 bits"))
    }

    /// An `svar`.
    pub fn signed(&mut self) -> Read<i64> {
        let value = self.var()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A count of things that take at least `least_bytes` each, so that no allocation is larger than
    /// the bytes at hand can fill.
    pub fn count(&mut self, least_bytes: usize) -> Read<usize> {
        let count = to_usize(self.var()?);
        if count > self.rest.len() / least_bytes.max(1) {
            return Err(Malformed("count larger than the bytes that follow"));
        }
        Ok(count)
    }

    /// `bytes`.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = to_usize(self.var()?);
        self.take(length)
    }

    /// `text`.
    pub fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_var(&mut out, value);
            put_signed(&mut out, signed);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.var(), Ok(value));
            prop_assert_eq!(cursor.signed(), Ok(signed));
            prop_assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn known_encodings() {
        let mut out = Vec::new();
        for value in [0, -1, 1, -2, 63, -64, 64] {
            put_signed(&mut out, value);
        }
        assert_eq!(out, [0, 1, 2, 3, 126, 127, 0x80, 1]);
    }

    #[test]
    fn hostile_numbers() {
        assert!(Cursor::new(&[0x80; 11]).var().is_err());
        assert!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).var().is_err()
        );
        assert!(Cursor::new(&[200, 1, 0]).count(1).is_err());
        assert!(Cursor::new(&[5, 1]).bytes().is_err());
    }
}
