//! What is paused stays paused; what is shut off travels as its definition.

use crate::{
    LIMIT, finish,
    world::{MIB, Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{departures::Phase, vm::RunState};
use std::time::Duration;

fn mixed(setup: &Setup) -> World {
    let mut world = World::new(setup);
    for state in [RunState::Running, RunState::Paused, RunState::ShutOff] {
        for _ in 0..2 {
            world.add_vm_as(0, 300 * MIB, 0, state);
        }
    }
    world.run(Duration::from_secs(10));
    world
}

fn check(world: &World) {
    for (index, vm) in world.vms.iter().enumerate() {
        let (host, place) = world.places(*vm)[0];
        assert!(host >= world.sources);
        let expected: &[Place] = match index / 2 {
            0 => &[Place::Running],
            1 => &[Place::Paused, Place::Arrived],
            _ => &[Place::ShutOff],
        };
        assert!(expected.contains(&place), "vm{} is {place:?}", index + 1);
    }
}

/// While a VM waits for its turn with room set aside for it, its owner pauses it, or has it run on.
#[test]
fn what_its_owner_does_while_it_waits_counts() {
    for (state, place, other) in [
        (RunState::Running, Place::Running, Place::Paused),
        (RunState::Paused, Place::Paused, Place::Running),
    ] {
        let mut world = World::new(&Setup::new(1, 2));
        world.add_vm(0, 500 * MIB, 0);
        let vm = world.add_vm_as(0, 600 * MIB, 0, state);
        world.run(Duration::from_secs(10));
        world.evacuate(0);
        let reserved = |world: &World| {
            let departure = world.node(0).departures().get(vm);
            departure.is_some_and(|one| one.phase == Phase::Reserved)
        };
        world.run_until(LIMIT, "room is set aside", reserved);
        assert!(world.hosts[0].hypervisor.turn(vm, place, other));
        world.changed(0);
        finish(&mut world);
        let (host, arrived) = world.places(vm)[0];
        let expected: &[Place] = match other {
            Place::Running => &[Place::Running],
            _ => &[Place::Paused, Place::Arrived],
        };
        assert!(host > 0 && expected.contains(&arrived), "{arrived:?}, was {other:?}");
    }
}

#[test]
fn states_are_kept() {
    let mut world = mixed(&Setup::new(1, 2));
    world.evacuate(0);
    finish(&mut world);
    check(&world);
}

#[test]
fn states_are_kept_on_a_bad_network_with_restarts() {
    for seed in 0..30 {
        let mut world = mixed(&Setup::new(1, 2).lossy(seed));
        world.evacuate(0);
        for round in 0..4 {
            world.run(Duration::from_millis(300 + seed * 40 + round * 500));
            let host = (seed + round) as usize % 3;
            world.crash(host);
            world.run(Duration::from_millis(200));
            world.start(host);
        }
        finish(&mut world);
        check(&world);
    }
}
