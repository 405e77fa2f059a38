//! What this node says of itself, and when.

use alloc::{string::String, vec::Vec};

use super::{Node, absorb::INVENTORY_PART};
use crate::{
    effects::Effects,
    ids::{EvacuationId, LinkId, NodeId},
    message::{Heartbeat, HostReport, Inventory, InventoryVm, LinkReport, Message, VmState},
    output::Output,
    planted::Bug,
    time::Instant,
    tokens::Table,
    vm::{Outcome, Vm},
    wire,
};

/// Time after which an unchanged inventory is told again, for those who missed it.
const INVENTORY_EVERY: core::time::Duration = core::time::Duration::from_secs(5);
/// Shortest time between two inventories.
const INVENTORY_SPACING: core::time::Duration = core::time::Duration::from_millis(500);
/// Most outcomes in one message: with the longest names they take half of it.
const OUTCOMES_PER_PART: usize = 40;
/// Most reasons told of one VM: there is one for each host that cannot take it.
const REASONS_TOLD: usize = 8;

/// One VM of this host, as the inventory lists it.
struct Listed<'a> {
    vm: &'a Vm,
    state: VmState,
    remaining: u64,
    reasons: Vec<String>,
}

impl Node {
    /// Whether something is going on that others must follow closely.
    fn busy(&self) -> bool {
        self.departures.all().next().is_some()
            || self.arrivals.all().next().is_some()
            || self.issuers.values().any(|issuer| !issuer.table().entries.is_empty())
    }

    pub(super) fn next_heartbeat(&self) -> Instant {
        if self.is_large() {
            return self.audience.next().unwrap_or(Instant(u64::MAX));
        }
        let pause = if self.heartbeat_urgent {
            self.config.urgent_spacing
        } else if self.busy() {
            self.config.busy_heartbeat
        } else {
            self.config.heartbeat
        };
        self.heartbeat_at + pause
    }

    /// Sends a heartbeat and the inventory if they are due.
    pub(super) fn speak(&mut self, now: Instant, fx: &mut Effects) {
        if self.is_large() {
            return self.speak_to_each(now, fx);
        }
        if self.heartbeat_number == 0 || now >= self.next_heartbeat() {
            self.heartbeat_number += 1;
            self.heartbeat_at = now;
            self.heartbeat_urgent = false;
            let heartbeat = self.compose(now);
            self.membership.sent(now, self.heartbeat_number);
            fx.out(Output::Broadcast(wire::encode(&Message::Heartbeat(heartbeat))));
        }
        self.tell_inventory(now, fx);
    }

    fn compose(&mut self, now: Instant) -> Heartbeat {
        let host = self.host_report();
        let accepted = self.acceptances(now);
        Heartbeat {
            incarnation: self.incarnation,
            number: self.heartbeat_number,
            leaving: self.leaving,
            echoes: self.membership.echoes(now),
            host,
            links: self.own_link_reports(now),
            queue: self.queue_report(now),
            tables: self.tables(),
            accepted,
            capacities: self
                .capacities
                .iter()
                .map(|(link, capacity)| capacity.gossip(*link))
                .filter(|gossip| gossip.epoch > 0)
                .collect(),
            evacuations: self.evacuations.gossip(now, self.heartbeat_number),
        }
    }

    /// This host, as it reports itself.
    pub(crate) fn host_report(&self) -> HostReport {
        let covered = self.is_emptied() && !self.config.planted(Bug::ArrivesWhileEvacuated);
        let able = self.hypervisor_down.is_none() && self.journal_failed.is_none();
        HostReport {
            memory_total: self.host.memory_total,
            memory_free: self.host.memory_free.saturating_sub(self.arrivals.reserved()),
            processors: self.host.processors,
            cpu_free_permille: self.host.cpu_free_permille,
            runtime_left_ms: self.host.runtime_left_ms,
            nic_sent: self.host.nic_sent,
            nic_received: self.host.nic_received,
            nic_speed: self.host.nic_speed,
            hypervisor_up: self.hypervisor_down.is_none(),
            takes_arrivals: !covered && !self.leaving && able,
            journal_fails: self.journal_failed.is_some(),
        }
    }

