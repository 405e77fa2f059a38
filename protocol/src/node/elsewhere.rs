//! Whether a VM runs on another host as well: what the hosts' inventories say against each other.
//!
//! The handover alone keeps a VM from running twice. Beside it there are people: who starts a VM cold
//! on one host while a copy of it waits on another, or says that a host is dead that is only cut off,
//! makes a second one. Here that is noticed.
//!
//! Invariants:
//! - a VM that another host which is heard says to run is not begun here; what was seen so stays so while
//!   that host is silent, until it says otherwise or a person declares it dead. What is under way already is
//!   held by [`super::claims`];
//! - two living hosts that go on to say so of the same VM are an alarm, and no evacuation of it is done.
//!
//! In a cluster so large that inventories are not told to all this sees nothing.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::time::Duration;

use super::Node;
use crate::{
    effects::Effects,
    ids::{MoveId, NodeId, VmId},
    message::{InventoryVm, VmState},
    output::{Notice, NoticeKind, Output},
    time::Instant,
    vm::{RunState, Vm},
};

/// Time for which two hosts must say that they run a VM before that is an alarm.
const SAID_FOR: Duration = Duration::from_secs(12);
/// How long after the first time each of them must have said it once more: what a host said before it
/// gave the VM away may be all that was heard of it for a while.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A VM that two living hosts say to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Double {
    pub(crate) name: String,
    pub(crate) hosts: Vec<NodeId>,
    since: Instant,
    told: bool,
}

/// Whether a host that lists a VM so has it running for certain, and not as one end of a handover.
pub(super) fn is_certain(state: VmState) -> bool {
    match state {
        VmState::Resting
        | VmState::Queued
        | VmState::Reserved
        | VmState::Moving
        | VmState::Failed => true,
        VmState::Switching | VmState::Committing | VmState::Unknown | VmState::Arriving => false,
    }
}

/// The VMs of an inventory that run for certain, with their names.
pub(super) fn running(vms: &[InventoryVm]) -> BTreeMap<VmId, String> {
    let runs = |one: &&InventoryVm| one.vm.state == RunState::Running && is_certain(one.state);
    vms.iter().filter(runs).map(|one| (one.vm.id, one.vm.name.clone())).collect()
}

/// The VMs of an inventory of which there is more than a definition.
pub(super) fn live(vms: &[InventoryVm]) -> BTreeSet<VmId> {
    let live = |one: &&InventoryVm| one.vm.state != RunState::ShutOff;
    vms.iter().filter(live).map(|one| one.vm.id).collect()
}

/// That a VM runs twice, and what to do.
pub fn runs_twice(name: &str, hosts: &[String]) -> String {
    format!(
        "{name} runs twice: {} say that they run it. End one of them by hand, at once; if one of these \
         hosts is lost, `lifeboat cancel --declare-dead` it on the other",
        hosts.join(" and ")
    )
}

/// Why a VM does not move that others say to run.
pub(crate) fn runs_too(others: &str) -> String {
    format!(
        "it runs at {others}, too, as said there: it does not move until one of them is ended by hand"
    )
}

impl Node {
    /// A VM has arrived: what its source said of it before is out of date.
    pub(super) fn left_its_source(&mut self, id: MoveId) {
        if let Some(known) = self.inventories.get_mut(&id.source) {
            known.running.remove(&id.vm);
            self.inventories_changed = true;
        }
    }

    /// Hosts other than `besides` that say that they run a VM, by name: this one and those that it
    /// hears.
    pub(crate) fn running_beside(&self, now: Instant, vm: VmId, besides: NodeId) -> Vec<String> {
        let own = (self.me != besides && self.runs_here(now, vm)).then_some(self.me);
        let others = self.others_running(now, vm).filter(|node| *node != besides);
        others.chain(own).map(|node| self.directory.name(node)).collect()
    }

