//! The destination's end of each VM's way: from its reservation to its running here.
//!
//! Invariants:
//! - *no commit, no run*: a copy is resumed only after the source said
//!   [`Direct::SourceGone`] of that very attempt (or the operator gave his word that the source is
//!   dead), and only if it is complete;
//! - *kept back, no run*: once the source said [`Direct::Withheld`], only a person can resume it; a
//!   restarted daemon asks the source before it goes by a commit of its former life;
//! - *no commit, no loss*: a complete copy is destroyed only after the source said
//!   [`Direct::SourceKept`] of that very attempt;
//! - a reservation never exceeds the host's free memory, ends if nobody renews it, and is refused
//!   while the host is itself being evacuated.

use alloc::{collections::BTreeMap, format, string::String};
use core::time::Duration;

use crate::{
    config::Config,
    directory::Directory,
    effects::Effects,
    ids::{EvacuationId, MoveId, VmId},
    input::ArrivalEvent,
    journal::{ArrivalRecord, Key, Stood, Value},
    message::Direct,
    output::{NoticeKind, Output},
    planted::Bug,
    settled::{AllSettled, Settled},
    time::{Instant, milliseconds},
    units::scaled,
    vm::{Copy, RunState, Vm},
};

/// Time between two questions to a source whose copy waits here.
const ASK_EVERY: Duration = Duration::from_millis(700);
/// How soon after a restart whoever still wants its room renews it; of others it may have been given up
/// meanwhile, so they are asked.
const RENEWED_WITHIN: Duration = Duration::from_secs(5);
/// How long a restarted daemon waits for a source that is heard to confirm its commit.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
/// How long it waits for the source to be heard.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// Memory that a VM needs beyond its own: the hypervisor's process.
const OVERHEAD_PERMILLE: u64 = 20;

/// How far an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Carrier and hypervisor are being made ready.
    Preparing,
    /// Room is set aside; bytes may be arriving.
    Expected,
    /// The copy is complete and waits for the commit.
    Complete {
        /// Since when.
        since: Instant,
    },
    /// It is being resumed.
    Resuming {
        /// When the hypervisor was last asked to.
        asked_at: Instant,
    },
    /// It runs here, or rests here as it should: from the next step on it is [`crate::settled`].
    Settled,
    /// It stays at the source; what is here is being destroyed.
    Discarding {
        /// When the hypervisor was last asked to.
        asked_at: Instant,
    },
}

/// One VM on its way in.
#[derive(Debug, Clone, Hash)]
pub struct Arrival {
    /// The attempt.
    pub id: MoveId,
    /// The evacuation that moves it.
    pub evacuation: EvacuationId,
    /// The VM.
    pub vm: Vm,
    /// How far it is.
    pub phase: Phase,
    /// Whether the source has said that its copy is gone.
    pub committed: bool,
    /// Whether the host's figures hold its memory already.
    pub counted: bool,
    /// Whether a former life of this daemon began it; it may have died just after the commit.
    restored: bool,
    /// Whether the source has said in this life of the daemon that its copy is gone.
    confirmed: bool,
    /// Whether the source keeps the commit back: a person has declared this host dead.
    pub(crate) withheld: bool,
    told_withheld: bool,
    /// When this life of the daemon began with it.
    pub(crate) since: Instant,
    definition: Option<String>,
    renewed_at: Instant,
    asked_at: Instant,
    /// How long the guest had stood still when the source was heard to say that its copy is gone.
    paused_ms: Option<u64>,
    /// When that was, in this life of the daemon.
    committed_at: Option<Instant>,
    downtime_ms: Option<u64>,
    /// Whether the hypervisor has nothing of it, although its source has given it away.
    pub(crate) lost: bool,
    told_waiting: bool,
    superseded: bool,
    /// Whether the hypervisor had something of it when it was last asked.
    seen: bool,
}

/// What this host can say about itself when it is asked for room.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) memory_free: u64,
    pub(crate) refusal: Option<String>,
    pub(crate) present: bool,
}

/// All VMs on their way into this host.
#[derive(Debug, Clone, Default, Hash)]
pub struct Arrivals {
    all: BTreeMap<VmId, Arrival>,
    /// Those that are over, as long as their sources may not know.
    pub(crate) settled: AllSettled,
}

/// Memory that an arriving VM needs.
pub fn memory_needed(vm: &Vm) -> u64 {
    match vm.state {
        RunState::ShutOff => 0,
        RunState::Running | RunState::Paused => {
            vm.memory.saturating_add(scaled(vm.memory, OVERHEAD_PERMILLE, 1000))
        }
    }
}

