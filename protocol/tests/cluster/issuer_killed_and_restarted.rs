//! A node that issues tokens dies; its slices pass on; it comes back.

use crate::{
    finish, warm,
    world::{Setup, World},
};
use std::time::Duration;

fn issued(world: &World) -> u16 {
    (world.sources..world.hosts.len())
        .filter_map(|host| world.hosts[host].daemon.as_ref())
        .map(|node| node.issued(world.link))
        .sum()
}

#[test]
fn its_slices_pass_on_within_ten_seconds_and_come_back() {
    let mut world = warm(&Setup::new(3, 3), 12);
    assert_eq!(issued(&world), 1000);
    world.evacuate(0);
    world.run(Duration::from_secs(3));
    world.crash(4);
    assert!(issued(&world) < 1000);
    world.run_until(Duration::from_secs(10), "the rest issues all", |world| issued(world) == 1000);
    world.start(4);
    world.run_until(Duration::from_secs(10), "it issues again", |world| {
        world.node(4).issued(world.link) > 0 && issued(world) == 1000
    });
    finish(&mut world);
}

#[test]
fn a_restart_stops_nobody_else_from_issuing() {
    let mut world = warm(&Setup::new(2, 4), 4);
    world.run(Duration::from_secs(10));
    let others = issued(&world) - world.node(5).issued(world.link);
    world.crash(5);
    world.run(Duration::from_millis(500));
    world.start(5);
    for _ in 0..40 {
        world.run(Duration::from_millis(100));
        assert!(issued(&world) >= others, "{} of {others} are issued", issued(&world));
    }
}

#[test]
fn a_node_that_leaves_on_purpose_is_followed_at_once() {
    let mut world = warm(&Setup::new(2, 3), 6);
    world.evacuate(0);
    world.run(Duration::from_secs(2));
    world.command(3, lifeboat_protocol::command::Command::Leave);
    world.run(Duration::from_secs(1));
    world.crash(3);
    world.run_until(Duration::from_secs(6), "the rest issues all", |world| issued(world) == 1000);
    world.start(3);
    finish(&mut world);
}
