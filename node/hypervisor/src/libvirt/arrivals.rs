//! What an arrival needs at its destination besides the VM, and what is left of it if it fails.
//!
//! QEMU does not always remove the sockets that it made. libvirt makes the images into which
//! travelling disks are copied, and keeps them when the move fails: half a disk, onto which the VM
//! might be started one day.
//!
//! Invariants:
//! - *only what this arrival made is removed*. An image that was here before it is named when it may
//!   have been overwritten, and stays;
//! - *sockets go as soon as their QEMU is done with them*: whoever sends the VM away from here makes
//!   others under the same names.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use virt::connect::Connect;

use super::{Inner, calls::QUICK, domain_xml};
use crate::VmId;

/// The arrivals that are under way here, as far as this process knows.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<BTreeMap<VmId, Arrival>>);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    since: SystemTime,
    begun: bool,
    sockets: Vec<PathBuf>,
    disks_travel: bool,
    images: Vec<PathBuf>,
}

impl Arrivals {
    /// One begins; QEMU will make these sockets.
    pub(super) fn expect(&self, vm: VmId, sockets: Vec<PathBuf>, disks_travel: bool) {
        let since = SystemTime::now();
        let arrival = Arrival { since, begun: false, sockets, disks_travel, images: Vec::new() };
        self.all().insert(vm, arrival);
    }

    /// The VM has begun to arrive: what its QEMU does from now on is of this arrival.
    pub(super) fn begins(&self, vm: VmId) {
        if let Some(arrival) = self.all().get_mut(&vm) {
            arrival.begun = true;
        }
    }

    /// All of it has come, or its QEMU has ended: nothing comes over its sockets any more.
    pub(super) fn ends(&self, vm: VmId) {
        if let Some(arrival) = self.all().get_mut(&vm).filter(|arrival| arrival.begun) {
            remove(std::mem::take(&mut arrival.sockets));
        }
    }

    /// The VM leaves: the sockets are those of its departure by now.
    pub(super) fn forget(&self, vm: VmId) {
        self.all().remove(&vm);
    }

    fn with_disks(&self, vm: VmId) -> bool {
        self.all().get(&vm).is_some_and(|arrival| arrival.disks_travel)
    }

    fn images(&self, vm: VmId, images: Vec<PathBuf>) {
        if let Some(arrival) = self.all().get_mut(&vm) {
            arrival.images = images;
        }
    }

