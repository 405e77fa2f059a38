//! The checkers themselves: each is seen to object to a planted bug.

use crate::{
    LIMIT, warm,
    world::{Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{
    Incarnation, Input,
    message::{Heartbeat, Message},
    tokens::{Entry, Table},
    wire,
};
use std::time::Duration;

fn found(world: &World, what: &str) -> bool {
    world.found.iter().any(|one| one.starts_with(what))
}

#[test]
fn conservation_objects_to_a_grant_given_twice() {
    let mut world = warm(&Setup::new(2, 2), 4);
    world.strict = false;
    world.evacuate(0);
    world.run_until(LIMIT, "all tokens are out", |world| {
        world.node(0).usable_tokens(world.local(0), world.link)
            + world.node(1).usable_tokens(world.local(1), world.link)
            == 1000
    });
    assert!(world.found.is_empty());
    // An issuer that gives the second host what the first one has, in the name of every slice.
    let last = world.hosts[1].heartbeats;
    let forged = Message::Heartbeat(Heartbeat {
        incarnation: Incarnation(1),
        number: 1_000_000,
        leaving: false,
        echoes: Vec::new(),
        host: Default::default(),
        links: Vec::new(),
        queue: Default::default(),
        tables: vec![Table {
            link: world.link,
            version: 1_000_000,
            slices: (1 << 40) - 1,
            entries: [0, 1]
                .map(|host| Entry {
                    sender: world.hosts[host].id,
                    incarnation: Incarnation(1),
                    answering: if host == 0 { world.hosts[0].heartbeats } else { last },
                    tokens: 1000,
                })
                .to_vec(),
        }],
        accepted: Vec::new(),
        capacities: Vec::new(),
        evacuations: Vec::new(),
    });
    let from = world.hosts[2].id;
    for to in [0, 1] {
        world.input(to, Input::Received { from, bytes: wire::encode(&forged) });
    }
    world.run(Duration::from_millis(10));
    assert!(found(&world, "conservation"), "{}", world.describe());
}

#[test]
fn a_vm_that_runs_before_the_commit_is_seen_to_run_twice() {
    let mut world = warm(&Setup::new(1, 1), 1);
    world.strict = false;
    world.runs_without_commit = true;
    world.evacuate(0);
    let switching = |world: &World| {
        world.places(world.vms[0]).iter().any(|(_, place)| *place == Place::Switching)
    };
    world.run_until(LIMIT, "it switches over", switching);
    // The word of the destination is lost, so that the source runs on.
    while world.places(world.vms[0]).iter().all(|(_, place)| *place != Place::Running) {
        world.run(Duration::from_millis(10));
    }
    world.cut(&[0], &[1]);
    world.run(Duration::from_secs(3));
    assert!(found(&world, "runs twice"), "{}", world.describe());
}

#[test]
fn a_vm_that_vanishes_is_missed() {
    let mut world = warm(&Setup::new(1, 1), 1);
    world.strict = false;
    world.hosts[0].hypervisor.guests.clear();
    world.run(Duration::from_millis(50));
    assert!(found(&world, "lost"));
}

#[test]
fn memory_given_twice_is_seen() {
    let mut world = warm(&Setup::new(1, 1), 1);
    world.strict = false;
    world.hosts[0].hypervisor.memory = 1;
    world.hosts[0].hypervisor.guests.values_mut().for_each(|guest| guest.vm.memory = 100);
    assert!(world.violations().iter().any(|one| one.starts_with("memory")));
}

#[test]
fn the_same_seed_leads_to_the_same_end() {
    let run = || {
        let mut world = warm(&Setup::new(2, 2).lossy(5), 4);
        world.evacuate(0);
        world.run(Duration::from_secs(12));
        world.describe()
    };
    assert_eq!(run(), run());
}
