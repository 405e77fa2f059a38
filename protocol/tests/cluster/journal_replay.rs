//! What a restarted daemon does from its journal alone.

use crate::{
    LIMIT, finish, warm,
    world::{Setup, World},
};
use lifeboat_protocol::{
    Config, Directory, Incarnation, Input, Instant, Node, journal,
    output::{NoticeKind, Output},
    vm::Copy,
    wire,
};
use std::time::Duration;

#[test]
fn every_moment_is_a_good_one_to_restart_everything() {
    for after_ms in (50..9000).step_by(170) {
        let mut world = warm(&Setup::new(2, 2), 4);
        world.evacuate(0);
        world.run(Duration::from_millis(after_ms));
        for host in 0..4 {
            world.crash(host);
        }
        world.run(Duration::from_millis(200));
        for host in 0..4 {
            world.start(host);
        }
        finish(&mut world);
    }
}

#[test]
fn a_finished_evacuation_leaves_only_its_record_and_outcomes() {
    let mut world = warm(&Setup::new(2, 2), 4);
    world.evacuate(0);
    finish(&mut world);
    world.run(Duration::from_secs(2));
    for host in &world.hosts {
        for (key, value) in &host.journal {
            let (key, _) = journal::read(key, value).expect("readable");
            let kept = matches!(key, journal::Key::Evacuation(_) | journal::Key::Outcome(..));
            assert!(kept, "{} keeps {key:?}", host.name);
        }
    }
}

#[test]
fn the_order_of_replay_does_not_matter() {
    let mut world = warm(&Setup::new(1, 1), 3);
    world.evacuate(0);
    world.run_until(LIMIT, "two things are journalled", |world| world.hosts[0].journal.len() > 1);
    let mut journal: Vec<(Vec<u8>, Vec<u8>)> = world.hosts[0].journal.clone().into_iter().collect();
    let there: Vec<(String, String)> =
        vec![("a1".into(), "here".into()), ("b1".into(), "there".into())];
    let directory = Directory::new(&there, &[]).expect("a good directory");
    let made = |journal: &[(Vec<u8>, Vec<u8>)]| {
        let node = Node::new(
            Instant(9_000_000_000_000),
            world.hosts[0].id,
            Incarnation(9),
            Config::default(),
            directory.clone(),
            journal,
        );
        format!("{:?}", node.map(|node| (node.departures().clone(), node.arrivals().clone())))
    };
    let straight = made(&journal);
    journal.reverse();
    assert_eq!(made(&journal), straight);
    journal.push((vec![wire::VERSION, 200], vec![]));
    assert!(made(&journal).contains("unreadable"));
}

#[test]
fn a_restart_after_all_is_done_does_nothing() {
    let mut world = warm(&Setup::new(2, 2), 4);
    world.evacuate(0);
    finish(&mut world);
    let homes: Vec<_> = world.vms.iter().map(|vm| world.home(*vm)).collect();
    for host in 0..4 {
        world.crash(host);
        world.start(host);
    }
    world.run(Duration::from_secs(20));
    assert!(world.settled());
    assert_eq!(world.vms.iter().map(|vm| world.home(*vm)).collect::<Vec<_>>(), homes);
    assert!(World::all_safe(&world));
}

#[test]
fn a_vm_that_has_arrived_is_not_resumed_or_missed_by_a_restarted_daemon() {
    let mut world = warm(&Setup::new(1, 1), 1);
    world.evacuate(0);
    let arrived = |world: &World| {
        let node = world.hosts[1].daemon.as_ref().expect("it runs");
        node.arrivals().settled().next().is_some()
    };
    world.run_until(LIMIT, "the VM has arrived", arrived);
    let vm = world.vms[0];
    world.crash(0);
    world.run(Duration::from_millis(200));
    world.crash(1);
    // Its owner pauses it, and takes it elsewhere after that.
    for copy in [Copy::Paused, Copy::Absent] {
        let journal: Vec<(Vec<u8>, Vec<u8>)> = world.hosts[1].journal.clone().into_iter().collect();
        let names = [("a1", "here"), ("b1", "there")];
        let names: Vec<(String, String)> =
            names.iter().map(|(name, site)| (name.to_string(), site.to_string())).collect();
        let directory = Directory::new(&names, &[]).expect("a good directory");
        let (id, life) = (world.hosts[1].id, Incarnation(9));
        let mut node =
            Node::new(Instant(9_000_000_000_000), id, life, Config::default(), directory, &journal)
                .expect("a good journal");
        let looked = Input::Looked { vm, copy, outgoing: false };
        node.handle(Instant(9_000_000_000_001), looked);
        while let Some(output) = node.poll_output() {
            let resumes = matches!(output, Output::Resume { .. });
            let alarms = matches!(&output, Output::Notice(said) if said.kind == NoticeKind::Alarm);
            assert!(!resumes && !alarms, "{copy:?}: {output:?}");
        }
        assert!(node.arrivals().all().next().is_none());
    }
}
