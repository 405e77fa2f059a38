//! A guest that its owner pauses while it moves.

use std::time::Instant;

use tokio::time::sleep;

use super::{DEADLINE, FAST, Lab, SLOW, ended, expect, guest, under_way, virsh};
use crate::{Copy, Hypervisor, HypervisorEvent};

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
        sleep(std::time::Duration::from_millis(100)).await;
    }

    lab.destination.discard(vm).await.unwrap();
    let _relay = lab.begin(vm, FAST).await;
    expect(&mut lab.source_events, &HypervisorEvent::SourceGone(vm)).await;
    expect(&mut lab.destination_events, &HypervisorEvent::Arrived(vm)).await;
    assert_eq!(lab.destination.look(vm).await.unwrap(), Copy::Paused);
    lab.source.forget(vm).await.unwrap();
    // Its owner goes on with it.
    lab.destination.resume(vm).await.unwrap();
}
