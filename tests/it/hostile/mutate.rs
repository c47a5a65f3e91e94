//! Damage that comes out the same every time: a number says all of it.

/// Numbers that parsers trip over.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x1_0000,
    0x00ff_ffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Longest input that is made: larger ones only take longer.
const MOST_BYTES: usize = 4096;

/// Makes one mutation; the numbers that it draws follow from its seed (`SplitMix64`).
pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u32) -> Self {
        Self { state: u64::from(seed).wrapping_mul(0x5851_f42d_4c95_7f2d) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// One of the seeds, damaged in one place or a few; now and then nothing but noise.
    pub fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(64) == 0 {
            let length = self.below(200);
            return self.bytes(length);
        }
        let mut bytes = seeds[self.below(seeds.len())].clone();
        // Half of all have one place only: what gets far into a parser is nearly right.
        self.damage(&mut bytes, seeds);
        while self.below(2) == 0 {
            self.damage(&mut bytes, seeds);
        }
        bytes.truncate(MOST_BYTES.max(seeds.iter().map(Vec::len).max().unwrap_or(0)));
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let end = at + self.below(bytes.len() - at + 1);
        match self.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.byte(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end.min(at + 16))),
            4 => self.inflate(bytes, at),
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let tail = other[from..].to_vec();
                bytes.splice(at.., tail);
            }
            6 => {
                let part = bytes[at..end].to_vec();
                let place = self.below(bytes.len());
                bytes.splice(place..place, part);
            }
            7 => {
                let count = self.below(8);
                let noise = self.bytes(count);
                bytes.splice(at..at, noise);
            }
            _ => bytes[at..end].fill([0, 0xff, b' ', b'['][end % 4]),
        }
    }

    /// Writes a number that something may take for a length, in one of the ways the format has.
    fn inflate(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let coded = match self.below(4) {
            0 => {
                let mut coded = Vec::new();
                backstay::repo::wire::put_var(&mut coded, number);
                coded
            }
            1 => number.to_le_bytes()[..4].to_vec(),
            2 => number.to_le_bytes().to_vec(),
            // CBOR's byte string, text, array and map, with eight bytes of length.
            _ => {
                let head = [0x5b, 0x7b, 0x9b, 0xbb][self.below(4)];
                [[head].as_slice(), &number.to_be_bytes()].concat()
            }
        };
        // Sometimes in place of what is there, sometimes before it.
        let replaced = if self.below(2) == 0 { at } else { bytes.len().min(at + coded.len()) };
        bytes.splice(at..replaced, coded);
    }
}

#[test]
fn damage_is_the_same_every_time_and_does_not_repeat() {
    let seeds = vec![(0..200).collect::<Vec<u8>>(), b"text of another seed".to_vec()];
    let all = |()| (0..500).map(|n| Mutator::new(n).mutate(&seeds)).collect::<Vec<_>>();
    let first = all(());
    assert_eq!(first, all(()));
    let distinct: std::collections::HashSet<_> = first.iter().collect();
    assert!(distinct.len() > 400, "{}", distinct.len());
}
