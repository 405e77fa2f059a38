//! A person says that a host is dead, or starts a VM cold beside a copy that waits: what nobody but he
//! can know. Right or wrong, what the cluster can notice it notices.

use crate::{
    LIMIT, finish,
    shown::{listed, receiver, seen, under_way, until},
    world::{Setup, World, hypervisor::Place},
};
use lifeboat_protocol::{
    EvacuationId, SiteId,
    command::Command,
    message::VmState,
    output::NoticeKind,
    plan::Terms,
    vm::{RunState, Vm},
};
use std::time::Duration;

/// Of the plan to empty the site once more: the VMs that go, and the reasons of those that do not.
fn planned(world: &World, at: usize) -> (usize, Vec<Vec<String>>) {
    let terms = Terms {
        from_sites: vec![SiteId::of("here")],
        to: vec![SiteId::of("there")],
        ..Terms::default()
    };
    let plan = world.node(at).plan(world.local(at), &terms);
    let (go, stay): (Vec<_>, Vec<_>) = plan.vms.into_iter().partition(|one| one.to.is_some());
    (go.len(), stay.into_iter().map(|one| one.reasons).collect())
}

/// The VM as its owner has it.
fn the_vm(world: &World) -> Vm {
    let id = world.vms[0];
    let guests = world.hosts.iter().find_map(|host| host.hypervisor.guests.get(&id));
    Vm { state: RunState::Running, ..guests.expect("it is somewhere").vm.clone() }
}

fn start_cold(world: &mut World, host: usize) {
    let vm = the_vm(world);
    world.hosts[host].hypervisor.put(&vm, Place::Running);
    world.run(Duration::from_secs(3));
}

fn end(world: &mut World, host: usize) {
    let vm = world.vms[0];
    world.hosts[host].hypervisor.guests.remove(&vm);
    world.run(Duration::from_secs(8));
}

fn declare_dead(world: &mut World, at: usize, dead: usize, whole_site: bool) -> bool {
    let node = world.hosts[dead].id;
    let refused = |world: &World| {
        let notices = &world.hosts[at].notices;
        notices.iter().filter(|one| one.kind == NoticeKind::Rejected).count()
    };
    let before = refused(world);
    world.command(at, Command::DeclareDead { node, whole_site });
    refused(world) == before
}

fn reasons(world: &World, at: usize) -> String {
    let all = listed(world, at).into_iter().flat_map(|(_, one)| one.reasons);
    all.collect::<Vec<_>>().join("; ")
}

/// The destination's daemon is dead with the VM complete there; which host that is.
fn given_to_a_silent_host() -> (World, usize) {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    world.crash(to);
    world.run(Duration::from_secs(12));
    assert_eq!(world.hosts[to].hypervisor.place(world.vms[0]), Some(Place::Arrived));
    (world, to)
}

#[test]
fn a_vm_started_cold_after_the_word_never_runs_where_it_had_left_for() {
    let (mut world, to) = given_to_a_silent_host();
    let other = 5 - to;
    assert!(declare_dead(&mut world, 0, to, false));
    world.run(Duration::from_secs(1));
    assert!(reasons(&world, 1).contains("start it cold"), "{}", reasons(&world, 1));
    for host in [0, 1, other] {
        let (go, stay) = planned(&world, host);
        assert_eq!((go, stay.len()), (0, 1), "{host}: {stay:?}");
        assert!(stay[0].iter().all(|reason| reason.contains("start it cold")), "{host}: {stay:?}");
    }
    // The word outlives the daemon that took it.
    world.crash(0);
    world.start(0);
    start_cold(&mut world, other);
    world.run(Duration::from_secs(5));
    assert!(seen(&world, 1).done, "it runs: {:?}", seen(&world, 1));
    world.start(to);
    world.run(Duration::from_secs(40));
    assert_eq!(world.hosts[to].hypervisor.place(world.vms[0]), Some(Place::Arrived));
    for host in 0..4 {
        assert!(!seen(&world, host).done, "{host}: {:?}", seen(&world, host));
        let why = reasons(&world, host);
        assert!(why.contains("end the copy here by hand"), "{host}: {why}");
        // Whoever resumes it makes it run twice.
        let runs = format!("{} says that it runs it", world.hosts[other].name);
        assert!(why.contains(&runs) && !why.contains("resume"), "{host}: {why}");
    }
    end(&mut world, to);
    assert!(world.settled(), "{}", world.describe());
    assert!(seen(&world, 1).done, "{:?}", seen(&world, 1));
}

