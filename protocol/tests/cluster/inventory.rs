//! What a host says of its VMs, however many they are.

use crate::world::{MIB, Setup, World};
use std::time::Duration;

#[test]
fn many_vms_that_many_hosts_cannot_take_are_all_named_everywhere() {
    let mut world = World::new(&Setup { memory: 0, ..Setup::new(2, 30) });
    world.hosts[0].hypervisor.memory = 1 << 40;
    for _ in 0..150 {
        world.add_vm(0, 64 * MIB, 0);
    }
    world.run(Duration::from_secs(4));
    world.evacuate(1);
    world.run(Duration::from_secs(6));
    let seen = world.node(31).vms_view(world.local(31));
    assert_eq!(seen.len(), 150);
    assert!(seen.iter().all(|one| !one.vm.reasons.is_empty()), "{:?}", seen[0]);
    let refused = world.notices(lifeboat_protocol::output::NoticeKind::Rejected);
    assert!(refused.is_empty(), "{refused:?}");
}
