//! What hosts of a large cluster, which do not all speak to each other, say of each other.

use std::time::Duration;

use lifeboat_protocol::{SiteId, membership::Liveness, plan::Terms};

use crate::world::{MIB, Setup, World};

/// 34 hosts, two more than tell each other everything, that have found each other.
fn world() -> World {
    let mut world = World::new(&Setup::new(17, 17));
    for host in 0..17 {
        world.add_vm(host, 64 * MIB, 0);
    }
    world.run(Duration::from_secs(15));
    world
}

#[test]
fn a_host_that_has_no_reason_to_speak_is_distant_and_not_missing() {
    let world = world();
    for host in 0..34 {
        let seen = world.node(host).nodes_view(world.local(host));
        let steward = seen.iter().any(|one| one.id == world.hosts[host].id && one.steward);
        let near: Vec<_> = seen.iter().filter(|one| (one.site == "here") == (host < 17)).collect();
        assert_eq!(near.iter().filter(|one| one.steward).count(), 8);
        for one in &seen {
            assert_eq!(one.distant, one.liveness == Liveness::Unseen, "{host}: {one:?}");
        }
        let all_near_are_heard = near.iter().all(|one| one.liveness == Liveness::Alive);
        assert_eq!(all_near_are_heard, steward, "{host}");
        let stewards_near = near.iter().filter(|one| one.steward);
        assert!(stewards_near.clone().all(|one| one.liveness == Liveness::Alive), "{host}");
    }
}

#[test]
fn a_steward_that_falls_silent_is_missed() {
    let mut world = world();
    let seen = world.node(0).nodes_view(world.local(0));
    let other = |id| (1..17).find(|host| world.hosts[*host].id == id);
    let victim = seen.iter().filter(|one| one.steward).find_map(|one| other(one.id)).unwrap();
    world.kill_host(victim);
    world.run(Duration::from_secs(30));
    let seen = world.node(0).nodes_view(world.local(0));
    let one = seen.iter().find(|one| one.id == world.hosts[victim].id).unwrap();
    assert_eq!((one.liveness, one.distant), (Liveness::Dead, false));
}

#[test]
fn a_plan_names_the_hosts_whose_vms_it_does_not_know() {
    let world = world();
    for host in [0, 1, 20] {
        let sources = vec![SiteId::of("here")];
        let terms =
            Terms { from_sites: sources, to: vec![SiteId::of("there")], ..Terms::default() };
        let plan = world.node(host).plan(world.local(host), &terms);
        assert_eq!(plan.silent, Vec::<String>::new(), "{host}");
        let own = usize::from(host < 17);
        assert_eq!((plan.vms.len(), plan.untold.len()), (own, 17 - own), "{host}");
    }
}
