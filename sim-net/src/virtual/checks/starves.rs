//! The VM at the head of the order gets its turn: no host sees one of its own VMs be the first of those
//! that wait, for long, while others begin to move. Where its host's interface, or its destination's, is
//! slower than the link and another VM has it, others may well go first.

use std::collections::BTreeMap;

use lifeboat_protocol::VmId;

use super::{Check, World};
use crate::r#virtual::SECOND;

/// Longer than any retry waits, and than a destination takes to answer.
const LONGEST: u64 = 45 * SECOND;
/// Moves that may begin meanwhile: one that was about to, and one that nobody could know of yet.
const PASSED: u64 = 2;

/// Which VM each host has seen waiting first, since when, and how many moves had begun by then.
pub(super) type Memory = BTreeMap<usize, (VmId, u64, u64)>;

impl World {
    pub(super) fn check_starves(&mut self) {
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let local = host.local(self.now);
            let awake = host.awake(self.now).filter(|_| self.undisturbed_for(LONGEST));
            let first = awake.and_then(|node| node.first_waiting(local));
            let Some((id, vm)) = first.filter(|(_, vm)| self.room_for(*vm, index).is_some()) else {
                self.checks.starves.remove(&index);
                continue;
            };
            let link = self.links.iter().find(|link| link.id == id);
            let departure = awake.and_then(|node| node.departures().get(vm));
            let to = departure.and_then(|one| self.hosts_by_id.get(&one.to)).copied();
            let slower = |end: usize| link.is_some_and(|link| self.hosts[end].nic < link.capacity);
            let leaves = slower(index) && self.moves.iter().any(|one| one.from == index);
            let arrives = |to| slower(to) && self.moves.iter().any(|one| one.to == to);
            if leaves || to.is_some_and(arrives) {
                self.checks.starves.remove(&index);
                continue;
            }
            let begun = link.map_or(0, |link| link.begun);
            let entry = self.checks.starves.entry(index).or_insert((vm, self.now, begun));
            if entry.0 != vm {
                *entry = (vm, self.now, begun);
            }
            let (_, since, before) = *entry;
            let passed = begun.saturating_sub(before);
            if self.now > since + LONGEST && passed > PASSED && self.calm_or_faultless() {
                let name = &self.vms[&vm].spec.name;
                let what =
                    format!("{name} has been the first for 45 s, and {passed} others have begun");
                self.checks.object(Check::Starves, self.now, what);
            }
        }
    }
}
