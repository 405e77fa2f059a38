//! No VM is without a whole copy, unless it died with its host.

use lifeboat_protocol::VmId;

use super::{Check, World};

impl World {
    pub(super) fn check_lost(&mut self, vm: VmId) {
        if self.died_with_host.contains(&vm) {
            return;
        }
        let powered = self.hosts.iter().filter(|host| host.powered);
        let mut copies = powered.filter_map(|host| host.hypervisor.guests.get(&vm));
        if !copies.any(|guest| guest.is_whole()) {
            let what = format!("{} is at {:?}", self.vms[&vm].spec.name, self.places(vm));
            self.checks.object(Check::Lost, self.now, what);
        }
    }
}