impl Arrivals {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arrival> {
        self.all.values()
    }

    /// Those that are over and of which their sources may not know.
    pub fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.settled.iter()
    }

    /// The arrival of a VM.
    pub fn get(&self, vm: VmId) -> Option<&Arrival> {
        self.all.get(&vm)
    }

    pub(crate) fn get_mut(&mut self, vm: VmId) -> Option<&mut Arrival> {
        self.all.get_mut(&vm)
    }

    pub(crate) fn by_id(&mut self, id: MoveId) -> Option<&mut Arrival> {
        self.all.get_mut(&id.vm).filter(|arrival| arrival.id == id)
    }

    pub(crate) fn remove(&mut self, vm: VmId) {
        self.all.remove(&vm);
    }

    pub(crate) fn vms(&self) -> alloc::vec::Vec<VmId> {
        self.all.keys().copied().collect()
    }

    /// Memory set aside for arrivals that the hypervisor does not count yet.
    pub fn reserved(&self) -> u64 {
        self.all
            .values()
            .filter(|arrival| !arrival.counted)
            .map(|arrival| memory_needed(&arrival.vm))
            .fold(self.settled.reserved(), u64::saturating_add)
    }

    /// The host's figures are new: they hold what the hypervisor lists, and what has vanished from its
    /// list not any more.
    pub(crate) fn count(&mut self, now: Instant, listed: &BTreeMap<VmId, Vm>) {
        self.settled.count(now, listed);
        for arrival in self.all.values_mut() {
            arrival.counted = listed.contains_key(&arrival.id.vm);
        }
    }

    /// A source asks for room.
    pub(crate) fn asked(&mut self, now: Instant, asked: Arrival, room: &Room, fx: &mut Effects) {
        let id = asked.id;
        if self.settled.has(id) {
            // A late repeat of what is over.
            return;
        }
        if let Some(known) = self.all.get_mut(&id.vm) {
            if known.id == id {
                known.renewed_at = now;
                match known.phase {
                    Phase::Preparing => fx.send(id.source, Direct::Preparing { id }),
                    Phase::Discarding { .. } => {}
                    _ => fx.send(id.source, Direct::Reserved { id, answer: Ok(()) }),
                }
            } else {
                // A source that restarted has forgotten what never began. That nothing of it has
                // come is for the hypervisor to say.
                let forgotten = known.phase == Phase::Expected
                    && !known.committed
                    && known.id.source == id.source
                    && known.id.incarnation < id.incarnation;
                if forgotten {
                    known.superseded = true;
                    fx.out(Output::Look { vm: id.vm });
                }
                let offline = known.offline();
                fx.send(known.id.source, Direct::Ask { id: known.id, offline });
                // The same source settles it within moments, and asks again.
                if known.id.source == id.source {
                    fx.send(id.source, Direct::Preparing { id });
                } else {
                    let answer = "another host's attempt for this VM is not settled here yet";
                    fx.send(id.source, Direct::Reserved { id, answer: Err(answer.into()) });
                }
            }
            return;
        }
        if let Some(reason) = self.refusal(&asked.vm, room) {
            fx.send(id.source, Direct::Reserved { id, answer: Err(reason) });
            return;
        }
        asked.persist(fx);
        fx.out_after_durable(Output::PrepareArrival {
            id,
            vm: asked.vm.clone(),
            definition: asked.definition.clone(),
        });
        self.all.insert(id.vm, asked);
    }

    fn refusal(&self, vm: &Vm, room: &Room) -> Option<String> {
        if let Some(reason) = &room.refusal {
            return Some(reason.clone());
        }
        if room.present {
            return Some("a VM with this id is already here".into());
        }
        let free = room.memory_free.saturating_sub(self.reserved());
        let needed = memory_needed(vm);
        (needed > free).then(|| {
            format!("it needs {} MiB of memory and {} MiB are free", needed >> 20, free >> 20)
        })
    }
}

impl Arrival {
    /// What a source asks for.
    pub(crate) fn asked_for(
        now: Instant,
        id: MoveId,
        evacuation: EvacuationId,
        vm: Vm,
        definition: Option<String>,
    ) -> Self {
        Self {
            id,
            evacuation,
            vm,
            phase: Phase::Preparing,
            committed: false,
            counted: false,
            restored: false,
            confirmed: false,
            withheld: false,
            told_withheld: false,
            since: now,
            definition,
            renewed_at: now,
            asked_at: now,
            paused_ms: None,
            committed_at: None,
            downtime_ms: None,
            lost: false,
            told_waiting: false,
            superseded: false,
            seen: false,
        }
    }

