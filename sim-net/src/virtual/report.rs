//! How good a run was, beside what physics allows.
//!
//! Bounds (all in seconds): the total is at least the largest of what the link, each source's and
//! each destination's interface need for all bytes, and the largest VM alone; the individual time
//! is each VM alone on the whole link, on average. Bytes are those that each VM costs when it is
//! alone on the whole link. Score = sqrt(total / bound x mean individual / bound), 1.0 is physics.

use std::collections::BTreeMap;

use lifeboat_protocol::NodeId;
use serde::Serialize;

use super::{
    MILLISECOND, Place, SECOND, World, nanoseconds, scenario::VmState, world::Ended, world::Tracked,
};

/// Rounds after which a guest counts as one that never converges.
const MOST_ROUNDS: u32 = 40;

/// How one VM fared.
#[derive(Debug, Clone, Serialize)]
pub struct VmReport {
    /// Its name.
    pub name: String,
    /// The host where it was.
    pub from: String,
    /// The host where it is, if it rests anywhere.
    pub to: Option<String>,
    /// Start of its last move, seconds after the first evacuation was asked for.
    pub start_s: Option<f64>,
    /// When it ran at its destination.
    pub finish_s: Option<f64>,
    /// How long it stood still.
    pub downtime_ms: u64,
    /// How it ended: `arrived`, `stayed`, `died` with its host, or `open`.
    pub end: &'static str,
}

/// How a run went.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Why it ended: `done`, `limit`, or the check that failed.
    pub ended: String,
    /// What was wrong, if a check failed.
    pub violation: Option<String>,
    /// Virtual seconds that passed.
    pub virtual_s: f64,
    /// Every VM.
    pub vms: Vec<VmReport>,
    /// VMs that arrived.
    pub arrived: usize,
    /// From the first evacuation to the last arrival, seconds.
    pub total_s: f64,
    /// Start to finish of each VM, on average, seconds.
    pub mean_individual_s: f64,
    /// From the first evacuation to each VM's arrival, on average, seconds.
    pub mean_completion_s: f64,
    /// Longest pause, milliseconds.
    pub max_downtime_ms: u64,
    /// Mean pause of those that arrived, milliseconds.
    pub mean_downtime_ms: f64,
    /// What those that arrived had to send, bytes.
    pub bytes_needed: f64,
    /// What was put on links, bytes.
    pub bytes_sent: f64,
    /// Of that, for moves that were given up.
    pub bytes_wasted: f64,
    /// Lower bound of the total, seconds.
    pub bound_total_s: f64,
    /// Lower bound of the mean individual time, seconds.
    pub bound_individual_s: f64,
    /// Lower bound of the mean completion time, seconds.
    pub bound_completion_s: f64,
    /// 1.0 is physics.
    pub score: f64,
    /// Bytes sent over what the links could carry between first and last byte.
    pub link_use: f64,
    /// Longest time that a link was idle while VMs waited for it, seconds.
    pub longest_idle_s: f64,
    /// Bytes of gossip that each node received in a second, on average.
    pub gossip_bytes_per_s: f64,
    /// Hash of everything that happened.
    pub hash: String,
}

impl Report {
    /// VMs that ran at their destination so many seconds after the first evacuation was asked for.
    pub fn out_by(&self, seconds: f64) -> usize {
        self.vms.iter().filter(|vm| vm.finish_s.is_some_and(|at| at <= seconds)).count()
    }
}

/// Bytes and seconds that a VM takes alone at `rate` bytes per second.
pub fn alone(
    memory: f64,
    disk: f64,
    dirty: f64,
    set: f64,
    downtime_s: f64,
    rate: f64,
) -> (f64, f64) {
    let set = if set > 0.0 { set.min(memory) } else { memory };
    let mut left = memory + disk;
    let mut sent = 0.0;
    for _ in 0..MOST_ROUNDS {
        sent += left;
        let again = set * (1.0 - (-dirty * (left / rate) / set.max(1.0)).exp());
        let converges = again < left * 0.98;
        left = again;
        if again <= rate * downtime_s || !converges {
            break;
        }
    }
    sent += left;
    (sent, sent / rate)
}

