//! Cheap reproducible randomness (SplitMix64). Never for secrets.

/// A stream of pseudo-random words that its seed determines.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    /// A stream for `seed`; `lane` picks one of many independent streams of the same seed.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        Self(mix(seed ^ mix(lane.wrapping_add(1))))
    }

    /// The stream of this name for `seed`: what one stream draws changes nothing in the others.
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        Self::new(seed, xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`, or 0 for limit 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // The bias towards small numbers is below 2^-32 for every limit used here.
        self.next() % limit.max(1)
    }

    /// A number from `least` to `most`, both possible.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// True `permille` times in a thousand.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// True with the given probability, 0 to 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what an f64 holds exactly.
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// Scrambles a word, one to one.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
