//! What would happen: the order of all VMs, and when each would start and end.
//!
//! The same order and the same destinations as the real schedule would choose from what this node
//! has heard, walked through one VM at a time at the estimated capacity. Every VM that cannot go
//! is there with all its reasons.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use crate::{
    arrivals::memory_needed,
    groups::Grouped,
    ids::{EvacuationId, GroupId, LinkId, NodeId, SiteId, VmId},
    membership::Liveness,
    message::{HeadVm, InventoryVm, Stage, VmState},
    node::{Node, barred::Refusals, elsewhere::runs_too},
    order::{Contender, common_order},
    pause::Pause,
    time::{Instant, milliseconds},
    units::BytesPerSec,
    vm::{RunState, precopy_time},
};

/// One VM of a plan.
#[derive(Debug, Clone)]
pub struct PlannedVm {
    /// The VM.
    pub vm: crate::vm::Vm,
    /// The host that it leaves.
    pub from: String,
    /// The host that it would go to.
    pub to: Option<String>,
    /// Predicted start, milliseconds after the start of the evacuation.
    pub start_ms: u64,
    /// Predicted finish.
    pub finish_ms: u64,
    /// Predicted pause of the guest.
    pub downtime_ms: u64,
    /// By when it must have left: the deadline, or the end of its host's power if that is first.
    pub limit: Option<Limit>,
    /// Why it cannot go; empty if it can.
    pub reasons: Vec<String>,
}

/// By when a VM must have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Milliseconds after the start of the evacuation.
    pub at_ms: u64,
    /// Whether it is the end of its host's power, not the evacuation's deadline.
    pub is_power: bool,
}

impl PlannedVm {
    /// By how many milliseconds it would be too late, if at all.
    pub fn late_by_ms(&self) -> Option<u64> {
        let limit = self.limit.filter(|_| self.reasons.is_empty())?;
        self.finish_ms.checked_sub(limit.at_ms).filter(|late| *late > 0)
    }
}

/// A whole plan.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// VMs that can go, in order, then those that cannot.
    pub vms: Vec<PlannedVm>,
    /// Hosts to be emptied that are not heard and ought to be, so that their VMs are not known.
    pub silent: Vec<String>,
    /// Hosts to be emptied that have not told this node of their VMs: in a large cluster none tells
    /// another.
    pub untold: Vec<String>,
    /// Hosts to be emptied that have not told this node of their VMs yet, and will within seconds.
    pub not_told_yet: Vec<String>,
    /// Hosts to be emptied whose hypervisor does not answer: what is planned of them may be old.
    pub hypervisor_down: Vec<String>,
    /// Links over which VMs would leave and of which nobody has measured or configured what they carry,
    /// with what is assumed.
    pub guessed: Vec<(String, BytesPerSec)>,
    /// Milliseconds until the last one has left.
    pub total_ms: u64,
    /// Bytes that must cross.
    pub bytes: u64,
}

/// What is to be planned: the terms of an evacuation.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Sites to be emptied.
    pub from_sites: Vec<SiteId>,
    /// Hosts to be emptied.
    pub from_hosts: Vec<NodeId>,
    /// Where the VMs go.
    pub to: Vec<SiteId>,
    /// Deadline, in milliseconds.
    pub deadline_ms: Option<u64>,
}

/// What the VMs that were assigned so far have taken.
#[derive(Debug, Default)]
struct Assigned {
    /// Memory that is left at each host that was considered, bytes.
    free: BTreeMap<NodeId, u64>,
    /// Where the groups go.
    sites: BTreeMap<GroupId, SiteId>,
}

struct Candidate {
    source: NodeId,
    one: InventoryVm,
    /// What is left of its host's power, milliseconds.
    power_ms: Option<u64>,
    to: Option<NodeId>,
    link: Option<LinkId>,
    /// Whether its reasons are complete, whatever the destinations say.
    stays: bool,
    reasons: Vec<String>,
}

impl Candidate {
    fn new(source: NodeId, power_ms: Option<u64>, one: InventoryVm) -> Self {
        let reasons = one.vm.obstacles.clone();
        Self { source, one, power_ms, to: None, link: None, stays: false, reasons }
    }

