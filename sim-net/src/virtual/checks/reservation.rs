//! What is reserved and used never exceeds a host's memory.

use lifeboat_protocol::{VmId, arrivals::memory_needed};

use super::{Check, World};

impl World {
    /// Looks at the hosts that have something of this VM.
    pub(super) fn check_reservations_for(&mut self, vm: VmId) {
        for (host, _) in self.places(vm) {
            let one = &self.hosts[host];
            let Some(daemon) = &one.daemon else { continue };
            let hypervisor = &one.hypervisor;
            let reserved: u64 = daemon
                .arrivals()
                .all()
                .filter(|arrival| !hypervisor.guests.contains_key(&arrival.id.vm))
                .map(|arrival| memory_needed(&arrival.vm))
                .sum();
            let used = hypervisor.memory_used();
            if used + reserved > hypervisor.memory {
                let what = format!("{}: {used} bytes used, {reserved} reserved", one.name);
                self.checks.object(Check::Reservation, self.now, what);
            }
        }
    }
}
