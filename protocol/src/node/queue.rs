//! This host's own queue: which of its VMs must leave, in what order, and where to.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use super::{KnownInventory, Node, barred::Refusals, begun_groups::Way};
use crate::{
    arrivals::memory_needed,
    departures::{Departure, Phase},
    ids::{EvacuationId, LinkId, NodeId, SiteId, VmId, mixed},
    membership::Liveness,
    message::{HeadVm, QueueReport, Stage, VmState},
    output::NoticeKind,
    planted::Bug,
    time::{Instant, milliseconds},
    tuning::{Constant, Name},
    units::BytesPerSec,
    vm::{RunState, Vm, converging_rate},
};

/// Waiting VMs told in detail in each heartbeat, besides those under way: as many as may have room at a time,
/// see [`crate::Config::departures_at_once`]. With less the others do not know what comes next; each one
/// more costs its forty bytes in every heartbeat.
pub(crate) const HEAD: Constant<usize> = Name::Head.of(4);
/// Round-trip time of a link over which nobody has been heard: between two towns. It counts until the first
/// echo. With less a first start is expected too soon, with more too late.
pub(crate) const FIRST_ROUND_TRIP: Constant<Duration> =
    Name::FirstRoundTrip.of(Duration::from_millis(50));

/// A host that takes VMs, as this one sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) link: LinkId,
    /// Memory that is free there and not yet planned for by this host, bytes.
    free: u64,
    /// Bytes of the VMs that have chosen the link already.
    before: u64,
    /// Bytes on their way to the host, as far as they are known.
    inbound: u64,
}

/// Where a waiting VM stands among all: those behind it do not tell for its choice of a link, so that
/// the choices of all hosts settle.
type Rank = (core::cmp::Reverse<u8>, u64, crate::ids::VmId);

/// Notes that so many bytes more are before whatever else takes a link.
fn burden(targets: &mut [Target], link: LinkId, bytes: u64) {
    for target in targets.iter_mut().filter(|target| target.link == link) {
        target.before = target.before.saturating_add(bytes);
    }
}

impl Node {
    /// The VMs of this host that wait for their turn, in this host's order.
    pub(super) fn waiting(&self, now: Instant) -> Vec<&Vm> {
        let able = self.hypervisor_down.is_none() && self.journal_failed.is_none();
        if !self.is_emptied() || !able {
            return Vec::new();
        }
        let mut waiting: Vec<&Vm> = self
            .vms
            .values()
            .filter(|vm| self.departures.get(vm.id).is_none())
            .filter(|vm| self.arrivals.get(vm.id).is_none())
            .filter(|vm| vm.obstacles.is_empty() && self.may_leave(vm))
            .filter(|vm| self.setbacks.get(&vm.id).is_none_or(|setback| setback.not_before <= now))
            .collect();
        if self.config.planted(Bug::LeftBehind) {
            waiting.retain(|vm| self.vms.last_key_value().is_none_or(|(last, _)| vm.id != *last));
        }
        self.take_turns(&mut waiting);
        // The longest one is always among those that the others are told of: it may be what the end
        // would wait for.
        let head = self.config.tuning().of(HEAD);
        if waiting.len() > head {
            let longest = waiting.iter().enumerate().max_by_key(|(_, vm)| vm.bytes());
            let longest = waiting.remove(longest.map_or(0, |(index, _)| index));
            waiting.insert(head - 1, longest);
        }
        waiting
    }

    /// Why a VM of this host does not move although it should: all reasons. Empty if it can.
    pub(super) fn reasons(&self, now: Instant, vm: &Vm) -> Vec<String> {
        let Some(sites) = self.destinations() else { return Vec::new() };
        // What keeps a VM from leaving is no reason once it does, and no advice.
        let begun = self.departures.get(vm.id).is_some_and(Departure::begun);
        let mut reasons = if begun { Vec::new() } else { vm.obstacles.clone() };
        reasons.extend(self.why_not_alone(vm.id));
        if self.hypervisor_down.is_some() {
            reasons.push("the hypervisor here does not answer".into());
        }
        if self.is_leaving(vm.id) {
            return reasons;
        }
        reasons.extend(self.unwritable());
        if let Some(setback) = self.setbacks.get(&vm.id)
            && setback.failures > 0
            && setback.not_before > now
        {
            reasons.push(format!("attempt {} failed: {}", setback.failures, setback.reason));
        }
        if self.best(&self.targets(now, &sites), now, vm, None).is_none() {
            reasons.extend(self.refusals(now, &sites, vm));
        }
        reasons
    }

