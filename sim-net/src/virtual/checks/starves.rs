//! The VM at the head of the order gets its turn: no host sees one of its own VMs wait there for
//! long.

use super::{Check, World};
use crate::r#virtual::SECOND;

/// Longer than any retry waits, and than a destination takes to answer.
const LONGEST: u64 = 45 * SECOND;

impl World {
    pub(super) fn check_starves(&mut self) {
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let local = host.local(self.now);
            let first = host.awake(self.now).and_then(|node| node.first_waiting(local));
            let first = first.filter(|vm| self.room_for(*vm, index).is_some());
            let Some(vm) = first.filter(|_| self.undisturbed_for(LONGEST)) else {
                self.checks.starves.remove(&index);
                continue;
            };
            let entry = self.checks.starves.entry(index).or_insert((vm, self.now));
            if entry.0 != vm {
                *entry = (vm, self.now);
            }
            if self.now > entry.1 + LONGEST && self.calm_or_faultless() {
                let name = &self.vms[&vm].spec.name;
                let what = format!("{name} heads the order and has waited for 45 s");
                self.checks.object(Check::Starves, self.now, what);
            }
        }
    }
}
