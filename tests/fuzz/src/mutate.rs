//! Blind mutations, for machines without the guided fuzzer and for the tests.
//!
//! Deterministic: the same seed draws the same mutations.

/// Numbers that decoders tend to mistake.
const TELLING: [u64; 12] = [
    0,
    1,
    127,
    255,
    256,
    65_535,
    65_536,
    1 << 31,
    u32::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// A source of mutations.
#[derive(Debug, Clone)]
pub struct Mutator(u64);

impl Mutator {
    /// One that draws from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }

    /// `bytes` with one to four things changed, no longer than `longest`; `other` lends pieces.
    pub fn mutated(&mut self, bytes: &[u8], other: &[u8], longest: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other);
        }
        bytes.truncate(longest);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let length = 1 + self.below(16);
        let end = (at + length).min(bytes.len());
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.draw() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = self.below(other.len() + 1);
                let piece = &other[from..(from + 4 * length).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            5 => {
                let number = TELLING[self.below(TELLING.len())].to_le_bytes();
                let width = 1 << self.below(4);
                let piece = number[..width].iter().copied();
                bytes.splice(at..(at + width).min(bytes.len()), piece);
            }
            _ => bytes.truncate(at),
        }
    }
}
