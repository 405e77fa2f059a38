//! Nothing goes wrong: every VM arrives, once, close to the physical bound.

use crate::world::{MIB, SECOND, Setup, World};
use std::time::Duration;

/// The time that the bytes of these VMs take at least: each at its best alone on the whole link.
fn bound(vms: &[(u64, u64)], capacity: u64) -> f64 {
    vms.iter().map(|(memory, dirty)| *memory as f64 / (capacity - dirty) as f64).sum()
}

fn mixed() -> Vec<(u64, u64)> {
    (0..16)
        .map(|number| {
            let memory = [256, 512, 1024, 2048][number % 4] * MIB + number as u64 * MIB;
            (memory, [0, 1_000_000, 4_000_000, 8_000_000][number / 4 % 4])
        })
        .collect()
}

#[test]
fn sixteen_vms_of_mixed_sizes_arrive_close_to_the_bound() {
    let setup = Setup { believed: 12_500_000, ..Setup::new(4, 4) };
    let mut world = World::new(&setup);
    let vms = mixed();
    for (number, (memory, dirty)) in vms.iter().enumerate() {
        world.add_vm(number % 4, *memory, *dirty);
    }
    world.run(Duration::from_secs(10));
    let idle: Vec<u64> = world.hosts.iter().map(|host| host.heartbeats).collect();
    println!("heartbeats in 10 idle seconds: {idle:?}");
    assert!(idle.iter().all(|sent| *sent <= 40), "idle nodes speak too much: {idle:?}");

    world.evacuate(0);
    let took = world.run_until(Duration::from_secs(600), "all arrive", World::all_safe);
    let busy: Vec<u64> = world
        .hosts
        .iter()
        .zip(&idle)
        .map(|(host, idle)| (host.heartbeats - idle) * SECOND / took.as_nanos() as u64)
        .collect();
    println!("heartbeats per busy second: {busy:?}");
    assert!(busy.iter().all(|rate| *rate < 40), "busy nodes speak too much: {busy:?}");

    let bound = bound(&vms, setup.capacity);
    let ratio = took.as_secs_f64() / bound;
    println!("took {took:?}, bound {bound:.1} s, ratio {ratio:.3}");
    world.run_until(Duration::from_secs(10), "all is closed", World::settled);
    assert!(ratio <= 1.25, "{ratio} times the bound");
}
