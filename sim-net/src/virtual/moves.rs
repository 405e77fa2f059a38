//! A **model** of migrations on their way: pre-copy by rounds, carried as a fluid at the rate that
//! the source's carrier was granted, then the pause, and the handover at the end.
//!
//! A round that takes `t` seconds leaves `W (1 - exp(-D t / W))` bytes to send again, where the
//! guest rewrites its working set `W` at `D` bytes per second. The guest is paused once what is
//! left fits the allowed downtime.

use std::{collections::BTreeMap, time::Duration};

use lifeboat_protocol::{
    Input, LinkId, MoveId, VmId,
    input::{ArrivalEvent, DepartureEvent, LinkSample},
    message::HeldBack,
    output::Escalation,
    planted::Bug,
    units::BytesPerSec,
    vm::{Progress, RunState, Vm},
};

use super::{
    MILLISECOND, SECOND, World, carrier::Meter, event::Event, host::Host, hypervisor::Guest,
    hypervisor::Place, nanoseconds,
};

/// Time between two steps of the fluids.
pub(crate) const STEP: u64 = 10 * MILLISECOND;
/// Time between two samples.
pub(crate) const SAMPLE: u64 = 250 * MILLISECOND;
/// Silence after which a paused guest is run on at its source.
const PATIENCE_PAUSED: u64 = 1500 * MILLISECOND;
/// Silence after which the carriers give a move up while its guest runs.
const PATIENCE: u64 = 60 * SECOND;
/// Part of what was allowed below which a sender counts as held back by something else.
const HELD_BACK_BELOW: f64 = 0.97;
/// First and further steps of throttling a guest that outruns its migration (QEMU's auto-converge).
const THROTTLE: (f64, f64, f64) = (0.2, 0.1, 0.99);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Streams are being opened.
    Opening { until: u64 },
    /// Memory is copied while the guest runs.
    Copying,
    /// The guest is paused; the last bytes flow.
    Flushing,
    /// The last bytes are on their way.
    Landing { at: u64 },
    /// The destination is complete; its word is on its way back.
    Acknowledging { at: u64 },
}

#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) id: MoveId,
    pub(crate) vm: Vm,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Index of the link.
    pub(crate) link: usize,
    pub(crate) stage: Stage,
    /// Bytes still to be sent in this round.
    pub(crate) remaining: f64,
    pub(crate) sent: f64,
    pub(crate) weight: u16,
    round: u32,
    round_began: u64,
    round_sent: f64,
    throttle: f64,
    pause_ms: u64,
    stop_now: bool,
    silent_since: Option<u64>,
    /// Since when its carrier may send nothing although the guest is paused and bytes are left.
    barred_since: Option<u64>,
    /// Congestion window of each of its streams, bytes.
    pub(crate) ramp: f64,
    /// What it got in the last step, bytes per second.
    pub(crate) rate: f64,
    /// The source's content when the guest was paused.
    stamp: u64,
}

impl Move {
    pub(crate) fn flows(&self) -> bool {
        matches!(self.stage, Stage::Copying | Stage::Flushing)
    }

    fn paused(&self) -> bool {
        matches!(self.stage, Stage::Flushing | Stage::Landing { .. } | Stage::Acknowledging { .. })
    }

    fn dirty_rate(&self) -> f64 {
        if self.vm.state == RunState::Running && self.stage == Stage::Copying {
            self.vm.dirty_rate as f64 * (1.0 - self.throttle)
        } else {
            0.0
        }
    }

    /// What the guest has rewritten since the round began, bytes.
    fn dirtied(&self, now: u64) -> f64 {
        let set = match self.vm.working_set {
            0 => self.vm.memory,
            set => set.min(self.vm.memory),
        };
        let seconds = (now - self.round_began) as f64 / SECOND as f64;
        let set = set as f64;
        set * (1.0 - (-self.dirty_rate() * seconds / set.max(1.0)).exp())
    }
}

/// What one move asks of its link in a step.
pub(crate) struct Demand {
    pub(crate) index: usize,
    pub(crate) rate: f64,
    /// What its streams could reach.
    pub(crate) reach: f64,
}

