//! This host's own queue: which of its VMs must leave, in what order, and where to.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use super::Node;
use crate::{
    arrivals::memory_needed,
    evacuation::Known,
    ids::{LinkId, NodeId},
    membership::Liveness,
    message::{HeadVm, QueueReport, Stage},
    output::NoticeKind,
    planted::Bug,
    time::Instant,
    units::BytesPerSec,
    vm::{RunState, Vm, precopy_time},
};

/// Waiting VMs told in detail in each heartbeat, besides those under way.
const HEAD: usize = 4;

impl Node {
    /// The VMs of this host that wait for their turn, in this host's order.
    pub(super) fn waiting(&self, now: Instant) -> Vec<&Vm> {
        let covered = self.evacuations.covering(self.me, self.site).is_some();
        if !covered || self.hypervisor_down.is_some() {
            return Vec::new();
        }
        let mut waiting: Vec<&Vm> = self
            .vms
            .values()
            .filter(|vm| self.departures.get(vm.id).is_none())
            .filter(|vm| self.arrivals.get(vm.id).is_none())
            .filter(|vm| vm.obstacles.is_empty())
            .filter(|vm| self.setbacks.get(&vm.id).is_none_or(|setback| setback.not_before <= now))
            .collect();
        if self.config.planted(Bug::LeftBehind) {
            waiting.retain(|vm| self.vms.last_key_value().is_none_or(|(last, _)| vm.id != *last));
        }
        waiting.sort_by_cached_key(|vm| {
            let time = precopy_time(vm.bytes(), u64::MAX >> 1, 0);
            (core::cmp::Reverse(vm.policy.priority), vm.bytes(), time, vm.id)
        });
        waiting
    }

    /// Why a VM of this host does not move although it should: all reasons. Empty if it can.
    pub(super) fn reasons(&self, now: Instant, vm: &Vm) -> Vec<String> {
        let Some(evacuation) = self.evacuations.covering(self.me, self.site) else {
            return Vec::new();
        };
        let mut reasons = vm.obstacles.clone();
        if self.hypervisor_down.is_some() {
            reasons.push("the hypervisor here does not answer".into());
        }
        if self.departures.get(vm.id).is_some() {
            return reasons;
        }
        if let Some(setback) = self.setbacks.get(&vm.id)
            && setback.failures > 0
            && setback.not_before > now
        {
            reasons.push(format!("attempt {} failed: {}", setback.failures, setback.reason));
        }
        if let Err(refusals) = self.destination(now, evacuation, vm) {
            reasons.extend(refusals);
        }
        reasons
    }

    /// The best destination for a VM and the link there, or all reasons why there is none.
    pub(super) fn destination(
        &self,
        now: Instant,
        evacuation: &Known,
        vm: &Vm,
    ) -> Result<(NodeId, LinkId), Vec<String>> {
        let mut reasons = Vec::new();
        let mut best: Option<((core::cmp::Reverse<Duration>, u64), NodeId, LinkId)> = None;
        let mut busy: BTreeMap<LinkId, u64> = BTreeMap::new();
        for (node, entry) in self.directory.nodes() {
            if !evacuation.record.to.contains(&entry.site) || node == self.me {
                continue;
            }
            let mut refuse = |why: String| reasons.push(format!("{}: {why}", entry.name));
            let Some(link) = self.directory.link_between(self.site, entry.site) else {
                refuse("it stands in this very site".into());
                continue;
            };
            let alive = self.membership.liveness(now, node) == Liveness::Alive;
            let Some(peer) = self.membership.peer(node).filter(|_| alive) else {
                refuse("it is not heard".into());
                continue;
            };
            let host = &peer.heartbeat.host;
            if !host.takes_arrivals {
                refuse("it takes no arrivals now".into());
                continue;
            }
            let refused = self.setbacks.get(&vm.id).and_then(|one| one.refused.get(&node));
            if refused.is_some_and(|until| *until > now) {
                refuse("it refused or failed a moment ago".into());
                continue;
            }
            let planned: u64 = self
                .departures
                .all()
                .filter(|departure| departure.to == node && !departure.begun())
                .map(|departure| memory_needed(&departure.vm))
                .sum();
            let free = host.memory_free.saturating_sub(planned);
            if memory_needed(vm) > free {
                refuse(format!(
                    "{} MiB of memory are needed and {} MiB are free",
                    memory_needed(vm) >> 20,
                    free >> 20
                ));
                continue;
            }
            // Where several links lead away, the one on which it would be over first is taken.
            let before = *busy.entry(link).or_insert_with(|| self.bytes_chosen(now, link));
            let capacity = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
            let over = capacity.time_for(before.saturating_add(vm.bytes()));
            let merit = (core::cmp::Reverse(over), free);
            if best.is_none_or(|(most, _, _)| merit > most) {
                best = Some((merit, node, link));
            }
        }
        if reasons.is_empty() && best.is_none() {
            reasons.push("no host stands in the destination sites".into());
        }
        best.map(|(_, node, link)| (node, link)).ok_or(reasons)
    }

