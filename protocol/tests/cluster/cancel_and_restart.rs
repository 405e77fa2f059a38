//! An evacuation is cancelled, with and without giving up what is under way, and started again.

use crate::{
    finish, warm,
    world::{Setup, World},
};
use lifeboat_protocol::command::Command;
use std::time::Duration;

fn safe(world: &World) -> usize {
    let home = |vm| world.home(vm).is_some_and(|host| host >= world.sources);
    world.vms.iter().filter(|vm| home(**vm)).count()
}

#[test]
fn running_moves_end_by_themselves() {
    let mut world = warm(&Setup::new(2, 2), 8);
    let id = world.evacuate(0);
    world.run(Duration::from_millis(4300));
    let before = safe(&world);
    world.command(3, Command::Cancel { id, abort: false });
    world.run(Duration::from_secs(40));
    let after = safe(&world);
    assert!(world.settled(), "{}", world.describe());
    assert!(after > before && after < 8, "{before} before, {after} after");
    world.evacuate(1);
    finish(&mut world);
}

#[test]
fn an_abort_gives_them_up() {
    let mut world = warm(&Setup::new(2, 2), 8);
    let id = world.evacuate(0);
    world.run(Duration::from_millis(4300));
    world.command(3, Command::Cancel { id, abort: true });
    world.run(Duration::from_secs(3));
    let at_once = safe(&world);
    assert!(world.settled(), "{}", world.describe());
    world.run(Duration::from_secs(30));
    assert_eq!(safe(&world), at_once, "nothing moves any more");
    assert!(at_once < 8);
    world.evacuate(1);
    finish(&mut world);
}

#[test]
fn a_cancelled_evacuation_is_not_revived_by_a_node_that_missed_it() {
    let mut world = warm(&Setup::new(3, 2), 6);
    let id = world.evacuate(0);
    world.run(Duration::from_millis(1500));
    world.cut(&[2], &[0, 1, 3, 4]);
    world.run(Duration::from_millis(100));
    world.command(0, Command::Cancel { id, abort: true });
    world.run(Duration::from_secs(6));
    world.heal();
    world.run(Duration::from_secs(5));
    let count = safe(&world);
    world.run(Duration::from_secs(40));
    assert!(world.settled(), "{}", world.describe());
    assert_eq!(safe(&world), count);
}
