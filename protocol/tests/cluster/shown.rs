//! What is shown of an evacuation while hosts are silent: nothing is called done that nobody knows of,
//! and it is said which VM waits for whom.

use crate::{
    LIMIT, finish,
    world::{MIB, Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{
    EvacuationId, Incarnation, Input,
    command::Command,
    input::{DepartureEvent, LinkSample},
    membership::Liveness,
    message::{Heartbeat, HeldBack, HostReport, InventoryVm, Message, QueueReport, VmState},
    output::NoticeKind,
    units::BytesPerSec,
    view::EvacuationView,
    vm::RunState,
    wire,
};
use std::time::Duration;

/// One VM on the first of two hosts that are emptied, some seconds after the start, and once a byte
/// of it has arrived.
pub(crate) fn under_way() -> World {
    let mut world = World::new(&Setup::new(2, 2));
    world.add_vm(0, 300 * MIB, 8_000_000);
    world.run(Duration::from_secs(10));
    world.evacuate(2);
    until(&mut world, Place::Incoming);
    world.run(Duration::from_millis(500));
    world
}

pub(crate) fn until(world: &mut World, place: Place) {
    world.run_until(LIMIT, "the VM is there", |world| {
        world.places(world.vms[0]).iter().any(|(_, found)| *found == place)
    });
}

pub(crate) fn seen(world: &World, host: usize) -> EvacuationView {
    world.node(host).evacuations_view(world.local(host)).pop().expect("one is known")
}

/// The VM as a host lists it, with the hosts that have it.
pub(crate) fn listed(world: &World, host: usize) -> Vec<(String, InventoryVm)> {
    let listed = world.node(host).vms_view(world.local(host));
    listed.into_iter().map(|one| (one.host, one.vm)).collect()
}

pub(crate) fn receiver(world: &World) -> usize {
    let places = world.places(world.vms[0]);
    places.iter().map(|(host, _)| *host).find(|host| *host > 1).expect("one receives")
}

#[test]
fn what_a_silent_host_had_to_move_is_not_done() {
    let mut world = under_way();
    world.kill_host(0);
    world.run(Duration::from_secs(20));
    for host in [1, 2, 3] {
        let view = seen(&world, host);
        assert!(!view.done, "{host}: {view:?}");
        assert_eq!((view.silent.as_slice(), view.not_heard), (&["a1".to_owned()][..], 1), "{host}");
    }
}

#[test]
fn a_host_that_was_heard_to_be_empty_may_go_dark() {
    let mut world = under_way();
    finish(&mut world);
    world.run(Duration::from_secs(3));
    world.kill_host(0);
    world.run(Duration::from_secs(10));
    for host in [1, 2, 3] {
        let view = seen(&world, host);
        assert!(view.done && view.silent.is_empty(), "{host}: {view:?}");
    }
    world.kill_host(1);
    world.run(Duration::from_secs(10));
    for host in [2, 3] {
        assert!(seen(&world, host).done, "{:?}", seen(&world, host));
    }
}

#[test]
fn a_copy_that_waits_for_a_silent_source_is_counted_and_named() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    world.crash(0);
    world.run(Duration::from_secs(12));
    let to = receiver(&world);
    assert_eq!(world.hosts[to].hypervisor.place(world.vms[0]), Some(Place::Arrived));
    for host in [1, 2, 3] {
        let view = seen(&world, host);
        assert_eq!((view.unknown, view.done), (1, false), "{host}: {view:?}");
        let all = listed(&world, host);
        let (_, waits) = all.iter().find(|(at, _)| *at == world.hosts[to].name).expect("listed");
        assert_eq!(waits.state, VmState::Unknown, "{host}");
        let why = waits.reasons.join(" ");
        let name = &world.hosts[to].name;
        assert!(why.contains("a1 does not say") && why.contains("not heard"), "{why}");
        assert!(why.contains("cancel --declare-dead a1") && why.contains(name.as_str()), "{why}");
    }
    world.start(0);
    finish(&mut world);
    world.run(Duration::from_secs(3));
    assert!(seen(&world, 3).done);
}

#[test]
fn a_vm_that_is_given_to_a_silent_destination_is_counted_and_named() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    world.crash(to);
    world.run(Duration::from_secs(12));
    let name = world.hosts[to].name.clone();
    for host in (0..4).filter(|host| *host != to) {
        let view = seen(&world, host);
        assert_eq!((view.unknown, view.done), (1, false), "{host}: {view:?}");
        let all = listed(&world, host);
        // What the silent host said last is older than what the source says.
        assert_eq!(all.len(), 1, "{host}: {all:?}");
        assert_eq!((all[0].0.as_str(), all[0].1.state), ("a1", VmState::Unknown), "{host}");
        let why = all[0].1.reasons.join(" ");
        assert!(why.contains(&name) && why.contains("not heard"), "{why}");
    }
    world.start(to);
    finish(&mut world);
}