    /// By when it must have left.
    fn limit(&self, terms: &Terms) -> Option<Limit> {
        let deadline = terms.deadline_ms.map(|at_ms| Limit { at_ms, is_power: false });
        let power = self.power_ms.map(|at_ms| Limit { at_ms, is_power: true });
        [deadline, power].into_iter().flatten().min_by_key(|limit| limit.at_ms)
    }

    /// Whether its host says that it cannot move for now.
    fn is_kept(&self) -> bool {
        let waits = matches!(self.one.state, VmState::Queued | VmState::Failed);
        waits && !self.one.reasons.is_empty()
    }

    /// It stays where it is for now, for these reasons and those that are known already.
    fn stays(&mut self, reasons: Vec<String>) {
        self.stays = true;
        for reason in reasons {
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
        if self.reasons.is_empty() {
            self.reasons.push("it is not certain where it runs".into());
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self.one.state, VmState::Moving | VmState::Switching)
    }
}

impl Node {
    /// Plans an evacuation with these terms, without starting it.
    pub fn plan(&self, now: Instant, terms: &Terms) -> Plan {
        let mut plan = Plan::default();
        let covers = |node: NodeId, site: SiteId| {
            terms.from_sites.contains(&site) || terms.from_hosts.contains(&node)
        };
        let mut listed: BTreeMap<VmId, Vec<Candidate>> = BTreeMap::new();
        for (source, entry) in self.directory.nodes() {
            if !covers(source, entry.site) {
                continue;
            }
            let standing = self.standing(now, source);
            if !matches!(standing, Liveness::Alive | Liveness::Suspected) {
                let distant = standing == Liveness::Unseen && !self.expects(source);
                let unknown = if distant { &mut plan.untold } else { &mut plan.silent };
                unknown.push(entry.name.clone());
                continue;
            }
            let host = match self.membership.peer(source) {
                Some(peer) if source != self.me => peer.heartbeat.host,
                _ => self.host_report(),
            };
            if !host.hypervisor_up {
                plan.hypervisor_down.push(entry.name.clone());
            } else if !self.knows_vms_of(source) {
                let untold =
                    if self.is_large() { &mut plan.untold } else { &mut plan.not_told_yet };
                untold.push(entry.name.clone());
            }
            let asked = self.asked_the_same(terms, source, entry.site);
            for one in self.inventory_of(now, source) {
                // One that is given away is on its way into a host that is not emptied.
                if matches!(one.state, VmState::Arriving | VmState::Committing) {
                    continue;
                }
                let mut candidate = Candidate::new(source, host.runtime_left_ms, one);
                if host.journal_fails {
                    let reason = format!("the journal of {} cannot be written", entry.name);
                    // Its host says why, too, once it was asked to let it go.
                    if !candidate.one.reasons.iter().any(|known| known.starts_with(&reason)) {
                        candidate.reasons.push(reason);
                    }
                }
                if candidate.one.state == VmState::Unknown || asked && candidate.is_kept() {
                    candidate.stays(candidate.one.reasons.clone());
                }
                listed.entry(candidate.one.vm.id).or_default().push(candidate);
            }
        }
        let mut candidates: Vec<Candidate> =
            listed.into_values().filter_map(|all| self.only_one(now, all)).collect();
        candidates.sort_by_key(|candidate| {
            let vm = &candidate.one.vm;
            (core::cmp::Reverse(vm.policy.priority), vm.bytes(), vm.id)
        });
        let mut assigned = Assigned::default();
        for candidate in candidates.iter_mut().filter(|candidate| !candidate.stays) {
            self.assign(now, terms, candidate, &mut assigned, &covers);
        }
        let links: Vec<LinkId> = self.directory.links().map(|(link, _)| link).collect();
        for link in links {
            self.walk(now, link, terms, &candidates, &mut plan);
        }
        plan.vms.sort_by_key(|planned| (planned.start_ms, planned.finish_ms, planned.vm.id));
        for candidate in candidates.iter().filter(|candidate| candidate.link.is_none()) {
            plan.vms.push(PlannedVm {
                vm: candidate.one.vm.clone(),
                from: self.directory.name(candidate.source),
                to: None,
                start_ms: 0,
                finish_ms: 0,
                downtime_ms: 0,
                limit: None,
                reasons: candidate.reasons.clone(),
            });
        }
        plan
    }

