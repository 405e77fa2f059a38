//! Which groups of this host's VMs have begun to leave, here or elsewhere, and to which site.
//!
//! Invariants: only groups are kept of which a VM is here, and only while this host is being emptied.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use super::Node;
use crate::{
    groups::{Grouped, Unit},
    ids::{GroupId, NodeId, SiteId, VmId},
    message::Heartbeat,
    vm::Vm,
};

/// Where a VM that waits stands among those of its host.
pub(super) type Turn = (Reverse<u8>, bool, Duration, Option<GroupId>, u64, VmId);

/// The groups that have begun, each with the site of the last one that was heard to leave.
pub(super) type BegunGroups = BTreeMap<GroupId, Option<SiteId>>;

impl Node {
    /// What the others are told of a VM's group.
    pub(super) fn grouped(&self, vm: &Vm) -> Option<Grouped> {
        let id = vm.policy.group()?;
        Some(Grouped { id, begun: self.begun_groups.contains_key(&id) })
    }

    /// Another host has said what it moves.
    pub(super) fn heard_of_groups(&mut self, heartbeat: &Heartbeat) {
        for head in &heartbeat.queue.head {
            if let Some(group) = head.begun_group() {
                self.group_begins(group, head.to);
            }
        }
    }

    /// A VM of a group has begun to leave, here or elsewhere.
    pub(super) fn group_begins(&mut self, group: GroupId, to: Option<NodeId>) {
        if !self.is_emptied() || !self.vms.values().any(|vm| vm.policy.group() == Some(group)) {
            return;
        }
        let site = to.and_then(|to| self.directory.site_of(to));
        let known = self.begun_groups.entry(group).or_default();
        *known = site.or(*known);
    }

    /// Nothing is kept beyond the evacuation.
    pub(super) fn forget_groups(&mut self) {
        if !self.begun_groups.is_empty() && !self.is_emptied() {
            self.begun_groups.clear();
        }
    }

    /// The site to which the group of a VM is on its way.
    pub(super) fn site_of_group(&self, vm: &Vm) -> Option<SiteId> {
        *self.begun_groups.get(&vm.policy.group()?)?
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
        waiting.sort_by_cached_key(|vm| -> Turn {
            let group = vm.policy.group();
            let begun = group.is_some_and(|group| self.begun_groups.contains_key(&group));
            let unit = group.and_then(|group| units.get(&group));
            let priority = unit.map_or(vm.policy.priority, |unit| unit.priority);
            let mean = unit.map_or(Duration::from_nanos(vm.bytes()), Unit::mean);
            (Reverse(priority), !begun, mean, group, vm.bytes(), vm.id)
        });
    }
}