    fn key(&self) -> Key {
        Key::Arrival(self.id)
    }

    fn persist(&self, fx: &mut Effects) {
        let record = ArrivalRecord {
            evacuation: self.evacuation,
            vm: self.vm.clone(),
            committed: self.committed,
            definition: self.definition.clone(),
            settled: (self.phase == Phase::Settled)
                .then_some(Stood { downtime_ms: self.downtime_ms }),
        };
        fx.persist(&self.key(), &Value::Arrival(record));
    }

    fn tell(&self, fx: &mut Effects, kind: NoticeKind, text: String) {
        fx.vm_notice(kind, self.id.vm, self.evacuation, text);
    }

    fn offline(&self) -> bool {
        self.vm.state == RunState::ShutOff
    }

    /// Whether a complete copy has waited so long that people should know.
    pub fn waits_for_word(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Complete { since } if now.since(since).as_secs() >= 3)
    }

    /// Whether it is complete and committed, and nothing but a reason outside it keeps it from running.
    pub(crate) fn is_ready(&self) -> bool {
        self.committed && matches!(self.phase, Phase::Complete { .. })
    }

    /// Whether its source should confirm a commit that is known from a former life only: a person may
    /// have said since that this host is dead.
    pub(crate) fn wants_confirmation(&self, now: Instant, source_up: bool) -> bool {
        let patience = if source_up { CONFIRMED_WITHIN } else { HEARD_WITHIN };
        self.restored && !self.confirmed && now.since(self.since) < patience
    }

    /// Whether anything of it is here, or ought to be. Until then there is only room for it.
    pub(crate) fn has_come(&self) -> bool {
        let only_room = matches!(self.phase, Phase::Preparing | Phase::Expected);
        !only_room || self.seen || self.committed
    }

    /// The source still wants the room.
    pub(crate) fn renewed(&mut self, now: Instant) {
        self.renewed_at = now;
    }

    /// Takes in what hypervisor or carrier report. Returns whether the arrival is over.
    pub(crate) fn happened(&mut self, now: Instant, event: ArrivalEvent, fx: &mut Effects) -> bool {
        let id = self.id;
        match event {
            ArrivalEvent::Prepared(Ok(())) if self.phase == Phase::Preparing => {
                self.phase =
                    if self.offline() { Phase::Complete { since: now } } else { Phase::Expected };
                fx.send(id.source, Direct::Reserved { id, answer: Ok(()) });
                fx.urgent();
            }
            ArrivalEvent::Prepared(Err(reason)) if self.phase == Phase::Preparing => {
                fx.send(id.source, Direct::Reserved { id, answer: Err(reason) });
                fx.out(Output::CloseMove { id });
                fx.erase(&self.key());
                return true;
            }
            ArrivalEvent::Complete if matches!(self.phase, Phase::Expected) => {
                self.complete(now, fx);
            }
            ArrivalEvent::Resumed(Ok(())) if matches!(self.phase, Phase::Resuming { .. }) => {
                self.settle(now, fx);
            }
            ArrivalEvent::Resumed(Err(reason)) => {
                self.tell(
                    fx,
                    NoticeKind::Failed,
                    format!("{} could not be resumed here, trying again: {reason}", self.vm.name),
                );
            }
            _ => {}
        }
        false
    }

    fn complete(&mut self, now: Instant, fx: &mut Effects) {
        self.phase = Phase::Complete { since: now };
        self.asked_at = now;
        fx.send(self.id.source, Direct::DestinationHas { id: self.id, copy: Copy::Paused });
    }

    /// The commit: the source's copy is gone.
    pub(crate) fn source_gone(&mut self, now: Instant, paused_ms: Option<u64>, fx: &mut Effects) {
        if matches!(self.phase, Phase::Discarding { .. }) {
            self.tell(
                fx,
                NoticeKind::Alarm,
                format!("{} was both kept and given away by its source", self.vm.name),
            );
            return;
        }
        self.confirmed = true;
        if self.committed_at.is_none() {
            (self.committed_at, self.paused_ms) = (Some(now), paused_ms);
        }
        if !core::mem::replace(&mut self.committed, true) {
            self.persist(fx);
        }
        if self.phase == Phase::Expected {
            fx.out(Output::Look { vm: self.id.vm });
        }
    }

    /// The source's copy is gone, but a person has said there that this host is dead.
    pub(crate) fn source_withholds(&mut self, fx: &mut Effects) {
        let waits =
            matches!(self.phase, Phase::Preparing | Phase::Expected | Phase::Complete { .. });
        if !waits || self.withheld {
            return;
        }
        self.withheld = true;
        if core::mem::take(&mut self.committed) {
            self.persist(fx);
        }
        fx.out(Output::Look { vm: self.id.vm });
    }

    /// Says once that only a person can resume it.
    fn tell_withheld(&mut self, fx: &mut Effects) {
        if !core::mem::replace(&mut self.told_withheld, true) {
            let text = format!(
                "{} is complete here and stays paused: its source takes back that it gave it away. This \
                 host was declared dead, or the VM started elsewhere. See in `lifeboat vms` whether a host \
                 runs it: if so, end the copy here by hand; if none does, resume it by hand",
                self.vm.name
            );
            self.tell(fx, NoticeKind::Unknown, text);
        }
    }

    /// Runs it, or leaves it at rest if it is not to run.
    pub(crate) fn run(&mut self, now: Instant, fx: &mut Effects) {
        if self.vm.state.resumes() {
            self.phase = Phase::Resuming { asked_at: now };
            fx.out(Output::Resume { id: self.id });
        } else {
            self.settle(now, fx);
        }
    }

    /// How long the guest has stood still, in milliseconds, if it runs from now on. Of one that a former
    /// life of this daemon began with, only if this life has seen it complete and not running.
    fn stood_still_ms(&self, now: Instant) -> Option<u64> {
        let seen = !self.restored || matches!(self.phase, Phase::Resuming { .. });
        let (at, before_ms) = self.committed_at.zip(self.paused_ms)?;
        let known = seen && self.vm.state.resumes();
        known.then(|| before_ms.saturating_add(milliseconds(now.since(at))))
    }

    /// Whether nobody has renewed the reservation for too long.
    fn expired(&self, now: Instant, config: &Config) -> bool {
        !config.planted(Bug::ReservationForEver) && now.since(self.renewed_at) > config.reservation
    }

    /// Whether no guest is here although one comes: a hypervisor may keep the definition of one that ended.
    pub(crate) fn has_no_guest(&self, copy: Copy) -> bool {
        !self.offline() && matches!(copy, Copy::Absent | Copy::ShutOff)
    }

    fn settle(&mut self, now: Instant, fx: &mut Effects) {
        let id = self.id;
        self.downtime_ms = self.stood_still_ms(now);
        self.phase = Phase::Settled;
        self.persist(fx);
        fx.out(Output::CloseMove { id });
        fx.send(id.source, Direct::Settled { id, downtime_ms: self.downtime_ms });
        self.tell(fx, NoticeKind::Vm, format!("{} has arrived", self.vm.name));
        fx.urgent();
    }

    /// The VM stays at its source. A copy that was committed is never given up.
    pub(crate) fn source_kept(&mut self, now: Instant, fx: &mut Effects) {
        if self.committed {
            self.tell(
                fx,
                NoticeKind::Alarm,
                format!(
                    "the source says that it keeps {}, which it had given away: check both hosts \
                     by hand",
                    self.vm.name
                ),
            );
            return;
        }
        self.phase = Phase::Discarding { asked_at: now };
        fx.drop_preparation(self.id);
        fx.out(Output::CloseMove { id: self.id });
        fx.out(Output::Discard { id: self.id });
        fx.out(Output::Look { vm: self.id.vm });
    }

    /// The hypervisor here has said what it really has. Returns whether the arrival is over.
    pub(crate) fn looked(
        &mut self,
        now: Instant,
        copy: Copy,
        config: &Config,
        fx: &mut Effects,
    ) -> bool {
        let id = self.id;
        self.seen = copy != Copy::Absent;
        match (self.phase, copy) {
            (Phase::Discarding { .. }, Copy::Absent) => {
                fx.erase(&self.key());
                fx.send_after_durable(id.source, Direct::Discarded { id });
                return true;
            }
            (Phase::Expected, Copy::Paused) => self.complete(now, fx),
            (Phase::Expected | Phase::Complete { .. } | Phase::Resuming { .. }, Copy::Running) => {
                if !self.committed && (self.withheld || !self.restored) {
                    self.tell(
                        fx,
                        NoticeKind::Alarm,
                        format!(
                            "{} was resumed here by hand before its source gave it away",
                            self.vm.name
                        ),
                    );
                }
                self.settle(now, fx);
            }
            (Phase::Resuming { .. }, Copy::Paused) if self.committed => self.run(now, fx),
            (Phase::Preparing | Phase::Expected | Phase::Complete { .. }, _)
                if self.withheld && self.has_no_guest(copy) =>
            {
                fx.drop_preparation(id);
                fx.out(Output::CloseMove { id });
                fx.erase(&self.key());
                fx.send_after_durable(id.source, Direct::Discarded { id });
                return true;
            }
            (Phase::Complete { .. }, Copy::ShutOff) if self.offline() && self.committed => {
                self.settle(now, fx);
            }
            // Nobody was told that it is ready, so that nothing can have come: what is here was made ready.
            (Phase::Preparing, Copy::ShutOff) if !self.committed && self.expired(now, config) => {
                self.source_kept(now, fx);
            }
            (Phase::Expected | Phase::Preparing, Copy::Absent)
                if !self.committed && (self.superseded || self.expired(now, config)) =>
            {
                fx.drop_preparation(id);
                fx.out(Output::CloseMove { id });
                fx.erase(&self.key());
                return true;
            }
            (Phase::Complete { .. }, Copy::Paused) if self.withheld => self.tell_withheld(fx),
            // It was ended by hand, or its hypervisor lost it.
            (Phase::Complete { .. }, _) if !self.committed && self.has_no_guest(copy) => {
                fx.send(id.source, Direct::DestinationHas { id, copy: Copy::Absent });
            }
            (phase, _)
                if phase != Phase::Settled
                    && self.committed
                    && self.has_no_guest(copy)
                    && !self.lost =>
            {
                self.lost = true;
                self.tell(
                    fx,
                    NoticeKind::Alarm,
                    format!(
                        "{} was given away by its source and is not here: start it cold from its \
                         disk",
                        self.vm.name
                    ),
                );
                fx.send(id.source, Direct::DestinationHas { id, copy: Copy::Absent });
            }
            _ => {}
        }
        false
    }

    /// Time has passed.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        config: &Config,
        directory: &Directory,
        fx: &mut Effects,
    ) {
        let (id, offline) = (self.id, self.offline());
        if matches!(self.phase, Phase::Complete { .. }) && config.planted(Bug::ResumesWithoutCommit)
        {
            self.run(now, fx);
        }
        match &mut self.phase {
            Phase::Complete { since } => {
                let since = *since;
                if now.since(self.asked_at) >= ASK_EVERY {
                    self.asked_at = now;
                    fx.send(id.source, Direct::Ask { id, offline });
                    fx.out(Output::Look { vm: id.vm });
                }
                if now.since(since).as_secs() >= 10
                    && !self.told_waiting
                    && !self.committed
                    && !self.withheld
                {
                    self.told_waiting = true;
                    let source = directory.name(id.source);
                    self.tell(
                        fx,
                        NoticeKind::Unknown,
                        format!(
                            "{} is complete here, but {source} does not say whether its own copy is \
                             gone. It stays paused until that answers. If you know that {source} is \
                             dead, say so here: `lifeboat cancel --declare-dead {source}`",
                            self.vm.name
                        ),
                    );
                }
            }
            Phase::Expected | Phase::Preparing
                if !self.committed
                    && (self.restored && now.since(self.renewed_at) > RENEWED_WITHIN
                        || now.since(self.renewed_at) > config.reservation)
                    && now.since(self.asked_at) >= ASK_EVERY =>
            {
                self.asked_at = now;
                fx.out(Output::Look { vm: id.vm });
                fx.send(id.source, Direct::Ask { id, offline });
            }
            Phase::Expected if self.committed && now.since(self.asked_at) >= ASK_EVERY => {
                self.asked_at = now;
                fx.out(Output::Look { vm: id.vm });
            }
            Phase::Resuming { asked_at } if now.since(*asked_at) >= ASK_EVERY => {
                *asked_at = now;
                fx.out(Output::Look { vm: id.vm });
            }
            Phase::Discarding { asked_at } if now.since(*asked_at) >= ASK_EVERY => {
                *asked_at = now;
                fx.out(Output::Discard { id });
                fx.out(Output::Look { vm: id.vm });
            }
            _ => {}
        }
    }

    /// The operator gave his word that the source is dead.
    pub(crate) fn source_declared_dead(&mut self, now: Instant, fx: &mut Effects) {
        if matches!(self.phase, Phase::Complete { .. }) {
            self.withheld = false;
            self.source_gone(now, None, fx);
        }
    }

    /// An arrival found in the journal when the daemon starts: the hypervisor decides what it is.
    pub(crate) fn restored(
        now: Instant,
        id: MoveId,
        record: ArrivalRecord,
        fx: &mut Effects,
    ) -> Self {
        fx.out(Output::Look { vm: id.vm });
        let offline = record.vm.state == RunState::ShutOff;
        let phase = if offline { Phase::Complete { since: now } } else { Phase::Expected };
        Self {
            phase,
            committed: record.committed,
            restored: true,
            ..Self::asked_for(now, id, record.evacuation, record.vm, record.definition)
        }
    }
}