    /// It is over, one way or the other; returns what there was of it.
    pub(super) fn over(&self, vm: VmId) -> Option<Arrival> {
        let mut arrival = self.all().remove(&vm)?;
        remove(std::mem::take(&mut arrival.sockets));
        Some(arrival)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<VmId, Arrival>> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

fn remove(sockets: Vec<PathBuf>) {
    for socket in sockets {
        // QEMU may have removed it itself.
        let _ = fs::remove_file(socket);
    }
}

/// The VM has begun to arrive: notes the images into which its disks are copied.
///
/// libvirt itself describes an arrival only once it is over, so its own record is read.
pub(super) async fn note_images(inner: Arc<Inner>, vm: VmId) {
    if !inner.arrivals.with_disks(vm) {
        return;
    }
    let name = inner.call_about(vm, "tell a VM's name", QUICK, |domain| Ok(domain.name()?)).await;
    let Ok(Some(name)) = name else { return };
    let record = inner.config.run_directory.join(format!("{name}.xml"));
    match fs::read_to_string(&record) {
        Ok(record) => inner.arrivals.images(vm, images_of(&record)),
        Err(error) => tracing::warn!(
            "{} cannot be read ({error}): should the move of {name} to this host fail, half copies \
             of its disks may stay here",
            record.display()
        ),
    }
}

/// The files to which the disks of a domain are written, by libvirt's record of its run.
fn images_of(record: &str) -> Vec<PathBuf> {
    let domain = record.find("<domain ").zip(record.rfind("</domain>"));
    let described = domain.and_then(|(start, end)| {
        domain_xml::describe(record.get(start..end + "</domain>".len())?).ok()
    });
    let disks = described.map(|described| described.disks).unwrap_or_default();
    let written = disks.into_iter().filter(|disk| disk.written).filter_map(|disk| disk.source);
    written.map(PathBuf::from).filter(|source| source.is_absolute()).collect()
}

/// Removes the images that a failed arrival made, and names those that it may have spoilt.
pub(super) fn clear(connection: &Connect, arrival: &Arrival) {
    for image in &arrival.images {
        if !made_by(arrival, image) {
            if image.exists() {
                tracing::warn!(
                    "{} was here before a move to this host failed; it may be overwritten in part: \
                     do not start a VM from it",
                    image.display()
                );
            }
            continue;
        }
        let removed = connection
            .lookup_storage_vol_by_path(&image.display().to_string())
            .and_then(|volume| volume.delete(0));
        match removed {
            Ok(()) => tracing::info!("removed {}, half a copy", image.display()),
            Err(error) => tracing::warn!(
                "{} is half a copy of a disk whose move to this host failed, and cannot be removed \
                 ({}): remove it by hand",
                image.display(),
                error.message()
            ),
        }
    }
}

/// Whether an image came into being during an arrival.
fn made_by(arrival: &Arrival, image: &Path) -> bool {
    let made = fs::metadata(image).and_then(|image| image.created());
    made.is_ok_and(|made| made >= arrival.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_from_the_record_of_a_run() {
        let record = "<domstatus state='paused'><domain type='qemu'><name>web</name><devices>
            <disk type='file' device='disk'><source file='/i/a.img'/><target dev='vda'/></disk>
            <disk type='file' device='disk'><source file='/i/b.img'/><target dev='vdb'/><readonly/></disk>
            <disk type='network' device='disk'><source name='p/c'/><target dev='vdc'/></disk>
            </devices></domain></domstatus>";
        assert_eq!(images_of(record), [PathBuf::from("/i/a.img")]);
        assert_eq!(images_of("<domstatus/>"), Vec::<PathBuf>::new());
    }

    #[test]
    fn sockets_go_when_the_arrival_ends_and_those_of_a_departure_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (arrivals, vm) = (Arrivals::default(), VmId([1; 16]));
        let socket = directory.path().join("socket");
        let here = || fs::write(&socket, "").unwrap();
        arrivals.expect(vm, vec![socket.clone()], true);
        here();
        arrivals.ends(vm);
        assert!(socket.exists(), "that was the end of an earlier one");
        arrivals.begins(vm);
        arrivals.ends(vm);
        assert!(!socket.exists());

        here();
        arrivals.ends(vm);
        assert!(arrivals.over(vm).is_some() && socket.exists(), "it is another's by now");
        arrivals.expect(vm, vec![socket.clone()], true);
        arrivals.forget(vm);
        assert!(arrivals.over(vm).is_none() && socket.exists());
    }

    #[test]
    fn only_what_an_arrival_made_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (before, after) = (directory.path().join("before"), directory.path().join("after"));
        fs::write(&before, "").unwrap();
        // Nothing is waited for: file systems stamp births by a clock that ticks coarsely.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (arrivals, vm) = (Arrivals::default(), VmId([1; 16]));
        let socket = directory.path().join("socket");
        arrivals.expect(vm, vec![socket.clone()], true);
        std::thread::sleep(std::time::Duration::from_millis(50));
        for made in [&after, &socket] {
            fs::write(made, "").unwrap();
        }
        let arrival = arrivals.over(vm).unwrap();
        assert!(made_by(&arrival, &after) && !made_by(&arrival, &before));
        assert!(!made_by(&arrival, &directory.path().join("never")));
        assert!(!socket.exists() && arrivals.over(vm).is_none());
    }
}