    /// Whether there is no reason why a VM of this host, which is being evacuated to `targets`, does
    /// not move.
    fn can_go(&self, now: Instant, targets: &[Target], vm: &Vm) -> bool {
        let failed = |setback: &super::Setback| setback.failures > 0 && setback.not_before > now;
        vm.obstacles.is_empty()
            && self.may_leave(vm)
            && self.hypervisor_down.is_none()
            && (self.is_leaving(vm.id)
                || self.journal_failed.is_none()
                    && !self.setbacks.get(&vm.id).is_some_and(failed)
                    && targets.iter().any(|target| self.takes(now, target, vm)))
    }

    /// Whether an attempt to move a VM of this host is under way that has not failed.
    fn is_leaving(&self, vm: VmId) -> bool {
        let kept = |one: &Departure| matches!(one.phase, Phase::Kept { .. });
        self.departures.get(vm).is_some_and(|one| !kept(one))
    }

    /// The hosts that take this host's VMs now, if it is being evacuated.
    pub(super) fn own_targets(&self, now: Instant) -> Option<Vec<Target>> {
        Some(self.targets(now, &self.destinations()?))
    }

    /// As [`Self::reasons`], for many VMs at one moment.
    pub(super) fn reasons_given(
        &self,
        now: Instant,
        targets: Option<&[Target]>,
        vm: &Vm,
    ) -> Vec<String> {
        match targets {
            None => Vec::new(),
            Some(targets) if self.can_go(now, targets, vm) => Vec::new(),
            Some(_) => self.reasons(now, vm),
        }
    }

    /// The next waiting VMs with the destination and the link that each would take, [`HEAD`] of them.
    pub(super) fn choices(&self, now: Instant) -> Vec<(&Vm, NodeId, LinkId)> {
        let mut choices = Vec::new();
        let waiting = self.waiting(now);
        let Some(sites) = self.destinations() else { return choices };
        if waiting.is_empty() {
            return choices;
        }
        let mut targets = self.targets(now, &sites);
        let several = targets.windows(2).any(|two| two[0].link != two[1].link);
        let queued = if several { self.queued_elsewhere(now) } else { Vec::new() };
        let mut ways = self.ways_of_groups(now);
        let mut counted = queued.iter().peekable();
        for vm in waiting {
            let rank: Rank = (core::cmp::Reverse(vm.policy.priority), vm.bytes(), vm.id);
            while let Some((_, link, bytes)) = counted.next_if(|(other, ..)| *other < rank) {
                burden(&mut targets, *link, *bytes);
            }
            let group = vm.policy.group();
            let way = group.and_then(|group| ways.get(&group).copied());
            let Some((to, link)) = self.best(&targets, now, vm, way) else { continue };
            if let Some((group, site)) = group.zip(self.directory.site_of(to)) {
                ways.entry(group).or_insert(Way::Site(site));
            }
            burden(&mut targets, link, vm.bytes());
            choices.push((vm, to, link));
            if choices.len() == self.config.tuning().of(HEAD) {
                break;
            }
        }
        choices
    }

    /// What waits at other hosts, with the link that it would take and its bytes, in order.
    fn queued_elsewhere(&self, now: Instant) -> Vec<(Rank, LinkId, u64)> {
        let heads = self.membership.up(now).flat_map(|(_, peer)| &peer.heartbeat.queue.head);
        let waiting = heads.filter(|head| head.stage == Stage::Queued);
        let mut queued: Vec<(Rank, LinkId, u64)> = waiting
            .map(|head| {
                let rank = (core::cmp::Reverse(head.priority), head.bytes, head.vm);
                (rank, head.link, head.bytes)
            })
            .collect();
        queued.sort_unstable();
        queued
    }

    /// Whether this host is being emptied.
    pub(super) fn is_emptied(&self) -> bool {
        self.evacuations.empties(self.me, self.site)
    }

    /// The sites to which this host's VMs may go; `None` if it is not being emptied.
    pub(super) fn destinations(&self) -> Option<Vec<SiteId>> {
        let covering = self.evacuations.covering(self.me, self.site);
        let mut sites: Vec<SiteId> =
            covering.flat_map(|known| known.record.to.iter().copied()).collect();
        sites.sort_unstable();
        sites.dedup();
        (!sites.is_empty()).then_some(sites)
    }

    /// The evacuation that moves this host's VMs to a node.
    pub(super) fn mover_to(&self, node: NodeId) -> Option<EvacuationId> {
        self.evacuations.mover(self.me, self.site, self.directory.site_of(node)?)
    }