impl World {
    pub(crate) fn begin(&mut self, from: usize, id: MoveId, vm: Vm, to: usize, pause_ms: u64) {
        let source = &self.hosts[from].hypervisor;
        let runs = matches!(source.place(vm.id), Some(Place::Running | Place::Paused));
        let prepared = self.hosts[to].hypervisor.prepared.get(&vm.id) == Some(&id);
        let refuses = self.now < source.refuses_until || source.down;
        let link = self.link_of(from, to);
        let busy = self.moves.iter().any(|one| one.id.vm == vm.id);
        let Some(link) = link.filter(|_| runs && prepared && !refuses && !busy) else {
            let why = Err("the migration could not start".to_string());
            return self.departure(from, id, DepartureEvent::Begun(why));
        };
        self.departure(from, id, DepartureEvent::Begun(Ok(())));
        self.links[link].begun += 1;
        let setup = nanoseconds(self.timing.setup) + 3 * self.links[link].rtt;
        if let Some(tracked) = self.vms.get_mut(&vm.id) {
            // One that was safe leaves again: of its ways the last one counts.
            (tracked.began, tracked.safe) = (Some(self.now), None);
        }
        if !std::mem::replace(&mut self.flows, true) {
            self.events.push(self.now + STEP, Event::Flow);
        }
        self.moves.push(Move {
            id,
            from,
            to,
            link,
            stage: Stage::Opening { until: self.now + setup },
            remaining: vm.bytes() as f64,
            sent: 0.0,
            weight: 100,
            round: 1,
            round_began: self.now + setup,
            round_sent: 0.0,
            throttle: 0.0,
            pause_ms,
            stop_now: false,
            silent_since: None,
            barred_since: None,
            ramp: self.links[link].first_window(),
            rate: 0.0,
            stamp: 0,
            vm,
        });
    }

    pub(crate) fn escalate(&mut self, id: MoveId, step: Escalation) {
        let Some(one) = self.moves.iter_mut().find(|one| one.id == id) else { return };
        match step {
            Escalation::Downtime(ms) => one.pause_ms = ms,
            Escalation::PostCopy | Escalation::StopAndCopy => one.stop_now = true,
        }
    }

    pub(crate) fn set_weight(&mut self, id: MoveId, weight: u16) {
        if let Some(one) = self.moves.iter_mut().find(|one| one.id == id) {
            one.weight = weight;
        }
    }

    /// Gives whatever moves a VM away from a host up, unless it is complete at its destination.
    pub(crate) fn abort(&mut self, host: usize, vm: VmId) {
        let ours = |one: &Move| one.from == host && one.id.vm == vm;
        let complete = |one: &Move| matches!(one.stage, Stage::Acknowledging { .. });
        if let Some(index) = self.moves.iter().position(|one| ours(one) && !complete(one)) {
            self.give_up(index, "aborted");
        }
    }

    pub(crate) fn is_outgoing(&self, host: usize, vm: VmId) -> bool {
        self.moves.iter().any(|one| one.from == host && one.id.vm == vm)
    }

    /// Every move of a host's carrier or hypervisor ends.
    pub(crate) fn break_moves(&mut self, host: usize, why: &str) {
        while let Some(index) = self.moves.iter().position(|one| one.from == host || one.to == host)
        {
            self.give_up(index, why);
        }
    }

    /// Ends a move at its source: the guest runs on there.
    pub(crate) fn give_up(&mut self, index: usize, why: &str) {
        let one = self.moves.remove(index);
        self.bytes_wasted += one.sent;
        if self.run_on(one.from, one.id.vm) {
            self.departure(one.from, one.id, DepartureEvent::GuestResumed);
        }
        self.departure(one.from, one.id, DepartureEvent::JobEnded(Err(why.into())));
        self.drop_incoming(one.to, one.id);
        self.changed(one.from);
    }

    /// A guest paused for the switchover runs on at its source. Whether there was one.
    pub(crate) fn run_on(&mut self, host: usize, vm: VmId) -> bool {
        let switching = self.hosts[host].hypervisor.place(vm) == Some(Place::Switching);
        if switching {
            let paused_at = self.paused.remove(&vm);
            self.stood_still(vm, paused_at);
            self.turn(host, vm, Place::Running);
        }
        switching
    }

    fn drop_incoming(&mut self, host: usize, id: MoveId) {
        if self.hosts[host].hypervisor.place(id.vm) == Some(Place::Incoming) {
            self.remove(host, id.vm);
        }
        let prepared = &mut self.hosts[host].hypervisor.prepared;
        if prepared.get(&id.vm) == Some(&id) {
            prepared.remove(&id.vm);
        }
    }

