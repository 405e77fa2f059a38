//! What nodes say to each other.
//!
//! A heartbeat says all that every node needs; a direct message concerns two. Every message may be
//! lost, repeated, late or out of order: each is either a newer version of something with one
//! writer, or asks for something that is safe to ask twice.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    evacuation::Record,
    groups::Grouped,
    ids::{EvacuationId, Incarnation, LinkId, MoveId, NodeId, VmId},
    tokens::{Acceptance, HandOn, Table},
    told::Told,
    units::BytesPerSec,
    vm::{Copy, Outcome, RunState, Vm, precopy_time},
};

/// Anything that travels between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// For all.
    Heartbeat(Heartbeat),
    /// For all.
    Inventory(Inventory),
    /// For one.
    Direct(Direct),
    /// For one, in place of the heartbeat for all, in a large cluster.
    Addressed(Addressed),
}

/// A heartbeat of which everything that does not concern its receiver is left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Addressed {
    /// What is left. Its number is one of the speaker's life, whoever it is for.
    pub heartbeat: Heartbeat,
    /// The next one to this receiver follows within this time, in milliseconds; 0 if none does.
    pub every_ms: u32,
    /// How often the speaker wants to be spoken to, in milliseconds; 0 if it does not care. Not the
    /// same as `every_ms`: it may speak more often because the receiver wants that.
    pub wanted_ms: u32,
    /// What the estimator of a link advises its receiver.
    pub advice: Vec<Advice>,
}

/// What a sender of a large cluster is to do next on a link: it does not know the whole order, but
/// the link's estimator does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Advice {
    /// The link.
    pub link: LinkId,
    /// The receiver's VMs that have a share, in order, with their tokens of the whole link now, and soon.
    pub shares: Vec<(VmId, u16, u16)>,
    /// Its VMs for which room is to be set aside early.
    pub ahead: Vec<VmId>,
    /// The first VM in the whole order that does not move yet, if it is the receiver's.
    pub first_waiting: Option<VmId>,
    /// Hosts that are likely to have room.
    pub rooms: Vec<Room>,
}

/// A host that takes arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Room {
    /// The host.
    pub node: NodeId,
    /// Its free memory, bytes.
    pub memory_free: u64,
}

/// What every node says of itself, about twice a second.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The speaker's life.
    pub incarnation: Incarnation,
    /// Number of this heartbeat in that life, from 1.
    pub number: u64,
    /// The speaker stops on purpose after this.
    pub leaving: bool,
    /// What it last heard of the others.
    pub echoes: Vec<Echo>,
    /// Its host.
    pub host: HostReport,
    /// Its traffic on each link that it uses.
    pub links: Vec<LinkReport>,
    /// What it still has to move.
    pub queue: QueueReport,
    /// What it grants as an issuer.
    pub tables: Vec<Table>,
    /// Which tables it goes by as a sender.
    pub accepted: Vec<Acceptance>,
    /// What it believes of the capacity of links.
    pub capacities: Vec<CapacityGossip>,
    /// Evacuations that it knows.
    pub evacuations: Vec<Record>,
}

/// The newest heartbeat that the speaker heard of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Echo {
    /// Whose heartbeat.
    pub node: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Its number.
    pub number: u64,
    /// How long ago it was heard, in microseconds of the speaker's clock.
    pub held_us: u64,
}

/// State of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostReport {
    /// Memory for VMs, bytes.
    pub memory_total: u64,
    /// Of that, neither used nor reserved, bytes.
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
    /// Whether its hypervisor answers.
    pub hypervisor_up: bool,
    /// Whether it takes arrivals: not while it is itself evacuated or damaged.
    pub takes_arrivals: bool,
    /// Whether its journal cannot be written, so that nothing begins there.
    pub journal_fails: bool,
}

/// What kept a sender from sending more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HeldBack {
    /// It had nothing to send.
    #[default]
    Idle,
    /// Its tokens.
    Tokens,
    /// The link: tokens were there, but the streams took no more.
    Link,
    /// The source: the hypervisor or the guest gave no more.
    Source,
}

