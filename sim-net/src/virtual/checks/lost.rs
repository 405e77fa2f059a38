//! No VM is without a whole copy, unless it died with its host. The definition of a shut-off VM is on
//! its host's disk, and survives that host's power.

use lifeboat_protocol::VmId;

use super::{Check, World};
use crate::r#virtual::{
    host::Host,
    hypervisor::{Guest, Place},
};

impl World {
    pub(super) fn check_lost(&mut self, vm: VmId) {
        if self.died_with_host.contains(&vm) {
            return;
        }
        let whole = |host: &Host| {
            let copy = host.hypervisor.guests.get(&vm).filter(|copy| Guest::is_whole(copy));
            copy.is_some_and(|copy| host.powered || copy.place == Place::ShutOff)
        };
        if !self.copies_of(vm).any(|host| whole(&self.hosts[host])) {
            let what = format!("{} is at {:?}", self.vms[&vm].spec.name, self.places(vm));
            self.checks.object(Check::Lost, self.now, what);
        }
    }
}
