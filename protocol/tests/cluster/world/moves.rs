//! A **model** of the carriers and of pre-copy migration: memory as a fluid that flows at the rate
//! that the source's carrier was granted, the pause, and the hand-over at the end.

use super::{MILLISECOND, SECOND, World, hypervisor::Place};
use lifeboat_protocol::{
    Input, MoveId, VmId,
    input::{ArrivalEvent, DepartureEvent, LinkSample},
    message::HeldBack,
    output::Escalation,
    units::BytesPerSec,
    vm::{Progress, RunState, Vm},
};
use std::collections::BTreeMap;

/// Time between two steps of the fluid.
pub(super) const STEP: u64 = 10 * MILLISECOND;
/// Silence after which a paused guest is run on at its source.
const PATIENCE_PAUSED: u64 = 1500 * MILLISECOND;
/// Silence after which the carriers give a move up while its guest runs.
const PATIENCE: u64 = 60 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
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

/// Which process of a move has stopped to do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hung {
    /// The one that the guest leaves: it does not give the move up either.
    Source,
    /// The one that takes it in.
    Destination,
}

#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) id: MoveId,
    pub(super) vm: Vm,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) stage: Stage,
    pub(super) remaining: f64,
    pub(super) sent: f64,
    pub(super) weight: u16,
    pub(super) pause_ms: u64,
    pub(super) stop_now: bool,
    pub(super) silent_since: Option<u64>,
    pub(super) hung: Option<Hung>,
}

impl Move {
    fn flows(&self) -> bool {
        matches!(self.stage, Stage::Copying | Stage::Flushing) && self.hung.is_none()
    }

    fn paused(&self) -> bool {
        matches!(self.stage, Stage::Flushing | Stage::Landing { .. } | Stage::Acknowledging { .. })
    }
}

/// What a host's carrier did since the last sample.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    sent: f64,
    arrived: f64,
    squeezed: bool,
    /// Whether the process at the one end or the other gave or took nothing.
    starved: bool,
    blocked: bool,
    wanted: bool,
    flowed: bool,
}

impl World {
    pub(super) fn begin(&mut self, from: usize, id: MoveId, vm: Vm, to: usize) {
        let runs = matches!(
            self.hosts[from].hypervisor.place(vm.id),
            Some(Place::Running | Place::Paused)
        );
        let prepared = self.hosts[to].prepared.get(&vm.id) == Some(&id);
        if !runs || !prepared || self.moves.iter().any(|one| one.id.vm == vm.id) {
            let why = Err("the migration could not start".to_string());
            return self.departure(from, id, DepartureEvent::Begun(why));
        }
        self.departure(from, id, DepartureEvent::Begun(Ok(())));
        let until = self.now + 3 * self.round_trip(from, to);
        self.moves.push(Move {
            id,
            from,
            to,
            stage: Stage::Opening { until },
            remaining: vm.memory as f64,
            sent: 0.0,
            weight: 100,
            pause_ms: vm.policy.max_downtime_ms,
            stop_now: false,
            silent_since: None,
            hung: None,
            vm,
        });
    }

    pub(super) fn escalate(&mut self, id: MoveId, step: Escalation) {
        let Some(one) = self.moves.iter_mut().find(|one| one.id == id) else { return };
        match step {
            Escalation::Downtime(ms) => one.pause_ms = ms,
            Escalation::PostCopy | Escalation::StopAndCopy => one.stop_now = true,
        }
    }

    pub(super) fn set_weight(&mut self, id: MoveId, weight: u16) {
        if let Some(one) = self.moves.iter_mut().find(|one| one.id == id) {
            one.weight = weight;
        }
    }

    /// A guest that moves stops to write.
    pub(crate) fn calm(&mut self, vm: VmId) {
        let moves = self.moves.iter_mut().filter(|one| one.id.vm == vm);
        moves.for_each(|one| one.vm.dirty_rate = 0);
    }

    /// Has one end of a VM's move hang, or go on.
    pub(crate) fn hang(&mut self, vm: VmId, hung: Option<Hung>) {
        if let Some(one) = self.moves.iter_mut().find(|one| one.id.vm == vm) {
            one.hung = hung;
        }
    }

    /// Gives a move up unless it is complete at the destination already, or its source hangs.
    pub(crate) fn abort(&mut self, id: MoveId) {
        // A hypervisor that waits, with its guest paused, for one that hangs does not hear it.
        let deaf = |one: &Move| {
            one.hung == Some(Hung::Source)
                || one.hung.is_some() && one.paused()
                || matches!(one.stage, Stage::Acknowledging { .. })
        };
        if let Some(index) = self.moves.iter().position(|one| one.id == id && !deaf(one)) {
            self.give_up(index, "aborted");
        }
    }

    /// A person ends a VM that is on its way out of a host: it is nowhere after that.
    pub(crate) fn end_by_hand(&mut self, host: usize, vm: VmId) {
        self.died_with_host.insert(vm);
        self.hosts[host].hypervisor.guests.remove(&vm);
        if let Some(index) = self.moves.iter().position(|one| one.id.vm == vm) {
            let one = self.moves.remove(index);
            let end = DepartureEvent::JobEnded(Err("the VM was destroyed".into()));
            self.departure(one.from, one.id, end);
            self.drop_incoming(one.to, one.id);
        }
        self.changed(host);
    }

