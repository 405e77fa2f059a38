//! Images that libvirt makes for disks that travel.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{Lab, SLOW, destination_root, ended, guest, under_way};
use crate::{Copy, Hypervisor};

const IMAGE: &str = "/var/lib/libvirt/images/d16.img";

#[tokio::test]
#[ignore = "needs the lab"]
async fn half_an_image_is_removed_unless_it_was_there_before() {
    let (mut lab, vm) = (Lab::open().await, guest(16));
    let there = destination_root().join(IMAGE.trim_start_matches('/'));
    // Both drivers see the source's files; QEMU keeps the image open that it has.
    fs::remove_file(IMAGE).unwrap();
    symlink(&there, IMAGE).unwrap();

    assert!(!there.exists());
    fail_half_way(&mut lab, &there).await;
    assert!(!there.exists(), "it would pass for the VM's disk");
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);

    fs::write(&there, vec![0; 32 << 20]).unwrap();
    fail_half_way(&mut lab, &there).await;
    assert!(there.exists(), "what was here before is somebody's");
}

async fn fail_half_way(lab: &mut Lab, image: &Path) {
    let vm = guest(16);
    let relay = lab.begin_with(vm, SLOW, true).await;
    under_way(&lab.source, vm).await;
    assert!(image.exists());
    let socket = lab.destination_directory.join(format!("{vm}-n"));
    relay.cut();
    assert!(ended(&mut lab.source_events, vm).await.is_err());
    lab.destination.discard(vm).await.unwrap();
    assert!(!socket.exists(), "sockets are removed, too");
}
