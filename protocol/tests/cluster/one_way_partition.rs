//! Partitions in which one direction still works, of any pair of hosts.

use crate::{finish, warm, world::Setup};
use std::time::Duration;

#[test]
fn a_deaf_or_mute_host_stops_nothing_for_good() {
    for host in 0..4 {
        for mute in [false, true] {
            for length in [2000, 6000, 15_000] {
                let mut world = warm(&Setup::new(2, 2), 6);
                world.evacuate(0);
                world.run(Duration::from_millis(1500));
                let others: Vec<usize> = (0..4).filter(|other| *other != host).collect();
                if mute {
                    world.cut_one_way(&[host], &others);
                } else {
                    world.cut_one_way(&others, &[host]);
                }
                world.run(Duration::from_millis(length));
                world.heal();
                finish(&mut world);
            }
        }
    }
}

/// The receiving nodes stay connected in one direction only: whoever is not heard must stop
/// issuing before another one takes over, also right after the cut has healed.
#[test]
fn one_way_among_the_receivers_keeps_the_sum() {
    for (from, to) in [(2, 3), (3, 2)] {
        for length in [2500, 5000, 8000, 12_000] {
            let mut world = warm(&Setup::new(2, 2), 8);
            world.evacuate(0);
            world.run(Duration::from_millis(1500));
            world.cut_one_way(&[from], &[to]);
            world.check_receivers_although_cut();
            world.run(Duration::from_millis(length));
            world.heal();
            finish(&mut world);
        }
    }
}

/// A receiver that restarts while one direction is cut.
#[test]
fn a_receiver_restarts_unheard() {
    for length in [3000, 6000, 9000] {
        let mut world = warm(&Setup::new(2, 2), 8);
        world.evacuate(0);
        world.run(Duration::from_millis(1500));
        world.crash(3);
        world.cut_one_way(&[2], &[3]);
        world.check_receivers_although_cut();
        world.start(3);
        world.run(Duration::from_millis(length));
        world.heal();
        finish(&mut world);
    }
}

/// Nobody claims a slice that another one may have taken over, however the direction is cut.
#[test]
fn no_slice_has_two_issuers() {
    for (from, to) in [(2, 3), (3, 2)] {
        let mut world = warm(&Setup::new(2, 2), 2);
        world.cut_one_way(&[from], &[to]);
        world.check_receivers_although_cut();
        for round in 0..200 {
            world.run(Duration::from_millis(100));
            if round == 110 {
                world.heal();
            }
            let issued = [2, 3].map(|host| world.node(host).issued(world.link));
            assert!(issued[0] + issued[1] <= 1000, "{issued:?} after {} ms", round * 100);
        }
    }
}
