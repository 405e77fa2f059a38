//! Which groups of this host's VMs have begun to leave, here or elsewhere, and to which site.
//!
//! Invariants:
//! - only groups are kept of which a VM is here, and only while this host is being emptied;
//! - the class of a group that has begun never falls.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use super::Node;
use crate::{
    groups::{Grouped, Unit},
    ids::{EvacuationId, GroupId, LinkId, NodeId, SiteId, VmId},
    message::{Heartbeat, InventoryVm},
    time::Instant,
    vm::Vm,
};

/// Where a VM that waits stands among those of its host.
pub(super) type Turn = (Reverse<u8>, bool, Duration, Option<GroupId>, u64, VmId);

/// The groups that have begun.
pub(super) type BegunGroups = BTreeMap<GroupId, Begun>;

/// What is known of a group that has begun.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub(super) struct Begun {
    /// The highest class of those that have.
    class: u8,
    /// The site of the last one that was heard to leave.
    site: Option<SiteId>,
}

/// Where a group goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One of it has chosen a host there.
    Site(SiteId),
    /// One of it is about to take this link.
    Link(LinkId),
}

impl Way {
    /// Whether who goes to a host of a site over a link goes this way.
    pub(super) fn leads(self, site: Option<SiteId>, link: LinkId) -> bool {
        match self {
            Self::Site(way) => site == Some(way),
            Self::Link(way) => link == way,
        }
    }
}

impl Node {
    /// What the others are told of a VM's group.
    pub(super) fn grouped(&self, vm: &Vm) -> Option<Grouped> {
        let id = vm.policy.group()?;
        Some(Grouped { id, begun: self.begun_groups.get(&id).map(|begun| begun.class) })
    }

    /// Another host has said what it moves.
    pub(super) fn heard_of_groups(&mut self, heartbeat: &Heartbeat) {
        for head in &heartbeat.queue.head {
            if let Some((group, class)) = head.begun_group() {
                self.group_begins(group, class, head.to);
            }
        }
    }

    /// A VM of a group has begun to leave, here or elsewhere; `class`: the highest of those that have.
    pub(super) fn group_begins(&mut self, group: GroupId, class: u8, to: Option<NodeId>) {
        if !self.is_emptied() || !self.vms.values().any(|vm| vm.policy.group() == Some(group)) {
            return;
        }
        let site = to.and_then(|to| self.directory.site_of(to));
        let known = self.begun_groups.entry(group).or_default();
        known.class = known.class.max(class);
        known.site = site.or(known.site);
    }

    /// Nothing is kept beyond the evacuation.
    pub(super) fn forget_groups(&mut self) {
        if !self.begun_groups.is_empty() && !self.is_emptied() {
            self.begun_groups.clear();
        }
    }

    /// The ways that groups of this host's VMs take or, before they have begun, are about to take. One host
    /// leads, so that those that choose in the same moment end at one site: the first, by id, of those of
    /// which a VM of the group waits.
    pub(super) fn ways_of_groups(&self, now: Instant) -> BTreeMap<GroupId, Way> {
        let mut ways = BTreeMap::new();
        for (group, begun) in &self.begun_groups {
            if let Some(site) = begun.site {
                ways.insert(*group, Way::Site(site));
            }
        }
        for departure in self.departures.all() {
            let site = self.directory.site_of(departure.to);
            if let Some((group, site)) = departure.vm.policy.group().zip(site) {
                ways.entry(group).or_insert(Way::Site(site));
            }
        }
        for (_, peer) in self.membership.up(now).take_while(|(node, _)| *node < self.me) {
            for head in &peer.heartbeat.queue.head {
                let Some(group) = head.group else { continue };
                let site = head.to.and_then(|to| self.directory.site_of(to));
                ways.entry(group.id).or_insert(site.map_or(Way::Link(head.link), Way::Site));
            }
        }
        ways
    }

    /// Whether a host that may lead a VM's group has yet to hear of the evacuation, and so to say which way
    /// it takes.
    pub(super) fn leader_is_unheard(&self, now: Instant, id: EvacuationId, vm: &Vm) -> bool {
        let Some(group) = vm.policy.group() else { return false };
        let several = self.destinations().is_some_and(|sites| sites.len() > 1);
        let of_group = |one: &InventoryVm| one.vm.policy.group() == Some(group);
        let mut unaware = self.unaware(now, id).filter(|(node, _)| *node < self.me);
        several
            && !self.begun_groups.contains_key(&group)
            && unaware.any(|(_, known)| known.complete.iter().any(of_group))
    }

    /// Sorts VMs of this host that wait: by class, and the shortest first; those of a group together, those
    /// of one that has begun before the others.
    pub(super) fn take_turns(&self, waiting: &mut Vec<&Vm>) {
        let mut units: BTreeMap<GroupId, Unit> = BTreeMap::new();
        for vm in waiting.iter() {
            if let Some(group) = vm.policy.group() {
                let unit = units.entry(group).or_default();
                unit.add(vm.policy.priority, None, Duration::from_nanos(vm.bytes()));
            }
        }
        for (group, unit) in &mut units {
            if let Some(begun) = self.begun_groups.get(group) {
                unit.begins(begun.class);
            }
        }
        waiting.sort_by_cached_key(|vm| -> Turn {
            let group = vm.policy.group();
            let unit = group.and_then(|group| units.get(&group));
            let begun = unit.is_some_and(|unit| unit.begun);
            let priority = unit.map_or(vm.policy.priority, |unit| unit.priority);
            let mean = unit.map_or(Duration::from_nanos(vm.bytes()), Unit::mean);
            (Reverse(priority), !begun, mean, group, vm.bytes(), vm.id)
        });
    }
}