#[test]
fn a_copy_that_waits_after_the_word_may_be_resumed_by_hand() {
    let (mut world, to) = given_to_a_silent_host();
    assert!(declare_dead(&mut world, 0, to, false));
    world.start(to);
    world.run(Duration::from_secs(10));
    let vm = world.vms[0];
    assert!(world.hosts[to].hypervisor.turn(vm, Place::Arrived, Place::Running));
    world.run(Duration::from_secs(10));
    assert!(world.settled() && seen(&world, 1).done, "{}", world.describe());
    assert_eq!(seen(&world, 1).arrived, 1);
}

#[test]
fn a_copy_is_not_resumed_while_a_living_host_runs_the_vm() {
    let (mut world, to) = given_to_a_silent_host();
    let other = 5 - to;
    start_cold(&mut world, other);
    world.start(to);
    world.run(Duration::from_secs(40));
    assert_eq!(world.hosts[to].hypervisor.place(world.vms[0]), Some(Place::Arrived));
    assert!(!seen(&world, 1).done);
    let why = reasons(&world, 1);
    let expect = format!("{} says that it runs it", world.hosts[other].name);
    assert!(why.contains(&expect), "{why}");
    end(&mut world, to);
    world.run(Duration::from_secs(5));
    assert!(world.settled() && seen(&world, 1).done, "{}", world.describe());
}

fn still_waits(world: &World, at: usize) {
    let place = world.hosts[at].hypervisor.place(world.vms[0]);
    assert_eq!(place, Some(Place::Arrived), "{}", world.describe());
}

/// What a third host said holds while its daemon is away, and while all are.
#[test]
fn a_daemon_that_restarts_does_not_let_go_of_a_copy_that_is_held() {
    for all in [false, true] {
        let (mut world, to) = given_to_a_silent_host();
        let other = 5 - to;
        start_cold(&mut world, other);
        world.start(to);
        world.run(Duration::from_secs(10));
        let hosts = if all { vec![0, 1, to, other] } else { vec![other] };
        hosts.iter().for_each(|host| world.crash(*host));
        world.run(Duration::from_secs(if all { 1 } else { 20 }));
        still_waits(&world, to);
        if !all {
            assert!(!seen(&world, 1).done, "{:?}", seen(&world, 1));
        }
        hosts.iter().for_each(|host| world.start(*host));
        world.run(Duration::from_secs(30));
        still_waits(&world, to);
        assert!(!seen(&world, 1).done, "{:?}", seen(&world, 1));
        end(&mut world, to);
        world.run(Duration::from_secs(10));
        assert!(world.settled() && seen(&world, 1).done, "{}", world.describe());
    }
}

/// The source's daemon has not seen how the VM was started.
#[test]
fn a_source_that_was_away_hears_what_the_others_run_before_it_gives_anything_away() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    world.crash(to);
    world.run(Duration::from_millis(800));
    world.crash(0);
    world.run(Duration::from_secs(5));
    still_waits(&world, to);
    start_cold(&mut world, 5 - to);
    world.start(0);
    world.start(to);
    world.run(Duration::from_secs(40));
    still_waits(&world, to);
    assert!(!seen(&world, 1).done, "{:?}", seen(&world, 1));
}

/// That it arrived is known by how it went on, which its last destination tells where the host between
/// is lost: nobody is asked for a word.
#[test]
fn a_source_that_was_away_learns_from_a_later_host_that_its_vm_arrived() {
    let mut world = under_way();
    let first = seen(&world, 1).id;
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    world.run_until(LIMIT, "it runs there", |world| {
        world.hosts[to].hypervisor.place(world.vms[0]) == Some(Place::Running)
    });
    world.crash(0);
    world.command(1, Command::Cancel { id: first, abort: false });
    let back = Command::Evacuate {
        id: EvacuationId(first.0 + 1),
        from_sites: vec![SiteId::of("there")],
        from_hosts: Vec::new(),
        to: vec![SiteId::of("here")],
        deadline_ms: None,
    };
    world.command(1, back);
    world.run_until(LIMIT, "it goes back", |world| {
        world.hosts[1].hypervisor.place(world.vms[0]) == Some(Place::Running)
    });
    world.run(Duration::from_secs(8));
    world.kill_host(to);
    world.start(0);
    world.run(Duration::from_secs(30));
    assert_eq!(reasons(&world, 0), "");
    assert!(seen(&world, 1).done && world.settled(), "{}", world.describe());
}

