//! The worlds: some of each family, the same as in the experiments of that name, and one link that steps to a
//! tenth and back.

use super::super::{
    capacity,
    families::{Family, draw},
};
use crate::r#virtual::scenario::Scenario;

/// Kinds of worlds.
pub(super) const KINDS: [&str; 5] = ["link", "source", "round trip", "dirty", "step"];

/// A world.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// Index of its kind.
    pub(super) kind: usize,
    /// The seed that it is drawn from.
    pub(super) seed: u64,
    pub(super) scenario: Scenario,
}

/// So many of each family, and the one that steps.
pub(super) fn all(seeds: u64) -> Vec<Tried> {
    let families = [Family::Link, Family::Source, Family::RoundTrip, Family::Dirty];
    let drawn = families.into_iter().enumerate().flat_map(|(kind, family)| {
        (1..=seeds).map(move |seed| Tried { kind, seed, scenario: draw(family, seed) })
    });
    let step = Tried { kind: families.len(), seed: 1, scenario: capacity::step() };
    drawn.chain([step]).collect()
}