#[test]
fn a_move_that_waits_for_a_silent_destination_says_so() {
    let mut world = under_way();
    world.crash(receiver(&world));
    world.run_until(Duration::from_secs(5), "it says so", |world| {
        let all = listed(world, 1);
        let here = all.iter().find(|(host, _)| host == "a1");
        here.is_some_and(|(_, vm)| {
            vm.state == VmState::Moving
                && vm.reasons.iter().any(|why| why.starts_with("it runs on here and waits: b"))
        })
    });
}

#[test]
fn what_a_silent_host_said_of_a_vm_that_runs_elsewhere_is_not_listed() {
    let mut world = under_way();
    let dead = receiver(&world);
    world.kill_host(dead);
    finish(&mut world);
    world.run(Duration::from_secs(3));
    let other = 5 - dead;
    let only_there = |world: &World| {
        let all = listed(world, 1);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((&all[0].0, all[0].1.state), (&world.hosts[other].name, VmState::Resting));
    };
    only_there(&world);
    // It is back, and has not said yet what it runs now.
    let from = world.hosts[dead].id;
    let bytes = wire::encode(&Message::Heartbeat(first_of_another_life()));
    world.input(1, Input::Received { from, bytes });
    let nodes = world.node(1).nodes_view(world.local(1));
    assert!(nodes.iter().any(|one| one.id == from && one.liveness == Liveness::Alive));
    only_there(&world);
}

fn first_of_another_life() -> Heartbeat {
    Heartbeat {
        incarnation: Incarnation(2),
        number: 1,
        leaving: false,
        echoes: Vec::new(),
        host: HostReport::default(),
        links: Vec::new(),
        queue: QueueReport::default(),
        tables: Vec::new(),
        accepted: Vec::new(),
        capacities: Vec::new(),
        evacuations: Vec::new(),
    }
}

#[test]
fn how_a_vm_settled_is_said_as_it_is() {
    let mut world = World::new(&Setup::new(1, 1));
    for state in [RunState::Running, RunState::Paused, RunState::ShutOff] {
        world.add_vm_as(0, 64 * MIB, 0, state);
    }
    world.run(Duration::from_secs(10));
    world.evacuate(1);
    finish(&mut world);
    let said: Vec<&str> = world.hosts[0].notices.iter().map(|one| one.text.as_str()).collect();
    for expect in ["vm1 runs at b1", "vm2 is at b1, paused", "vm3 is at b1, shut off"] {
        assert!(said.contains(&expect), "{said:#?}");
    }
    for expect in ["vm1 starts to move", "vm2 starts to move", "vm3 starts to move"] {
        assert_eq!(said.iter().filter(|text| **text == expect).count(), 1, "{said:#?}");
    }
}

#[test]
fn room_that_is_set_aside_is_no_vm() {
    let mut world = World::new(&Setup::new(2, 1));
    world.add_vm(0, 300 * MIB, 0);
    world.run(Duration::from_secs(10));
    world.evacuate(2);
    let reserved = |world: &World| world.node(2).arrivals().all().next().is_some();
    world.run_until(LIMIT, "room is set aside", reserved);
    let hosts = |world: &World, host: usize| -> Vec<String> {
        listed(world, host).into_iter().map(|(host, _)| host).collect()
    };
    while world.places(world.vms[0]).len() == 1 {
        assert_eq!(hosts(&world, 2), ["a1"]);
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(20));
    assert_eq!(hosts(&world, 2), ["a1", "b1"], "it is listed as soon as something comes");
}

#[test]
fn room_for_a_vm_that_died_with_its_host_is_no_vm() {
    let mut world = World::new(&Setup::new(2, 1));
    world.add_vm(0, 300 * MIB, 0);
    world.run(Duration::from_secs(10));
    world.evacuate(2);
    let reserved = |world: &World| world.node(2).arrivals().all().next().is_some();
    world.run_until(LIMIT, "room is set aside", reserved);
    world.kill_host(0);
    world.run(Duration::from_secs(8));
    assert!(reserved(&world), "it is still kept");
    for host in [1, 2] {
        let hosts: Vec<String> = listed(&world, host).into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, ["a1"], "{host}");
    }
}

#[test]
fn an_outage_in_the_switchover_is_named_as_the_reason() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let (here, there) = world.sites();
    world.cut(&here, &there);
    world.run_until(Duration::from_secs(4), "the others are told why", |world| {
        let all = listed(world, 1);
        let here = all.into_iter().find(|(host, _)| host == "a1").map(|(_, one)| one);
        here.is_some_and(|one| {
            one.state == VmState::Failed
                && one.reasons.iter().any(|why| why.contains("attempt 1 failed: b"))
        })
    });
    world.run(Duration::from_secs(4));
    world.heal();
    finish(&mut world);
    let failed = world.notices(NoticeKind::Failed);
    let said: Vec<&str> = failed.iter().map(|one| one.text.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("was not heard")), "{said:?}");
    assert!(!said.iter().any(|text| text.contains("aborted")), "nobody asked: {said:?}");
}

