//! Content-defined cutting: `FastCDC` (Xia et al. 2020, crate `fastcdc`) with a table of secret
//! numbers, so that sizes of chunks tell nothing about known files to who lacks the repository secret.

use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use crate::units::{KIB, MIB, to_usize};

/// The secret table, in the two forms that the scan uses. Shared by all chunkers of a session.
#[derive(Clone)]
pub struct Gear {
    plain: Box<[u64; 256]>,
    shifted: Box<[u64; 256]>,
}

impl std::fmt::Debug for Gear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gear(…)")
    }
}

impl Gear {
    /// Takes the table of the repository.
    pub fn new(table: [u64; 256]) -> Self {
        Self { plain: Box::new(table), shifted: Box::new(table.map(|number| number << 1)) }
    }
}

/// Sizes and masks for one average.
#[derive(Clone, Copy, Debug)]
pub struct Chunker {
    average_bytes: usize,
    mask_small: u64,
    mask_large: u64,
}

impl Chunker {
    /// Chunks of `average_bytes`, which is taken into the permitted range: a power of two from
    /// 64 KiB to 4 MiB. None is smaller than a quarter of it (but a file's last) or larger than four
    /// times it.
    pub fn new(average_bytes: u32) -> Self {
        let average_bytes =
            to_usize(u64::from(average_bytes)).clamp(64 * KIB, 4 * MIB).next_power_of_two();
        let (mask_small, mask_large) = select_masks(average_bytes, Normalization::Level2);
        Self { average_bytes, mask_small, mask_large }
    }

    /// No chunk is longer.
    pub fn longest_bytes(&self) -> usize {
        self.average_bytes * 4
    }

    /// Length of the first chunk of `data`, which must hold [`Self::longest_bytes`] or end where the
    /// file ends.
    pub fn cut(&self, gear: &Gear, data: &[u8]) -> usize {
        let (_, length) = cut_gear(
            data,
            self.average_bytes / 4,
            self.average_bytes,
            self.longest_bytes(),
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            &gear.plain[..],
            &gear.shifted[..],
        );
        length.min(data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Random, SeededRandom};

    fn cuts(data: &[u8], seed: u64) -> Vec<usize> {
        let mut table = [0; 256];
        let random = SeededRandom::new(seed);
        for entry in &mut table {
            *entry = u64::from_le_bytes((&random as &dyn Random).array());
        }
        let gear = Gear::new(table);
        let chunker = Chunker::new(64 * 1024);
        let mut places = Vec::new();
        let mut at = 0;
        while at < data.len() {
            at += chunker.cut(&gear, &data[at..]);
            places.push(at);
        }
        places
    }

    #[test]
    fn cuts_move_with_the_content_and_depend_on_the_secret() {
        let mut data = vec![0; 4 * MIB];
        SeededRandom::new(3).fill(&mut data);
        let before = cuts(&data, 1);
        assert!(before.len() > 30, "{}", before.len());
        assert_ne!(before, cuts(&data, 2));
        data.splice(100..100, [7; 13]);
        let after = cuts(&data, 1);
        let shifted = before.iter().filter(|place| after.contains(&(**place + 13))).count();
        assert!(shifted + 3 > before.len(), "{shifted} of {} cuts survive", before.len());
    }

    #[test]
    fn constant_data_is_cut_at_the_longest() {
        let chunker = Chunker::new(64 * 1024);
        let places = cuts(&vec![0; MIB], 1);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] <= chunker.longest_bytes()));
    }
}
