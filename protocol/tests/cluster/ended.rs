//! A guest that ends while it moves: what is left of it travels as a definition, and nobody takes that for
//! a VM that was shut off on purpose.

use crate::{
    LIMIT, finish,
    shown::{receiver, seen, under_way, until},
    world::{World, hypervisor::Place},
};
use lifeboat_protocol::{EvacuationId, SiteId, command::Command, output::NoticeKind, vm::Outcome};
use std::time::Duration;

/// What the last host knows of how the only VM arrived.
fn outcome(world: &World) -> Outcome {
    let known = world.node(3).outcomes_view(seen(world, 3).id);
    assert_eq!(known.len(), 1, "{known:?}");
    known[0].clone()
}

/// The VM has moved from a1 as a definition, and every host says that it ended.
fn check_named(world: &mut World) {
    finish(world);
    world.run(Duration::from_secs(3));
    let arrived = outcome(world);
    assert!(arrived.ended && !arrived.ran, "{arrived:?}");
    for host in 0..4 {
        let view = seen(world, host);
        assert!(view.done, "{host}: {view:?}");
        assert_eq!(view.ended, std::slice::from_ref(&arrived), "{host}");
    }
    let place = world.places(world.vms[0])[0].1;
    assert_eq!(place, Place::ShutOff);
    let expect = format!(
        "vm1 ran when its move began, ended at a1 while it moved, and is at {}, shut off: start it there",
        arrived.to
    );
    let failed = world.notices(NoticeKind::Failed);
    assert_eq!(failed.iter().filter(|one| one.text == expect).count(), 1, "{failed:#?}");
}

#[test]
fn it_is_named_where_it_arrives_shut_off_until_somebody_starts_it() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.kill_process(0, vm);
    check_named(&mut world);
    let (host, _) = world.places(vm)[0];
    assert!(world.hosts[host].hypervisor.turn(vm, Place::ShutOff, Place::Running));
    world.run(Duration::from_secs(5));
    assert!((0..4).all(|host| seen(&world, host).ended.is_empty()));
    assert!(outcome(&world).ended, "what happened stays as it was");
}

/// Its process dies while its last bytes flow: no complete copy was made of it.
#[test]
fn one_that_ends_in_its_switchover_is_not_taken_for_one_that_was_given_away() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.run_until(LIMIT, "it switches over", |world| world.switchover(vm).is_some());
    assert_eq!(world.switchover(vm), Some(false));
    world.kill_process(0, vm);
    check_named(&mut world);
    assert!(world.notices(NoticeKind::Alarm).is_empty());
}

/// Its process dies once its copy is complete: that is the VM.
#[test]
fn one_that_ends_when_its_copy_is_complete_runs_on_there() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.run_until(LIMIT, "its copy is complete", |world| world.switchover(vm) == Some(true));
    world.kill_process(0, vm);
    finish(&mut world);
    world.run(Duration::from_secs(3));
    assert!(!outcome(&world).ended);
    let (host, place) = world.places(vm)[0];
    assert!(host > 1 && place == Place::Running, "{place:?} at {host}");
}

#[test]
fn what_was_changed_for_its_move_is_undone_once_it_is_decided_to_stay() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.kill_process(0, vm);
    world.fill_disk(0);
    world.run(Duration::from_secs(10));
    assert_eq!(world.restored, [], "that it stays is not durable");
    world.empty_disk(0);
    world.run(Duration::from_millis(500));
    assert_eq!(world.restored, [vm]);
}

/// With its host, or with a daemon that is started anew in any moment after that.
#[test]
fn it_is_named_though_the_daemon_of_its_source_is_started_anew() {
    for after_ms in [0, 5, 20, 60, 100, 200, 400, 700, 1000, 1100, 1200, 1500, 2500] {
        let mut world = under_way();
        let vm = world.vms[0];
        if after_ms == 0 {
            world.crash(0);
        }
        world.kill_process(0, vm);
        world.run(Duration::from_millis(after_ms));
        if after_ms > 0 {
            world.crash(0);
        }
        world.run(Duration::from_millis(300));
        world.start(0);
        check_named(&mut world);
    }
}

#[test]
fn it_is_named_if_its_host_lost_power_when_an_attempt_had_just_failed() {
    let mut world = under_way();
    let vm = world.vms[0];
    // The destination cannot say that it has heard, and the record stays.
    let to = receiver(&world);
    world.cut(&[0], &[to]);
    let id = world.node(0).departures().get(vm).expect("it moves").id;
    world.abort(id);
    world.run(Duration::from_millis(100));
    assert_eq!(world.places(vm).first(), Some(&(0, Place::Running)));
    world.crash(0);
    world.kill_process(0, vm);
    world.heal();
    world.start(0);
    check_named(&mut world);
}

#[test]
fn one_that_runs_again_before_its_next_attempt_moves_like_any_other() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.kill_process(0, vm);
    world.run(Duration::from_millis(150));
    assert!(world.hosts[0].hypervisor.turn(vm, Place::ShutOff, Place::Running));
    until(&mut world, Place::Incoming);
    finish(&mut world);
    world.run(Duration::from_secs(3));
    let arrived = outcome(&world);
    assert!(arrived.ran && !arrived.ended, "{arrived:?}");
    assert!(seen(&world, 3).ended.is_empty());
}

/// Its owner starts it and shuts it off, while nobody takes it.
#[test]
fn one_that_ran_again_and_was_shut_off_on_purpose_is_not_named() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.kill_process(0, vm);
    world.run(Duration::from_millis(150));
    world.cut(&[0, 1], &[2, 3]);
    world.run(Duration::from_secs(8));
    assert_eq!(world.restored, [vm], "it is known to have ended");
    for (from, to) in [(Place::ShutOff, Place::Running), (Place::Running, Place::ShutOff)] {
        assert!(world.hosts[0].hypervisor.turn(vm, from, to));
        world.run(Duration::from_secs(3));
    }
    world.heal();
    finish(&mut world);
    world.run(Duration::from_secs(3));
    let arrived = outcome(&world);
    assert!(!arrived.ran && !arrived.ended, "{arrived:?}");
}

#[test]
fn one_that_was_started_and_went_back_is_not_named() {
    let mut world = under_way();
    let vm = world.vms[0];
    let first = seen(&world, 0).id;
    world.kill_process(0, vm);
    check_named(&mut world);
    let (host, _) = world.places(vm)[0];
    assert!(world.hosts[host].hypervisor.turn(vm, Place::ShutOff, Place::Running));
    world.run(Duration::from_secs(5));
    world.command(0, Command::Cancel { id: first, abort: false });
    // The only host left to take it is the one that it ended on.
    world.crash(1);
    world.run(Duration::from_secs(5));
    let back = Command::Evacuate {
        id: EvacuationId(first.0 + 1),
        from_sites: vec![SiteId::of("there")],
        from_hosts: Vec::new(),
        to: vec![SiteId::of("here")],
        deadline_ms: None,
    };
    world.command(0, back);
    world.run_until(LIMIT, "it goes back", |world| world.places(vm) == [(0, Place::Running)]);
    world.run(Duration::from_secs(5));
    for host in [0, 2, 3] {
        let all = world.node(host).evacuations_view(world.local(host));
        assert!(all.iter().all(|one| one.ended.is_empty()), "{host}: {all:?}");
    }
}
