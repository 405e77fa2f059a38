//! A sender that is done hands the rest of its lease to the next: the link is hardly ever idle.

use crate::{
    LIMIT, finish,
    world::{MIB, Setup, World},
};
use std::time::Duration;

/// Share of the time in which the link carried something, in thousandths.
fn utilisation(setup: &Setup, vms: usize, memory: u64) -> u64 {
    let mut world = World::new(setup);
    for number in 0..vms {
        world.add_vm(number % setup.sources, memory, 0);
    }
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    world.run_until(LIMIT, "it begins", |world| world.busy_permille_sum > 0);
    let (steps, busy) = (world.flow_steps, world.busy_permille_sum);
    let took = finish(&mut world);
    let used = (world.busy_permille_sum - busy) / (world.flow_steps - steps);
    println!(
        "{vms} VMs of {} MiB on {} hosts: {took:?}, {used} permille",
        memory / MIB,
        setup.sources
    );
    used
}

#[test]
fn many_small_vms_on_alternating_hosts_keep_the_link_busy() {
    assert!(utilisation(&Setup::new(4, 4), 24, 256 * MIB) > 750);
}

#[test]
fn many_very_small_vms_do_not_starve_each_other() {
    assert!(utilisation(&Setup::new(4, 4), 48, 64 * MIB) > 450);
}

#[test]
fn one_host_alone_keeps_the_link_busy() {
    assert!(utilisation(&Setup::new(1, 2), 12, 512 * MIB) > 800);
}

#[test]
fn large_vms_keep_the_link_busy() {
    assert!(utilisation(&Setup::new(3, 3), 6, 2048 * MIB) > 900);
}

/// What is handed on to a VM that is over before the lease ends lies with its host until then.
#[test]
fn hosts_that_are_done_one_after_the_other_keep_the_link_busy() {
    assert!(utilisation(&Setup::new(6, 6), 6, 128 * MIB) > 600);
}