    /// Other hosts that are heard and say that they run a VM.
    pub(super) fn others_running(
        &self,
        now: Instant,
        vm: VmId,
    ) -> impl Iterator<Item = NodeId> + '_ {
        let runs = move |(node, known): (&NodeId, &super::KnownInventory)| {
            known.running.contains_key(&vm).then_some(*node)
        };
        self.inventories
            .iter()
            .filter_map(runs)
            .filter(move |node| self.membership.is_up(now, *node))
    }

    /// Whether this host runs a VM that is on its way neither in nor out.
    pub(super) fn rests_running(&self, vm: VmId) -> bool {
        let runs = self.vms.get(&vm).is_some_and(|vm| vm.state == RunState::Running);
        runs && self.arrivals.get(vm).is_none() && self.departures.get(vm).is_none()
    }

    /// Whether this host says that it runs a VM for certain.
    fn runs_here(&self, now: Instant, vm: VmId) -> bool {
        let runs = self.vms.get(&vm).is_some_and(|vm| vm.state == RunState::Running);
        let leaves = self.departures.get(vm).map(|one| self.shown_departure(now, one));
        runs && self.arrivals.get(vm).is_none() && leaves.is_none_or(is_certain)
    }

    /// Whether a VM of this host is nothing but what was left of one that runs, or was given away,
    /// elsewhere.
    pub(super) fn is_left_over(&self, vm: &Vm) -> bool {
        let elsewhere = self.doubles.contains_key(&vm.id) || self.stranded.is_open(vm.id);
        vm.state == RunState::ShutOff && elsewhere
    }

    /// Whether nothing that other hosts say keeps a VM of this host from moving.
    pub(super) fn may_leave(&self, vm: &Vm) -> bool {
        !self.doubles.contains_key(&vm.id) && !self.is_left_over(vm)
    }

    /// Why a VM of this host must not move because of another one, if so.
    pub(super) fn why_not_alone(&self, vm: VmId) -> Option<String> {
        let double = self.doubles.get(&vm)?;
        let others: Vec<String> = double
            .hosts
            .iter()
            .filter(|node| **node != self.me)
            .map(|node| self.directory.name(*node))
            .collect();
        let others = others.join(" and ");
        Some(match self.vms.get(&vm).map(|vm| vm.state) {
            Some(RunState::Running) => runs_too(&others),
            _ => format!("it runs at {others}, as said there: what is here is left over"),
        })
    }

    /// Compares what all say, if anyone has said anything new.
    pub(super) fn compare_inventories(&mut self, now: Instant, fx: &mut Effects) {
        if core::mem::take(&mut self.inventories_changed) {
            self.doubles = self.find_doubles(now);
            self.note_claims(now, fx);
        } else if !self.claims.is_empty() {
            self.end_claims(now, fx);
        }
        let untold = self.sure_doubles(now).filter(|(_, double)| !double.told);
        for vm in untold.map(|(vm, _)| vm).collect::<Vec<_>>() {
            let Some(double) = self.doubles.get_mut(&vm) else { continue };
            double.told = true;
            let hosts = double.hosts.iter().map(|node| self.directory.name(*node));
            let text = runs_twice(&double.name, &hosts.collect::<Vec<_>>());
            let (kind, vm) = (NoticeKind::Alarm, Some(vm));
            fx.out(Output::Notice(Notice { kind, vm, evacuation: None, text }));
            fx.urgent();
        }
    }

    /// VMs that several living hosts say to run, and VMs of this host that another one says to run.
    fn find_doubles(&self, now: Instant) -> BTreeMap<VmId, Double> {
        let mut hosts: BTreeMap<VmId, (&str, Vec<NodeId>)> = BTreeMap::new();
        // What was two while both were heard stays two while one of them is silent.
        let was_one = |vm: &VmId, node: &NodeId| {
            self.doubles.get(vm).is_some_and(|double| double.hosts.contains(node))
        };
        for (node, known) in &self.inventories {
            let up = self.membership.is_up(now, *node);
            for (vm, name) in known.running.iter().filter(|(vm, _)| up || was_one(vm, node)) {
                hosts.entry(*vm).or_insert((name, Vec::new())).1.push(*node);
            }
        }
        for (vm, (_, hosts)) in &mut hosts {
            if self.runs_here(now, *vm) {
                hosts.push(self.me);
            }
        }
        hosts.retain(|vm, (_, hosts)| {
            hosts.len() > 1 || self.vms.contains_key(vm) && !hosts.contains(&self.me)
        });
        let double = |(vm, (name, hosts)): (VmId, (&str, Vec<NodeId>))| {
            let known = self.doubles.get(&vm).filter(|known| known.hosts == hosts);
            let new =
                || Double { name: name.into(), hosts: hosts.clone(), since: now, told: false };
            (vm, known.cloned().unwrap_or_else(new))
        };
        hosts.into_iter().map(double).collect()
    }

    /// VMs that have been said to run on two hosts for so long that it is certain.
    pub(crate) fn sure_doubles(&self, now: Instant) -> impl Iterator<Item = (VmId, &Double)> {
        let says_again = move |node: &NodeId, since: Instant| {
            let told_at = self.inventories.get(node).map(|known| known.told_at);
            *node == self.me || told_at.is_some_and(|at| at >= since + SAID_AGAIN_AFTER)
        };
        let sure = move |double: &Double| {
            let often = double.hosts.iter().all(|node| says_again(node, double.since));
            double.hosts.len() > 1 && often && now.since(double.since) >= SAID_FOR
        };
        self.doubles.iter().filter(move |(_, double)| sure(double)).map(|(vm, one)| (*vm, one))
    }
}
