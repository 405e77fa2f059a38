//! The node at which an evacuation was started dies; the rest goes on.

use crate::{finish, warm, world::Setup};
use std::time::Duration;

#[test]
fn the_evacuation_survives_its_initiator_in_the_safe_site() {
    let mut world = warm(&Setup::new(3, 3), 9);
    world.evacuate(3);
    world.run(Duration::from_millis(300));
    world.crash(3);
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