impl World {
    /// The figures of a run that has ended.
    pub fn report(&self, ended: &Ended) -> Report {
        let start = self.evacuations.iter().flatten().map(|(_, at)| *at).min().unwrap_or(0);
        let seconds = |at: u64| at.saturating_sub(start) as f64 / SECOND as f64;
        let vms: Vec<VmReport> = self.vms.values().map(|vm| self.vm_report(vm, &seconds)).collect();
        let arrived: Vec<(&Tracked, f64, f64)> = self
            .vms
            .values()
            .filter_map(|vm| Some((vm, seconds(vm.began?), seconds(vm.safe?))))
            .collect();
        // The sum of nothing is less than zero by sign.
        let mean = |sum: f64| (sum + 0.0) / arrived.len().max(1) as f64;
        let total_s = arrived.iter().map(|(_, _, finish)| *finish).fold(0.0, f64::max);
        let mean_individual_s = mean(arrived.iter().map(|(_, start, end)| end - start).sum());
        let first = arrived.iter().map(|(_, start, _)| *start).fold(f64::INFINITY, f64::min);
        let moved: Vec<&Tracked> = arrived.iter().map(|(vm, _, _)| *vm).collect();
        let bound_total_s = self.bound_total(&moved, start);
        let bound_completion_s = self.bound_completion(&moved, start);
        let bound_individual_s = mean(moved.iter().map(|vm| self.cost(vm).1).sum());
        let ratio = |value: f64, bound: f64| if bound > 0.0 { value / bound } else { 0.0 };
        let bytes_sent: f64 = self.links.iter().map(|link| link.carried).sum();
        let could = self.links.iter().filter(|link| link.carried > 0.0).map(|link| {
            let first = if first.is_finite() { first } else { 0.0 };
            self.carries(link.id, start + (first * SECOND as f64) as u64, total_s - first)
        });
        let received: u64 = self.network.received.values().sum();
        let (ended, violation) = match ended {
            Ended::Done => ("done".to_string(), None),
            Ended::Limit => ("limit".to_string(), None),
            Ended::Violated(found) => (found.check.name().to_string(), Some(found.what.clone())),
        };
        Report {
            ended,
            violation,
            virtual_s: self.now as f64 / SECOND as f64,
            arrived: vms.iter().filter(|vm| vm.end == "arrived").count(),
            total_s,
            mean_individual_s,
            mean_completion_s: mean(arrived.iter().map(|(_, _, end)| *end).sum()),
            mean_downtime_ms: mean(
                arrived.iter().map(|(vm, _, _)| vm.still as f64 / MILLISECOND as f64).sum(),
            ),
            max_downtime_ms: vms.iter().map(|vm| vm.downtime_ms).max().unwrap_or(0),
            bytes_needed: moved.iter().map(|vm| (vm.spec.memory.0 + vm.spec.disk.0) as f64).sum(),
            bytes_sent,
            bytes_wasted: self.bytes_wasted,
            bound_total_s,
            bound_individual_s,
            bound_completion_s,
            score: (ratio(total_s, bound_total_s) * ratio(mean_individual_s, bound_individual_s))
                .sqrt(),
            link_use: ratio(bytes_sent, could.sum()),
            longest_idle_s: self.checks.longest_idle as f64 / SECOND as f64,
            gossip_bytes_per_s: received as f64
                / self.hosts.len() as f64
                / (self.now as f64 / SECOND as f64).max(1.0),
            hash: format!("{:016x}", self.hash()),
            vms,
        }
    }

    fn vm_report(&self, vm: &Tracked, seconds: &impl Fn(u64) -> f64) -> VmReport {
        let home = self.home(vm.id);
        let end = match home {
            _ if self.died_with_host.contains(&vm.id) => "died",
            None => "open",
            Some(_) if vm.safe.is_some() => "arrived",
            Some(_) => "stayed",
        };
        VmReport {
            name: vm.spec.name.clone(),
            from: vm.spec.host.clone(),
            to: home.map(|host| self.hosts[host].name.clone()),
            start_s: vm.began.map(seconds),
            finish_s: vm.safe.filter(|_| vm.began.is_some()).map(seconds),
            downtime_ms: vm.still / 1_000_000,
            end,
        }
    }

