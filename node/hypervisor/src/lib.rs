//! One narrow trait over the hypervisors that lifeboat drives.
//!
//! Two implementations exist: [`embedded`], a client of the emulated hypervisor of
//! `lifeboat-sim-net`, and `libvirt` (cargo feature `libvirt`). Both pass one conformance suite.
//!
//! Invariants:
//! - *A return code proves nothing.* After an outcome that is not certain, callers ask
//!   [`Hypervisor::look`] on both hosts.
//! - *An arrival never runs by itself.* Only [`Hypervisor::resume`] runs a copy that arrived.
//! - Every call ends within its own deadline; none blocks the runtime.

mod error;
mod vm;

pub mod embedded;
// The driver around it needs libvirt; it does not. With both features it is compiled twice.
#[cfg(feature = "fuzz")]
#[allow(clippy::duplicate_mod)]
#[path = "libvirt/domain_xml.rs"]
mod domain_xml;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "libvirt")]
pub mod libvirt;

use std::path::{Path, PathBuf};

pub use error::HypervisorError;
pub use vm::{Copy, HostCapacity, Policy, RunState, Vm, VmId};

/// One local UNIX socket of a move, as the carrier at this end needs it.
///
/// At the source the carrier listens on `path`; at the destination it connects to `path`.
/// Channels of the same `name` belong together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Channel {
    /// `memory`, `libvirt` or `disks`.
    pub name: String,
    /// Absolute path of the socket on this host.
    pub path: PathBuf,
}

/// Everything needed to start sending one VM away.
#[derive(Debug, Clone)]
pub struct MigrationOrder {
    /// Which VM.
    pub vm: VmId,
    /// The sockets that the carrier listens on here, as made by [`Hypervisor::source_channels`].
    pub channels: Vec<Channel>,
    /// Longest pause that the guest may suffer at the switchover, in milliseconds.
    pub max_downtime_ms: u64,
    /// Whether the hypervisor may slow the guest down so that it converges.
    pub auto_converge: bool,
    /// Whether post-copy may be started later on this move.
    pub post_copy: bool,
    /// Whether disks travel too (otherwise storage is shared between the sites).
    pub copy_storage: bool,
    /// Address for a direct migration without the carrier, e.g. `qemu+tcp://10.0.0.2/system`.
    /// `None` means: through `channels`.
    pub direct_uri: Option<String>,
    /// Rate limit in bytes per second that the hypervisor itself should keep (direct migration only).
    pub direct_rate: Option<u64>,
}

/// How far an outgoing migration has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes (memory and disks) that must still be sent as of now.
    pub remaining: u64,
    /// Bytes sent so far by the hypervisor, repeats included.
    pub sent: u64,
    /// Bytes of memory and disks in all.
    pub total: u64,
    /// Bytes per second that the guest dirties, once known.
    pub dirty_rate: Option<u64>,
    /// Number of the present pass over memory, from 1.
    pub pass: u32,
    /// Whether `remaining` holds what the guest has rewritten since this pass began.
    pub rewritten_counted: bool,
    /// Guest pause in milliseconds, expected or measured, once known.
    pub downtime_ms: Option<u64>,
}

/// What a hypervisor reports without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorEvent {
    /// The connection to the hypervisor is up (again): look at everything.
    Connected,
    /// The connection to the hypervisor is lost; reconnecting goes on by itself.
    Disconnected(String),
    /// A VM appeared, disappeared or changed: look again.
    Changed(VmId),
    /// Source: the guest is now paused for the switchover.
    GuestPaused(VmId),
    /// Source: the guest runs again; the migration did not complete.
    GuestResumed(VmId),
    /// Source: the migration is complete; nothing of the VM can run here any more.
    SourceGone(VmId),
    /// Source: the process of a VM that stood still has exited: its migration is complete, or the process was
    /// ended, or died.
    ProcessExited(VmId),
    /// Destination: the copy is complete, verified, and waits to be resumed.
    Arrived(VmId),
    /// Source: the migration call returned, with the reason if it failed. A hint, never proof.
    JobEnded(VmId, Result<(), String>),
}

