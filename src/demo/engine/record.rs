//! Records: the bytes of one put, the same in the log and in tables.
//!
//! `u32` length of the body, `u32` checksum of the body (BLAKE3, cut short), then the body: `u64`
//! sequence, `u16` length of the key, key, value. All numbers are little endian.

use crate::units::to_usize;

/// Length and checksum.
pub(super) const HEADER_BYTES: usize = 8;
/// Sequence and length of the key.
const FIXED_BYTES: usize = 10;
/// No body is longer: a length beyond this is damage, and is not believed.
pub(super) const BODY_LIMIT_BYTES: usize = 16 << 20;
/// No key is longer.
pub(super) const KEY_LIMIT_BYTES: usize = u16::MAX as usize;

/// One put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of all puts; the first is 1.
    pub sequence: u64,
    /// What it is found by.
    pub key: Vec<u8>,
    /// What was put.
    pub value: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// There are fewer bytes than the record says it has.
    Short,
    /// The bytes contradict themselves.
    Wrong,
}

impl Record {
    /// How long the body is when written.
    pub(super) fn body_bytes(&self) -> usize {
        FIXED_BYTES + self.key.len() + self.value.len()
    }

    /// How long the record is when written.
    pub(super) fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes()
    }

    /// Appends the record's bytes. Key and body must be within their limits.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.body_bytes());
        body.extend_from_slice(&self.sequence.to_le_bytes());
        let key_bytes = u16::try_from(self.key.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&key_bytes.to_le_bytes());
        body.extend_from_slice(&self.key);
        body.extend_from_slice(&self.value);
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&body_bytes.to_le_bytes());
        bytes.extend_from_slice(&checksum(&body));
        bytes.extend_from_slice(&body);
    }

    /// Reads the record at the start of `bytes`, and says how many of them it takes.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize), Flaw> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Flaw::Short)?;
        let (sum, rest) = rest.split_first_chunk::<4>().ok_or(Flaw::Short)?;
        let length = to_usize(u32::from_le_bytes(*length).into());
        if !(FIXED_BYTES..=BODY_LIMIT_BYTES).contains(&length) {
            return Err(Flaw::Wrong);
        }
        let body = rest.get(..length).ok_or(Flaw::Short)?;
        if checksum(body) != *sum {
            return Err(Flaw::Wrong);
        }
        let (sequence, body) = body.split_first_chunk::<8>().ok_or(Flaw::Wrong)?;
        let (key_bytes, body) = body.split_first_chunk::<2>().ok_or(Flaw::Wrong)?;
        let key_bytes = usize::from(u16::from_le_bytes(*key_bytes));
        let (key, value) = body.split_at_checked(key_bytes).ok_or(Flaw::Wrong)?;
        let record = Self {
            sequence: u64::from_le_bytes(*sequence),
            key: key.to_vec(),
            value: value.to_vec(),
        };
        Ok((record, HEADER_BYTES + length))
    }
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(body).as_bytes();
    [a, b, c, d]
}

/// The record that the demo's writer puts at `sequence`: all of it follows from the number, so
/// that a checker needs nothing but the number to prove that a restored record is exactly right.
pub fn expected_record(sequence: u64) -> Record {
    let mut stream = blake3::Hasher::new_derive_key("backstay demo engine 1 record");
    stream.update(&sequence.to_le_bytes());
    let mut noise = [0; 257];
    stream.finalize_xof().fill(&mut noise);
    let (length, noise) = noise.split_at(1);
    // 64 to 319 letters: of many lengths, and half as long when compressed, as real data is.
    let letters = 64 + usize::from(length.first().copied().unwrap_or_default());
    let value = data_encoding::HEXLOWER.encode(noise);
    let value = value.into_bytes().into_iter().take(letters).collect();
    // In the order of no sequence, so that every table spans all keys and compaction has work.
    let key = format!("{:016x}-{sequence}", spread(sequence));
    Record { sequence, key: key.into_bytes(), value }
}

/// Numbers all over the range from numbers in a row (`SplitMix64`'s last step).
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let record = expected_record(42);
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(bytes.len(), record.encoded_bytes());
        assert_eq!(Record::decode(&bytes), Ok((record, bytes.len())));
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), Err(Flaw::Short));
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