    /// The hosts of some sites that take VMs now.
    fn targets(&self, now: Instant, sites: &[SiteId]) -> Vec<Target> {
        let mut busy: BTreeMap<LinkId, u64> = BTreeMap::new();
        let mut targets = Vec::new();
        if self.is_large() {
            return self.advised_targets(now, sites);
        }
        for (node, entry) in self.directory.nodes() {
            if !sites.contains(&entry.site) || node == self.me {
                continue;
            }
            let Some(link) = self.directory.link_between(self.site, entry.site) else { continue };
            let Some(peer) = self.membership.peer(node) else { continue };
            let alive = self.membership.liveness_of(now, peer) == Liveness::Alive;
            if !alive || !peer.heartbeat.host.takes_arrivals {
                continue;
            }
            let free = peer.heartbeat.host.memory_free.saturating_sub(self.planned_at(node));
            let before = *busy.entry(link).or_insert_with(|| self.bytes_chosen(now, link));
            targets.push(Target { node, link, free, before, inbound: 0 });
        }
        self.count_inbound(now, &mut targets);
        targets
    }

    /// What is on its way to each target, so that their interfaces are used evenly.
    fn count_inbound(&self, now: Instant, targets: &mut [Target]) {
        let heads = self.membership.up(now).flat_map(|(_, peer)| &peer.heartbeat.queue.head);
        let others = heads.filter_map(|head| Some((head.to?, head.bytes)));
        let own = self.departures.all().filter(|one| one.stage().is_some());
        let mut to: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (node, bytes) in others.chain(own.map(|one| (one.to, one.remaining()))) {
            let inbound = to.entry(node).or_default();
            *inbound = inbound.saturating_add(bytes);
        }
        for target in targets {
            target.inbound = to.get(&target.node).copied().unwrap_or(0);
        }
    }

    /// The same in a large cluster: of the rooms that this node was told of those that have not shown
    /// to be silent or full since.
    fn advised_targets(&self, now: Instant, sites: &[SiteId]) -> Vec<Target> {
        let mut targets = Vec::new();
        for link in self.holders.keys().copied() {
            for room in self.advised_rooms(now, link) {
                let site = self.directory.site_of(room.node);
                let named = site.is_some_and(|site| sites.contains(&site));
                let alive = self.membership.liveness(now, room.node) == Liveness::Alive;
                let host = self.membership.peer(room.node).filter(|_| alive);
                let host = host.map(|peer| peer.heartbeat.host);
                let silent = now.since(self.silent_since(room.node)) > self.config.suspect_after;
                let deaf = self.partners.contains_key(&room.node) && !alive && silent;
                let open = host.is_none_or(|host| host.takes_arrivals);
                if room.node == self.me || !named || deaf || !open {
                    continue;
                }
                let free = host.map_or(room.memory_free, |host| host.memory_free);
                let free = free.saturating_sub(self.planned_at(room.node));
                let before = self.bytes_chosen(now, link);
                let inbound = 0;
                targets.push(Target { node: room.node, link, free, before, inbound });
            }
        }
        targets
    }

    /// Memory that this host's departures which have not begun want at `node`, bytes.
    fn planned_at(&self, node: NodeId) -> u64 {
        self.departures
            .all()
            .filter(|departure| departure.to == node && !departure.begun())
            .map(|departure| memory_needed(&departure.vm))
            .sum()
    }

    /// Why a VM did not get to `node` a moment ago, if it did not.
    fn refusal(&self, now: Instant, vm: &Vm, node: NodeId) -> Option<&str> {
        let refused = self.setbacks.get(&vm.id).and_then(|one| one.refused.get(&node));
        refused.filter(|(until, _)| *until > now).map(|(_, why)| why.as_str())
    }

    fn has_refused(&self, now: Instant, vm: &Vm, node: NodeId) -> bool {
        self.refusal(now, vm, node).is_some()
    }

    pub(super) fn takes(&self, now: Instant, target: &Target, vm: &Vm) -> bool {
        memory_needed(vm) <= target.free && !self.has_refused(now, vm, target.node)
    }

