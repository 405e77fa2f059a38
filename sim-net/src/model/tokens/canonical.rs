//! When two states of the model are the same state.
//!
//! The shipped structs hold points of time, heartbeat numbers and table versions that grow for
//! ever. What they decide depends only on distances: how long ago, how many heartbeats back, which
//! version is newer. So states are compared by those, and the space becomes small enough to be
//! searched whole.
//!
//! The shipped types derive `Hash`; [`Words`] is a hasher that keeps what is written instead of
//! mixing it. Kinds of words are told apart by their ranges, which the model chooses:
//!
//! | kind | range | becomes |
//! |---|---|---|
//! | time of player i's clock | (i + 1) << 56 and up | distance from that player's now, no further back than [`Origin::forgotten`] |
//! | heartbeat number of player i | (i + 1) << 48 and up | distance from that player's newest, no further back than [`NUMBERS_BACK`] |
//! | table version | 1 to 4095 | its rank among all versions in the state |
//! | anything else | | itself |
//!
//! Only 64-bit words can be one of these; narrower ones are kept apart by a tag.

use lifeboat_protocol::{Incarnation, Instant, LinkId, NodeId};
use std::hash::Hasher;

const TIME_SHIFT: u32 = 56;
const NUMBER_SHIFT: u32 = 48;
const VERSIONS: std::ops::Range<u64> = 1..4096;
/// Set in every word that was written narrower than 64 bits.
const NARROW: u64 = 1 << 44;

/// Heartbeats of a sender that are told apart: it sends one each tick, and perhaps an urgent one, and
/// no lease is longer than five ticks.
pub(super) const NUMBERS_BACK: u64 = 5;

/// The link of the model.
pub(super) const LINK: LinkId = LinkId(1 << 46);

/// The name of player `index`.
pub(super) fn node_id(index: usize) -> NodeId {
    NodeId((1 << 47) + index as u64)
}

/// The player with this name.
pub(super) fn index_of(node: NodeId) -> usize {
    (node.0 - (1 << 47)) as usize
}

/// A life of a player, from 1.
pub(super) fn life(number: u64) -> Incarnation {
    Incarnation((1 << 45) + number)
}

/// Where the clock of player `index` starts.
pub(super) fn clock_start(index: usize) -> Instant {
    Instant(((index as u64 + 1) << TIME_SHIFT) + (1 << 50))
}

/// The number before the first heartbeat of player `index`.
pub(super) fn numbers_start(index: usize) -> u64 {
    ((index as u64 + 1) << NUMBER_SHIFT) + 100
}

/// What the distances are taken from.
pub(super) struct Origin {
    /// Each player's own time.
    pub(super) clocks: Vec<Instant>,
    /// Each player's newest heartbeat.
    pub(super) numbers: Vec<u64>,
    /// The longest duration that anything is compared with, in nanoseconds: what is further back
    /// is just as long ago.
    pub(super) forgotten: u64,
}

/// A hasher that keeps every word.
#[derive(Default)]
pub(super) struct Words(Vec<u64>);

impl Words {
    /// The words in canonical form.
    pub(super) fn canonical(mut self, origin: &Origin) -> Vec<u64> {
        let mut versions: Vec<u64> =
            self.0.iter().copied().filter(|word| VERSIONS.contains(word)).collect();
        versions.sort_unstable();
        versions.dedup();
        for word in &mut self.0 {
            *word = if VERSIONS.contains(word) {
                versions.partition_point(|version| version < word) as u64 + 1
            } else if let Some(now) = owner(*word, TIME_SHIFT, origin.clocks.len()) {
                let now = origin.clocks[now].0;
                distance(*word, now, origin.forgotten, 1 << TIME_SHIFT)
            } else if let Some(newest) = owner(*word, NUMBER_SHIFT, origin.numbers.len()) {
                distance(*word, origin.numbers[newest], NUMBERS_BACK, 1 << NUMBER_SHIFT)
            } else {
                *word
            };
        }
        self.0
    }
}

fn owner(word: u64, shift: u32, players: usize) -> Option<usize> {
    let index = (word >> shift).checked_sub(1)? as usize;
    (index < players).then_some(index)
}

/// The distance of `word` from `origin`, `most` back at most, tagged with its kind.
fn distance(word: u64, origin: u64, most: u64, tag: u64) -> u64 {
    tag + (1 << (NUMBER_SHIFT - 1)) + word.max(origin.saturating_sub(most)) - origin
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().map(|byte| NARROW | u64::from(*byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.0.push(NARROW | u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.0.push(NARROW | u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.0.push(NARROW | u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0.push(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.0.push(NARROW | word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.0.push(NARROW | word as u64);
    }
}
