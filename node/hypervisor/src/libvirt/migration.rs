//! The migration call: what it is given, and the thread that waits for it.

use std::{
    path::{Path, PathBuf},
    thread,
};

use tokio::sync::oneshot;
use virt::{domain::MigrateParameters, error::ErrorNumber, sys};

use super::{calls, link};
use crate::{Channel, MigrationOrder, VmId};

const LIBVIRT: &str = "libvirt";
const MEMORY: &str = "memory";
const DISKS: &str = "disks";

/// libvirt's word for "no limit", in MiB per second: its own default.
const UNLIMITED: u64 = (i64::MAX as u64) / (1024 * 1024);

/// What `virDomainMigrateToURI3` is called with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    destination: String,
    memory: Option<String>,
    disks: Option<String>,
    /// MiB per second.
    bandwidth: u64,
    flags: u32,
}

impl Call {
    /// The call for an order.
    ///
    /// Never with `UNDEFINE_SOURCE`: what the source keeps is evidence. Always with `PAUSED`: a
    /// copy that starts by itself may run beside the one it was made from. Hence never with
    /// `POSTCOPY`, which libvirt refuses together with `PAUSED`.
    ///
    /// # Errors
    ///
    /// If the order names no way to the destination.
    pub(super) fn new(order: &MigrationOrder) -> Result<Self, String> {
        let mut flags = sys::VIR_MIGRATE_LIVE
            | sys::VIR_MIGRATE_PEER2PEER
            | sys::VIR_MIGRATE_PERSIST_DEST
            | sys::VIR_MIGRATE_PAUSED;
        if order.auto_converge {
            flags |= sys::VIR_MIGRATE_AUTO_CONVERGE;
        }
        if order.copy_storage {
            flags |= sys::VIR_MIGRATE_NON_SHARED_DISK;
        }
        if let Some(uri) = &order.direct_uri {
            let bandwidth =
                order.direct_rate.map_or(UNLIMITED, |rate| (rate / (1024 * 1024)).max(1));
            return Ok(Self {
                destination: uri.clone(),
                memory: None,
                disks: None,
                bandwidth,
                flags,
            });
        }
        let path = |name: &str| {
            let channel = order.channels.iter().find(|channel| channel.name == name);
            channel
                .map(|channel| channel.path.display().to_string())
                .ok_or_else(|| format!("the order has no channel for {name}"))
        };
        let disks = if order.copy_storage { Some(unix(&path(DISKS)?)) } else { None };
        Ok(Self {
            destination: format!("qemu+unix:///system?socket={}", path(LIBVIRT)?),
            memory: Some(unix(&path(MEMORY)?)),
            disks,
            bandwidth: UNLIMITED,
            flags,
        })
    }

    /// Makes the call on a thread and a connection of its own; the receiver gets its result.
    ///
    /// Its own connection, because libvirtd answers only a few requests of one client at a time,
    /// and this one takes as long as the migration.
    pub(super) fn start(self, uri: String, vm: VmId) -> oneshot::Receiver<Result<(), String>> {
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("libvirt-migrate".into())
            .spawn(move || {
                // Nobody listens any more if the driver was dropped; libvirt goes on regardless.
                let _ = sender.send(self.make(&uri, vm));
            })
            .expect("a thread for the migration call can be started");
        receiver
    }

    fn make(self, uri: &str, vm: VmId) -> Result<(), String> {
        let text = |error: virt::error::Error| error.message().to_owned();
        let connection = link::open(uri).map_err(text)?;
        let domain = calls::find(&connection, vm)
            .map_err(text)?
            .ok_or_else(|| "the VM is no longer on this host".to_owned())?;
        let parameters = MigrateParameters {
            uri: self.memory,
            disks_uri: self.disks,
            bandwidth: Some(self.bandwidth),
            ..MigrateParameters::default()
        };
        domain
            .migrate_to_uri3(Some(&self.destination), parameters, self.flags)
            .map_err(|error| explained(&error))
    }
}

/// What libvirt says, and what to do where it does not say that.
fn explained(error: &virt::error::Error) -> String {
    if error.code() != ErrorNumber::MigrateUnsafe.into() {
        return error.message().to_owned();
    }
    format!(
        "libvirt takes its move for unsafe ({}): the destination may not see what its disks hold. A \
         disk on this host alone travels with `copy_storage = true`; shared storage must be one that \
         libvirt knows to be shared (NFS, Ceph, iSCSI and the like), and the disk's cache mode `none` or \
         `directsync` where it says so",
        error.message()
    )
}