    fn tables(&self) -> Vec<Table> {
        let made = |table: &&Table| table.version > 0;
        self.issuers.values().map(|issuer| issuer.table()).filter(made).cloned().collect()
    }

    pub(crate) fn own_link_reports(&self, now: Instant) -> Vec<LinkReport> {
        self.samples
            .all(now)
            .map(|sample| LinkReport {
                link: sample.link,
                sent: sample.sent,
                arrived: sample.arrived,
                held_back: self.held_back(now, &sample),
                tokens: self.usable_tokens(now, sample.link),
            })
            .collect()
    }

    /// Tokens of a link that this node may use now.
    pub fn usable_tokens(&self, now: Instant, link: LinkId) -> u16 {
        self.holders.get(&link).map_or(0, |holder| holder.usable(now))
    }

    fn tell_inventory(&mut self, now: Instant, fx: &mut Effects) {
        if now.since(self.inventory_at) < INVENTORY_SPACING && self.inventory_version > 0 {
            return;
        }
        let due = self.inventory_version == 0 || now.since(self.inventory_at) >= INVENTORY_EVERY;
        if !due && !self.inventory_changed(now) {
            return;
        }
        let mut vms = self.inventory(now);
        if self.config.planted(Bug::EndlessInventory) {
            vms.extend(self.inventory_sent.iter().cloned());
        }
        self.inventory_version += 1;
        self.inventory_at = now;
        let mut outcomes = self.outcomes_told(now);
        let mut parts = match self.config.planted(Bug::EndlessInventory) {
            true => alloc::vec![vms.clone()],
            false => parts_of(&vms),
        };
        let more = outcomes.len().div_ceil(OUTCOMES_PER_PART).saturating_sub(parts.len());
        parts.extend((0..more).map(|_| Vec::new()));
        let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        for (part, vms) in (0..count).zip(parts) {
            let rest = outcomes.split_off(outcomes.len().min(OUTCOMES_PER_PART));
            let inventory = Inventory {
                incarnation: self.incarnation,
                version: self.inventory_version,
                part,
                parts: count,
                vms,
                outcomes: core::mem::replace(&mut outcomes, rest),
            };
            fx.out(Output::Broadcast(wire::encode(&Message::Inventory(inventory))));
        }
        self.inventory_sent = vms;
    }

    /// How the moves from here ended, and for hosts that are silent how those from there to here did.
    fn outcomes_told(&self, now: Instant) -> Vec<(EvacuationId, Outcome)> {
        let own = self.directory.name(self.me);
        let silent = |name: &str| !self.membership.is_up(now, NodeId::of(name));
        let ours = |one: &Outcome| one.from == own || one.to == own && silent(&one.from);
        let known = self.outcomes.iter();
        known
            .filter(|((evacuation, _), one)| {
                ours(one) && self.evacuations.get(*evacuation).is_some()
            })
            .map(|((evacuation, _), one)| (*evacuation, one.clone()))
            .collect()
    }

    /// All VMs of this host with their states.
    pub(crate) fn inventory(&self, now: Instant) -> Vec<InventoryVm> {
        let mut all = Vec::new();
        self.each_listed(now, |one| {
            all.push(InventoryVm {
                vm: one.vm.clone(),
                state: one.state,
                remaining: one.remaining,
                reasons: one.reasons,
            });
            true
        });
        all
    }

