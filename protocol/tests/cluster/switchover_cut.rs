//! The link is cut at every point of the switchover: the VM never runs twice, and in the end runs
//! exactly once.

use crate::{
    LIMIT, finish,
    shown::listed,
    world::{MIB, Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{command::Command, output::NoticeKind, vm::Outcome};
use std::time::Duration;

fn with_one_vm() -> World {
    let mut world = World::new(&Setup::new(1, 2));
    world.add_vm(0, 300 * MIB, 8_000_000);
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    world.run_until(LIMIT, "it is copied", |world| {
        world.places(world.vms[0]).iter().any(|(_, place)| *place == Place::Incoming)
    });
    world
}

/// From when to when, in milliseconds after its first byte, the interesting part lasts.
fn window() -> std::ops::Range<u64> {
    let mut world = with_one_vm();
    let paused = world.run_until(LIMIT, "it switches", |world| {
        world.places(world.vms[0]).iter().any(|(_, place)| *place == Place::Switching)
    });
    let settled = world.run_until(LIMIT, "it is closed", World::settled);
    let from = paused.as_millis() as u64 - 60;
    from..from + 60 + settled.as_millis() as u64 + 100
}

fn disturb(what: impl Fn(&mut World), undo: impl Fn(&mut World), lengths: &[u64]) {
    for at in window().step_by(20) {
        for length in lengths {
            let mut world = with_one_vm();
            world.run(Duration::from_millis(at));
            what(&mut world);
            world.run(Duration::from_millis(*length));
            undo(&mut world);
            finish(&mut world);
        }
    }
}

#[test]
fn cut_both_ways() {
    disturb(|world| world.cut(&[0], &[1, 2]), World::heal, &[30, 400, 1600, 4000, 20_000]);
}

/// The way between the two ends alone is cut, for good, while others hear both.
#[test]
fn cut_while_others_hear_both_ends() {
    for at in window().step_by(20) {
        let mut world = with_one_vm();
        world.relay = true;
        world.run(Duration::from_millis(at));
        let vm = world.vms[0];
        let ends = world.places(vm);
        let to = ends.iter().map(|(host, _)| *host).find(|host| *host > 0);
        world.cut(&[0], &[to.unwrap_or(1)]);
        world.run_until(LIMIT, "it runs where it was to go", |world| {
            world.home(vm).is_some_and(|home| home > 0) && world.places(vm).len() == 1
        });
    }
}

#[test]
fn cut_one_way() {
    disturb(|world| world.cut_one_way(&[0], &[1, 2]), World::heal, &[400, 1600, 9000]);
    disturb(|world| world.cut_one_way(&[1, 2], &[0]), World::heal, &[400, 1600, 9000]);
}

#[test]
fn a_link_that_thins_does_not_freeze_the_guest() {
    for at in window().step_by(20) {
        let mut world = with_one_vm();
        world.run(Duration::from_millis(at));
        world.capacity /= 100_000;
        let vm = world.vms[0];
        let frozen = |world: &World| {
            let places = world.places(vm);
            !places.iter().any(|(_, place)| *place == Place::Running)
        };
        world.run(Duration::from_secs(15));
        assert!(!frozen(&world), "{}", world.describe());
        world.capacity *= 100_000;
        finish(&mut world);
    }
}

#[test]
fn the_source_daemon_dies() {
    disturb(|world| world.crash(0), |world| world.start(0), &[10, 300, 5000, 20_000]);
}

#[test]
fn the_destination_daemons_die() {
    let both = |world: &mut World| [1, 2].into_iter().for_each(|host| world.crash(host));
    let back = |world: &mut World| [1, 2].into_iter().for_each(|host| world.start(host));
    disturb(both, back, &[10, 300, 5000, 20_000]);
}

#[test]
fn the_source_daemon_dies_and_the_link_is_cut() {
    disturb(
        |world| {
            world.crash(0);
            world.cut(&[0], &[1, 2]);
        },
        |world| {
            world.start(0);
            world.run(Duration::from_millis(700));
            world.heal();
        },
        &[10, 1000, 3000],
    );
}

#[test]
fn the_whole_source_dies() {
    for at in window().step_by(20) {
        let mut world = with_one_vm();
        world.run(Duration::from_millis(at));
        world.kill_host(0);
        world.run(Duration::from_secs(20));
        let source = world.hosts[0].id;
        for host in [1, 2] {
            world.command(host, Command::DeclareDead { node: source, whole_site: true });
        }
        world.run(Duration::from_secs(2));
        let vm = world.vms[0];
        let runs = world.places(vm).iter().any(|(_, place)| *place == Place::Running);
        assert!(runs || world.died_with_host.contains(&vm), "{}", world.describe());
    }
}

#[test]
fn the_whole_destination_dies() {
    for at in window().step_by(20) {
        let mut world = with_one_vm();
        world.run(Duration::from_millis(at));
        let to =
            world.places(world.vms[0]).iter().find(|(host, _)| *host > 0).map(|(host, _)| *host);
        world.kill_host(to.unwrap_or(1));
        world.run(Duration::from_secs(60));
        let vm = world.vms[0];
        let lost = world.died_with_host.contains(&vm);
        assert!(lost || world.home(vm).is_some_and(|home| home > 0), "{}", world.describe());
    }
}

/// The copy's process dies when its source has given it away: the hypervisor keeps its definition.
#[test]
fn a_copy_that_dies_and_leaves_its_definition_is_lost() {
    let mut world = with_one_vm();
    let vm = world.vms[0];
    let to = world.places(vm).iter().map(|(host, _)| *host).find(|host| *host > 0).unwrap();
    world
        .run_until(LIMIT, "it switches", |world| world.places(vm).contains(&(0, Place::Switching)));
    world.freeze(to, Duration::from_secs(1));
    world.run_until(LIMIT, "it is given away", |world| {
        world.places(vm).contains(&(0, Place::MovedAway))
    });
    assert!(world.hosts[to].hypervisor.turn(vm, Place::Arrived, Place::ShutOff));
    world.changed(to);
    world.run(Duration::from_secs(5));
    let alarms = world.notices(NoticeKind::Alarm);
    let said = |text: &str| alarms.iter().any(|one| one.text.contains(text));
    assert!(said("is not here: start it cold"), "{alarms:?}");
    assert!(said("is not there any more"), "{alarms:?}");
    let shown = listed(&world, 1 + to % 2);
    let reasons: Vec<&String> = shown.iter().flat_map(|one| &one.1.reasons).collect();
    assert!(reasons.iter().any(|one| one.contains("start it cold")), "{reasons:?}");
    assert!(world.hosts[to].hypervisor.turn(vm, Place::ShutOff, Place::Running));
    world.changed(to);
    world.run_until(LIMIT, "it is known to run", |world| {
        listed(world, 1 + to % 2).iter().all(|one| one.1.reasons.is_empty())
    });
}

/// How the only VM's move ended.
fn outcome(world: &World) -> Outcome {
    let id = world.node(0).evacuations_view(world.local(0))[0].id;
    world.node(0).outcomes_view(id).pop().expect("it has moved")
}

#[test]
fn a_daemon_that_restarts_at_once_goes_on_with_its_switchover() {
    let mut world = with_one_vm();
    let vm = world.vms[0];
    world
        .run_until(LIMIT, "it switches", |world| world.places(vm).contains(&(0, Place::Switching)));
    world.capacity /= 20;
    world.crash(0);
    world.run(Duration::from_millis(100));
    world.start(0);
    world.run(Duration::from_millis(100));
    assert!(world.places(vm).contains(&(0, Place::Switching)), "it takes longer than that");
    world.capacity *= 20;
    finish(&mut world);
    assert_eq!(outcome(&world).attempts, 1);
}

#[test]
fn what_failed_attempts_sent_is_counted() {
    let mut world = with_one_vm();
    world.run(Duration::from_secs(1));
    let id = world.node(0).departures().get(world.vms[0]).expect("it moves").id;
    world.abort(id);
    finish(&mut world);
    let outcome = outcome(&world);
    let sent_twice = outcome.bytes_sent > outcome.bytes_needed + 100 * MIB;
    assert!(outcome.attempts == 2 && sent_twice, "{outcome:?}");
}
