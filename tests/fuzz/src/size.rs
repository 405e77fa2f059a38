//! How much a state holds.

use std::hash::{Hash, Hasher};

/// Counts what is hashed and hashes nothing.
#[derive(Default)]
struct Counter(u64);

impl Hasher for Counter {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The bytes that a state hashes, which grow with everything that it keeps.
pub fn size(state: &impl Hash) -> u64 {
    let mut counter = Counter::default();
    state.hash(&mut counter);
    counter.finish()
}