    /// Whether what a host says of its VMs' ways out is about these terms, too.
    fn asked_the_same(&self, terms: &Terms, source: NodeId, site: SiteId) -> bool {
        let mut covering = self.evacuations.covering(source, site);
        covering.any(|known| terms.to.iter().all(|to| known.record.to.contains(to)))
    }

    /// Of what is listed of one VM what is to move, if anything is: one that runs elsewhere as well, or
    /// of which there are several copies, does not, and what is left over of one is none.
    fn only_one(&self, now: Instant, mut all: Vec<Candidate>) -> Option<Candidate> {
        let beside = |one: &Candidate| self.running_beside(now, one.one.vm.id, one.source);
        if all.len() > 1 || !beside(all.first()?).is_empty() {
            let lives = |one: &Candidate| one.one.vm.state != RunState::ShutOff;
            let any_lives = all.iter().any(lives);
            all.retain(|one| lives(one) || beside(one).is_empty() && !any_lives);
        }
        let mut all = all.into_iter();
        let mut first = all.next()?;
        let others = beside(&first);
        if first.one.state != VmState::Unknown && !others.is_empty() {
            first.stays(alloc::vec![runs_too(&others.join(" and "))]);
            return Some(first);
        }
        for other in all {
            let host = self.directory.name(other.source);
            let mut reasons: Vec<String> =
                other.reasons.iter().map(|reason| format!("on {host}: {reason}")).collect();
            if reasons.is_empty() {
                reasons.push(format!("it is on {host}, too"));
            }
            first.stays(reasons);
        }
        Some(first)
    }

    /// Whether a destination has a VM already, other than to take it in.
    fn has_already(&self, now: Instant, node: NodeId, candidate: &Candidate) -> bool {
        let vm = candidate.one.vm.id;
        if candidate.is_under_way() {
            return false;
        }
        if node == self.me {
            return self.vms.contains_key(&vm) && self.arrivals.get(vm).is_none();
        }
        let known = self.inventories.get(&node).filter(|_| self.membership.is_up(now, node));
        let is_it = |one: &InventoryVm| one.vm.id == vm && one.state == VmState::Resting;
        known.is_some_and(|known| known.complete.iter().any(is_it))
    }

    fn assign(
        &self,
        now: Instant,
        terms: &Terms,
        candidate: &mut Candidate,
        assigned: &mut Assigned,
        covers: &impl Fn(NodeId, SiteId) -> bool,
    ) {
        let needed = memory_needed(&candidate.one.vm);
        let from = self.directory.site_of(candidate.source).unwrap_or(self.site);
        let mut reasons = Refusals::default();
        let group = candidate.one.vm.policy.group();
        let with_group = group.and_then(|group| assigned.sites.get(&group).copied());
        let mut best: Option<((bool, u64), NodeId, LinkId)> = None;
        for (node, entry) in self.directory.nodes() {
            if !terms.to.contains(&entry.site) || node == candidate.source {
                continue;
            }
            let mut refuse = |why: String| reasons.add(&entry.name, why);
            let host = if node == self.me {
                Some(self.host_report())
            } else {
                let up = self.membership.is_up(now, node);
                self.membership.peer(node).filter(|_| up).map(|peer| peer.heartbeat.host)
            };
            let link = self.directory.link_between(from, entry.site);
            let (Some(host), Some(link)) = (host, link) else {
                refuse("it is not heard".into());
                continue;
            };
            if host.journal_fails {
                refuse("its journal cannot be written".into());
                continue;
            }
            if covers(node, entry.site) {
                refuse("it takes no arrivals: it is to be emptied, too".into());
                continue;
            }
            if !host.takes_arrivals {
                refuse(self.why_no_arrivals(node, &host));
                continue;
            }
            if self.has_already(now, node, candidate) {
                refuse("a VM with this id is already there".into());
                continue;
            }
            let room = *assigned.free.entry(node).or_insert(host.memory_free);
            let merit = (with_group == Some(entry.site), room);
            if needed > room {
                refuse(format!(
                    "{} MiB of memory are needed and {} MiB would be free",
                    needed >> 20,
                    room >> 20
                ));
            } else if best.is_none_or(|(most, _, _)| merit > most) {
                best = Some((merit, node, link));
            }
        }
        let reasons = reasons.into_reasons();
        match best {
            Some((_, node, link)) if candidate.reasons.is_empty() => {
                candidate.to = Some(node);
                candidate.link = Some(link);
                assigned.free.entry(node).and_modify(|room| *room = room.saturating_sub(needed));
                if let Some((group, site)) = group.zip(self.directory.site_of(node)) {
                    assigned.sites.insert(group, site);
                }
            }
            Some(_) => {}
            None if reasons.is_empty() => {
                candidate.reasons.push("no host stands in the destination sites".into());
            }
            None => candidate.reasons.extend(reasons),
        }
    }

