//! The node at which an evacuation was started dies; the rest goes on.

use crate::{
    LIMIT, finish, warm,
    world::{Setup, World},
};
use std::time::Duration;

#[test]
fn the_evacuation_survives_its_initiator_in_the_safe_site() {
    let mut world = warm(&Setup::new(3, 3), 9);
    world.evacuate(3);
    world.run(Duration::from_millis(300));
    world.crash(3);
    // What was already on its way to that host waits, complete and paused, for its daemon.
    let waits = |world: &World, vm| world.places(vm).iter().any(|(host, _)| *host == 3);
    world.run_until(LIMIT, "the rest is safe", |world| {
        world.vms.iter().all(|vm| {
            waits(world, *vm) || world.home(*vm).is_some_and(|home| home >= world.sources)
        })
    });
    world.start(3);
    finish(&mut world);
}

#[test]
fn the_evacuation_survives_the_whole_host_where_it_was_started() {
    let mut world = warm(&Setup::new(3, 3), 9);
    world.evacuate(0);
    world.run(Duration::from_secs(2));
    world.kill_host(0);
    finish(&mut world);
    assert!(!world.died_with_host.is_empty(), "host 0 still had VMs");
}

#[test]
fn an_initiator_that_dies_before_it_was_heard_starts_it_when_it_comes_back() {
    let mut world = warm(&Setup::new(2, 2), 4);
    world.cut(&[0], &[1, 2, 3]);
    world.evacuate(0);
    world.run(Duration::from_millis(5));
    world.crash(0);
    world.heal();
    world.run(Duration::from_secs(5));
    world.start(0);
    finish(&mut world);
}