#[test]
fn the_word_is_not_taken_for_a_copy_of_what_a_third_host_runs() {
    let (mut world, to) = given_to_a_silent_host();
    let other = 5 - to;
    start_cold(&mut world, other);
    world.start(to);
    world.run(Duration::from_secs(10));
    world.kill_host(0);
    world.run(Duration::from_secs(6));
    assert!(!declare_dead(&mut world, to, 0, false));
    world.crash(other);
    world.run(Duration::from_secs(20));
    still_waits(&world, to);
}

/// It is itself moved on, into the safe site: at its switchover it is as certain as before.
#[test]
fn a_vm_that_moves_on_still_holds_its_older_copy() {
    let (mut world, to) = given_to_a_silent_host();
    start_cold(&mut world, 1);
    world.start(to);
    world.run(Duration::from_secs(60));
    still_waits(&world, to);
    let other = 5 - to;
    let vm = world.vms[0];
    assert_eq!(world.hosts[other].hypervisor.place(vm), Some(Place::Running));
}

#[test]
fn a_vm_that_is_started_on_its_source_is_not_given_away_any_more() {
    let (mut world, to) = given_to_a_silent_host();
    start_cold(&mut world, 0);
    world.start(to);
    world.run(Duration::from_secs(40));
    still_waits(&world, to);
    let alarms = world.notices(NoticeKind::Alarm);
    assert!(alarms.iter().any(|one| one.text.contains("was started here")), "{alarms:?}");
}

#[test]
fn a_vm_that_runs_nowhere_is_not_forgotten_with_its_source() {
    let (mut world, to) = given_to_a_silent_host();
    assert!(declare_dead(&mut world, 0, to, false));
    world.run(Duration::from_secs(5));
    world.kill_host(0);
    world.run(Duration::from_secs(10));
    for host in [1, 5 - to] {
        assert!(!seen(&world, host).done, "{host}: {:?}", seen(&world, host));
    }
}

/// The whole link is cut with the copy complete at its destination; the guest runs on at its source.
fn cut_in_the_switchover() -> (World, usize) {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    // Just late enough for the copy to be complete, and too early for the word.
    world.cut_one_way(&[2, 3], &[0, 1]);
    world.cut_one_way(&[0, 1], &[2, 3]);
    world.run(Duration::from_secs(12));
    (world, to)
}

#[test]
fn a_cut_link_is_not_taken_for_a_dead_host() {
    let (mut world, to) = cut_in_the_switchover();
    assert!(!declare_dead(&mut world, to, 0, false), "all of its site is silent");
    let refusals = world.notices(NoticeKind::Rejected);
    let said = refusals.last().expect("it is refused").text.clone();
    assert!(said.contains("most likely the link") && said.contains("--whole-site"), "{said}");
    world.heal();
    finish(&mut world);
}