    fn walk(
        &self,
        now: Instant,
        link: LinkId,
        terms: &Terms,
        candidates: &[Candidate],
        plan: &mut Plan,
    ) {
        let usable = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
        let mut bytes_of: BTreeMap<NodeId, u64> = BTreeMap::new();
        for candidate in candidates.iter().filter(|one| one.link == Some(link)) {
            let bytes = bytes_of.entry(candidate.source).or_default();
            *bytes = bytes.saturating_add(candidate.one.remaining);
        }
        let remaining = bytes_of.values().copied().fold(0, u64::saturating_add);
        let guess = self.capacities.get(&link).filter(|one| one.is_guess() && remaining > 0);
        if let Some((capacity, entry)) = guess.zip(self.directory.link(link)) {
            plan.guessed.push((entry.name.clone(), capacity.value()));
        }
        let heads = candidates.iter().filter(|one| one.link == Some(link)).map(|candidate| {
            let vm = &candidate.one.vm;
            let under_way = candidate.one.state == VmState::Moving;
            let head = HeadVm {
                vm: vm.id,
                evacuation: EvacuationId(0),
                link,
                stage: if under_way { Stage::Moving } else { Stage::Queued },
                priority: vm.policy.priority,
                bytes: if under_way { candidate.one.remaining } else { vm.bytes() },
                dirty_rate: vm.dirty_rate,
                floor: BytesPerSec(0),
                most: BytesPerSec(0),
                reach: BytesPerSec(0),
                to: candidate.to,
                rate: BytesPerSec(0),
                setup_ms: 0,
                yields: false,
                group: vm.policy.group().map(|id| Grouped { id, begun: None }),
            };
            let source_bytes = bytes_of.get(&candidate.source).copied().unwrap_or(0);
            let limit = candidate.limit(terms).filter(|limit| limit.at_ms > 0);
            Contender {
                source: candidate.source,
                vm: head,
                source_bytes,
                source_nic: BytesPerSec(0),
                destination_nic: BytesPerSec(0),
                time_left: limit.map(|limit| Duration::from_millis(limit.at_ms)),
            }
        });
        let round_trip = self.link_round_trip(now, link);
        let mut at_ms = 0;
        let tuning = self.config.tuning();
        for contender in common_order(tuning, usable, remaining, heads.collect()) {
            let Some(candidate) = candidates.iter().find(|one| one.one.vm.id == contender.vm.vm)
            else {
                continue;
            };
            let vm = &candidate.one.vm;
            let head = &contender.vm;
            let copy = precopy_time(head.bytes, usable.0, head.dirty_rate);
            // Set-up overlaps with the one before; the switchover costs two round trips.
            let downtime_ms = Pause::of(tuning, vm, usable, round_trip).expected_ms(vm, copy);
            let start_ms = at_ms;
            at_ms += milliseconds(copy);
            let finish_ms = at_ms + milliseconds(round_trip * 2);
            plan.bytes = plan.bytes.saturating_add(head.bytes);
            plan.total_ms = plan.total_ms.max(finish_ms);
            plan.vms.push(PlannedVm {
                vm: vm.clone(),
                from: self.directory.name(candidate.source),
                to: candidate.to.map(|node| self.directory.name(node)),
                start_ms,
                finish_ms,
                downtime_ms,
                limit: candidate.limit(terms),
                reasons: Vec::new(),
            });
        }
    }
}