    pub(crate) fn departure(&mut self, host: usize, id: MoveId, event: DepartureEvent) {
        self.tell_soon(host, Input::Departure(id, event));
    }

    /// One step of the fluids and of everything that hangs on them.
    pub(crate) fn flow(&mut self) {
        self.copy_bytes();
        let mut index = 0;
        while index < self.moves.len() {
            let before = self.moves.len();
            self.advance(index);
            if self.moves.len() == before {
                index += 1;
            }
        }
        self.flows = !self.moves.is_empty();
        if self.flows {
            self.events.push(self.now + STEP, Event::Flow);
        }
    }

    fn copy_bytes(&mut self) {
        for one in &mut self.moves {
            one.rate = 0.0;
        }
        for link in 0..self.links.len() {
            let mut demands = self.demands(link);
            self.squeeze(link, &mut demands);
            self.carry(link, &demands);
        }
    }

    /// What each move of a link asks for: its part of its host's right, as far as its streams and
    /// both interfaces allow.
    fn demands(&mut self, link: usize) -> Vec<Demand> {
        if self.rival.is_some() {
            return self.rival_demands(link);
        }
        let mut demands = Vec::new();
        let mut senders: Vec<usize> = self
            .moves
            .iter()
            .filter(|one| one.link == link && one.flows())
            .map(|m| m.from)
            .collect();
        senders.sort_unstable();
        senders.dedup();
        let id = self.links[link].id;
        let seconds = STEP as f64 / SECOND as f64;
        for host in senders {
            let one = &mut self.hosts[host];
            let local = one.local(self.now);
            let granted = one.carrier.right(id, local).map_or(0.0, |right| right.rate);
            let meter = one.carrier.meters.entry(id).or_default();
            meter.wanted = true;
            meter.allowed += granted * seconds;
            let nic = one.nic;
            let mut flowing: Vec<usize> = (0..self.moves.len())
                .filter(|index| {
                    let one = &self.moves[*index];
                    one.from == host && one.link == link && one.flows()
                })
                .filter(|index| self.path(host, self.moves[*index].to))
                .collect();
            flowing.sort_by(|left, right| {
                self.moves[*left].remaining.total_cmp(&self.moves[*right].remaining)
            });
            let mut weights: f64 =
                flowing.iter().map(|index| f64::from(self.moves[*index].weight)).sum();
            let mut left = granted.min(nic);
            let mut starved = 0.0;
            for index in flowing {
                let one = &self.moves[index];
                let part = left * f64::from(one.weight) / weights.max(1.0);
                weights -= f64::from(one.weight);
                let streams = f64::from(self.links[link].streams_for(part));
                let reach = streams * self.links[link].ramped(one.ramp);
                let most = part.min(reach);
                let rate = most.min(one.remaining / seconds);
                starved += (most - rate) * seconds;
                left -= rate;
                demands.push(Demand { index, rate, reach });
            }
            self.hosts[host].carrier.meters.entry(id).or_default().starved += starved;
        }
        demands
    }

    /// What the interfaces of the destinations and the link itself let through.
    fn squeeze(&mut self, link: usize, demands: &mut [Demand]) {
        let mut into: BTreeMap<usize, f64> = BTreeMap::new();
        for demand in demands.iter() {
            *into.entry(self.moves[demand.index].to).or_default() += demand.rate;
        }
        for demand in demands.iter_mut() {
            let to = self.moves[demand.index].to;
            demand.rate *= (self.hosts[to].nic / into[&to].max(1.0)).min(1.0);
        }
        let seconds = STEP as f64 / SECOND as f64;
        let one = &mut self.links[link];
        let asked: f64 = demands.iter().map(|demand| demand.rate).sum();
        let reach = one.reach(demands.iter().map(|demand| demand.reach).sum());
        let ours = one.left_by_production(asked.min(reach));
        one.production_held_up += (ours + one.production - one.capacity).max(0.0) * seconds;
        let through = ours / asked.max(1.0);
        for demand in demands {
            demand.rate *= through.min(1.0);
        }
    }

