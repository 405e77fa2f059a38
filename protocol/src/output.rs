//! What a node wants done.
//!
//! Outputs come in the order in which they must be done. Those that rest on something durable are
//! held back inside the node until [`crate::input::Input::Durable`] says so.

use alloc::{string::String, vec::Vec};

use crate::{
    ids::{EvacuationId, LinkId, MoveId, NodeId, VmId},
    journal::Change,
    time::Instant,
    units::BytesPerSec,
    vm::Vm,
};

/// A guest that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guest {
    /// It runs, and will for longer than a grant is good for.
    Runs,
    /// It runs, and may be paused for its switchover before a grant has run out.
    MayPause,
    /// It stands still.
    Paused,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send to all.
    Broadcast(Vec<u8>),
    /// Send to one.
    Send {
        /// To whom.
        to: NodeId,
        /// An encoded message.
        bytes: Vec<u8>,
    },
    /// Make durable, then say [`crate::input::Input::Durable`] with `sequence`.
    Persist {
        /// Number of this write.
        sequence: u64,
        /// What changes.
        changes: Vec<Change>,
    },
    /// The carrier may send so much on a link until then, and nothing after that.
    Grant {
        /// The link.
        link: LinkId,
        /// The rate, wire bytes per second.
        rate: BytesPerSec,
        /// When the right ends, by this node's clock.
        until: Instant,
    },
    /// Ask the hypervisor what it really has of a VM.
    Look {
        /// The VM.
        vm: VmId,
    },
    /// Source: read the definition of a shut-off VM.
    ReadDefinition {
        /// The attempt.
        id: MoveId,
    },
    /// Source: open the carrier's streams to the destination.
    OpenMove {
        /// The attempt.
        id: MoveId,
        /// The destination.
        to: NodeId,
        /// The link that it takes.
        link: LinkId,
    },
    /// Source: start the migration.
    BeginMove {
        /// The attempt.
        id: MoveId,
        /// The VM.
        vm: Vm,
        /// The destination.
        to: NodeId,
        /// What of the guest's longest pause the hypervisor may use for the last pages, in milliseconds.
        max_downtime_ms: u64,
    },
    /// Source: how the carrier divides its share among this host's moves.
    SetWeight {
        /// The attempt.
        id: MoveId,
        /// The weight, from 1.
        weight: u16,
    },
    /// Source: how the guest of this move is (the carrier gives up sooner while it is paused).
    SetGuest {
        /// The attempt.
        id: MoveId,
        /// How it is.
        guest: Guest,
    },
    /// Source: go one step further for a guest that does not converge.
    Escalate {
        /// The attempt.
        id: MoveId,
        /// How.
        step: Escalation,
    },
    /// Source: give the migration up.
    AbortMove {
        /// The attempt.
        id: MoveId,
    },
    /// Source: the copy here is no longer the true one; destroy it and keep its definition.
    DestroySource {
        /// The attempt.
        id: MoveId,
    },
    /// Source: the guest is paused and nothing of it is at the destination; run it.
    ResumeSource {
        /// The attempt.
        id: MoveId,
    },
    /// Source: remove the shut-off remains.
    Forget {
        /// The attempt.
        id: MoveId,
    },
    /// Source: a VM ended while it moved, and its definition stays here: undo what the move changed in it.
    Restore {
        /// The VM.
        vm: VmId,
    },
    /// Destination: make carrier and hypervisor ready.
    PrepareArrival {
        /// The attempt.
        id: MoveId,
        /// What comes.
        vm: Vm,
        /// For a shut-off VM: define this instead.
        definition: Option<String>,
    },
    /// Destination: run what arrived.
    Resume {
        /// The attempt.
        id: MoveId,
    },
    /// Destination: destroy whatever is here of the VM.
    Discard {
        /// The attempt.
        id: MoveId,
    },
    /// Either end: the carrier can close its side of the move.
    CloseMove {
        /// The attempt.
        id: MoveId,
    },
    /// Tell people.
    Notice(Notice),
}

/// What is done for a guest that does not converge, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Escalation {
    /// Allow a pause of so many milliseconds.
    Downtime(u64),
    /// Switch to post-copy.
    PostCopy,
    /// Pause the guest and copy the rest.
    StopAndCopy,
}

/// Something that people want to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// What kind of thing.
    pub kind: NoticeKind,
    /// The VM concerned, if one is.
    pub vm: Option<VmId>,
    /// The evacuation concerned, if one is.
    pub evacuation: Option<EvacuationId>,
    /// What happened, to what, and what to do.
    pub text: String,
}

/// Kinds of notices, for filters and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A message or command was refused.
    Rejected,
    /// A node came, went, or fell silent.
    Member,
    /// An evacuation started or ended.
    Evacuation,
    /// A VM got one step further.
    Vm,
    /// A VM's move failed and will be tried again.
    Failed,
    /// Nobody can say where a VM is; a person may be needed.
    Unknown,
    /// A link's capacity or its issuers changed.
    Link,
    /// Something that must not be.
    Alarm,
}