    /// Link and destination that a VM took.
    pub(super) fn way(&self, vm: &Tracked) -> Option<(usize, usize, usize)> {
        let from = *self.hosts_by_id.get(&NodeId::of(&vm.spec.host))?;
        let to = self.places(vm.id).into_iter().find(|(_, place)| *place != Place::MovedAway)?.0;
        Some((from, to, self.link_of(from, to)?))
    }

    /// Bytes and seconds of a VM alone on its link.
    pub(super) fn cost(&self, vm: &Tracked) -> (f64, f64) {
        let Some((from, to, link)) = self.way(vm) else { return (0.0, 0.0) };
        let line = self.scenario.links[link].capacity.bytes_per_sec() as f64;
        let rate = line.min(self.hosts[from].nic).min(self.hosts[to].nic);
        let rate = rate.min(self.links[link].most_of_one_move());
        let spec = &vm.spec;
        let dirty = match spec.state {
            VmState::Running => spec.dirty_rate.bytes_per_sec() as f64,
            VmState::Paused | VmState::ShutOff => 0.0,
        };
        alone(
            spec.memory.0 as f64,
            spec.disk.0 as f64,
            dirty,
            spec.working_set.map_or(0.0, |set| set.0 as f64),
            0.3,
            rate,
        )
    }

    fn bound_total(&self, moved: &[&Tracked], start: u64) -> f64 {
        let mut by_link: BTreeMap<usize, f64> = BTreeMap::new();
        let mut by_source: BTreeMap<usize, f64> = BTreeMap::new();
        let mut by_destination: BTreeMap<usize, f64> = BTreeMap::new();
        let mut largest: f64 = 0.0;
        for vm in moved {
            let Some((from, to, link)) = self.way(vm) else { continue };
            let (bytes, time) = self.cost(vm);
            *by_link.entry(link).or_default() += bytes;
            *by_source.entry(from).or_default() += bytes;
            *by_destination.entry(to).or_default() += bytes;
            largest = largest.max(time);
        }
        let links = by_link.iter().map(|(link, bytes)| self.time_to_carry(*link, start, *bytes));
        let nics = by_source.iter().chain(&by_destination);
        let nics = nics.map(|(host, bytes)| bytes / self.hosts[*host].nic);
        links.chain(nics).fold(largest, f64::max)
    }

    /// How the capacity of a link that production leaves changes from `start` on: pieces of
    /// (until, bytes per second).
    fn pieces(&self, link: usize, start: u64) -> Vec<(u64, f64)> {
        let spec = &self.scenario.links[link];
        let mut capacity = spec.capacity.bytes_per_sec() as f64;
        let mut production = spec.production.bytes_per_sec() as f64;
        let mut pieces = Vec::new();
        let mut changes = spec.changes.clone();
        changes.sort_by_key(|change| change.at);
        for change in &changes {
            let at = nanoseconds(change.at);
            if at > start {
                pieces.push((at, (capacity - production).max(0.0)));
            }
            capacity = change.capacity.map_or(capacity, |rate| rate.bytes_per_sec() as f64);
            production = change.production.map_or(production, |rate| rate.bytes_per_sec() as f64);
        }
        pieces.push((u64::MAX, (capacity - production).max(1.0)));
        pieces
    }

    /// Seconds that a link needs for so many bytes from `start` on.
    pub(super) fn time_to_carry(&self, link: usize, start: u64, mut bytes: f64) -> f64 {
        let mut at = start;
        for (until, rate) in self.pieces(link, start) {
            let room = until.saturating_sub(at) as f64 / SECOND as f64 * rate;
            if room >= bytes {
                return (at - start) as f64 / SECOND as f64 + bytes / rate;
            }
            bytes -= room;
            at = until;
        }
        0.0
    }

    /// Bytes that a link could carry in `seconds` from `start` on.
    fn carries(&self, id: lifeboat_protocol::LinkId, start: u64, seconds: f64) -> f64 {
        let Some(link) = self.links.iter().position(|link| link.id == id) else { return 0.0 };
        let end = start.saturating_add((seconds.max(0.0) * SECOND as f64) as u64);
        let mut at = start;
        let mut sum = 0.0;
        for (until, rate) in self.pieces(link, start) {
            let until = until.min(end);
            sum += until.saturating_sub(at) as f64 / SECOND as f64 * rate;
            at = at.max(until);
        }
        sum
    }
}
