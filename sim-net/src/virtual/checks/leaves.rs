//! Every VM that can leave leaves: at the end none rests on a living host that is being emptied
//! while a host that it may go to has room for it.

use lifeboat_protocol::{VmId, arrivals::memory_needed};

use super::{Check, World};
use crate::r#virtual::Place;

impl World {
    pub(super) fn check_leaves(&mut self) {
        let vms: Vec<VmId> = self.vms.keys().copied().collect();
        for vm in vms {
            if self.died_with_host.contains(&vm) {
                continue;
            }
            let Some(home) = self.home(vm) else {
                self.check_has_a_home(vm);
                continue;
            };
            if self.hosts[home].daemon.is_none() || !self.is_emptied(home) {
                continue;
            }
            if let Some(host) = self.room_for(vm, home) {
                let name = &self.vms[&vm].spec.name;
                let (home, host) = (&self.hosts[home].name, &self.hosts[host].name);
                let what = format!("{name} is still on {home} although {host} has room");
                self.checks.object(Check::Leaves, self.now, what);
            }
        }
    }

    /// A VM that rests nowhere waits for the word of a host that is dead: nobody can know more.
    fn check_has_a_home(&mut self, vm: VmId) {
        let waits = self.hosts.iter().filter_map(|host| host.daemon.as_ref()).any(|node| {
            let silent = |source| {
                self.hosts_by_id.get(&source).is_some_and(|index| !self.hosts[*index].powered)
            };
            node.arrivals().get(vm).is_some_and(|arrival| silent(arrival.id.source))
                || node.departures().get(vm).is_some_and(|departure| silent(departure.to))
        });
        // Where both ends lost their journals, nobody is left who could know.
        let forgotten = |(host, _): &(usize, _)| self.hosts[*host].journal.was_lost;
        // A guest that nobody wants away any more, or that nobody can take, is well where it runs.
        let runs = |(host, place): &(usize, Place)| {
            let stays = !self.is_emptied(*host) || self.room_for(vm, *host).is_none();
            *place == Place::Running && stays
        };
        if !waits && !self.places(vm).iter().any(runs) && !self.places(vm).iter().all(forgotten) {
            let what = format!("{} ends at {:?}", self.vms[&vm].spec.name, self.places(vm));
            self.checks.object(Check::Leaves, self.now, what);
        }
    }

    /// A living host to which an evacuation of `home` may take a VM, with room for it. A host that has
    /// a guest of that id and has lost its journal takes none: it cannot tell a copy that was left
    /// behind from a VM that somebody paused, and gives neither up.
    pub(crate) fn room_for(&self, vm: VmId, home: usize) -> Option<usize> {
        let guest = self.hosts[home].hypervisor.guests.get(&vm)?;
        let needed = memory_needed(&guest.vm);
        let from = &self.hosts[home];
        let named = |name: &String| *name == from.name || *name == self.sites[from.site];
        let movers = self.scenario.evacuations.iter();
        let movers = movers.filter(|spec| spec.cancel.is_none() && spec.from.iter().any(named));
        let sites: Vec<&String> = movers.flat_map(|spec| &spec.to).collect();
        (0..self.hosts.len()).find(|index| {
            let to = &self.hosts[*index];
            let hypervisor = &to.hypervisor;
            sites.contains(&&self.sites[to.site])
                && to.site != from.site
                && to.awake(self.now).is_some()
                && !hypervisor.down
                && !self.is_emptied(*index)
                && !(to.journal.was_lost && hypervisor.guests.contains_key(&vm))
                && hypervisor.memory_used() + needed <= hypervisor.memory
        })
    }
}