#[test]
fn an_end_is_estimated_only_while_vms_flow() {
    let mut world = World::new(&Setup::new(1, 1));
    world.add_vm(0, 300 * MIB, 0);
    world.run(Duration::from_secs(10));
    world.evacuate(1);
    world.run(Duration::from_millis(60));
    for (arrived, known) in [(0, false), (400, false), (10_000_000, true)] {
        let sample = LinkSample {
            link: world.link,
            sent: BytesPerSec(0),
            arrived: BytesPerSec(arrived),
            held_back: HeldBack::Idle,
            round_trip: None,
        };
        world.input(1, Input::Link(sample));
        let view = seen(&world, 1);
        assert!(view.bytes_left > 0, "{view:?}");
        assert_eq!(view.remaining.is_some(), known, "{arrived}: {:?}", view.remaining);
    }
}

#[test]
fn what_is_given_up_is_not_said_to_be_tried_again() {
    let mut world = under_way();
    let id = seen(&world, 0).id;
    world.command(3, Command::Cancel { id, abort: true });
    world.run(Duration::from_secs(5));
    let failed = world.notices(NoticeKind::Failed);
    let said: Vec<&str> = failed.iter().map(|one| one.text.as_str()).collect();
    assert!(said.len() == 1 && said[0].ends_with("; it stays here"), "{said:?}");
}

#[test]
fn a_destination_that_is_lost_is_named_as_the_reason() {
    let mut world = under_way();
    let dead = receiver(&world);
    world.kill_host(dead);
    finish(&mut world);
    let failed = world.notices(NoticeKind::Failed);
    let said: Vec<&str> = failed.iter().map(|one| one.text.as_str()).collect();
    let expect = format!("{} is not heard any more; it is tried again", world.hosts[dead].name);
    assert!(said.iter().any(|text| text.contains(&expect)), "{said:?}");
}

#[test]
fn a_move_that_failed_at_its_start_does_not_switch_over() {
    let mut world = under_way();
    let id = world.node(0).departures().all().next().expect("it leaves").id;
    let end = DepartureEvent::JobEnded(Err("no storage pool".to_owned()));
    world.input(0, Input::Departure(id, end));
    let all = listed(&world, 0);
    let states: Vec<VmState> =
        all.iter().filter(|(host, _)| host == "a1").map(|(_, one)| one.state).collect();
    assert_eq!(states, [VmState::Moving], "{all:?}");
}

#[test]
fn what_stops_coming_says_why() {
    let mut world = under_way();
    let to = receiver(&world);
    let (here, there) = world.sites();
    world.cut(&here, &there);
    world.run(Duration::from_secs(6));
    let (_, one) =
        listed(&world, to).into_iter().find(|(at, _)| *at == world.hosts[to].name).unwrap();
    assert_eq!(one.state, VmState::Arriving);
    assert_eq!(one.reasons, ["not all of it has come, and a1, which it leaves, is not heard"]);
    world.heal();
    finish(&mut world);
}

#[test]
fn a_vm_that_was_ended_by_hand_on_its_way_is_told_once_and_not_tried_again() {
    let mut world = under_way();
    let vm = world.vms[0];
    world.end_by_hand(0, vm);
    world.run(Duration::from_secs(12));
    for host in 0..4 {
        assert!(seen(&world, host).done, "{host}: {:?}", seen(&world, host));
    }
    let failed = world.notices(NoticeKind::Failed);
    let said: Vec<&str> = failed.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("it ended here while it moved (the VM was destroyed)"), "{said:?}");
    assert!(!said[0].contains("tried again"), "{said:?}");
}

#[test]
fn a_copy_that_its_host_lost_is_not_said_to_arrive() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    world.crash(to);
    world.run(Duration::from_secs(5));
    let vm = world.vms[0];
    world.died_with_host.insert(vm);
    world.hosts[to].hypervisor.guests.remove(&vm);
    world.start(to);
    world.run(Duration::from_secs(5));
    let there = listed(&world, 1).into_iter().find(|(at, _)| *at == world.hosts[to].name);
    let (_, one) = there.expect("it is looked for there");
    assert_eq!(one.state, VmState::Unknown);
    assert!(one.reasons.join(" ").contains("is not here: start it cold"), "{:?}", one.reasons);
}

#[test]
fn an_arrival_after_the_deadline_says_so() {
    let mut world = World::new(&Setup::new(1, 1));
    world.add_vm(0, 300 * MIB, 0);
    world.run(Duration::from_secs(10));
    let id = EvacuationId(7);
    let Command::Evacuate { from_sites, from_hosts, to, .. } = world.evacuation(id) else {
        unreachable!()
    };
    let deadline_ms = Some(1000);
    world.command(1, Command::Evacuate { id, from_sites, from_hosts, to, deadline_ms });
    finish(&mut world);
    let arrived = world.notices(NoticeKind::Vm);
    let said: Vec<&str> = arrived.iter().map(|one| one.text.as_str()).collect();
    let late = |text: &&str| text.starts_with("vm1 runs at b1, ") && text.ends_with("deadline");
    assert!(said.iter().any(late), "{said:?}");
}
