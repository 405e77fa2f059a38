//! A guest that rewrites its memory faster than the link carries it, and that may not be held any longer.

use crate::{
    LIMIT,
    world::{MIB, Setup, World},
};
use lifeboat_protocol::output::NoticeKind;
use std::time::Duration;

#[test]
fn it_leaves_the_link_to_the_others_and_is_named() {
    let mut world = World::new(&Setup::new(2, 2));
    let endless = world.add_vm(0, 600 * MIB, 300_000_000);
    let policy = &mut world.hosts[0].hypervisor.guests.get_mut(&endless).expect("added").vm.policy;
    policy.priority = 90;
    policy.max_downtime_escalated_ms = policy.max_downtime_ms;
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    world.run(Duration::from_secs(5));
    // They come while it is under way already.
    let others: Vec<_> = (0..2).map(|host| world.add_vm(host, 600 * MIB, 0)).collect();
    let safe = |world: &World| others.iter().all(|vm| world.home(*vm).is_some_and(|host| host > 1));
    world.run_until(Duration::from_secs(120), "the others are safe", safe);
    let named = world.notices(NoticeKind::Failed);
    assert!(named.iter().any(|one| one.text.contains("allows no further step")), "{named:?}");
    // Once it writes less it leaves as well.
    world.calm(endless);
    world.run_until(LIMIT, "it is safe, too", World::all_safe);
}