    /// Goes through all VMs of this host until told to stop. Returns whether it came to the end.
    fn each_listed<'a>(&'a self, now: Instant, mut take: impl FnMut(Listed<'a>) -> bool) -> bool {
        let targets = self.own_targets(now);
        let leaves = targets.is_some();
        for vm in self.vms.values().filter(|vm| self.arrivals.get(vm.id).is_none()) {
            let (state, remaining) = match self.departures.get(vm.id) {
                Some(departure) => (self.shown_departure(now, departure), departure.remaining()),
                None if self.is_left_over(vm) => (VmState::Resting, 0),
                None if leaves
                    && self.setbacks.get(&vm.id).is_some_and(|one| one.not_before > now) =>
                {
                    (VmState::Failed, vm.bytes())
                }
                None if leaves => (VmState::Queued, vm.bytes()),
                None => (VmState::Resting, 0),
            };
            let mut reasons = self.reasons_given(now, targets.as_deref(), vm);
            if targets.is_none() {
                reasons.extend(self.why_not_alone(vm.id));
            }
            if let Some(departure) = self.departures.get(vm.id) {
                reasons.extend(self.doubts_of_departure(now, departure));
            }
            if !take(Listed { vm, state, remaining, reasons }) {
                return false;
            }
        }
        for departure in self.departures.all().filter(|one| !self.vms.contains_key(&one.id.vm)) {
            let (vm, state) = (&departure.vm, self.shown_departure(now, departure));
            let remaining = departure.remaining();
            let reasons = self.doubts_of_departure(now, departure);
            if !take(Listed { vm, state, remaining, reasons }) {
                return false;
            }
        }
        for arrival in self.arrivals.all().filter(|one| self.lists_arrival(now, one)) {
            let (vm, state) = (&arrival.vm, self.shown_arrival(now, arrival));
            let reasons = self.doubts_of_arrival(now, arrival);
            if !take(Listed { vm, state, remaining: 0, reasons }) {
                return false;
            }
        }
        for (vm, reason) in self.stranded_listed(now) {
            let (state, reasons) = (VmState::Unknown, alloc::vec![reason]);
            if !take(Listed { vm, state, remaining: 0, reasons }) {
                return false;
            }
        }
        let new = self.arrivals.settled.iter().filter(|settled| settled.is_new());
        for settled in new.filter(|settled| !self.vms.contains_key(&settled.id.vm)) {
            let (vm, state) = (&settled.vm, VmState::Resting);
            if !take(Listed { vm, state, remaining: 0, reasons: Vec::new() }) {
                return false;
            }
        }
        true
    }

    /// Whether anything but progress has changed since the inventory was last told.
    fn inventory_changed(&self, now: Instant) -> bool {
        let mut told = self.inventory_sent.iter();
        let same = self.each_listed(now, |one| {
            told.next().is_some_and(|told| {
                (one.vm, one.state, &one.reasons) == (&told.vm, told.state, &told.reasons)
            })
        });
        !same || told.next().is_some()
    }

    /// The inventory of a node, as this one last heard it.
    pub(crate) fn inventory_of(&self, now: Instant, node: NodeId) -> Vec<InventoryVm> {
        if node == self.me {
            self.inventory(now)
        } else {
            let mut all =
                self.inventories.get(&node).map(|known| known.complete.clone()).unwrap_or_default();
            // Heartbeats are newer than inventories.
            let heads = self.membership.peer(node).map(|peer| &peer.heartbeat.queue.head);
            for head in heads.into_iter().flatten() {
                if let Some(one) = all.iter_mut().find(|one| one.vm.id == head.vm) {
                    one.remaining = head.bytes;
                }
            }
            all
        }
    }
}

/// The inventory in parts that each fit a message, at least one.
fn parts_of(vms: &[InventoryVm]) -> Vec<Vec<InventoryVm>> {
    let mut parts: Vec<Vec<InventoryVm>> = alloc::vec![Vec::new()];
    let mut bytes = 0;
    for vm in vms {
        let mut vm = vm.clone();
        if vm.reasons.len() > REASONS_TOLD {
            let more = vm.reasons.len() - REASONS_TOLD;
            vm.reasons.truncate(REASONS_TOLD);
            vm.reasons.push(alloc::format!("and {more} more"));
        }
        let length = wire::encode(&vm).len();
        bytes += length;
        match parts.last_mut() {
            Some(part) if part.len() < INVENTORY_PART && bytes <= wire::LIMIT / 2 => part.push(vm),
            _ => {
                bytes = length;
                parts.push(alloc::vec![vm]);
            }
        }
    }
    parts
}
