//! A sender's daemon dies while it holds tokens, and comes back.

use crate::{
    LIMIT, finish, warm,
    world::{Setup, World},
};
use std::time::Duration;

fn sender(world: &World) -> Option<usize> {
    (0..world.sources).find(|host| {
        let node = world.hosts[*host].daemon.as_ref();
        node.is_some_and(|node| node.usable_tokens(world.local(*host), world.link) >= 500)
    })
}

#[test]
fn its_migration_is_adopted() {
    for pause_ms in [50, 1000, 3500, 8000, 20_000] {
        let mut world = warm(&Setup::new(3, 3), 9);
        world.evacuate(1);
        world.run_until(LIMIT, "somebody sends", |world| sender(world).is_some());
        world.run(Duration::from_millis(700));
        let host = sender(&world).expect("somebody still sends");
        world.crash(host);
        world.run(Duration::from_millis(pause_ms));
        world.start(host);
        finish(&mut world);
    }
}

#[test]
fn its_tokens_are_in_use_again_within_ten_seconds() {
    let mut world = warm(&Setup::new(3, 3), 9);
    world.evacuate(1);
    world.run_until(LIMIT, "somebody sends", |world| sender(world).is_some());
    world.run(Duration::from_millis(700));
    let host = sender(&world).expect("somebody still sends");
    world.crash(host);
    world.run_until(Duration::from_secs(10), "another one sends", |world| {
        sender(world).is_some_and(|other| other != host)
    });
    world.start(host);
    finish(&mut world);
}

#[test]
fn daemons_may_die_again_and_again() {
    let mut world = warm(&Setup::new(2, 2), 6);
    world.evacuate(0);
    for round in 0..12 {
        world.run(Duration::from_millis(400 + 370 * round));
        let host = round as usize % 4;
        world.crash(host);
        world.run(Duration::from_millis(130 * round));
        world.start(host);
    }
    finish(&mut world);
}
