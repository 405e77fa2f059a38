//! Autostart of a VM that moves.

use std::time::Instant;

use tokio::time::sleep;

use super::{DEADLINE, FAST, Lab, SLOW, ended, guest, output_of, under_way, virsh};
use crate::{Copy, Hypervisor, VmId, libvirt::autostart};

#[tokio::test]
#[ignore = "needs the lab"]
async fn autostart_is_off_during_a_move_and_on_again_wherever_the_vm_runs() {
    let (mut lab, vm, off) = (Lab::open().await, guest(15), guest(12));
    virsh(&["autostart", &vm.to_string()]);
    let relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    assert!(!starts_with(&[], vm), "a host that boots again would start a second one");
    lab.source.abort(vm).await.unwrap();
    assert!(ended(&mut lab.source_events, vm).await.is_err());
    drop(relay);
    assert!(starts_with(&[], vm), "it stays here");
    lab.destination.discard(vm).await.unwrap();

    let _relay = lab.begin(vm, FAST).await;
    lab.hand_over(vm).await;
    let arrived = Instant::now();
    while !starts_with(&["-c", &lab.destination_uri], vm) {
        assert!(arrived.elapsed() < DEADLINE, "autostart is lost");
        sleep(std::time::Duration::from_millis(100)).await;
    }

    virsh(&["autostart", &off.to_string()]);
    let definition = lab.source.definition(off).await.unwrap();
    assert!(autostart::is_marked(&definition), "{definition}");
    assert!(starts_with(&[], off), "it is still here");
    virsh(&["autostart", "--disable", &off.to_string()]);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_vm_that_ended_while_it_moved_has_its_autostart_again_once_it_is_known_to_stay() {
    let (mut lab, vm) = (Lab::open().await, guest(19));
    virsh(&["autostart", &vm.to_string()]);
    let _relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    lab.source.restore(vm).await.unwrap();
    assert!(!starts_with(&[], vm), "it moves");
    virsh(&["destroy", &vm.to_string()]);
    assert!(ended(&mut lab.source_events, vm).await.is_err());
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::ShutOff);
    lab.source.vms().await.unwrap();
    assert!(!starts_with(&[], vm), "nobody has said yet that nothing of it is elsewhere");

    lab.source.restore(vm).await.unwrap();
    assert!(starts_with(&[], vm), "it stays here");
    lab.source.restore(vm).await.unwrap();
    let definition = lab.source.definition(vm).await.unwrap();
    assert!(autostart::is_marked(&definition), "it travels with it: {definition}");
    virsh(&["autostart", "--disable", &vm.to_string()]);
    lab.source.restore(vm).await.unwrap();
    assert!(!starts_with(&[], vm), "its owner does not want it");
}

/// Whether a VM is set to start with the host that `connection` leads to.
fn starts_with(connection: &[&str], vm: VmId) -> bool {
    let vm = vm.to_string();
    let told = output_of(&[connection, &["dominfo", &vm]].concat());
    let told = told.lines().find_map(|line| line.strip_prefix("Autostart:"));
    told.expect("virsh tells it").trim() == "enable"
}
