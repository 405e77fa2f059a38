//! Real nodes under hostile scripts: see [`crate::world`].

use std::sync::LazyLock;

use super::{Target, message};
use crate::world::{
    self, World,
    script::{PASS, say},
};

/// Messages, events and commands that nobody meant, into nodes that are at work.
pub(super) const TARGET: Target =
    Target { name: "node", run, seeds, longest: 2048, share_permille: 3 };

/// A world in which all have heard of each other, and an evacuation has been asked for.
static AT_WORK: LazyLock<World> = LazyLock::new(|| {
    let mut world = World::new(Default::default()).expect("an empty journal is a good one");
    world.pass(500);
    world.evacuate();
    world
});

fn run(bytes: &[u8]) {
    AT_WORK.clone().play(bytes);
}

fn seeds() -> Vec<Vec<u8>> {
    let names = world::names();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, message) in message::said().iter().enumerate() {
        let mut seed = vec![PASS, (number % 5) as u8 * 50];
        let from = (number % 3) as u8;
        seed.extend(say(from, (from + 1) % 3, &names.shorten(message)));
        seed.extend([PASS, 100]);
        if seed.len() <= TARGET.longest {
            seeds.push(seed);
        }
    }
    // One of each other step.
    for step in 2..16_u8 {
        seeds.push(vec![PASS, 250, step, 0, 1, 2, 0, PASS, 250, step, 1, 0, 5, 4, 3, 2, 1]);
        seeds.push(vec![PASS, 90, step, 1, 2, 250, 6, 7, 9, 200, 255, 3, 1, 1, PASS, 100]);
    }
    seeds
}
