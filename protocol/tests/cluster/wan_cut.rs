//! The link between the sites is cut and comes back.

use crate::{finish, warm, world::Setup};
use lifeboat_protocol::output::{Notice, NoticeKind};
use std::time::Duration;

#[test]
fn ten_seconds_cost_little_more_than_ten_seconds() {
    let setup = Setup::new(3, 3);
    let mut calm = warm(&setup, 12);
    calm.evacuate(0);
    let undisturbed = finish(&mut calm);

    let mut world = warm(&setup, 12);
    world.evacuate(0);
    world.run(Duration::from_secs(20));
    let (here, there) = world.sites();
    world.cut(&here, &there);
    world.run(Duration::from_secs(10));
    world.heal();
    let took = finish(&mut world) + Duration::from_secs(30);
    println!("undisturbed {undisturbed:?}, with the cut {took:?}");
    assert!(took < undisturbed + Duration::from_secs(10 + 12), "{took:?} for {undisturbed:?}");
}

#[test]
fn a_cut_at_any_time_of_any_length_loses_nothing() {
    for after in [100, 700, 2500, 4100] {
        for length in [200, 1700, 5000, 40_000] {
            let mut world = warm(&Setup::new(2, 2), 4);
            world.evacuate(2);
            world.run(Duration::from_millis(after));
            let (here, there) = world.sites();
            world.cut(&here, &there);
            world.run(Duration::from_millis(length));
            world.heal();
            finish(&mut world);
        }
    }
}

/// Right after the outage only some of the far hosts are heard: the silence of the others is still
/// that of the link, and no reason to give up what is on its way to them.
#[test]
fn hosts_that_come_back_one_after_the_other_lose_no_move() {
    for late in [2, 3] {
        let mut world = warm(&Setup::new(2, 2), 4);
        world.evacuate(0);
        world.run(Duration::from_millis(1500));
        let (here, there) = world.sites();
        world.cut(&here, &there);
        world.run(Duration::from_secs(10));
        world.heal();
        world.cut(&here, &[late]);
        world.run(Duration::from_secs(1));
        world.heal();
        finish(&mut world);
        let failed = world.notices(NoticeKind::Failed);
        // Neither was a move: room that was asked for in vain, and a VM that had not begun.
        let others = ["does not answer", "cannot go now"];
        let is_move = |notice: &&&Notice| !others.iter().any(|other| notice.text.contains(other));
        let given_up: Vec<_> = failed.iter().filter(is_move).collect();
        assert!(given_up.is_empty(), "{given_up:#?}");
    }
}
