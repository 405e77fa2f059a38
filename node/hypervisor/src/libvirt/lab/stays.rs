//! VMs that must not leave: what their host keeps of them does not travel.

use super::{Lab, guest, virsh};
use crate::{
    Copy, Hypervisor, VmId,
    libvirt::{LibvirtConfig, LibvirtHypervisor, Storage},
};

/// A VM stays, for a reason that holds `why`, and nothing of it is given away or deleted.
async fn stays(host: &LibvirtHypervisor, vm: VmId, why: &str) {
    let vms = host.vms().await.unwrap();
    let described = vms.iter().find(|known| known.id == vm).unwrap();
    assert!(described.obstacles.iter().any(|told| told.contains(why)), "{described:?}");
    let refused = host.definition(vm).await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(why)), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_saved_state_stays_with_its_definition() {
    let (lab, vm) = (Lab::open().await, guest(11));
    virsh(&["managedsave", &vm.to_string()]);
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::ShutOff);
    stays(&lab.source, vm, "saved state").await;
    for refused in [lab.source.forget(vm).await, lab.source.discard(vm).await] {
        assert!(refused.is_err(), "a saved state is not deleted");
    }
    let channels = lab.source.destination_channels(&lab.source_directory, vm, false);
    let refused = lab.source.prepare_arrival(vm, &channels).await;
    assert!(refused.is_err(), "what arrived would be started from that state some day");
    // That it goes on where it was shows in its number of boots.
    virsh(&["start", &vm.to_string()]);
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_shut_off_vm_with_a_local_disk_or_snapshots_stays() {
    let (lab, vm) = (Lab::open().await, guest(12));
    let local = LibvirtConfig { storage: Storage::Local, ..LibvirtConfig::default() };
    let local = LibvirtHypervisor::connect(local);
    stays(&local, vm, "its disk /var/lib/libvirt/images/d12.img is local").await;
    assert!(lab.source.definition(vm).await.is_ok(), "where disks are shared, it can go");

    virsh(&["snapshot-create-as", &vm.to_string(), "before", "--disk-only"]);
    stays(&lab.source, vm, "it has 1 snapshot, which cannot travel").await;
    let refused = lab.source.forget(vm).await;
    assert!(refused.is_err(), "what is known of snapshots is not deleted");
}