    /// Bytes of the VMs that have chosen a link.
    fn bytes_chosen(&self, now: Instant, link: LinkId) -> u64 {
        let chosen = |vm: &HeadVm| vm.link == link && vm.stage != Stage::Queued;
        let others = self.membership.up(now).flat_map(|(_, peer)| &peer.heartbeat.queue.head);
        let others = others.filter(|vm| chosen(vm)).map(|vm| vm.bytes);
        let own = self.departures.all().filter(|one| one.link == link && one.stage().is_some());
        others.chain(own.map(|one| one.remaining())).fold(0, u64::saturating_add)
    }

    /// The rate below which a VM must not start: 1.2 times what it dirties. Never more than the link
    /// and this host's interface carry: a guest that outruns those must be slowed down or paused.
    fn floor(&self, vm: &Vm, capacity: BytesPerSec) -> BytesPerSec {
        if vm.state != RunState::Running {
            return BytesPerSec(0);
        }
        let converging = BytesPerSec(vm.dirty_rate.saturating_mul(12) / 10).min(capacity);
        match self.host.nic_speed {
            BytesPerSec(0) => converging,
            most => converging.min(most),
        }
    }

    /// The VMs under way and the next ones, as the others need to know them.
    pub(super) fn heads(&self, now: Instant) -> Vec<HeadVm> {
        let most = self.host.nic_speed;
        let mut heads: Vec<HeadVm> = self
            .departures
            .all()
            .filter_map(|departure| {
                let capacity = self.capacities.get(&departure.link)?.usable();
                Some(HeadVm {
                    vm: departure.id.vm,
                    evacuation: departure.evacuation,
                    link: departure.link,
                    stage: departure.stage()?,
                    priority: departure.vm.policy.priority,
                    bytes: departure.remaining(),
                    dirty_rate: departure.progress.dirty_rate.max(departure.vm.dirty_rate),
                    floor: self.floor(&departure.vm, capacity),
                    most,
                    to: Some(departure.to),
                })
            })
            .collect();
        let Some(evacuation) = self.evacuations.covering(self.me, self.site) else { return heads };
        let mut listed = 0;
        for vm in self.waiting(now) {
            let Ok((_, link)) = self.destination(now, evacuation, vm) else { continue };
            let Some(capacity) = self.capacities.get(&link) else { continue };
            heads.push(HeadVm {
                vm: vm.id,
                evacuation: evacuation.record.id,
                link,
                stage: Stage::Queued,
                priority: vm.policy.priority,
                bytes: vm.bytes(),
                dirty_rate: vm.dirty_rate,
                floor: self.floor(vm, capacity.usable()),
                most,
                to: None,
            });
            listed += 1;
            if listed == HEAD {
                break;
            }
        }
        heads
    }

    /// What this host still has to move.
    pub(crate) fn queue_report(&self, now: Instant) -> QueueReport {
        let mut report = QueueReport { head: self.heads(now), ..QueueReport::default() };
        for departure in self.departures.all() {
            report.vms += 1;
            report.bytes = report.bytes.saturating_add(departure.remaining());
            if departure.state(now) == crate::message::VmState::Unknown {
                report.unknown += 1;
            }
        }
        if self.evacuations.covering(self.me, self.site).is_some() {
            let resting = self.vms.values().filter(|vm| {
                self.departures.get(vm.id).is_none() && self.arrivals.get(vm.id).is_none()
            });
            for vm in resting {
                if self.reasons(now, vm).is_empty() {
                    report.bytes = report.bytes.saturating_add(vm.bytes());
                    report.vms += 1;
                } else {
                    report.stuck += 1;
                }
            }
        }
        report
    }

    /// Says once for each VM why it cannot go.
    pub(super) fn tell_stuck(&mut self, now: Instant, fx: &mut crate::effects::Effects) {
        let Some(evacuation) = self.evacuations.covering(self.me, self.site) else { return };
        // Nobody can be known to be missing before they had the time to be heard.
        if now.since(self.started_at) < self.config.dead_after {
            return;
        }
        let id = evacuation.record.id;
        let stuck: Vec<(crate::ids::VmId, String, Vec<String>)> = self
            .vms
            .values()
            .filter(|vm| {
                self.departures.get(vm.id).is_none() && !self.setbacks.contains_key(&vm.id)
            })
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
        let measured = self.samples.get(&link).and_then(|sample| sample.round_trip);
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
        measured.or(heard).unwrap_or(Duration::from_millis(50))
    }
}
