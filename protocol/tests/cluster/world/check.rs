//! What must hold after every event.

use super::{World, hypervisor::Place};
use lifeboat_protocol::{VmId, arrivals::memory_needed, units::LINK_TOKENS};
use std::collections::BTreeSet;

impl World {
    /// Every invariant that is broken now, in words.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.conservation());
        found.extend(self.whole_vms());
        found.extend(self.memory());
        found
    }

    /// Conservation: the usable tokens of the link are never more than the link, while the
    /// receiving nodes have been connected among themselves for long enough.
    pub(super) fn conservation(&self) -> Option<String> {
        let held = (0..self.hosts.len()).map(|host| u32::from(self.tokens_of(host)));
        let sum: u32 = held.clone().sum();
        let split = self.now < self.receivers_whole_from;
        (sum > u32::from(LINK_TOKENS) && !split).then(|| {
            let held: Vec<u32> = held.collect();
            format!("conservation: {sum} tokens of {LINK_TOKENS} are usable: {held:?}")
        })
    }

    /// No VM runs twice, and none is lost.
    pub(super) fn whole_vms(&self) -> Vec<String> {
        let mut found = Vec::new();
        for vm in &self.vms {
            let places = self.places(*vm);
            let running = places.iter().filter(|(_, place)| *place == Place::Running).count();
            if running > 1 {
                found.push(format!("runs twice: {vm} is at {places:?}"));
            }
            let whole = self
                .hosts
                .iter()
                .filter(|host| host.powered)
                .filter_map(|host| host.hypervisor.guests.get(vm))
                .any(|guest| guest.is_whole());
            if !whole && !self.died_with_host.contains(vm) {
                found.push(format!("lost: {vm} is at {places:?}"));
            }
        }
        found
    }

    /// What is reserved and used never exceeds a host's memory.
    pub(super) fn memory(&self) -> Option<String> {
        self.hosts.iter().find_map(|host| {
            let daemon = host.daemon.as_ref()?;
            let hypervisor = &host.hypervisor;
            let reserved: u64 = daemon
                .arrivals()
                .all()
                .filter(|arrival| !hypervisor.guests.contains_key(&arrival.id.vm))
                .map(|arrival| memory_needed(&arrival.vm))
                .sum();
            let used = hypervisor.memory_used();
            (used + reserved > hypervisor.memory)
                .then(|| format!("memory: {} has {used} in use and {reserved} reserved", host.name))
        })
    }

    /// Where a VM is, on hosts that have power.
    pub(crate) fn places(&self, vm: VmId) -> Vec<(usize, Place)> {
        (0..self.hosts.len())
            .filter(|host| self.hosts[*host].powered)
            .filter_map(|host| Some((host, self.hosts[host].hypervisor.place(vm)?)))
            .collect()
    }

    /// Where a VM is in the state that its owner left it in: the one place, if there is just one.
    pub(crate) fn home(&self, vm: VmId) -> Option<usize> {
        let places = self.places(vm);
        let resting = |place| {
            matches!(place, Place::Running | Place::Paused | Place::Arrived | Place::ShutOff)
        };
        match places.as_slice() {
            [(host, place)] if resting(*place) => Some(*host),
            _ => None,
        }
    }

    /// Whether every VM that has not died with its host rests at the safe site, once.
    pub(crate) fn all_safe(&self) -> bool {
        let gone: &BTreeSet<VmId> = &self.died_with_host;
        self.vms
            .iter()
            .filter(|vm| !gone.contains(vm))
            .all(|vm| self.home(*vm).is_some_and(|host| host >= self.sources))
    }

    /// Whether nothing is open on any daemon.
    pub(crate) fn settled(&self) -> bool {
        self.hosts.iter().filter_map(|host| host.daemon.as_ref()).all(|node| {
            node.departures().all().next().is_none() && node.arrivals().all().next().is_none()
        })
    }
}
