//! Two operators start the same evacuation at once.

use crate::{finish, warm, world::Setup};
use lifeboat_protocol::{EvacuationId, output::NoticeKind};
use std::time::Duration;

#[test]
fn both_become_one() {
    let mut world = warm(&Setup::new(3, 3), 9);
    let (one, other) = (world.evacuate(0), world.evacuate(4));
    world.run(Duration::from_secs(1));
    for host in 0..world.hosts.len() {
        let views = world.node(host).evacuations_view(world.local(host));
        let merged: Vec<_> = views.iter().filter_map(|view| view.merged_into).collect();
        assert_eq!(merged, [one.min(other)], "as {} sees it", world.hosts[host].name);
    }
    finish(&mut world);
    world.run(Duration::from_secs(2));
    for host in 0..world.hosts.len() {
        let node = world.node(host);
        for view in node.evacuations_view(world.local(host)) {
            assert!(view.done, "{view:?}");
            assert_eq!(view.arrived, 9);
        }
        assert_eq!(node.outcomes_view(one).len(), 9);
        assert_eq!(node.outcomes_view(other).len(), 9);
    }
}

#[test]
fn cancelling_the_one_that_moves_leaves_the_other() {
    let mut world = warm(&Setup::new(2, 2), 4);
    let (one, other) = (world.evacuate(0), world.evacuate(1));
    world.run(Duration::from_secs(2));
    let id = one.min(other);
    world.command(2, lifeboat_protocol::command::Command::Cancel { id, abort: false });
    finish(&mut world);
}

/// The one that comes second takes over, being the lower one: what was begun for the first goes on.
#[test]
fn taking_over_costs_no_attempt() {
    let mut world = warm(&Setup::new(3, 3), 9);
    for (host, id) in [(0, 9), (4, 5)] {
        let evacuation = world.evacuation(EvacuationId(id));
        world.command(host, evacuation);
        world.run(Duration::from_millis(5));
    }
    finish(&mut world);
    let failed = world.notices(NoticeKind::Failed);
    assert!(failed.is_empty(), "{failed:#?}");
}
