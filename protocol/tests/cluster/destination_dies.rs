//! A whole destination dies in the middle of a move: the VM runs on at its source and goes
//! elsewhere.

use crate::{
    LIMIT, finish, warm,
    world::{MIB, Setup, World, hypervisor::Place},
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

/// Only the daemon at the destination can resume the guest: with it dead for long enough to be missed, the
/// guest is not paused for it, and goes to another host.
#[test]
fn no_guest_is_paused_for_a_daemon_that_is_known_to_be_silent() {
    let started = || {
        let mut world = World::new(&Setup::new(1, 2));
        world.add_vm(0, 900 * MIB, 1_000_000);
        world.run(Duration::from_secs(10));
        world.evacuate(0);
        world.run_until(LIMIT, "bytes arrive", |world| receiver(world).is_some());
        world
    };
    let stands = |world: &World| {
        let places = world.places(world.vms[0]);
        places.iter().any(|(_, place)| *place == Place::Switching)
    };
    let copies = started().run_until(LIMIT, "it switches over", stands);
    let missed = Duration::from_millis(2500);
    for before_ms in (0..=1000).step_by(250) {
        let mut world = started();
        world.run(copies - missed - Duration::from_millis(before_ms));
        let host = receiver(&world).expect("bytes still arrive");
        world.crash(host);
        let mut stood = 0;
        for _ in 0..600 {
            world.run(Duration::from_millis(100));
            stood = if stands(&world) { stood + 1 } else { 0 };
            assert!(stood < 15, "{}", world.describe());
        }
        let vm = world.vms[0];
        let home = world.home(vm).unwrap_or_else(|| panic!("{}", world.describe()));
        assert!(home > 0 && home != host, "{}", world.describe());
    }
}
