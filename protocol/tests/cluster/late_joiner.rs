//! Nodes that come up when the evacuation is under way.

use crate::{
    finish,
    world::{MIB, Setup, World},
};
use std::time::Duration;

#[test]
fn a_source_and_a_destination_join_late() {
    let mut world = World::unstarted(&Setup::new(3, 3));
    for number in 0..9 {
        world.add_vm(number % 3, (400 + 50 * number as u64) * MIB, 1_000_000);
    }
    for host in [0, 1, 3, 4] {
        world.start(host);
    }
    world.run(Duration::from_secs(8));
    world.evacuate(0);
    world.run(Duration::from_secs(4));
    world.start(5);
    world.run(Duration::from_secs(3));
    world.start(2);
    finish(&mut world);
}

#[test]
fn an_evacuation_started_before_the_safe_site_is_up_waits_for_it() {
    let mut world = World::unstarted(&Setup::new(2, 2));
    for number in 0..4 {
        world.add_vm(number % 2, 300 * MIB, 0);
    }
    world.start(0);
    world.start(1);
    world.run(Duration::from_secs(1));
    world.evacuate(0);
    world.run(Duration::from_secs(30));
    world.start(2);
    world.start(3);
    let took = finish(&mut world);
    assert!(took < Duration::from_secs(30), "{took:?}");
}