    /// The process of a VM that may be on its way out of a host dies: its definition is left there.
    pub(crate) fn kill_process(&mut self, host: usize, vm: VmId) {
        let guest = self.hosts[host].hypervisor.guests.get_mut(&vm).expect("it is there");
        guest.place = Place::ShutOff;
        if let Some(index) = self.moves.iter().position(|one| one.id.vm == vm) {
            let one = self.moves.remove(index);
            if one.paused() {
                self.departure(one.from, one.id, DepartureEvent::ProcessExited);
            }
            let end = DepartureEvent::JobEnded(Err("its process was killed".into()));
            self.departure(one.from, one.id, end);
            self.drop_incoming(one.to, one.id);
        }
        self.changed(host);
    }

    /// Whether the guest of a VM stands still since all that was left of it flows, and whether its copy is
    /// complete.
    pub(crate) fn switchover(&self, vm: VmId) -> Option<bool> {
        let one = self.moves.iter().find(|one| one.id.vm == vm && one.paused())?;
        Some(matches!(one.stage, Stage::Acknowledging { .. }))
    }

    pub(super) fn is_outgoing(&self, host: usize, vm: VmId) -> bool {
        self.moves.iter().any(|one| one.from == host && one.id.vm == vm)
    }

    /// Ends a move at its source: the guest runs on there.
    /// The carrier at the source closes a move's connections, whoever hangs at the other end.
    pub(super) fn close_carried(&mut self, host: usize, id: MoveId) {
        let wakes = |one: &Move| one.from == host && one.hung != Some(Hung::Source);
        if let Some(index) = self.moves.iter().position(|one| one.id == id && wakes(one)) {
            self.give_up(index, "its carrier closed it");
        }
    }

    fn give_up(&mut self, index: usize, why: &str) {
        let one = self.moves.remove(index);
        if self.hosts[one.from].hypervisor.turn(one.id.vm, Place::Switching, Place::Running) {
            self.departure(one.from, one.id, DepartureEvent::GuestResumed);
        }
        self.departure(one.from, one.id, DepartureEvent::JobEnded(Err(why.into())));
        self.drop_incoming(one.to, one.id);
        self.changed(one.from);
    }

    fn drop_incoming(&mut self, host: usize, id: MoveId) {
        let hypervisor = &mut self.hosts[host].hypervisor;
        if hypervisor.place(id.vm) == Some(Place::Incoming) {
            hypervisor.guests.remove(&id.vm);
            self.changed(host);
            self.look(host, id.vm);
        }
        let prepared = &mut self.hosts[host].prepared;
        if prepared.get(&id.vm) == Some(&id) {
            prepared.remove(&id.vm);
        }
    }

    fn departure(&mut self, host: usize, id: MoveId, event: DepartureEvent) {
        self.soon(host, Input::Departure(id, event));
    }

    /// One step of the fluid and of everything that hangs on it.
    pub(super) fn flow(&mut self) {
        self.copy_bytes();
        let mut index = 0;
        while index < self.moves.len() {
            let before = self.moves.len();
            self.advance(index);
            if self.moves.len() == before {
                index += 1;
            }
        }
    }

    fn copy_bytes(&mut self) {
        let seconds = STEP as f64 / SECOND as f64;
        let mut demand: BTreeMap<usize, f64> = BTreeMap::new();
        for host in 0..self.hosts.len() {
            let granted = self.granted_rate(host);
            let hangs =
                |which| self.moves.iter().any(|one| one.from == host && one.hung == Some(which));
            let meter = &mut self.hosts[host].meter;
            meter.starved |= hangs(Hung::Source);
            meter.blocked |= hangs(Hung::Destination);
            let flowing = self.moves.iter().filter(|one| one.from == host && one.flows());
            if flowing.count() > 0 {
                meter.wanted = true;
                meter.flowed |= granted > 0.0;
                demand.insert(host, granted);
            }
        }
        let total: f64 = demand.values().sum();
        let capacity = self.capacity as f64;
        let squeeze = if total > capacity { capacity / total } else { 1.0 };
        let mut moved = 0.0;
        for (host, granted) in demand {
            self.hosts[host].meter.squeezed |= squeeze < 1.0;
            let mut left = granted * squeeze * seconds;
            let mut order: Vec<usize> = (0..self.moves.len())
                .filter(|index| self.moves[*index].from == host && self.moves[*index].flows())
                .filter(|index| self.path(host, self.moves[*index].to))
                .collect();
            let mut weights: f64 =
                order.iter().map(|index| f64::from(self.moves[*index].weight)).sum();
            order.sort_by_key(|index| self.moves[*index].remaining as u64);
            for index in order {
                let one = &mut self.moves[index];
                let part = left * f64::from(one.weight) / weights.max(1.0);
                weights -= f64::from(one.weight);
                let bytes = part.min(one.remaining);
                left -= bytes;
                moved += bytes;
                one.sent += bytes;
                one.remaining -= bytes;
                if one.stage == Stage::Copying && one.vm.state == RunState::Running {
                    let dirtied = one.vm.dirty_rate as f64 * seconds;
                    one.remaining = (one.remaining + dirtied).min(one.vm.memory as f64);
                }
                let to = one.to;
                self.hosts[host].meter.sent += bytes;
                self.hosts[to].meter.arrived += bytes;
            }
        }
        self.busy_permille_sum += (moved / (capacity * seconds) * 1000.0) as u64;
        self.flow_steps += 1;
    }

