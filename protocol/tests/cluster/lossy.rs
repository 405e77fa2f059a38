//! Ten percent loss, duplicates, reordering, drifting clocks, deaths and cuts.

use crate::{
    finish, warm,
    world::{Setup, World, random::Random},
};
use std::time::Duration;

#[test]
fn small_worlds_on_a_bad_network() {
    for seed in 0..120 {
        let mut world = warm(&Setup::new(2, 2).lossy(seed), 4);
        world.evacuate(seed as usize % 4);
        finish(&mut world);
    }
}

/// One random fault after another, then calm, and everything must end well.
#[test]
fn small_worlds_with_random_faults() {
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let mut world = warm(&Setup::new(3, 3).lossy(1000 + seed), 6);
        world.evacuate(0);
        for _ in 0..8 {
            world.run(Duration::from_millis(100 + random.below(3000)));
            disturb(&mut world, &mut random);
        }
        world.heal();
        for host in 0..world.hosts.len() {
            if world.hosts[host].daemon.is_none() {
                world.start(host);
            }
        }
        finish(&mut world);
    }
}

#[test]
fn tracing() {
    let seed = 51;
        let mut random = Random::new(seed);
        let mut world = warm(&Setup::new(3, 3).lossy(1000 + seed), 6);
        world.strict = false;
        world.evacuate(0);
        for _ in 0..8 {
            let n = 100 + random.below(3000);
            for _ in 0..n/20 {
                world.run(Duration::from_millis(20));
                let t: Vec<_> = (0..3).map(|h| {let o = world.hosts[h].daemon.as_ref().map(|n| n.usable_tokens(world.local(h), world.link)); o}).collect();
                let i: Vec<_> = (3..6).map(|h| world.hosts[h].daemon.as_ref().map(|n| n.issued(world.link))).collect();
                println!("{} {t:?} {i:?} {:?}", world.now/1_000_000, world.conservation());
            }
            world.run(Duration::from_millis(n%20));
            disturb(&mut world, &mut random);
        }
        world.heal();
        for host in 0..world.hosts.len() {
            if world.hosts[host].daemon.is_none() {
                world.start(host);
                println!("start {host}");
            }
        }
        for _ in 0..70 {
                world.run(Duration::from_millis(20));
                let t: Vec<_> = (0..3).map(|h| {let o = world.hosts[h].daemon.as_ref().map(|n| n.usable_tokens(world.local(h), world.link)); o}).collect();
                let i: Vec<_> = (3..6).map(|h| world.hosts[h].daemon.as_ref().map(|n| n.issued(world.link))).collect();
                println!("{} {t:?} {i:?} {:?}", world.now/1_000_000, world.conservation());
                let d = format!("{:?}", world.node(3));
                let at = d.find("ledger:").unwrap();
                println!("    b1 local {:?} {}", world.local(3), &d[at..(at+900).min(d.len())]);
                let d = format!("{:?}", world.node(0));
                let at = d.find("confirms_from:").unwrap();
                println!("    a1 local {:?} {}", world.local(0), &d[at..(at+900).min(d.len())]);
        }
}

fn disturb(world: &mut World, random: &mut Random) {
    let host = random.below(world.hosts.len() as u64) as usize;
    let other = random.below(world.hosts.len() as u64) as usize;
    let receivers = host >= world.sources && other >= world.sources;
    let n = random.below(5); println!("disturb {n} {host} {other} daemon {}", world.hosts[host].daemon.is_some());
    match n {
        0 | 1 if world.hosts[host].daemon.is_some() => world.crash(host),
        0 | 1 => world.start(host),
        2 if host != other && !receivers => world.cut(&[host], &[other]),
        3 if host != other && !receivers => world.cut_one_way(&[host], &[other]),
        4 => world.heal(),
        _ => {}
    }
}