    /// Hosts that an evacuation empties, too, and that do not know it yet, with what they have.
    pub(super) fn unaware(
        &self,
        now: Instant,
        evacuation: EvacuationId,
    ) -> impl Iterator<Item = (NodeId, &KnownInventory)> {
        let record = self.evacuations.get(evacuation).map(|known| &known.record);
        let unaware = self.inventories.iter().filter(move |(node, _)| {
            let site = self.directory.site_of(**node);
            let covered =
                record.zip(site).is_some_and(|(record, site)| record.covers(**node, site));
            covered && self.membership.is_up(now, **node) && !self.knows(**node, evacuation)
        });
        unaware.map(|(node, known)| (*node, known))
    }

    /// Memory of VMs of a higher class than `vm` at hosts which are emptied, too, and do not know it yet:
    /// they are about to ask for room.
    pub(super) fn urgent_at_unaware(
        &self,
        now: Instant,
        evacuation: EvacuationId,
        vm: &Vm,
    ) -> impl Iterator<Item = u64> + '_ {
        let priority = vm.policy.priority;
        let unaware = self.unaware(now, evacuation);
        unaware.flat_map(|(_, known)| &known.complete).filter_map(move |one| {
            let goes = one.vm.policy.priority > priority && one.vm.obstacles.is_empty();
            (goes && one.state == VmState::Resting).then(|| memory_needed(&one.vm))
        })
    }

    /// Whether VMs of other hosts that come before a VM, of these sizes, still find room if it goes to
    /// `to`: where room is scarce the first to ask must not take it from the first in order.
    pub(super) fn leaves_room(
        &self,
        now: Instant,
        vm: &Vm,
        to: NodeId,
        mut others: Vec<u64>,
    ) -> bool {
        if others.is_empty() {
            return true;
        }
        let mut free: Vec<u64> = self
            .own_targets(now)
            .unwrap_or_default()
            .iter()
            .map(|target| {
                let taken = if target.node == to { memory_needed(vm) } else { 0 };
                target.free.saturating_sub(taken)
            })
            .collect();
        others.sort_unstable();
        others.into_iter().rev().all(|bytes| {
            let roomiest = free.iter_mut().max().filter(|room| **room >= bytes);
            roomiest.map(|room| *room -= bytes).is_some()
        })
    }

    /// Of the hosts that take a VM the best, and the link there. Where several links lead away, one on
    /// which something flows is taken, of those one that is the way of the VM's group, and of those the one
    /// on which the VM would be over first; of a group in which all choose at once, the same site; then the
    /// host to which the least is on its way, then one with about the most memory.
    fn best(
        &self,
        targets: &[Target],
        now: Instant,
        vm: &Vm,
        way: Option<Way>,
    ) -> Option<(NodeId, LinkId)> {
        use core::cmp::Reverse;
        type Merit = (bool, bool, Reverse<Duration>, u64, Reverse<u64>, u32, u64);
        let mut best: Option<(Merit, NodeId, LinkId)> = None;
        for target in targets.iter().filter(|target| self.takes(now, target, vm)) {
            let capacity = self.capacities.get(&target.link);
            let capacity = capacity.map_or(BytesPerSec(1), |one| one.usable());
            let over = capacity.time_for(target.before.saturating_add(vm.bytes()));
            // Hosts that choose in the same moment choose different ones among those alike.
            let inbound = target.inbound.div_ceil((vm.bytes() / 2).max(1));
            let alike = target.free.checked_ilog2().unwrap_or(0);
            let spread = mixed(vm.id.spread(), target.node.0);
            let flows = !self.stands_still(now, target.link);
            let site = self.directory.site_of(target.node);
            let together = way.is_none_or(|way| way.leads(site, target.link));
            let as_group = vm.policy.group().zip(site);
            let as_group = as_group.map_or(0, |(group, site)| mixed(group.0, site.0));
            let merit = (flows, together, Reverse(over), as_group, Reverse(inbound), alike, spread);
            if best.is_none_or(|(most, _, _)| merit > most) {
                best = Some((merit, target.node, target.link));
            }
        }
        best.map(|(_, node, link)| (node, link))
    }

    /// Why no host takes a VM: a reason for each host, or for those that have the same.
    fn refusals(&self, now: Instant, sites: &[SiteId], vm: &Vm) -> Vec<String> {
        if self.is_large() {
            return alloc::vec!["no host is known yet that has room for it".into()];
        }
        let mut reasons = Refusals::default();
        for (node, entry) in self.directory.nodes() {
            if !sites.contains(&entry.site) || node == self.me {
                continue;
            }
            let alive = self.membership.liveness(now, node) == Liveness::Alive;
            let host = self.membership.peer(node).filter(|_| alive).map(|one| one.heartbeat.host);
            let why = match host {
                _ if self.directory.link_between(self.site, entry.site).is_none() => {
                    "it stands in this very site".into()
                }
                None => "it is not heard".into(),
                Some(host) if host.journal_fails => "its journal cannot be written".into(),
                Some(host) if !host.takes_arrivals => self.why_no_arrivals(node, &host),
                Some(host) => match self.refusal(now, vm, node) {
                    Some(why) => format!("it did not work a moment ago: {why}"),
                    None => format!(
                        "{} MiB of memory are needed and {} MiB are free",
                        memory_needed(vm) >> 20,
                        host.memory_free.saturating_sub(self.planned_at(node)) >> 20
                    ),
                },
            };
            reasons.add(&entry.name, why);
        }
        let mut reasons = reasons.into_reasons();
        if reasons.is_empty() {
            reasons.push("no host stands in the destination sites".into());
        }
        reasons
    }

    /// Bytes of the VMs that have chosen a link.
    fn bytes_chosen(&self, now: Instant, link: LinkId) -> u64 {
        let chosen = |vm: &HeadVm| vm.link == link && vm.stage != Stage::Queued;
        let others = self.membership.up(now).flat_map(|(_, peer)| &peer.heartbeat.queue.head);
        let others = others.filter(|vm| chosen(vm)).map(|vm| vm.bytes);
        let own = self.departures.all().filter(|one| one.link == link && one.stage().is_some());
        others.chain(own.map(|one| one.remaining())).fold(0, u64::saturating_add)
    }

    /// The rate below which a VM must not start: what its dirtying asks for. Never more than the link,
    /// its streams and the interfaces carry: a guest that outruns those must be slowed down or
    /// paused.
    fn floor(
        &self,
        vm: &Vm,
        capacity: BytesPerSec,
        most: BytesPerSec,
        reach: BytesPerSec,
    ) -> BytesPerSec {
        if vm.state != RunState::Running {
            return BytesPerSec(0);
        }
        let converging = converging_rate(self.config.tuning(), vm.dirty_rate).min(capacity);
        let known = [reach, most].into_iter().filter(|rate| rate.0 > 0);
        known.fold(converging, BytesPerSec::min)
    }

    /// The most that the interfaces here and at a destination carry; zero if neither is known.
    fn most_to(&self, to: NodeId) -> BytesPerSec {
        let there = self.membership.peer(to).map(|peer| peer.heartbeat.host.nic_speed);
        let known = [Some(self.host.nic_speed), there].into_iter().flatten();
        known.filter(|rate| rate.0 > 0).min().unwrap_or(BytesPerSec(0))
    }

    /// The most that one move's streams reach over a link: their windows in each round trip. Zero if
    /// nothing is known.
    pub(super) fn reach(&self, now: Instant, link: LinkId) -> BytesPerSec {
        let window = self.directory.link(link).map_or(0, |entry| entry.window);
        BytesPerSec::measured(window, self.link_round_trip(now, link))
    }

    /// The VMs under way and the next ones, as the others need to know them.
    pub(super) fn heads(&self, now: Instant) -> Vec<HeadVm> {
        let most = self.host.nic_speed;
        let reach: BTreeMap<LinkId, BytesPerSec> =
            self.holders.keys().map(|link| (*link, self.reach(now, *link))).collect();
        let reach = |link| reach.get(&link).copied().unwrap_or(BytesPerSec(0));
        let setup_ms = self.setup.map_or(0, milliseconds).try_into().unwrap_or(u32::MAX);
        let mut heads: Vec<HeadVm> = self
            .departures
            .all()
            .filter_map(|departure| {
                let capacity = self.capacities.get(&departure.link)?.usable();
                let most = self.most_to(departure.to);
                let most = match departure.limit {
                    Some(limit) if most.0 == 0 || limit < most => limit,
                    _ => most,
                };
                let reach = reach(departure.link);
                let told = now.since(departure.progressed_at);
                let head = HeadVm {
                    vm: departure.id.vm,
                    evacuation: departure.evacuation,
                    link: departure.link,
                    stage: departure.stage()?,
                    priority: departure.vm.policy.priority,
                    bytes: departure.remaining(),
                    dirty_rate: departure.progress.dirty_rate.max(departure.vm.dirty_rate),
                    floor: self.floor(&departure.vm, capacity, most, reach),
                    most,
                    reach,
                    to: Some(departure.to),
                    rate: departure.rate,
                    setup_ms,
                    yields: departure.yields,
                    group: self.grouped(&departure.vm),
                };
                Some(head.later(told))
            })
            .collect();
        for (vm, to, link) in self.choices(now) {
            let Some(evacuation) = self.mover_to(to) else { continue };
            let Some(capacity) = self.capacities.get(&link) else { continue };
            let reach = reach(link);
            heads.push(HeadVm {
                vm: vm.id,
                evacuation,
                link,
                stage: Stage::Queued,
                priority: vm.policy.priority,
                bytes: vm.bytes(),
                dirty_rate: vm.dirty_rate,
                floor: self.floor(vm, capacity.usable(), most, reach),
                most,
                reach,
                to: None,
                rate: BytesPerSec(0),
                setup_ms,
                yields: false,
                group: self.grouped(vm),
            });
        }
        heads
    }

    /// VMs of this host that are on their way neither in nor out, and not left over of one that is elsewhere.
    fn resting(&self) -> impl Iterator<Item = &Vm> {
        self.vms.values().filter(|vm| {
            self.departures.get(vm.id).is_none()
                && self.arrivals.get(vm.id).is_none()
                && !self.is_left_over(vm)
        })
    }

    /// Bytes that this host has still to send of what can go: what it tells the others, since all must
    /// order by the same figures.
    pub(super) fn bytes_left(&self, now: Instant) -> u64 {
        let under_way = self.departures.all().map(Departure::remaining);
        let targets = self.own_targets(now);
        let goes = |vm: &&Vm| targets.as_ref().is_some_and(|all| self.can_go(now, all, vm));
        let waiting = self.resting().filter(goes).map(Vm::bytes);
        under_way.chain(waiting).fold(0, u64::saturating_add)
    }

    /// What this host still has to move.
    pub(crate) fn queue_report(&self, now: Instant) -> QueueReport {
        let mut report = QueueReport {
            head: self.heads(now),
            vms: self.departures.all().count().try_into().unwrap_or(u32::MAX),
            bytes: self.bytes_left(now),
            unknown: self.uncertain_here(now).try_into().unwrap_or(u32::MAX),
            stuck: 0,
        };
        if let Some(targets) = self.own_targets(now) {
            for vm in self.resting() {
                match self.can_go(now, &targets, vm) {
                    true => report.vms += 1,
                    false => report.stuck += 1,
                }
            }
        }
        report
    }

    /// Says once for each VM why it cannot go.
    pub(super) fn tell_stuck(&mut self, now: Instant, fx: &mut crate::effects::Effects) {
        let Some(evacuation) = self.evacuations.covering(self.me, self.site).next() else { return };
        let Some(sites) = self.destinations() else { return };
        // Nobody can be known to be missing before they had the time to be heard.
        let heard_for = match self.is_large() {
            true => now.since(self.started_at.max(evacuation.changed_at)),
            false => now.since(self.started_at),
        };
        if heard_for < self.config.dead_after {
            return;
        }
        let id = evacuation.record.id;
        let targets = self.targets(now, &sites);
        let stuck: Vec<(crate::ids::VmId, String, Vec<String>)> = self
            .vms
            .values()
            .filter(|vm| {
                self.departures.get(vm.id).is_none()
                    && !self.setbacks.contains_key(&vm.id)
                    && !self.is_left_over(vm)
            })
            .filter(|vm| !self.can_go(now, &targets, vm))
            .map(|vm| (vm.id, vm.name.clone(), self.reasons(now, vm)))
            .filter(|(_, _, reasons)| !reasons.is_empty())
            .collect();
        for (vm, name, reasons) in stuck {
            let text = format!("{name} cannot go now: {}", reasons.join("; "));
            self.setbacks.entry(vm).or_default().reason = reasons.join("; ");
            fx.vm_notice(NoticeKind::Failed, vm, id, text);
        }
    }

    /// Round-trip time over a link, as the carrier or heartbeats measured it.
    pub(crate) fn link_round_trip(&self, now: Instant, link: LinkId) -> Duration {
        let measured = self.samples.get(now, link).and_then(|sample| sample.round_trip);
        let far = self.directory.link(link).map(|entry| (entry.from, &entry.to));
        let heard = self
            .membership
            .up(now)
            .filter(|(node, _)| {
                let site = self.directory.site_of(*node);
                far.is_some_and(|(from, to)| {
                    site.is_some_and(|site| {
                        if self.site == from { to.contains(&site) } else { site == from }
                    })
                })
            })
            .filter_map(|(_, peer)| peer.round_trip)
            .min();
        measured.or(heard).unwrap_or(self.config.tuning().of(FIRST_ROUND_TRIP))
    }
}