impl Arrivals {
    /// Takes in what the journal holds of an arrival.
    pub(crate) fn restore(
        &mut self,
        now: Instant,
        id: MoveId,
        record: ArrivalRecord,
        fx: &mut Effects,
    ) {
        match record.settled {
            Some(stood) => {
                let settled = Settled::restored(now, id, record, stood);
                self.settled.insert(settled, fx);
            }
            None => {
                self.all.insert(id.vm, Arrival::restored(now, id, record, fx));
            }
        }
    }

    /// What has settled is no arrival any more. Returns the moves of that.
    pub(crate) fn put_away(&mut self, now: Instant, fx: &mut Effects) -> alloc::vec::Vec<MoveId> {
        let over = |arrival: &Arrival| arrival.phase == Phase::Settled;
        let vms: alloc::vec::Vec<VmId> =
            self.all.values().filter(|one| over(one)).map(|one| one.id.vm).collect();
        let mut away = alloc::vec::Vec::new();
        for vm in vms {
            let Some(one) = self.all.remove(&vm) else { continue };
            let settled = Settled::new(now, one.id, one.evacuation, one.vm, one.downtime_ms);
            away.push(settled.id);
            self.settled.insert(settled, fx);
        }
        away
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Incarnation, NodeId},
        vm::sample,
    };

    fn at(milliseconds: u64) -> Instant {
        Instant(0) + Duration::from_millis(milliseconds)
    }

    /// One that a former life of the daemon began.
    fn restored(state: RunState) -> Arrival {
        let vm = Vm { state, ..sample() };
        let id = MoveId { vm: vm.id, source: NodeId(1), incarnation: Incarnation(1), attempt: 1 };
        let evacuation = EvacuationId(1);
        let record =
            ArrivalRecord { evacuation, vm, committed: true, definition: None, settled: None };
        Arrival::restored(at(0), id, record, &mut Effects::default())
    }

    fn sees(arrival: &mut Arrival, milliseconds: u64, copy: Copy) {
        let mut fx = Effects::default();
        arrival.looked(at(milliseconds), copy, &Config::default(), &mut fx);
        if arrival.is_ready() {
            arrival.run(at(milliseconds), &mut fx);
        }
    }

    #[test]
    fn what_a_former_life_resumed_stood_still_for_nobody_knows_how_long() {
        let mut arrival = restored(RunState::Running);
        arrival.source_gone(at(5), Some(7000), &mut Effects::default());
        sees(&mut arrival, 10, Copy::Running);
        assert_eq!((arrival.phase, arrival.downtime_ms), (Phase::Settled, None));
    }

    #[test]
    fn a_restarted_destination_goes_by_what_its_source_measured() {
        for (measured, expect) in [(Some(7000), Some(7095)), (None, None)] {
            let mut arrival = restored(RunState::Running);
            sees(&mut arrival, 3, Copy::Paused);
            arrival.source_gone(at(5), measured, &mut Effects::default());
            arrival.happened(at(100), ArrivalEvent::Resumed(Ok(())), &mut Effects::default());
            assert_eq!((arrival.phase, arrival.downtime_ms), (Phase::Settled, expect));
        }
    }

    #[test]
    fn what_does_not_run_does_not_stand_still() {
        let mut arrival = restored(RunState::Paused);
        arrival.source_gone(at(5), Some(7000), &mut Effects::default());
        sees(&mut arrival, 10, Copy::Paused);
        assert_eq!((arrival.phase, arrival.downtime_ms), (Phase::Settled, None));
    }
}