/// The sockets of a move at either end; only libvirt's own has a place of its own there.
///
/// The paths of memory and disks are the same strings on both hosts: libvirt tells the
/// destination's QEMU to bind what the source's connects to.
pub(super) fn channels(libvirt: PathBuf, directory: &Path, vm: VmId, disks: bool) -> Vec<Channel> {
    let channel = |name: &str, path| Channel { name: name.into(), path };
    let mut channels =
        vec![channel(LIBVIRT, libvirt), channel(MEMORY, directory.join(format!("{vm}-q")))];
    if disks {
        channels.push(channel(DISKS, directory.join(format!("{vm}-n"))));
    }
    channels
}

/// Where the carrier listens at the source in libvirt's stead.
pub(super) fn source_libvirt_socket(directory: &Path, vm: VmId) -> PathBuf {
    directory.join(format!("{vm}-drv"))
}

/// The sockets that QEMU itself binds at the destination.
pub(super) fn bound_by_qemu(channels: &[Channel]) -> impl Iterator<Item = &Path> {
    channels.iter().filter(|channel| channel.name != LIBVIRT).map(|channel| channel.path.as_path())
}

/// Whether disks are copied, too.
pub(super) fn disks_travel(channels: &[Channel]) -> bool {
    channels.iter().any(|channel| channel.name == DISKS)
}

fn unix(path: &str) -> String {
    format!("unix://{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: VmId = VmId([0x11; 16]);

    fn order(copy_storage: bool) -> MigrationOrder {
        let directory = Path::new("/run/lifeboat");
        MigrationOrder {
            vm: VM,
            channels: channels(source_libvirt_socket(directory, VM), directory, VM, copy_storage),
            max_downtime_ms: 300,
            auto_converge: true,
            post_copy: false,
            copy_storage,
            direct_uri: None,
            direct_rate: None,
        }
    }

    #[test]
    fn through_the_carrier_everything_goes_over_its_sockets_without_a_limit() {
        let name = "/run/lifeboat/11111111-1111-1111-1111-111111111111";
        assert_eq!(
            Call::new(&order(true)),
            Ok(Call {
                destination: format!("qemu+unix:///system?socket={name}-drv"),
                memory: Some(format!("unix://{name}-q")),
                disks: Some(format!("unix://{name}-n")),
                bandwidth: UNLIMITED,
                flags: 1 | 2 | 8 | 32 | 64 | 8192,
            })
        );
    }

    #[test]
    fn no_order_undefines_the_source_or_starts_the_arrival() {
        for (auto_converge, post_copy, copy_storage) in
            [(false, false, false), (true, true, false), (true, true, true)]
        {
            let order = MigrationOrder { auto_converge, post_copy, ..order(copy_storage) };
            let flags = Call::new(&order).unwrap().flags;
            assert_eq!(flags & (sys::VIR_MIGRATE_UNDEFINE_SOURCE | sys::VIR_MIGRATE_POSTCOPY), 0);
            assert_ne!(flags & sys::VIR_MIGRATE_PAUSED, 0);
        }
    }

    #[test]
    fn a_direct_migration_is_limited_in_whole_mebibytes() {
        for (rate, expect) in
            [(None, UNLIMITED), (Some(1), 1), (Some(1024 * 1024), 1), (Some(25_000_000), 23)]
        {
            let direct_uri = Some("qemu+tcp://b1/system".to_owned());
            let call = Call::new(&MigrationOrder { direct_uri, direct_rate: rate, ..order(false) })
                .unwrap();
            assert_eq!((call.bandwidth, call.memory), (expect, None), "{rate:?}");
        }
    }

    #[test]
    fn an_order_without_its_channels_is_refused() {
        let order = MigrationOrder { channels: Vec::new(), ..order(false) };
        assert_eq!(Call::new(&order), Err("the order has no channel for libvirt".into()));
    }

    #[test]
    fn socket_paths_fit_into_an_address() {
        let longest = source_libvirt_socket(Path::new("/var/run/lifeboat/migrations"), VM);
        assert!(longest.as_os_str().len() < 107);
    }
}
