//! A journal on a full disk, or on one that hangs: nothing begins there, everybody knows why, and what
//! has begun goes on.

use crate::{
    LIMIT, finish,
    world::{DISK_FULL, MIB, Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{
    Input, SiteId,
    message::{InventoryVm, VmState},
    output::NoticeKind,
    plan::Terms,
};
use std::time::Duration;

const A1: usize = 0;
const A2: usize = 1;
const B1: usize = 2;
const B2: usize = 3;

const HANGS: &str = "it has not taken what was written for 5 s";

/// Two VMs on the first of two hosts that are to be emptied and one on the second, some seconds old.
fn three_vms() -> World {
    let mut world = World::new(&Setup::new(2, 2));
    for (host, memory) in [(A1, 256), (A1, 320), (A2, 4096)] {
        world.add_vm(host, memory * MIB, 0);
    }
    world.run(Duration::from_secs(10));
    world
}

/// What `host` lists of the VMs on `on`.
fn listed(world: &World, host: usize, on: usize) -> Vec<InventoryVm> {
    let listed = world.node(host).vms_view(world.local(host)).into_iter();
    listed.filter(|one| one.host == world.hosts[on].name).map(|one| one.vm).collect()
}

/// Whether `host` says in its own words of `of` that its journal cannot be written.
fn knows(world: &World, host: usize, of: usize) -> bool {
    let nodes = world.node(host).nodes_view(world.local(host));
    let of = &world.hosts[of].name;
    nodes.iter().any(|one| one.name == *of && one.host.is_some_and(|host| host.journal_fails))
}

#[test]
fn at_a_source_its_vms_wait_and_the_link_is_the_others() {
    let mut world = three_vms();
    world.fill_disk(A1);
    world.evacuate(B1);
    world.run(Duration::from_secs(2));
    for host in [A1, A2, B1, B2] {
        assert!(knows(&world, host, A1), "{host}");
        let waiting = listed(&world, host, A1);
        assert_eq!(waiting.len(), 2, "{waiting:?}");
        for one in waiting {
            assert_eq!(one.state, VmState::Queued, "{host}");
            assert_eq!(one.reasons, [format!("the journal of a1 cannot be written: {DISK_FULL}")]);
        }
    }
    let tokens =
        |world: &World, host: usize| world.node(host).usable_tokens(world.local(host), world.link);
    for _ in 0..100 {
        world.run(Duration::from_millis(100));
        assert_eq!(tokens(&world, A1), 0);
        let out: Vec<_> = world.node(A1).departures().all().collect();
        assert!(out.is_empty(), "{out:?}");
    }
    assert!(tokens(&world, A2) > 900, "{}", tokens(&world, A2));
    for host in [B1, B2] {
        let come: Vec<_> = world.node(host).arrivals().all().map(|one| one.id.source).collect();
        assert!(!come.contains(&world.hosts[A1].id), "no room is kept for what does not come");
    }
    let said: Vec<&str> = world.hosts[A1].notices.iter().map(|one| one.text.as_str()).collect();
    assert!(!said.iter().any(|text| text.contains("starts to move")), "{said:#?}");
    assert!(!said.iter().any(|text| text.contains("did not say that it started")), "{said:#?}");
    let terms = Terms {
        from_sites: vec![SiteId::of("here")],
        to: vec![SiteId::of("there")],
        ..Terms::default()
    };
    let plan = world.node(B1).plan(world.local(B1), &terms);
    let cannot: Vec<&str> =
        plan.vms.iter().filter(|one| one.to.is_none()).map(|one| one.reasons[0].as_str()).collect();
    assert_eq!(cannot, ["the journal of a1 cannot be written: no space left on device"; 2]);
    let view = world.node(B1).evacuations_view(world.local(B1)).pop().expect("one is known");
    assert_eq!((view.vms_left, view.stuck, view.done), (1, 2, false));
    world.empty_disk(A1);
    finish(&mut world);
    assert!(!knows(&world, B1, A1));
}

#[test]
fn what_has_begun_goes_on() {
    let mut world = three_vms();
    world.evacuate(B1);
    let begun = |world: &World| {
        let place = |host: usize| world.hosts[host].hypervisor.place(world.vms[0]);
        [B1, B2].iter().any(|host| place(*host) == Some(Place::Incoming))
    };
    world.run_until(LIMIT, "the first one is under way", begun);
    world.fill_disk(A1);
    world.run_until(LIMIT, "it has arrived", |world| {
        world.home(world.vms[0]).is_some_and(|host| host >= B1)
    });
    world.run(Duration::from_secs(20));
    assert_eq!(world.home(world.vms[1]), Some(A1), "the second one does not begin");
    world.empty_disk(A1);
    finish(&mut world);
}

#[test]
fn a_destination_refuses_with_the_reason_and_another_one_takes_its_part() {
    let mut world = three_vms();
    world.fill_disk(B1);
    world.evacuate(B2);
    world.run(Duration::from_secs(1));
    assert!(knows(&world, A1, B1));
    finish(&mut world);
    let homes: Vec<Option<usize>> = world.vms.iter().map(|vm| world.home(*vm)).collect();
    assert_eq!(homes, [Some(B2); 3]);
    world.empty_disk(B1);
    world.run(Duration::from_secs(2));
    assert!(!knows(&world, A1, B1));
}

#[test]
fn where_no_destination_has_a_journal_it_is_said_so() {
    let mut world = three_vms();
    for host in [B1, B2] {
        world.fill_disk(host);
    }
    world.evacuate(B2);
    world.run(Duration::from_secs(8));
    for one in listed(&world, A2, A1) {
        let why = one.reasons.join("; ");
        assert!(why.contains("each of b1, b2: its journal cannot be written"), "{why}");
    }
    for host in [B1, B2] {
        assert_eq!(world.node(host).arrivals().all().count(), 0, "no room is kept");
    }
    let refused = world.notices(NoticeKind::Failed).into_iter().map(|one| one.text.as_str());
    let expect = format!("the journal of b1 cannot be written: {DISK_FULL}");
    let refused: Vec<&str> = refused.collect();
    assert!(!refused.iter().any(|text| text.contains("does not answer")), "{refused:#?}");
    assert!(
        refused
            .iter()
            .all(|text| !text.contains("refused") || text.contains(&expect) || text.contains("b2")),
        "{refused:#?}"
    );
    for host in [B1, B2] {
        world.empty_disk(host);
    }
    finish(&mut world);
}

/// Runs until `host` knows of an evacuation, which it has written down by then, and fills its disk.
fn fill_once_it_knows(world: &mut World, host: usize) {
    let id = world.evacuate(B2);
    world.run_until(LIMIT, "it knows", |world| world.node(host).knows_of(id));
    world.run(Duration::from_millis(2));
    world.fill_disk(host);
}

#[test]
fn an_order_that_waits_for_the_journal_is_taken_back() {
    let mut world = three_vms();
    fill_once_it_knows(&mut world, A1);
    let starts = |world: &World| world.node(A1).departures().all().any(|one| one.begun());
    world.run_until(LIMIT, "the order waits", starts);
    let said: Vec<&str> = world.hosts[A1].notices.iter().map(|one| one.text.as_str()).collect();
    assert!(!said.iter().any(|text| text.contains("starts to move")), "{said:#?}");
    world.run(Duration::from_secs(2));
    assert_eq!(world.node(A1).departures().all().count(), 0);
    for host in [B1, B2] {
        let free = |one: &lifeboat_protocol::arrivals::Arrival| one.id.source != world.hosts[A1].id;
        assert!(world.node(host).arrivals().all().all(free), "room is kept on {host}");
    }
    world.empty_disk(A1);
    finish(&mut world);
    let failed = world.notices(NoticeKind::Failed);
    assert!(failed.iter().all(|one| one.text.contains("cannot go now")), "{failed:#?}");
}

#[test]
fn room_that_waits_for_the_journal_is_refused_with_the_reason() {
    let mut world = three_vms();
    fill_once_it_knows(&mut world, B1);
    finish(&mut world);
    let failed = world.notices(NoticeKind::Failed);
    let expect =
        format!("the destination refused: the journal of b1 cannot be written: {DISK_FULL}");
    assert!(!failed.is_empty(), "nobody asked b1");
    assert!(failed.iter().all(|one| one.text.contains(&expect)), "{failed:#?}");
    assert_eq!(world.node(B1).arrivals().all().count(), 0);
}

/// Runs until `host` knows of an evacuation, which it has written down by then, and lets its disk hang.
fn hang_once_it_knows(world: &mut World, host: usize) {
    let id = world.evacuate(B2);
    world.run_until(LIMIT, "it knows", |world| world.node(host).knows_of(id));
    world.run(Duration::from_millis(2));
    world.hang_disk(host);
}

#[test]
fn a_source_whose_disk_hangs_says_so_and_gives_back_what_waits() {
    let mut world = three_vms();
    hang_once_it_knows(&mut world, A1);
    let starts = |world: &World| world.node(A1).departures().all().any(|one| one.begun());
    world.run_until(LIMIT, "the order waits", starts);
    world.run(Duration::from_secs(7));
    assert_eq!(world.node(A1).departures().all().count(), 0);
    for host in [A1, A2, B1, B2] {
        assert!(knows(&world, host, A1), "{host}");
        for one in listed(&world, host, A1) {
            let expect = format!("the journal of a1 cannot be written: {HANGS}");
            assert_eq!(one.reasons, [expect], "{host}");
        }
    }
    let tokens = world.node(A2).usable_tokens(world.local(A2), world.link);
    assert!(tokens > 900, "{tokens}");
    world.run(Duration::from_secs(30));
    let said: Vec<&str> = world.hosts[A1].notices.iter().map(|one| one.text.as_str()).collect();
    assert!(!said.iter().any(|text| text.contains("starts to move")), "{said:#?}");
    assert!(!said.iter().any(|text| text.contains("did not say that it started")), "{said:#?}");
    assert!(said.iter().any(|text| text.contains(HANGS)), "{said:#?}");
    world.empty_disk(A1);
    world.run_until(LIMIT, "all are safe", World::all_safe);
    assert!(!knows(&world, B1, A1));
}

#[test]
fn a_destination_whose_disk_hangs_refuses_with_the_reason() {
    let mut world = three_vms();
    hang_once_it_knows(&mut world, B1);
    world.run_until(LIMIT, "all are safe", World::all_safe);
    assert!(knows(&world, A1, B1));
    let failed = world.notices(NoticeKind::Failed);
    let expect = format!("the destination refused: the journal of b1 cannot be written: {HANGS}");
    assert!(failed.iter().any(|one| one.text.contains(&expect)), "{failed:#?}");
    assert_eq!(world.node(B1).arrivals().all().count(), 0);
}

#[test]
fn a_daemon_that_stood_still_does_not_blame_its_journal() {
    let mut world = three_vms();
    let id = world.evacuate(B2);
    world.run_until(LIMIT, "it has written it", |world| world.node(A1).knows_of(id));
    world.freeze(A1, Duration::from_secs(8));
    // It hears that its journal has written only after it has looked at its clock.
    world.input(A1, Input::Wake);
    world.run(Duration::from_secs(10));
    for host in [A1, B1] {
        assert!(!knows(&world, host, A1), "{host}");
    }
    let said: Vec<&str> = world.hosts[A1].notices.iter().map(|one| one.text.as_str()).collect();
    assert!(!said.iter().any(|text| text.contains("journal")), "{said:#?}");
    finish(&mut world);
}
