//! What cannot leave in time is named long before it is late.

use crate::{
    LIMIT,
    world::{MIB, SECOND, Setup, World},
};
use lifeboat_protocol::{
    EvacuationId,
    command::Command,
    output::{Notice, NoticeKind},
};
use std::time::Duration;

const NAMED: &str = "not expected to leave in time: ";
const AFTER_ALL: &str = "expected to leave in time after all: ";

/// Two hosts with five VMs each; all of them take the link, which is known, 86 s.
fn ten_vms() -> World {
    let setup = Setup::new(2, 2);
    let mut world = World::new(&setup);
    for number in 0..10_u64 {
        world.add_vm(number as usize % 2, (900 + 24 * number) * MIB, 0);
    }
    world.run(Duration::from_secs(10));
    world
}

fn evacuate_within(world: &mut World, seconds: u64) -> EvacuationId {
    let id = EvacuationId(7);
    let mut command = world.evacuation(id);
    if let Command::Evacuate { deadline_ms, .. } = &mut command {
        *deadline_ms = Some(seconds * 1000);
    }
    world.command(0, command);
    id
}

/// Of the notices that begin so, the names in them.
fn names(world: &World, start: &str) -> Vec<String> {
    let notices = world.notices(NoticeKind::Evacuation);
    let said = notices.into_iter().filter_map(|Notice { text, .. }| text.strip_prefix(start));
    let of_one = |said: &str| {
        said.split(", ")
            .filter_map(|one| one.split(' ').next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut names: Vec<String> = said.flat_map(of_one).collect();
    names.sort();
    names
}

#[test]
fn what_would_miss_the_deadline_is_named_at_once_and_nothing_else() {
    let mut world = ten_vms();
    let evacuation = evacuate_within(&mut world, 50);
    world.run(Duration::from_secs(15));
    let named = names(&world, NAMED);
    assert!(!named.is_empty(), "nothing was named");
    let view = world.node(2).late_view(world.local(2), evacuation);
    let mut seen: Vec<String> = view.iter().map(|one| one.name.clone()).collect();
    seen.sort();
    assert_eq!(seen, named, "a host that has none of them foresees the same");
    world.run_until(LIMIT, "all arrive", World::all_safe);
    world.run_until(LIMIT, "all is closed", World::settled);
    world.run(Duration::from_secs(5));
    let all = world.node(0).outcomes_view(evacuation);
    let late: Vec<&str> =
        all.iter().filter(|one| one.end_ms > 50_000).map(|one| one.name.as_str()).collect();
    let wrong: Vec<&String> = named.iter().filter(|one| !late.contains(&one.as_str())).collect();
    let ends: Vec<(&str, u64)> = all.iter().map(|one| (one.name.as_str(), one.end_ms)).collect();
    assert!(wrong.is_empty(), "{wrong:?} made it: {ends:?}; named {named:?}");
    assert_eq!(all.len(), 10);
    assert!(late.len() - named.len() <= 1, "late: {late:?}, named: {named:?}");
    let in_the_end = names(&world, NAMED);
    assert!(in_the_end.windows(2).all(|two| two[0] != two[1]), "named twice: {in_the_end:?}");
}

#[test]
fn nothing_is_named_where_there_is_time() {
    let mut world = ten_vms();
    evacuate_within(&mut world, 120);
    world.run_until(LIMIT, "all arrive", World::all_safe);
    assert_eq!(names(&world, NAMED), Vec::<String>::new());
}

#[test]
fn what_is_named_and_has_time_after_all_is_named_again() {
    let mut world = ten_vms();
    evacuate_within(&mut world, 100);
    world.capacity /= 4;
    world.run(Duration::from_secs(25));
    assert!(names(&world, NAMED).len() >= 3, "{:?}", names(&world, NAMED));
    world.capacity *= 4;
    world.run_until(LIMIT, "all arrive", World::all_safe);
    assert!(!names(&world, AFTER_ALL).is_empty());
}

#[test]
fn the_end_of_a_hosts_power_is_a_limit_too() {
    let mut world = ten_vms();
    world.hosts[0].power_until = Some(world.now + 40 * SECOND);
    world.evacuate(1);
    world.run(Duration::from_secs(20));
    let notices = world.notices(NoticeKind::Evacuation);
    let said: Vec<&str> = notices.iter().map(|one| one.text.as_str()).collect();
    assert!(
        said.iter().any(|text| text.starts_with(NAMED) && text.contains("its host's power")),
        "{said:?}"
    );
}
