//! Whole clusters of nodes in virtual time, one file per behaviour.

mod barred;
mod cancel_and_restart;
mod checkers;
mod destination_dies;
mod disk_full;
mod ended;
mod foresight;
mod groups;
mod hand_on;
mod holder_killed_and_restarted;
mod hostile_input;
mod hung;
mod hypervisor_down;
mod initiator_killed;
mod inventory;
mod issuer_killed_and_restarted;
mod journal_replay;
mod large;
mod late_joiner;
mod lossy;
mod memory;
mod merge;
mod never_converges;
mod offline_and_paused;
mod one_way_partition;
mod persons_word;
mod shown;
mod switchover_cut;
mod two_initiators;
mod undisturbed;
mod wan_cut;
mod world;

use lifeboat_protocol::output::NoticeKind;
use std::time::Duration;
use world::{MIB, Setup, World};

/// Long enough for every world of these tests.
const LIMIT: Duration = Duration::from_secs(600);

/// `sources` + `safe` hosts and some VMs of mixed sizes, ten seconds old.
fn warm(setup: &Setup, vms: usize) -> World {
    let mut world = World::new(setup);
    for number in 0..vms {
        let memory = [256, 512, 768, 1024][number % 4] * MIB;
        let dirty = [0, 2_000_000, 6_000_000][number % 3];
        world.add_vm(number % setup.sources, memory, dirty);
    }
    world.run(Duration::from_secs(10));
    world
}

/// Runs until every VM is safe and every daemon has closed its books, without one alarm.
fn finish(world: &mut World) -> Duration {
    let took = world.run_until(LIMIT, "all are safe", World::all_safe);
    world.run_until(LIMIT, "all is closed", World::settled);
    let alarms = world.notices(NoticeKind::Alarm);
    assert!(alarms.is_empty(), "{alarms:#?}");
    took
}