#[test]
fn two_copies_that_run_are_an_alarm_and_do_not_move() {
    let mut world = under_way();
    until(&mut world, Place::Switching);
    let to = receiver(&world);
    let other = 5 - to;
    world.cut(&[0, 1], &[2, 3]);
    world.run(Duration::from_secs(12));
    // That it runs twice is the point here.
    world.strict = false;
    let vm = world.vms[0];
    // As a person's wrong word would have it: the guest runs at both ends.
    let guest = the_vm(&world);
    world.hosts[0].hypervisor.put(&guest, Place::Running);
    world.hosts[to].hypervisor.put(&guest, Place::Running);
    world.run(Duration::from_secs(10));
    world.heal();
    world.run(Duration::from_secs(30));
    let places = world.places(vm);
    assert_eq!(places, [(0, Place::Running), (to, Place::Running)], "it went on to {other}");
    for host in 0..4 {
        let view = seen(&world, host);
        assert!(!view.done && view.unknown > 0, "{host}: {view:?}");
        let doubles = world.node(host).doubles_view(world.local(host));
        assert_eq!(doubles.len(), 1, "{host}: {doubles:?}");
        let said = &world.hosts[host].notices;
        let alarms = said.iter().filter(|one| one.kind == NoticeKind::Alarm);
        assert_eq!(alarms.filter(|one| one.text.contains("runs twice")).count(), 1, "{host}");
        let (go, stay) = planned(&world, host);
        assert_eq!((go, stay.len()), (0, 1), "{host}: {stay:?}");
        let why = stay[0].join("; ");
        let to = &world.hosts[to].name;
        assert!(why.matches(&format!("it runs at {to}, too")).count() == 1, "{host}: {why}");
    }
    world.crash(to);
    world.run(Duration::from_secs(20));
    assert_eq!(world.places(vm), [(0, Place::Running), (to, Place::Running)], "it went on");
    assert!(!seen(&world, 1).done, "{:?}", seen(&world, 1));
    // What a word on the silent one would free.
    assert_eq!(world.node(0).held_by(world.hosts[to].id), [guest.name]);
    world.start(to);
    world.hosts[0].hypervisor.guests.remove(&vm);
    world.run(Duration::from_secs(12));
    assert!(seen(&world, 1).done, "{:?}", seen(&world, 1));
}

#[test]
fn what_was_left_of_a_vm_that_runs_elsewhere_does_not_move() {
    let mut world = under_way();
    finish(&mut world);
    world.run(Duration::from_secs(8));
    let (vm, home) = (the_vm(&world), world.home(world.vms[0]).expect("it has arrived"));
    world.hosts[1].hypervisor.put(&vm, Place::ShutOff);
    world.run(Duration::from_secs(20));
    assert_eq!(world.places(vm.id), [(1, Place::ShutOff), (home, Place::Running)]);
    for host in 0..4 {
        let view = seen(&world, host);
        assert!(view.done && view.stuck == 0, "{host}: {view:?}");
    }
    for host in 0..4 {
        assert_eq!(planned(&world, host), (0, Vec::new()), "{host}: it is no VM to move");
    }
    let all = listed(&world, 2);
    let (_, left) = all.iter().find(|(at, _)| *at == world.hosts[1].name).expect("it is listed");
    assert_eq!(left.state, VmState::Resting);
    assert!(left.reasons.join("").contains("what is here is left over"), "{:?}", left.reasons);
}

#[test]
fn a_vm_that_two_hosts_of_one_site_run_is_planned_once_and_stays() {
    let mut world = World::new(&Setup::new(2, 2));
    world.add_vm(0, 256 << 20, 0);
    world.strict = false;
    let guest = the_vm(&world);
    world.hosts[1].hypervisor.put(&guest, Place::Running);
    world.run(Duration::from_secs(6));
    for host in 0..4 {
        let (go, stay) = planned(&world, host);
        assert_eq!((go, stay.len()), (0, 1), "{host}: {stay:?}");
        let why = stay[0].join("; ");
        assert_eq!(why.matches("until one of them is ended by hand").count(), 1, "{host}: {why}");
    }
}

#[test]
fn what_a_destination_has_left_over_is_named_as_the_reason() {
    let mut world = World::new(&Setup::new(1, 2));
    let vm = world.add_vm(0, 256 << 20, 0);
    let left = the_vm(&world);
    for host in [1, 2] {
        world.hosts[host].hypervisor.put(&left, Place::ShutOff);
    }
    world.run(Duration::from_secs(8));
    let already = "each of b1, b2: a VM with this id is already there".to_owned();
    for host in 0..3 {
        let (go, stay) = planned(&world, host);
        assert_eq!((go, stay), (0, vec![vec![already.clone()]]), "{host}");
    }
    world.evacuate(0);
    world.run(Duration::from_secs(20));
    assert_eq!(world.hosts[0].hypervisor.place(vm), Some(Place::Running));
    // Between two attempts it is just being tried.
    world.run_until(Duration::from_secs(20), "its reasons are told", |world| {
        reasons(world, 1).contains("each of b1, b2: it did not work")
    });
    let said = reasons(&world, 1);
    assert!(said.contains("moment ago: the destination refused: a VM with"), "{said}");
}