/// A host's traffic on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkReport {
    /// The link.
    pub link: LinkId,
    /// Bytes per second put on it by this host.
    pub sent: BytesPerSec,
    /// Bytes per second that arrived here from it.
    pub arrived: BytesPerSec,
    /// What held this host's sending back.
    pub held_back: HeldBack,
    /// Tokens that it may use now.
    pub tokens: u16,
}

/// What a host still has to move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Told", into = "Told")]
pub struct QueueReport {
    /// VMs that still have to leave and can.
    pub vms: u32,
    /// VMs that have to leave and cannot, for now.
    pub stuck: u32,
    /// Bytes of those that still have to leave and can.
    pub bytes: u64,
    /// VMs whose whereabouts are not certain.
    pub unknown: u32,
    /// The VMs under way and the next ones, in detail.
    pub head: Vec<HeadVm>,
}

/// How far one VM is on its way, as the schedule needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The guest is paused; the last bytes are on their way.
    Switching,
    /// Its memory is being copied.
    Moving,
    /// Its destination is set aside.
    Reserved,
    /// It waits.
    Queued,
}

/// One VM at the head of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadVm {
    /// The VM.
    pub vm: VmId,
    /// The evacuation that moves it.
    pub evacuation: EvacuationId,
    /// The link that it takes, or would take.
    pub link: LinkId,
    /// How far it is.
    pub stage: Stage,
    /// Priority class, 100 first.
    pub priority: u8,
    /// Bytes still to be sent.
    pub bytes: u64,
    /// Bytes per second that it dirties.
    pub dirty_rate: u64,
    /// The rate below which it must not start, bytes per second.
    pub floor: BytesPerSec,
    /// The most that the interfaces of its source and, once that is settled, its destination carry,
    /// bytes per second; zero if unknown.
    pub most: BytesPerSec,
    /// The most that one move's streams reach over the link, bytes per second; zero if unknown.
    pub reach: BytesPerSec,
    /// Where it goes, once that is settled.
    pub to: Option<NodeId>,
    /// What flows of it, bytes per second, as last measured; zero if nothing does or it is not known.
    pub rate: BytesPerSec,
    /// How long it takes, from the order to start until the first bytes flow, in milliseconds.
    pub setup_ms: u32,
    /// Whether it is under way and leaves the link to all others, since it does not converge.
    pub yields: bool,
    /// Its group, if it belongs to one.
    pub group: Option<Grouped>,
}

impl HeadVm {
    /// How it stands `later`, if it goes on as it does.
    pub fn later(mut self, later: Duration) -> Self {
        let dirtied = if self.stage == Stage::Moving { self.dirty_rate } else { 0 };
        let done = BytesPerSec(self.rate.0.saturating_sub(dirtied)).bytes_in(later);
        self.bytes = self.bytes.saturating_sub(done);
        self
    }

    /// How long the rest of its copying takes at this rate.
    pub fn takes_at(&self, rate: BytesPerSec) -> Duration {
        precopy_time(self.bytes, rate.0, self.dirty_rate)
    }

    /// How long it takes from the order to start until the first bytes flow.
    pub fn setup(&self) -> Duration {
        Duration::from_millis(self.setup_ms.into())
    }
}

/// What a node believes of a link's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CapacityGossip {
    /// The link.
    pub link: LinkId,
    /// The estimate.
    pub capacity: BytesPerSec,
    /// Higher is newer. Ties go to the higher estimate.
    pub epoch: u64,
    /// VMs among which the link is divided at least, as long as so many want it.
    pub width: u16,
}

/// All VMs of a host, in one of several parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The speaker's life.
    pub incarnation: Incarnation,
    /// Version of the whole; parts of one version belong together.
    pub version: u64,
    /// Number of this part, from 0.
    pub part: u16,
    /// Parts in all.
    pub parts: u16,
    /// The VMs of this part.
    pub vms: Vec<InventoryVm>,
    /// Moves completed for the evacuations that are not over yet.
    pub outcomes: Vec<(EvacuationId, Outcome)>,
}