    fn carry(&mut self, link: usize, demands: &[Demand]) {
        let seconds = STEP as f64 / SECOND as f64;
        let id = self.links[link].id;
        for demand in demands {
            let one = &mut self.moves[demand.index];
            let bytes = (demand.rate * seconds).min(one.remaining);
            one.rate = demand.rate;
            one.remaining -= bytes;
            one.sent += bytes;
            one.round_sent += bytes;
            one.ramp = self.links[link].grown(one.ramp, seconds);
            let (from, to) = (one.from, one.to);
            self.links[link].carried += bytes;
            let sender = self.hosts[from].carrier.meters.entry(id).or_default();
            sender.sent += bytes;
            self.hosts[to].carrier.meters.entry(id).or_default().arrived += bytes;
        }
    }

    /// Whether its guest has stood still for too long while nothing might be sent: its daemon is dead, or has
    /// lost its tokens.
    fn is_barred(&mut self, index: usize) -> bool {
        let (now, one) = (self.now, &self.moves[index]);
        let host = &self.hosts[one.from];
        let right = host.carrier.right(self.links[one.link].id, host.local(now));
        let barred = one.stage == Stage::Flushing && right.is_none();
        let one = &mut self.moves[index];
        one.barred_since = barred.then(|| one.barred_since.unwrap_or(now));
        one.barred_since.is_some_and(|since| now - since >= PATIENCE_PAUSED)
    }

    fn advance(&mut self, index: usize) {
        let one = &self.moves[index];
        let (now, from, to, id, stage) = (self.now, one.from, one.to, one.id, one.stage);
        if !self.hosts[from].powered {
            self.moves.remove(index);
            return self.drop_incoming(to, id);
        }
        if self.path(from, to) {
            self.moves[index].silent_since = None;
        } else {
            let first = self.links[one.link].first_window();
            let one = &mut self.moves[index];
            one.ramp = first;
            let since = *one.silent_since.get_or_insert(now);
            let patience = if one.paused() { PATIENCE_PAUSED } else { PATIENCE };
            if now - since >= patience {
                self.give_up(index, "the destination is silent");
            }
            return;
        }
        if self.is_barred(index) {
            return self.give_up(index, "nothing might be sent while the guest was paused");
        }
        let arrived = self.hosts[to].hypervisor.place(id.vm);
        let opening = matches!(stage, Stage::Opening { .. });
        let copying = !opening && !matches!(stage, Stage::Acknowledging { .. });
        if copying && arrived != Some(Place::Incoming) {
            return self.give_up(index, "the destination's end is gone");
        }
        let rtt = self.links[self.moves[index].link].rtt;
        match stage {
            Stage::Opening { until } if now >= until => self.open(index, arrived),
            Stage::Copying => self.end_of_round(index),
            Stage::Flushing if self.moves[index].remaining < 1.0 => {
                let at = now + rtt + nanoseconds(self.timing.switchover);
                self.moves[index].stage = Stage::Landing { at };
            }
            Stage::Landing { at } if now >= at => self.land(index, rtt),
            Stage::Acknowledging { at } if now >= at => self.acknowledge(index),
            _ => {}
        }
    }

    fn open(&mut self, index: usize, arrived: Option<Place>) {
        let one = &self.moves[index];
        let (to, id) = (one.to, one.id);
        let destination = &self.hosts[to].hypervisor;
        let prepared = destination.prepared.get(&id.vm) == Some(&id) && !destination.down;
        if !prepared || arrived.is_some() {
            return self.give_up(index, "the destination is not prepared");
        }
        let vm = one.vm.clone();
        self.put(to, Guest { vm, place: Place::Incoming, stamp: 0 });
        let one = &mut self.moves[index];
        one.stage = Stage::Copying;
        one.round_began = self.now;
    }

    /// Ends the round if it is at its end, or if so little is left that a look at what was
    /// rewritten meanwhile may let the guest be paused.
    fn end_of_round(&mut self, index: usize) {
        let now = self.now;
        let one = &self.moves[index];
        let rate = one.rate.max(1.0);
        let fits = rate * one.pause_ms as f64 / 1000.0;
        let over = one.remaining < 1.0;
        if !(over || one.stop_now || one.sent > 0.0 && one.remaining <= fits) {
            return;
        }
        let left = (one.remaining + one.dirtied(now)).min(one.vm.memory as f64);
        if one.rate > 0.0 && left <= fits || one.stop_now {
            return self.pause(index, left);
        }
        let one = &mut self.moves[index];
        if over {
            let outrun = left > one.round_sent / 2.0 && one.vm.policy.auto_converge;
            let (first, step, most) = THROTTLE;
            if outrun && one.round > 1 {
                one.throttle =
                    if one.throttle == 0.0 { first } else { (one.throttle + step).min(most) };
            }
            one.round += 1;
            one.round_began = now;
            one.round_sent = 0.0;
            one.remaining = left;
        }
    }