/// A hypervisor on this host.
///
/// Order of calls for one move: at the destination [`prepare_arrival`](Self::prepare_arrival) with
/// [`destination_channels`](Self::destination_channels); at the source
/// [`begin`](Self::begin) with [`source_channels`](Self::source_channels), then
/// [`progress`](Self::progress) and friends until the events tell the outcome; at the destination
/// [`resume`](Self::resume); at the source [`forget`](Self::forget).
#[async_trait::async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// `embedded` or `libvirt`, for messages.
    fn kind(&self) -> &'static str;

    /// A stream of events; each call gives an independent one, from now on.
    fn events(&self) -> tokio::sync::mpsc::UnboundedReceiver<HypervisorEvent>;

    /// Memory and processors of the host as the hypervisor sees them.
    async fn capacity(&self) -> Result<HostCapacity, HypervisorError>;

    /// All VMs of this host: running, paused and shut off. Remains of a completed migration
    /// ([`Copy::MovedAway`]) are not VMs of this host any more.
    async fn vms(&self) -> Result<Vec<Vm>, HypervisorError>;

    /// What this host really has of a VM, now.
    async fn look(&self, vm: VmId) -> Result<Copy, HypervisorError>;

    /// Whether a VM has an outgoing migration under way (found again after a restart of the daemon).
    async fn is_leaving(&self, vm: VmId) -> Result<bool, HypervisorError>;

    /// The sockets that the carrier shall listen on at the source.
    fn source_channels(&self, directory: &Path, vm: VmId, copy_storage: bool) -> Vec<Channel>;

    /// The sockets that the carrier shall connect to at the destination.
    fn destination_channels(&self, directory: &Path, vm: VmId, copy_storage: bool) -> Vec<Channel>;

    /// Destination: makes ready to receive a VM on `channels`.
    async fn prepare_arrival(&self, vm: VmId, channels: &[Channel]) -> Result<(), HypervisorError>;

    /// Source: starts the migration and returns once it is accepted; the outcome comes as events.
    async fn begin(&self, order: MigrationOrder) -> Result<(), HypervisorError>;

    /// Source: how far the migration has come; `None` if none is under way.
    async fn progress(&self, vm: VmId) -> Result<Option<Progress>, HypervisorError>;

    /// Source: allows a longer pause at the switchover, in milliseconds.
    async fn set_max_downtime(&self, vm: VmId, milliseconds: u64) -> Result<(), HypervisorError>;

    /// Source: switches the move to post-copy.
    async fn start_post_copy(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Source: pauses the guest so that the rest can be copied (stop-and-copy).
    async fn pause(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Source: gives the migration up; the guest stays here.
    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Runs a paused copy.
    async fn resume(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Destroys and undefines whatever this host has of the VM, and removes what a failed arrival
    /// made beside it. Refuses, as [`forget`](Self::forget) does, where more than a definition would
    /// be lost with the definition: a saved state, or what the hypervisor knows of snapshots.
    async fn discard(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Source: removes the shut-off remains of a VM that now runs elsewhere.
    /// Refuses (without change) if a live copy is here.
    async fn forget(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// Source: undoes what moving a VM changed in its definition. Called of one that ended while it moved
    /// once it is decided that it stays here, shut off; does nothing to one that has been started since.
    async fn restore(&self, vm: VmId) -> Result<(), HypervisorError>;

    /// The definition of a shut-off VM, to be given to [`define`](Self::define) elsewhere. Refused
    /// where [`Vm::obstacles`] would name something, which may have come up since.
    async fn definition(&self, vm: VmId) -> Result<String, HypervisorError>;

    /// Defines a shut-off VM from another host's definition.
    async fn define(&self, definition: &str) -> Result<(), HypervisorError>;
}
