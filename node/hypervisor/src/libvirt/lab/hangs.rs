//! A VM whose QEMU hangs, as on storage that is gone.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{DEADLINE, FAST, Lab, guest};
use crate::{Hypervisor, HypervisorError};

/// Longer than the others may be held up, shorter than libvirt waits for a hung QEMU.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_qemu_that_hangs_is_named_and_holds_up_nobody() {
    let (mut lab, hung, other) = (Lab::open().await, guest(13), guest(14));
    let pid = fs::read_to_string("/run/libvirt/qemu/d13.pid").unwrap();
    let signal = |name: &str| {
        assert!(Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap().success());
    };
    signal("STOP");
    let mut waiting = Command::new("virsh")
        .args(["domblkinfo", "d13", "vda"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();

    // A driver that knows nothing yet, and one that has seen it before.
    let started = Instant::now();
    let named = loop {
        let vms = lab.source.vms().await.expect("the list does not wait for it");
        let of = |vm| vms.iter().find(|known| known.id == vm).unwrap().obstacles.clone();
        assert_eq!(of(other), Vec::<String>::new());
        if !of(hung).is_empty() {
            break of(hung);
        }
        assert!(started.elapsed() < SOON, "it is not named");
        sleep(Duration::from_millis(200)).await;
    };
    assert!(named[0].contains("its QEMU does not answer libvirt"), "{named:?}");
    assert!(lab.source.is_leaving(hung).await.is_err(), "nobody knows");
    let refused = lab.source.begin(lab.order(hung)).await;
    assert!(matches!(refused, Err(HypervisorError::Refused { .. })), "{refused:?}");
    let anew = super::LibvirtHypervisor::connect(super::LibvirtConfig::default());
    let vms = anew.vms().await.unwrap();
    let known = vms.iter().find(|known| known.id == hung).unwrap();
    assert_eq!((known.name.as_str(), known.obstacles.clone()), ("d13", named));

    let _relay = lab.begin(other, FAST).await;
    lab.hand_over(other).await;
    assert!(started.elapsed() < SOON + SOON, "the other one was held up");

    signal("CONT");
    assert!(waiting.wait().unwrap().success());
    let freed = Instant::now();
    while lab.source.vms().await.unwrap().iter().any(|vm| vm.id == hung && !vm.obstacles.is_empty())
    {
        assert!(freed.elapsed() < DEADLINE, "it is not free again");
        sleep(Duration::from_millis(200)).await;
    }
}
