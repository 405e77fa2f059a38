//! One guest's process hangs in the middle of its move: the others leave, and it is said.

use crate::{
    LIMIT, finish,
    shown::listed,
    world::{MIB, Setup, World, hypervisor::Place, moves::Hung},
};
use lifeboat_protocol::{VmId, command::Command, output::NoticeKind};
use std::time::Duration;

/// Six VMs on two hosts, of which the first one to move has just stopped to flow.
fn with_one_that_hangs(hung: Hung) -> (World, VmId) {
    let mut world = World::new(&Setup::new(2, 2));
    for number in 0..6 {
        world.add_vm(number % 2, 300 * MIB, 1_000_000);
    }
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    world.run_until(LIMIT, "one moves", |world| {
        world.vms.iter().any(|vm| world.places(*vm).iter().any(|one| one.1 == Place::Incoming))
    });
    world.run(Duration::from_millis(300));
    let moving = |vm: &&VmId| world.places(**vm).iter().any(|one| one.1 == Place::Incoming);
    let vm = *world.vms.iter().find(moving).expect("one moves");
    world.hang(vm, Some(hung));
    (world, vm)
}

fn others_are_safe(world: &World, but: VmId) -> bool {
    let safe = |vm: VmId| world.home(vm).is_some_and(|host| host > 1);
    world.vms.iter().filter(|vm| **vm != but).all(|vm| safe(*vm))
}

#[test]
fn a_source_that_hangs_holds_up_no_other_and_is_named() {
    let (mut world, vm) = with_one_that_hangs(Hung::Source);
    let took = world.run_until(LIMIT, "the others are safe", |world| others_are_safe(world, vm));
    assert!(took < Duration::from_secs(60), "{took:?}");
    world.run(Duration::from_secs(10));
    let named = world.notices(NoticeKind::Failed);
    assert!(named.iter().any(|one| one.text.contains("stands still")), "{named:?}");
    let reasons: Vec<String> = listed(&world, 3)
        .into_iter()
        .filter(|one| one.1.vm.id == vm)
        .flat_map(|one| one.1.reasons)
        .collect();
    assert!(reasons.iter().any(|one| one.contains("nothing of it flows")), "{reasons:?}");
    world.hang(vm, None);
    finish(&mut world);
}

#[test]
fn a_vm_whose_destination_hangs_is_moved_elsewhere() {
    let (mut world, _) = with_one_that_hangs(Hung::Destination);
    let took = finish(&mut world);
    assert!(took < Duration::from_secs(90), "{took:?}");
}

#[test]
fn a_destination_that_hangs_inside_the_switchover_does_not_freeze_the_guest() {
    for abort in [false, true] {
        let mut world = World::new(&Setup::new(1, 2));
        let vm = world.add_vm(0, 300 * MIB, 8_000_000);
        world.run(Duration::from_secs(10));
        let evacuation = world.evacuate(0);
        let switches =
            |world: &World| world.places(vm).iter().any(|(_, place)| *place == Place::Switching);
        world.run_until(LIMIT, "it switches", switches);
        world.hang(vm, Some(Hung::Destination));
        if abort {
            world.command(0, Command::Cancel { id: evacuation, abort: true });
        }
        let runs =
            |world: &World| world.places(vm).iter().any(|(_, place)| *place == Place::Running);
        let took = world.run_until(LIMIT, "it runs", runs);
        assert!(took < Duration::from_secs(10), "{took:?}");
        if !abort {
            world.run(Duration::from_secs(2));
            let named = world.notices(NoticeKind::Failed);
            assert!(named.iter().any(|one| one.text.contains("stood still")), "{named:?}");
            finish(&mut world);
        }
    }
}
