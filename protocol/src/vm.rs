//! A VM as the protocol sees it.

use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{GroupId, VmId},
    tuning::{Constant, Name, Tuning},
    units::BytesPerSec,
};

/// The rate at which the copying of a guest comes to an end in good time, over that at which it dirties,
/// thousandths. With less it takes many passes, and sends everything six times and more; more makes it wait
/// for a share that it could do without.
pub(crate) const CONVERGING_PERMILLE: Constant<u64> = Name::Converging.of(1200).near(1000);
/// Part of the rate that is assumed to be left for a guest that dirties as fast as it moves, one in so many:
/// such a guest is slowed down or paused before it has taken twenty times as long as one that rests.
const LEAST_LEFT: u64 = 20;

/// What an operator allows to be done to a VM, and how it ranks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// Priority class, 0 (last) to 100 (first).
    pub priority: u8,
    /// VMs of one group belong together.
    pub group: Option<String>,
    /// Longest planned pause at the switchover, in milliseconds.
    pub max_downtime_ms: u64,
    /// Longest pause that escalation may go to, in milliseconds.
    pub max_downtime_escalated_ms: u64,
    /// The guest may be slowed down.
    pub auto_converge: bool,
    /// The guest may be switched to post-copy.
    pub post_copy: bool,
    /// The guest may be paused and copied.
    pub stop_and_copy: bool,
}

impl Policy {
    /// The id of the VM's group.
    pub fn group(&self) -> Option<GroupId> {
        self.group.as_deref().map(GroupId::of)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            priority: 50,
            group: None,
            max_downtime_ms: 300,
            max_downtime_escalated_ms: 5000,
            auto_converge: true,
            post_copy: false,
            stop_and_copy: false,
        }
    }
}

/// Whether a VM executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunState {
    /// It runs.
    Running,
    /// Paused by its operator; it stays paused wherever it goes.
    Paused,
    /// Only its definition exists.
    ShutOff,
}

/// A VM of this host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vm {
    /// Its UUID.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// Whether it executes.
    pub state: RunState,
    /// Memory in bytes.
    pub memory: u64,
    /// Virtual processors.
    pub processors: u32,
    /// Disk bytes that must travel too.
    pub disk: u64,
    /// Bytes per second that the guest dirties; 0 if unknown.
    pub dirty_rate: u64,
    /// Bytes of memory that the guest keeps rewriting; 0 if unknown.
    pub working_set: u64,
    /// Rank and limits.
    pub policy: Policy,
    /// Why it cannot move at all; empty if it can.
    pub obstacles: alloc::vec::Vec<String>,
}

impl Vm {
    /// Bytes that must cross the link once.
    pub fn bytes(&self) -> u64 {
        match self.state {
            RunState::ShutOff => self.disk,
            RunState::Running | RunState::Paused => self.memory.saturating_add(self.disk),
        }
    }
}

/// What a host really has of a VM, as its hypervisor says when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Copy {
    /// Nothing.
    Absent,
    /// A running guest.
    Running,
    /// A complete guest that is paused: by its operator, or as an arrival that waits.
    Paused,
    /// Destination: bytes are still arriving.
    Incoming,
    /// Source: paused by the hypervisor for the switchover.
    Switching,
    /// Source: shut off because its migration completed.
    MovedAway,
    /// A definition without a guest.
    ShutOff,
}

impl Copy {
    /// Whether a guest with memory is there that could run on.
    pub fn is_live(self) -> bool {
        matches!(self, Copy::Running | Copy::Paused | Copy::Switching)
    }
}

/// How far a move has come, as the source's hypervisor and carrier say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes still to be sent as of now.
    pub remaining: u64,
    /// Bytes sent so far, repeats included, before compression.
    pub sent: u64,
    /// Bytes put on the wire for this move.
    pub wire: u64,
    /// Bytes per second that the guest dirties; 0 while unknown.
    pub dirty_rate: u64,
    /// Pass over memory, from 1.
    pub pass: u32,
    /// Whether `remaining` holds what the guest has rewritten since this pass began. QEMU finds that only
    /// when the pass is over.
    pub rewritten_counted: bool,
}

/// How a completed move went; travels to every node for the report.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The VM.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Name of the host that it left.
    pub from: String,
    /// Name of the host that it reached.
    pub to: String,
    /// Start of the move, in milliseconds after the start of the evacuation.
    pub start_ms: u64,
    /// Its end: the VM runs at its destination.
    pub end_ms: u64,
    /// Whether the guest ran, at its source and then at its destination.
    pub ran: bool,
    /// Whether it ran when its source began to move it, and ended there meanwhile: it arrived shut off, and
    /// somebody has to start it.
    pub ended: bool,
    /// How long the guest stood still, in milliseconds; `None` if it did not run, or if its pause was not
    /// seen from beginning to end, since a daemon was restarted.
    pub downtime_ms: Option<u64>,
    /// Memory and disk bytes of the VM: what had to be sent once.
    pub bytes_needed: u64,
    /// Bytes put on the wire, by attempts that failed, too, as far as the present life of the source's daemon
    /// has seen them.
    pub bytes_sent: u64,
    /// Attempts that it took.
    pub attempts: u32,
    /// Dirty rate last measured, bytes per second.
    pub dirty_rate: u64,
}

/// The rate at which the copying of a guest that dirties so many bytes per second comes to an end in
/// good time.
pub(crate) fn converging_rate(tuning: Tuning, dirty_rate: u64) -> BytesPerSec {
    BytesPerSec(dirty_rate).permille(tuning.of(CONVERGING_PERMILLE))
}

/// The time that a pre-copy of `bytes` takes at `rate` bytes per second against a guest that
/// dirties `dirty_rate`: `bytes / (rate - dirty_rate)`, and never less than a twentieth of the
/// rate is assumed to be left, since escalation then takes over.
///
/// Source: the geometric series of pre-copy rounds, Clark et al., NSDI 2005.
pub fn precopy_time(bytes: u64, rate: u64, dirty_rate: u64) -> Duration {
    let effective = rate.saturating_sub(dirty_rate).max(rate / LEAST_LEFT);
    BytesPerSec(effective).time_for(bytes)
}

/// A running guest of 1 GiB that rewrites nothing, for tests.
#[cfg(test)]
pub(crate) fn sample() -> Vm {
    Vm {
        id: VmId([1; 16]),
        name: "web".into(),
        state: RunState::Running,
        memory: 1 << 30,
        processors: 1,
        disk: 0,
        dirty_rate: 0,
        working_set: 0,
        policy: Policy::default(),
        obstacles: alloc::vec::Vec::new(),
    }
}