/// One VM of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InventoryVm {
    /// The VM.
    pub vm: Vm,
    /// Where it is in its move, in words a person reads.
    pub state: VmState,
    /// Bytes still to be sent, if it is to leave.
    pub remaining: u64,
    /// Why it does not move, all reasons.
    pub reasons: Vec<String>,
}

/// A VM's place in its lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VmState {
    /// No evacuation concerns it.
    Resting,
    /// It waits for its turn.
    Queued,
    /// Its destination is set aside.
    Reserved,
    /// Its memory is being copied.
    Moving,
    /// It is paused for the switchover.
    Switching,
    /// It has left; the destination has not yet said that it runs there.
    Committing,
    /// It failed and will be tried again.
    Failed,
    /// Nobody can say for certain where it is.
    Unknown,
    /// This is an arrival that is not complete or not yet resumed.
    Arriving,
}

/// What concerns two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direct {
    /// Source to destination: may this VM come?
    Reserve {
        /// The attempt.
        id: MoveId,
        /// The evacuation.
        evacuation: EvacuationId,
        /// What comes.
        vm: Vm,
        /// For a shut-off VM: its definition.
        definition: Option<String>,
    },
    /// Destination to source: the answer.
    Reserved {
        /// The attempt.
        id: MoveId,
        /// `Ok`, or why not.
        answer: Result<(), String>,
    },
    /// Destination to source: the request is heard, and hypervisor and carrier are being made ready, or an
    /// earlier attempt of the same source is being settled first.
    Preparing {
        /// The attempt.
        id: MoveId,
    },
    /// Source to destination: the reservation is still wanted.
    Renew {
        /// The attempt.
        id: MoveId,
    },
    /// Source to destination, the commit: nothing of the VM can run at the source any more.
    SourceGone {
        /// The attempt.
        id: MoveId,
        /// How long the guest had been paused when this was sent, in milliseconds; `None` if nobody
        /// saw its pause begin.
        paused_ms: Option<u64>,
        /// Whether the VM ran, and is to run at the destination, even if that has lost its journal.
        resumes: bool,
        /// The newest heartbeat of the destination that the source had heard: as long as that is
        /// fresh, nobody can have said at the source that the destination is dead.
        heard: Echo,
    },
    /// Source to destination: nothing of the VM can run at the source, but the destination must not
    /// resume it either, since a person said that it is dead and may have started the VM elsewhere.
    Withheld {
        /// The attempt.
        id: MoveId,
    },
    /// Source to destination: the VM stays at the source; destroy what arrived.
    SourceKept {
        /// The attempt.
        id: MoveId,
    },
    /// Destination to source: it runs here (or rests here, if it was paused or shut off).
    Settled {
        /// The attempt.
        id: MoveId,
        /// How long the guest stood still, in milliseconds, if it is known from beginning to end.
        downtime_ms: Option<u64>,
    },
    /// Destination to source: nothing of that attempt is here any more.
    Discarded {
        /// The attempt.
        id: MoveId,
    },
    /// Source to destination: the source knows that it is settled; forget the attempt.
    Closed {
        /// The attempt.
        id: MoveId,
    },
    /// Either to the other: what do you really have?
    Ask {
        /// The attempt.
        id: MoveId,
        /// Whether it moves a definition only.
        offline: bool,
    },
    /// The answer to [`Direct::Ask`] of a source.
    DestinationHas {
        /// The attempt.
        id: MoveId,
        /// What is there.
        copy: Copy,
    },
    /// Sender to sender on one site: the rest of a lease.
    HandOn(HandOn),
}

impl RunState {
    /// Whether the VM must be resumed after it arrived.
    pub fn resumes(self) -> bool {
        self == RunState::Running
    }
}
