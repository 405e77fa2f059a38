//! No VM is without a whole copy, unless it died with its host.

use lifeboat_protocol::VmId;

use super::{Check, World};
use crate::r#virtual::{host::Host, hypervisor::Guest};

impl World {
    pub(super) fn check_lost(&mut self, vm: VmId) {
        if self.died_with_host.contains(&vm) {
            return;
        }
        let whole = |host: &Host| {
            host.powered && host.hypervisor.guests.get(&vm).is_some_and(Guest::is_whole)
        };
        if !self.copies_of(vm).any(|host| whole(&self.hosts[host])) {
            let what = format!("{} is at {:?}", self.vms[&vm].spec.name, self.places(vm));
            self.checks.object(Check::Lost, self.now, what);
        }
    }
}
