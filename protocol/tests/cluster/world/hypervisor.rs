//! A **model** of one host's hypervisor: what guests are there and in what state. It knows nothing
//! of memory pages; [`super::moves`] models the copying as a fluid.

use lifeboat_protocol::{
    VmId,
    arrivals::memory_needed,
    vm::{Copy, RunState, Vm},
};
use std::collections::BTreeMap;

/// Where a guest stands on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Running,
    Paused,
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

#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) vm: Vm,
    pub(crate) place: Place,
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

/// The model hypervisor of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelHypervisor {
    pub(crate) memory: u64,
    pub(crate) guests: BTreeMap<VmId, Guest>,
}

impl ModelHypervisor {
    pub(crate) fn place(&self, vm: VmId) -> Option<Place> {
        self.guests.get(&vm).map(|guest| guest.place)
    }

    pub(crate) fn put(&mut self, vm: &Vm, place: Place) {
        self.guests.insert(vm.id, Guest { vm: vm.clone(), place });
    }

    /// Moves a guest from one state to another; whether it was in the first.
    pub(crate) fn turn(&mut self, vm: VmId, from: Place, to: Place) -> bool {
        match self.guests.get_mut(&vm).filter(|guest| guest.place == from) {
            Some(guest) => {
                guest.place = to;
                true
            }
            None => false,
        }
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