    fn advance(&mut self, index: usize) {
        let one = self.moves[index].clone();
        let (now, from, to, id) = (self.now, one.from, one.to, one.id);
        if !self.hosts[from].powered {
            self.moves.remove(index);
            return self.drop_incoming(to, id);
        }
        let path = self.path(from, to);
        if path {
            self.moves[index].silent_since = None;
        } else {
            let since = *self.moves[index].silent_since.get_or_insert(now);
            let patience = if one.paused() { PATIENCE_PAUSED } else { PATIENCE };
            if now - since >= patience {
                return self.give_up(index, "the destination is silent");
            }
            return;
        }
        let arrived = self.hosts[to].hypervisor.place(id.vm);
        let opening = matches!(one.stage, Stage::Opening { .. });
        let copying = !opening && !matches!(one.stage, Stage::Acknowledging { .. });
        if copying && arrived != Some(Place::Incoming) {
            return self.give_up(index, "the destination's end is gone");
        }
        if one.hung.is_some() {
            return;
        }
        match one.stage {
            Stage::Opening { until } if now >= until => {
                if self.hosts[to].prepared.get(&id.vm) != Some(&id) || arrived.is_some() {
                    return self.give_up(index, "the destination is not prepared");
                }
                self.hosts[to].hypervisor.put(&one.vm, Place::Incoming);
                self.changed(to);
                self.look(to, id.vm);
                self.moves[index].stage = Stage::Copying;
            }
            Stage::Copying => {
                let rate = self.granted_rate(from);
                let fits = one.remaining <= rate * one.pause_ms as f64 / 1000.0;
                if fits && one.sent > 0.0 || one.stop_now {
                    let hypervisor = &mut self.hosts[from].hypervisor;
                    if hypervisor.turn(id.vm, Place::Running, Place::Switching) {
                        self.departure(from, id, DepartureEvent::GuestPaused);
                    }
                    self.moves[index].stage = Stage::Flushing;
                }
            }
            Stage::Flushing if one.remaining < 1.0 => {
                let at = now + self.round_trip(from, to);
                self.moves[index].stage = Stage::Landing { at };
            }
            Stage::Landing { at } if now >= at => {
                let place = if self.runs_without_commit { Place::Running } else { Place::Arrived };
                self.hosts[to].hypervisor.turn(id.vm, Place::Incoming, place);
                self.soon(to, Input::Arrival(id, ArrivalEvent::Complete));
                self.changed(to);
                let at = now + self.round_trip(from, to) / 2;
                self.moves[index].stage = Stage::Acknowledging { at };
            }
            Stage::Acknowledging { at } if now >= at => {
                self.moves.remove(index);
                self.hosts[from].hypervisor.put(&one.vm, Place::MovedAway);
                self.hosts[to].prepared.remove(&id.vm);
                self.departure(from, id, DepartureEvent::ProcessExited);
                self.departure(from, id, DepartureEvent::JobEnded(Ok(())));
                self.changed(from);
            }
            _ => {}
        }
    }

    /// Samples and progress for the daemons.
    pub(super) fn sample(&mut self) {
        let seconds = super::SAMPLE as f64 / SECOND as f64;
        for host in 0..self.hosts.len() {
            let meter = std::mem::take(&mut self.hosts[host].meter);
            let held_back = if !meter.wanted && meter.blocked {
                HeldBack::Link
            } else if !meter.wanted && meter.starved {
                HeldBack::Source
            } else if !meter.wanted {
                HeldBack::Idle
            } else if meter.squeezed || (meter.flowed && meter.sent == 0.0) {
                HeldBack::Link
            } else {
                HeldBack::Tokens
            };
            let sample = LinkSample {
                link: self.link,
                sent: BytesPerSec((meter.sent / seconds) as u64),
                arrived: BytesPerSec((meter.arrived / seconds) as u64),
                held_back,
                round_trip: None,
            };
            self.soon(host, Input::Link(sample));
        }
        for one in self.moves.clone() {
            let progress = Progress {
                remaining: one.remaining as u64,
                sent: one.sent as u64,
                wire: one.sent as u64,
                dirty_rate: one.vm.dirty_rate,
                pass: 1 + (one.sent / one.vm.memory as f64) as u32,
                rewritten_counted: true,
            };
            if one.sent > 0.0 && one.hung != Some(Hung::Source) {
                self.departure(one.from, one.id, DepartureEvent::Progress(progress));
            }
        }
    }
}
