//! What is paused stays paused; what is shut off travels as its definition.

use crate::{
    finish,
    world::{MIB, Setup, World, hypervisor::Place},
};
use lifeboat_protocol::vm::RunState;
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