    fn pause(&mut self, index: usize, left: f64) {
        let one = &mut self.moves[index];
        one.remaining = left;
        one.stage = Stage::Flushing;
        let (from, id) = (one.from, one.id);
        let guest = &self.hosts[from].hypervisor.guests[&id.vm];
        let one = &mut self.moves[index];
        let forgets = self.config.planted(Bug::LastPassDropped) && one.vm.dirty_rate > 0;
        one.stamp = if forgets { 0 } else { guest.stamp };
        if guest.place == Place::Running {
            self.paused.insert(id.vm, self.now);
            self.turn(from, id.vm, Place::Switching);
            self.departure(from, id, DepartureEvent::GuestPaused);
        }
    }

    fn land(&mut self, index: usize, rtt: u64) {
        let one = &mut self.moves[index];
        one.stage = Stage::Acknowledging { at: self.now + rtt / 2 };
        let (to, id, stamp) = (one.to, one.id, one.stamp);
        let complete = Guest { vm: one.vm.clone(), place: Place::Arrived, stamp };
        self.put(to, complete);
        self.tell_soon(to, Input::Arrival(id, ArrivalEvent::Complete));
    }

    fn acknowledge(&mut self, index: usize) {
        let one = self.moves.remove(index);
        self.bytes_moved += one.sent;
        self.turn(one.from, one.id.vm, Place::MovedAway);
        self.hosts[one.to].hypervisor.prepared.remove(&one.id.vm);
        self.departure(one.from, one.id, DepartureEvent::SourceGone);
        self.departure(one.from, one.id, DepartureEvent::JobEnded(Ok(())));
    }

    /// Samples and progress for the daemons.
    pub(crate) fn sample(&mut self) {
        let seconds = SAMPLE as f64 / SECOND as f64;
        for host in 0..self.hosts.len() {
            let links: Vec<LinkId> = self.hosts[host].carrier.meters.keys().copied().collect();
            for link in links {
                let rtt = self.links.iter().find(|one| one.id == link).map(|one| one.rtt);
                let rtt = rtt.map(Duration::from_nanos);
                let sample = measured(&mut self.hosts[host], link, rtt, seconds);
                if let Some(sample) = sample {
                    self.tell_soon(host, Input::Link(sample));
                }
            }
        }
        for index in 0..self.moves.len() {
            let one = &self.moves[index];
            if one.sent == 0.0 {
                continue;
            }
            let left = one.remaining + one.dirtied(self.now);
            let progress = Progress {
                remaining: left as u64,
                sent: one.sent as u64,
                wire: one.sent as u64,
                dirty_rate: one.dirty_rate() as u64,
                pass: one.round,
                rewritten_counted: true,
            };
            let (from, id) = (one.from, one.id);
            self.departure(from, id, DepartureEvent::Progress(progress));
        }
    }
}

/// What a carrier tells of a link since its last sample; nothing while nothing has changed.
fn measured(
    host: &mut Host,
    link: LinkId,
    round_trip: Option<Duration>,
    seconds: f64,
) -> Option<LinkSample> {
    let meter: Meter = host.carrier.meters.insert(link, Meter::default())?;
    let silent = !meter.wanted && meter.arrived == 0.0;
    if silent && !host.carrier.told.get(&link).copied().unwrap_or(false) {
        return None;
    }
    host.carrier.told.insert(link, !silent);
    let held_back = if !meter.wanted {
        HeldBack::Idle
    } else if meter.sent >= meter.allowed * HELD_BACK_BELOW {
        HeldBack::Tokens
    } else if meter.starved >= (meter.allowed - meter.sent) / 2.0 {
        HeldBack::Source
    } else {
        HeldBack::Link
    };
    Some(LinkSample {
        link,
        sent: BytesPerSec((meter.sent / seconds) as u64),
        arrived: BytesPerSec((meter.arrived / seconds) as u64),
        held_back,
        round_trip,
    })
}
