//! The link is not idle while VMs wait for it: not for longer than ten seconds after everything
//! that went wrong is over.

use lifeboat_protocol::departures::{Departure, Phase};

use super::{Check, World};
use crate::r#virtual::SECOND;

/// Longest time that a link may be idle while VMs wait for it.
const LONGEST: u64 = 10 * SECOND;

impl World {
    fn departures(&self) -> impl Iterator<Item = &Departure> {
        let daemons = self.hosts.iter().filter_map(|host| host.daemon.as_ref());
        daemons.flat_map(|node| node.departures().all())
    }

    /// Whether what a host moves over all links fills its interface, so that no link is idle for its sake.
    fn is_interface_full(&self, host: usize) -> bool {
        let flows = self.moves.iter().filter(|one| one.from == host).map(|one| one.rate);
        flows.sum::<f64>() >= self.hosts[host].nic * 0.9
    }

    /// Whether the hypervisor has not said yet that it began what it was told to: until that can be told
    /// from one that is slow, nothing of it flows, and it takes no tokens.
    pub(super) fn is_unanswered(&self, link: usize) -> bool {
        let id = self.links[link].id;
        self.departures().any(|one| one.link == id && matches!(one.phase, Phase::Beginning { .. }))
    }

    /// Whether a VM on an undisturbed, living host waits for this link, and has not chosen another.
    pub(super) fn is_waited_for(&self, link: usize) -> bool {
        (0..self.hosts.len()).any(|host| {
            let one = &self.hosts[host];
            one.awake(self.now).is_some()
                && !one.hypervisor.down
                && self.is_emptied(host)
                && !self.is_interface_full(host)
                && one.hypervisor.guests.iter().any(|(vm, guest)| {
                    guest.place.rests()
                        && !self.moves.iter().any(|one| one.id.vm == *vm)
                        && one.daemon.as_ref().is_none_or(|node| {
                            let chosen = node.departures().get(*vm);
                            chosen.is_none_or(|chosen| chosen.link == self.links[link].id)
                        })
                        && self
                            .room_for(*vm, host)
                            .is_some_and(|to| self.link_of(host, to) == Some(link))
                })
        })
    }

    pub(super) fn check_idle(&mut self) {
        for link in 0..self.links.len() {
            let moving = self.moves.iter().any(|one| one.link == link);
            if moving || self.is_unanswered(link) || !self.is_waited_for(link) {
                self.links[link].idle_since = None;
                continue;
            }
            let since = *self.links[link].idle_since.get_or_insert(self.now);
            let since = since.max(self.disturbed_at).max(self.disturbed_until);
            let idle = self.now.saturating_sub(since);
            self.checks.longest_idle = self.checks.longest_idle.max(idle);
            if idle > LONGEST && self.calm_or_faultless() {
                let what = format!("nothing has moved for {} s", idle / SECOND);
                self.checks.object(Check::Idle, self.now, what);
            }
        }
    }

    pub(super) fn calm_or_faultless(&self) -> bool {
        self.calm_since.is_some() || self.scenario.faults.is_empty()
    }
}
