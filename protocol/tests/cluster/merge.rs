//! Evacuations that overlap only in part, and records that meet again after a partition.

use crate::{finish, warm, world::Setup};
use lifeboat_protocol::{EvacuationId, SiteId, command::Command};
use std::time::Duration;

#[test]
fn a_host_and_then_its_site() {
    let mut world = warm(&Setup::new(3, 3), 9);
    let host = world.hosts[1].id;
    world.command(
        4,
        Command::Evacuate {
            id: EvacuationId(1),
            from_sites: Vec::new(),
            from_hosts: vec![host],
            to: vec![SiteId::of("there")],
            deadline_ms: Some(600_000),
        },
    );
    world.run(Duration::from_secs(3));
    let elsewhere = (0..9).filter(|number| number % 3 != 1);
    for number in elsewhere {
        assert!(world.home(world.vms[number]).is_some_and(|home| home < 3), "only that host");
    }
    world.command(0, world.evacuation(EvacuationId(2)));
    finish(&mut world);
}

#[test]
fn two_halves_that_each_start_one() {
    let mut world = warm(&Setup::new(4, 2), 8);
    world.cut(&[0, 1], &[2, 3]);
    let (one, other) = (world.evacuate(0), world.evacuate(2));
    world.run(Duration::from_secs(5));
    world.heal();
    finish(&mut world);
    world.run(Duration::from_secs(6));
    for host in 0..6 {
        let known: Vec<_> = world
            .node(host)
            .evacuations_view(world.local(host))
            .iter()
            .map(|view| view.id)
            .collect();
        assert!(known.contains(&one) && known.contains(&other));
    }
}
