//! A **model** of one host's hypervisor: what guests are there and in what state. It knows nothing
//! of memory pages; a stamp stands for all that a guest has written.

use std::collections::BTreeMap;

use lifeboat_protocol::{
    MoveId, VmId,
    arrivals::memory_needed,
    vm::{Copy, RunState, Vm},
};

/// Where a guest stands on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// It runs.
    Running,
    /// Paused by its operator.
    Paused,
    /// Only its definition is there.
    ShutOff,
    /// Bytes are arriving.
    Incoming,
    /// Complete, waiting to be resumed or to rest.
    Arrived,
    /// Paused at the source for the switchover.
    Switching,
    /// The source's remains after a completed migration.
    MovedAway,
}

impl Place {
    /// Whether the VM is in the state that its owner left it in.
    pub fn rests(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::ShutOff)
    }
}

/// A guest, or what is left of one.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) vm: Vm,
    pub(crate) place: Place,
    /// Stands for the content of its memory: changes whenever it has run.
    pub(crate) stamp: u64,
}

impl Guest {
    /// Whether this copy is enough for the VM not to be lost.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.place, Place::Incoming | Place::MovedAway)
    }

    fn memory(&self) -> u64 {
        match self.place {
            Place::ShutOff | Place::MovedAway => 0,
            _ => memory_needed(&self.vm),
        }
    }
}

/// The hypervisor of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hypervisor {
    pub(crate) memory: u64,
    pub(crate) guests: BTreeMap<VmId, Guest>,
    /// What it was told to expect.
    pub(crate) prepared: BTreeMap<VmId, MoveId>,
    /// Whether its daemon is dead.
    pub(crate) down: bool,
    /// Until when its daemon answers nothing.
    pub(crate) hangs_until: u64,
    /// Until when it refuses migrations.
    pub(crate) refuses_until: u64,
    /// Until when what it reports is lost.
    pub(crate) reports_lost_until: u64,
}

impl Hypervisor {
    pub(crate) fn place(&self, vm: VmId) -> Option<Place> {
        self.guests.get(&vm).map(|guest| guest.place)
    }

    pub(crate) fn look(&self, vm: VmId) -> Copy {
        match self.place(vm) {
            None => Copy::Absent,
            Some(Place::Running) => Copy::Running,
            Some(Place::Paused | Place::Arrived) => Copy::Paused,
            Some(Place::ShutOff) => Copy::ShutOff,
            Some(Place::Incoming) => Copy::Incoming,
            Some(Place::Switching) => Copy::Switching,
            Some(Place::MovedAway) => Copy::MovedAway,
        }
    }

    pub(crate) fn memory_used(&self) -> u64 {
        self.guests.values().map(Guest::memory).sum()
    }

    /// The list as the daemon gets it: remains of completed migrations are not VMs of this host.
    pub(crate) fn list(&self) -> Vec<Vm> {
        self.guests
            .values()
            .filter(|guest| guest.place != Place::MovedAway)
            .map(|guest| {
                let state = match guest.place {
                    Place::Running | Place::Switching => RunState::Running,
                    Place::ShutOff => RunState::ShutOff,
                    _ => RunState::Paused,
                };
                Vm { state, ..guest.vm.clone() }
            })
            .collect()
    }
}
