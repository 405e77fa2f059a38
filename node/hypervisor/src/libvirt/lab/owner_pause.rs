//! A guest that its owner pauses while it moves, and one that only seems to be paused so.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{DEADLINE, FAST, Lab, SLOW, ended, expect, guest, under_way, virsh};
use crate::{Copy, Hypervisor, HypervisorEvent};

/// Of a guest of the lab, in bytes.
const MEMORY: u64 = 128 << 20;

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_guest_that_its_owner_pauses_stays_paused_and_arrives_paused() {
    let (mut lab, vm) = (Lab::open().await, guest(17));
    let relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    virsh(&["suspend", &vm.to_string()]);
    let end = ended(&mut lab.source_events, vm).await;
    assert!(end.as_ref().is_err_and(|why| why.contains("paused by hand")), "{end:?}");
    drop(relay);
    let asked = Instant::now();
    while lab.source.look(vm).await.unwrap() != Copy::Paused {
        assert!(asked.elapsed() < DEADLINE, "it runs");
        sleep(Duration::from_millis(100)).await;
    }

    lab.destination.discard(vm).await.unwrap();
    let _relay = lab.begin(vm, FAST).await;
    expect(&mut lab.source_events, &HypervisorEvent::ProcessExited(vm)).await;
    expect(&mut lab.destination_events, &HypervisorEvent::Arrived(vm)).await;
    assert_eq!(lab.destination.look(vm).await.unwrap(), Copy::Paused);
    lab.source.forget(vm).await.unwrap();
    // Its owner goes on with it.
    lab.destination.resume(vm).await.unwrap();
}

/// A disk's last bytes hold the switchover up, and libvirt answers nothing until they are given up.
#[tokio::test]
#[ignore = "needs the lab"]
async fn a_switchover_that_an_outage_interrupts_is_no_pause_by_hand() {
    let (mut lab, vm) = (Lab::open().await, guest(18));
    let relay = lab.begin_with(vm, SLOW, true).await;
    let began = Instant::now();
    while lab.source.progress(vm).await.unwrap().is_none_or(|progress| progress.total < MEMORY) {
        assert!(began.elapsed() < DEADLINE, "its memory does not get going");
        sleep(Duration::from_millis(20)).await;
    }
    let outage = relay.outage("disks").await;
    expect(&mut lab.source_events, &HypervisorEvent::GuestPaused(vm)).await;
    // As long as an outage may last before the carrier closes what a paused guest waits for.
    sleep(Duration::from_millis(1500)).await;
    relay.cut();
    drop(outage);
    let end = ended(&mut lab.source_events, vm).await;
    assert!(end.as_ref().is_err_and(|why| !why.contains("by hand")), "{end:?}");
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);
}
