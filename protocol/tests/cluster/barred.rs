//! Hosts that an evacuation empties take no arrivals, done or not: it is said which one, and how to end
//! that.

use crate::{
    finish,
    shown::listed,
    world::{MIB, Setup, World},
};
use lifeboat_protocol::{EvacuationId, SiteId, command::Command, plan::Terms};
use std::time::Duration;

/// Two sites of two hosts each, of which the second was emptied although it had nothing.
fn emptied_there() -> (World, EvacuationId) {
    let mut world = World::new(&Setup::new(2, 2));
    world.add_vm(0, 300 * MIB, 0);
    world.run(Duration::from_secs(10));
    let id = EvacuationId(0xb0);
    let back = Command::Evacuate {
        id,
        from_sites: vec![SiteId::of("there")],
        from_hosts: Vec::new(),
        to: vec![SiteId::of("here")],
        deadline_ms: None,
    };
    world.command(0, back);
    world.run(Duration::from_secs(5));
    (world, id)
}

fn check(reasons: &[String], id: EvacuationId) {
    assert_eq!(reasons.len(), 1, "one reason for hosts that are alike: {reasons:?}");
    assert!(reasons[0].starts_with("each of b1, b2: it takes no arrivals"), "{reasons:?}");
    assert!(reasons[0].contains(&format!("`lifeboat cancel {id}`")), "{reasons:?}");
}

#[test]
fn a_plan_and_the_reasons_name_the_evacuation_that_bars_its_destinations() {
    let (mut world, id) = emptied_there();
    let terms = Terms {
        from_sites: vec![SiteId::of("here")],
        to: vec![SiteId::of("there")],
        ..Terms::default()
    };
    let plan = world.node(1).plan(world.local(1), &terms);
    check(&plan.vms[0].reasons, id);

    world.evacuate(2);
    world.run(Duration::from_secs(5));
    let (_, waits) = listed(&world, 3).into_iter().find(|(host, _)| host == "a1").expect("there");
    check(&waits.reasons, id);
    world.command(3, Command::Cancel { id, abort: false });
    finish(&mut world);
}
