//! Ten percent loss, duplicates, reordering, drifting clocks, deaths and cuts.

use crate::{
    finish, warm,
    world::{Setup, World, random::Random},
};
use std::time::Duration;

#[test]
fn small_worlds_on_a_bad_network() {
    for seed in 0..120 {
        let mut world = warm(&Setup::new(2, 2).lossy(seed), 4);
        world.evacuate(seed as usize % 4);
        finish(&mut world);
    }
}

/// One random fault after another, then calm, and everything must end well.
#[test]
fn small_worlds_with_random_faults() {
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let mut world = warm(&Setup::new(3, 3).lossy(1000 + seed), 6);
        world.evacuate(0);
        for _ in 0..8 {
            world.run(Duration::from_millis(100 + random.below(3000)));
            disturb(&mut world, &mut random);
        }
        world.heal();
        for host in 0..world.hosts.len() {
            if world.hosts[host].daemon.is_none() {
                world.start(host);
            }
        }
        finish(&mut world);
    }
}

fn disturb(world: &mut World, random: &mut Random) {
    let host = random.below(world.hosts.len() as u64) as usize;
    let other = random.below(world.hosts.len() as u64) as usize;
    let receivers = host >= world.sources && other >= world.sources;
    match random.below(5) {
        0 | 1 if world.hosts[host].daemon.is_some() => world.crash(host),
        0 | 1 => world.start(host),
        2 if host != other && !receivers => world.cut(&[host], &[other]),
        3 if host != other && !receivers => world.cut_one_way(&[host], &[other]),
        4 => world.heal(),
        _ => {}
    }
}
