//! What a node is told.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::{
    command::Command,
    ids::{LinkId, MoveId, NodeId, VmId},
    message::HeldBack,
    units::BytesPerSec,
    vm::{Copy, Progress, Vm},
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// Time has passed.
    Wake,
    /// Bytes came from a listed node; the transport vouches for who sent them.
    Received {
        /// The sender.
        from: NodeId,
        /// An encoded [`crate::message::Message`].
        bytes: Vec<u8>,
    },
    /// Everything up to this [`crate::output::Output::Persist`] is on disk.
    Durable(u64),
    /// The journal takes writes again, or takes none for now, and why.
    Journal(Result<(), String>),
    /// An operator asks.
    Command(Command),
    /// The host's figures, about once a second.
    Host(HostSample),
    /// The hypervisor's whole list, after every change and now and then.
    Vms(Vec<Vm>),
    /// The hypervisor does not answer.
    HypervisorDown(String),
    /// What the carrier measured on a link since the last sample.
    Link(LinkSample),
    /// The answer to [`crate::output::Output::Look`].
    Looked {
        /// The VM.
        vm: VmId,
        /// What is here.
        copy: Copy,
        /// Whether a migration out of here is under way.
        outgoing: bool,
    },
    /// Source: something happened to a move.
    Departure(MoveId, DepartureEvent),
    /// Destination: something happened to a move.
    Arrival(MoveId, ArrivalEvent),
}

/// A host's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HostSample {
    /// Memory for VMs, bytes.
    pub memory_total: u64,
    /// Of that, not used by VMs that the hypervisor knows, bytes.
    pub memory_free: u64,
    /// Processors.
    pub processors: u32,
    /// Idle share of the processors, thousandths.
    pub cpu_free_permille: u16,
    /// How long the host can still run, in milliseconds; `None` if unknown.
    pub runtime_left_ms: Option<u64>,
    /// Bytes per second sent on the NIC.
    pub nic_sent: BytesPerSec,
    /// Bytes per second received on the NIC.
    pub nic_received: BytesPerSec,
    /// Speed of the NIC; zero if unknown.
    pub nic_speed: BytesPerSec,
}

/// What the carrier measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkSample {
    /// The link.
    pub link: LinkId,
    /// Bytes per second put on it.
    pub sent: BytesPerSec,
    /// Bytes per second that arrived from it.
    pub arrived: BytesPerSec,
    /// What held sending back.
    pub held_back: HeldBack,
    /// Round-trip time over it, if the carrier knows.
    pub round_trip: Option<Duration>,
}

/// What happened to a move, seen from the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DepartureEvent {
    /// The definition of a shut-off VM, as asked for.
    Definition(Result<String, String>),
    /// The carrier's move could not be opened.
    OpenFailed(String),
    /// The hypervisor has taken the order, or not.
    Begun(Result<(), String>),
    /// How far it is.
    Progress(Progress),
    /// Bytes that the carrier has put on the wire for it, where nothing else is known of how far it is:
    /// the last of them are counted once the hypervisor here has nothing of it any more.
    Sent(u64),
    /// The guest is paused for the switchover.
    GuestPaused,
    /// The guest runs on here.
    GuestResumed,
    /// The migration is complete, and nothing of the guest can run here any more.
    SourceGone,
    /// The process of a guest that stood still has exited: the migration is complete, or the process was
    /// ended, or died.
    ProcessExited,
    /// The hypervisor's job ended; a hint, not proof.
    JobEnded(Result<(), String>),
    /// The carrier gave the move up.
    CarrierClosed(String),
}

/// What happened to a move, seen from the destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ArrivalEvent {
    /// Hypervisor and carrier are ready for it, or not.
    Prepared(Result<(), String>),
    /// The copy is complete and paused.
    Complete,
    /// Resuming was done or failed.
    Resumed(Result<(), String>),
}
