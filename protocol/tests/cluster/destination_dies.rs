//! A whole destination dies in the middle of a move: the VM runs on at its source and goes
//! elsewhere.

use crate::{
    LIMIT, finish, warm,
    world::{Setup, World, hypervisor::Place},
};
use std::time::Duration;

fn receiver(world: &World) -> Option<usize> {
    (world.sources..world.hosts.len()).find(|host| {
        let guests = &world.hosts[*host].hypervisor.guests;
        guests.values().any(|guest| guest.place == Place::Incoming)
    })
}

#[test]
fn a_move_to_a_dead_host_is_made_elsewhere() {
    for after_ms in [0, 300, 900, 2000] {
        let mut world = warm(&Setup::new(2, 3), 6);
        world.evacuate(0);
        world.run_until(LIMIT, "bytes arrive", |world| receiver(world).is_some());
        world.run(Duration::from_millis(after_ms));
        let host = receiver(&world).expect("bytes still arrive");
        world.kill_host(host);
        finish(&mut world);
    }
}

#[test]
fn a_destination_daemon_that_restarts_in_the_middle_loses_nothing() {
    for after_ms in (0..6000).step_by(250) {
        let mut world = warm(&Setup::new(2, 2), 4);
        world.evacuate(0);
        world.run(Duration::from_millis(after_ms));
        for host in [2, 3] {
            world.crash(host);
        }
        world.run(Duration::from_millis(300));
        for host in [2, 3] {
            world.start(host);
        }
        finish(&mut world);
    }
}
