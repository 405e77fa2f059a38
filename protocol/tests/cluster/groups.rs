//! VMs that belong together leave one after the other, wherever they are.

use crate::{
    LIMIT,
    world::{MIB, Setup, World},
};
use lifeboat_protocol::{EvacuationId, VmId};
use std::time::Duration;

fn put_into_group(world: &mut World, vm: VmId, group: &str) {
    let host = world.home(vm).expect("it runs");
    let guest = world.hosts[host].hypervisor.guests.get_mut(&vm).expect("added");
    guest.vm.policy.group = Some(group.into());
}

/// The VMs in the order in which they began.
fn in_order(world: &World, evacuation: EvacuationId) -> Vec<VmId> {
    let mut outcomes = world.node(0).outcomes_view(evacuation);
    outcomes.sort_by_key(|one| one.start_ms);
    outcomes.into_iter().map(|one| one.vm).collect()
}

fn leaves_in_a_block(restarted: bool) {
    let mut world = World::new(&Setup::new(3, 2));
    // Of each host the shortest, one in the middle and the longest are of the group; more than are told of.
    let mut group = Vec::new();
    for number in 0..24_u64 {
        let vm = world.add_vm(number as usize % 3, (100 + 12 * number) * MIB, 0);
        if [0, 5, 10, 12, 17, 22, 23].contains(&number) {
            group.push(vm);
        }
    }
    for vm in &group {
        put_into_group(&mut world, *vm, "shop");
    }
    world.run(Duration::from_secs(10));
    let evacuation = world.evacuate(0);
    if restarted {
        let safe = |world: &World| {
            group.iter().filter(|vm| world.home(**vm).is_some_and(|host| host > 2)).count()
        };
        world.run_until(LIMIT, "two of the group are safe", |world| safe(world) == 2);
        world.crash(1);
        world.run(Duration::from_secs(1));
        world.start(1);
    }
    world.run_until(LIMIT, "all arrive", World::all_safe);
    world.run_until(LIMIT, "all is closed", World::settled);
    let order = in_order(&world, evacuation);
    assert_eq!(order.len(), 24);
    let places: Vec<usize> =
        group.iter().filter_map(|vm| order.iter().position(|one| one == vm)).collect();
    let (first, last) = (places.iter().min().unwrap(), places.iter().max().unwrap());
    let others = last - first + 1 - group.len();
    // Who had begun, or had set room aside, before the first one of the group began goes on. A host that
    // is restarted is not waited for.
    let allowed = if restarted { 4 } else { 1 };
    assert!(others <= allowed, "{others} others in between, the group at {places:?}");
}

/// One of the group is urgent, and another class stands between it and the rest.
#[test]
fn a_group_keeps_the_class_that_it_began_with() {
    let mut world = World::new(&Setup::new(3, 2));
    let mut group = Vec::new();
    for number in 0..12_u64 {
        let vm = world.add_vm(number as usize % 3, (200 + 8 * number) * MIB, 0);
        let (grouped, priority) = match number {
            4 => (true, 90),
            6 | 8 => (true, 10),
            _ => (false, 50),
        };
        if grouped {
            put_into_group(&mut world, vm, "shop");
            group.push(vm);
        }
        let guest = world.hosts[number as usize % 3].hypervisor.guests.get_mut(&vm);
        guest.expect("added").vm.policy.priority = priority;
    }
    world.run(Duration::from_secs(10));
    let evacuation = world.evacuate(0);
    world.run_until(LIMIT, "all arrive", World::all_safe);
    world.run_until(LIMIT, "all is closed", World::settled);
    let order = in_order(&world, evacuation);
    let last = order.iter().rposition(|vm| group.contains(vm)).expect("they left");
    // One that had set room aside may go before the second one of the group.
    assert!(last <= group.len(), "the group is over with number {last} of {order:?}");
}

#[test]
fn nothing_else_begins_in_between() {
    leaves_in_a_block(false);
}

#[test]
fn a_daemon_that_restarts_learns_that_its_group_has_begun() {
    leaves_in_a_block(true);
}
