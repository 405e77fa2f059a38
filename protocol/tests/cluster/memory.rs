//! Room at the destination is asked for, and never given twice.

use crate::{
    finish,
    world::{MIB, Setup, World},
};
use lifeboat_protocol::output::NoticeKind;
use std::time::Duration;

#[test]
fn tight_destinations_are_filled_and_never_overfilled() {
    for seed in 0..20 {
        let mut world = World::new(&Setup { memory: 2200 * MIB, seed, ..Setup::new(3, 3) });
        for number in 0..18 {
            world.add_vm(number % 3, 340 * MIB, 500_000);
        }
        world.run(Duration::from_secs(10));
        world.evacuate(0);
        finish(&mut world);
    }
}

#[test]
fn what_does_not_fit_stays_and_is_named() {
    let mut world = World::new(&Setup { memory: 1000 * MIB, ..Setup::new(2, 1) });
    for number in 0..4 {
        world.add_vm(number % 2, 400 * MIB, 0);
    }
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    world.run(Duration::from_secs(60));
    let safe = world.vms.iter().filter(|vm| world.home(**vm) == Some(2)).count();
    assert_eq!(safe, 2, "{}", world.describe());
    let view = &world.node(0).evacuations_view(world.local(0))[0];
    assert_eq!((view.stuck, view.done), (2, false), "{view:?}");
    assert!(!world.notices(NoticeKind::Failed).is_empty());
}

#[test]
fn where_room_is_scarce_the_urgent_go() {
    for seed in 0..10 {
        let mut world = World::new(&Setup { memory: 1000 * MIB, seed, ..Setup::new(2, 1) });
        for number in 0..4 {
            let vm = world.add_vm(number % 2, 400 * MIB, 0);
            let guest = world.hosts[number % 2].hypervisor.guests.get_mut(&vm).expect("just added");
            guest.vm.policy.priority = 89 - number as u8;
        }
        world.run(Duration::from_secs(10));
        world.evacuate(0);
        world.run(Duration::from_secs(60));
        let safe: Vec<bool> = world.vms.iter().map(|vm| world.home(*vm) == Some(2)).collect();
        assert_eq!(safe, [true, true, false, false], "seed {seed}: {}", world.describe());
    }
}
