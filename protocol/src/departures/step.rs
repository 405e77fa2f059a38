//! The transitions of a departure: what happened, and what follows from it.

use alloc::{format, string::String};
use core::time::Duration;

use super::{Departure, GivingUp, Phase, patience::Patience};
use crate::{
    config::Config,
    effects::Effects,
    ids::MoveId,
    input::DepartureEvent,
    journal::{Decided, Key, Value},
    message::Direct,
    output::{Escalation, Guest, NoticeKind, Output},
    pause::Pause,
    planted::Bug,
    time::{Instant, milliseconds},
    tuning::Tuning,
    units::BytesPerSec,
    vm::{Copy, RunState},
    wire,
};

/// How often a reservation in use is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long a destination may take to answer before another one is tried.
const RESERVE_WITHIN: Duration = Duration::from_millis(2500);
/// The same in round trips: the transport may have to open connection and substream first.
const RESERVE_ROUND_TRIPS: u32 = 6;
/// The same of a destination that says that it makes ready: a loaded hypervisor takes seconds. With the
/// time for a second try this stays below the ten seconds for which a link may be idle.
const PREPARE_WITHIN: Duration = Duration::from_secs(7);
/// How long the hypervisor may take to start a migration before it is looked at.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing may be heard of a migration before the hypervisor is asked what became of it: what
/// it reported may have been lost with the connection to it.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Time between two looks while an outcome is open.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a move of which nothing is heard is given tokens: a hypervisor that hangs for longer must not
/// keep them from others for ever.
const MAY_FLOW_FOR: Duration = Duration::from_secs(60);
/// How long a destination that does not answer is told that the VM stays here. After that it will
/// ask by itself, and is answered from what the hypervisor shows.
const TELL_KEPT_FOR: Duration = Duration::from_secs(5);

/// What became of a departure in a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It goes on.
    No,
    /// The VM has settled at its destination.
    Settled {
        /// How long the destination says that the guest stood still, if that is known.
        downtime_ms: Option<u64>,
    },
    /// The attempt is over and the VM is still here.
    Failed(String),
    /// The attempt is over, and the guest with it: it ended while it moved, and what is left is a definition
    /// here.
    ShutDown(String),
    /// The attempt is over, and the VM with it: it ended while it moved, and nothing of it is anywhere.
    Vanished(String),
}

impl Departure {
    fn key(&self) -> Key {
        Key::Departure(self.id)
    }

    pub(crate) fn persist(&self, fx: &mut Effects) {
        fx.persist(&self.key(), &Value::Departure(self.record()));
    }

    fn tell(&self, fx: &mut Effects, kind: NoticeKind, text: String) {
        fx.vm_notice(kind, self.id.vm, self.evacuation, text);
    }

    /// Asks the destination for room.
    pub(crate) fn ask(&mut self, now: Instant, fx: &mut Effects) {
        let (since, preparing) = match self.phase {
            Phase::Reserving { since, preparing, .. } => (since, preparing),
            _ => (now, false),
        };
        self.phase = Phase::Reserving { asked_at: now, since, preparing };
        fx.send(
            self.to,
            Direct::Reserve {
                id: self.id,
                evacuation: self.evacuation,
                vm: self.vm.clone(),
                definition: self.definition.clone(),
            },
        );
    }

    /// The destination has heard and makes ready.
    pub(crate) fn prepares(&mut self) {
        if let Phase::Reserving { preparing, .. } = &mut self.phase {
            *preparing = true;
        }
    }

    /// The destination has answered.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        answer: Result<(), String>,
        fx: &mut Effects,
    ) -> Ended {
        if let (Phase::Reserved, Err(reason)) = (&self.phase, &answer) {
            let reason = format!("the destination gave the room away: {reason}");
            self.keep(now, fx);
            return Ended::Failed(reason);
        }
        if !matches!(self.phase, Phase::Reserving { .. }) {
            return Ended::No;
        }
        match answer {
            Ok(()) => {
                self.phase = Phase::Reserved;
                self.renewed_at = now;
                if !self.offline() {
                    fx.out(Output::OpenMove { id: self.id, to: self.to, link: self.link });
                }
                fx.urgent();
                Ended::No
            }
            Err(reason) => Ended::Failed(format!("the destination refused: {reason}")),
        }
    }

    /// Starts the migration: intent first, then action.
    pub(crate) fn begin(&mut self, now: Instant, start_ms: u64, pause: Pause, fx: &mut Effects) {
        self.start_ms = start_ms;
        self.pause = pause;
        self.began_at = now;
        self.phase = Phase::Beginning { since: now, looked_at: now };
        self.persist(fx);
        if self.offline() {
            fx.out_after_durable(Output::Forget { id: self.id });
            fx.out_after_durable(Output::Look { vm: self.id.vm });
        } else {
            let (id, vm, to) = (self.id, self.vm.clone(), self.to);
            let max_downtime_ms = self.pause.for_last_pages(vm.policy.max_downtime_ms);
            fx.out_after_durable(Output::BeginMove { id, vm, to, max_downtime_ms });
        }
        fx.urgent();
    }

    fn tell_starts(&self, fx: &mut Effects) {
        self.tell(fx, NoticeKind::Vm, format!("{} starts to move", self.vm.name));
    }

    /// Takes in what the hypervisor or the carrier reports.
    pub(crate) fn happened(
        &mut self,
        now: Instant,
        tuning: Tuning,
        event: DepartureEvent,
        fx: &mut Effects,
    ) -> Ended {
        if let DepartureEvent::Sent(bytes) = event {
            // Counted, and nothing else: it says nothing of how the move stands.
            self.progress.wire = self.progress.wire.max(bytes);
            return Ended::No;
        }
        self.heard_at = now;
        let open = matches!(
            self.phase,
            Phase::Beginning { .. } | Phase::Moving | Phase::Switching | Phase::Deciding { .. }
        );
        match event {
            DepartureEvent::Definition(Ok(definition))
                if self.phase == Phase::Reading && definition.len() > wire::LIMIT / 2 =>
            {
                return Ended::Failed(format!(
                    "its definition has {} bytes, more than the {} that a message may carry: shorten \
                     its metadata",
                    definition.len(),
                    wire::LIMIT / 2
                ));
            }
            DepartureEvent::Definition(Ok(definition)) if self.phase == Phase::Reading => {
                self.definition = Some(definition);
                self.ask(now, fx);
            }
            DepartureEvent::Definition(Err(reason)) if self.phase == Phase::Reading => {
                return Ended::Failed(format!("its definition could not be read: {reason}"));
            }
            DepartureEvent::Begun(Ok(())) if matches!(self.phase, Phase::Beginning { .. }) => {
                self.phase = Phase::Moving;
                self.tell_starts(fx);
            }
            DepartureEvent::Progress(progress) if open => {
                let before = self.progress.remaining;
                let since = now.since(self.progressed_at);
                self.progressed(now, progress);
                self.foresee_pause(before, since, fx);
                self.escalate(tuning, fx);
            }
            DepartureEvent::GuestPaused
                if matches!(self.phase, Phase::Beginning { .. } | Phase::Moving) =>
            {
                self.phase = Phase::Switching;
                (self.paused_at, self.pause_seen) = (Some(now), true);
                self.tell_guest(Guest::Paused, fx);
                fx.urgent();
            }
            DepartureEvent::GuestResumed if open => {
                self.ran_on = true;
                self.tell_guest(Guest::Runs, fx);
                self.decide(now, "the guest runs on at its source".into(), fx);
            }
            DepartureEvent::SourceGone if open && !self.ran_on => self.gone(now, fx),
            DepartureEvent::SourceGone if open => {
                self.decide(now, "the guest's process exited after it had run on here".into(), fx);
            }
            DepartureEvent::ProcessExited if open => {
                self.exited = true;
                if self.is_given_away() {
                    self.gone(now, fx);
                } else {
                    self.decide(now, "the guest's process has exited".into(), fx);
                    fx.send(self.to, Direct::Ask { id: self.id, offline: false });
                }
            }
            DepartureEvent::Begun(Err(reason)) | DepartureEvent::JobEnded(Err(reason)) if open => {
                self.decide(now, reason, fx);
            }
            DepartureEvent::JobEnded(Ok(())) if open => {
                self.decide(now, "the migration ended".into(), fx);
            }
            DepartureEvent::CarrierClosed(reason) if open => {
                self.decide(now, format!("the carrier gave the move up: {reason}"), fx);
            }
            DepartureEvent::CarrierClosed(reason) | DepartureEvent::OpenFailed(reason)
                if self.phase == Phase::Reserved =>
            {
                self.keep(now, fx);
                return Ended::Failed(format!("the carrier gave the move up: {reason}"));
            }
            _ => {}
        }
        Ended::No
    }

    /// Whether its process has exited after a complete copy was made of it: one that ended or died before
    /// leaves none.
    fn is_given_away(&self) -> bool {
        self.exited && self.complete_there && !self.ran_on
    }

    /// Opens the question of the outcome.
    pub(crate) fn decide(&mut self, now: Instant, reason: String, fx: &mut Effects) {
        let (since, there) = match &self.phase {
            Phase::Deciding { since, there, .. } => (*since, *there),
            _ => (now, None),
        };
        self.may_flow = false;
        self.phase = Phase::Deciding { since, looked_at: now, there, reason };
        fx.out(Output::Look { vm: self.id.vm });
    }

    /// The same where nobody said that the migration is over.
    fn decide_in_silence(&mut self, now: Instant, fx: &mut Effects) {
        self.decide(now, "the hypervisor has fallen silent about it".into(), fx);
        self.may_flow = true;
    }

    /// The hypervisor here has said what it really has.
    pub(crate) fn looked(
        &mut self,
        now: Instant,
        copy: Copy,
        outgoing: bool,
        fx: &mut Effects,
    ) -> Ended {
        if self.offline() {
            if matches!(self.phase, Phase::Beginning { .. }) && !copy.is_live() {
                self.tell_starts(fx);
            }
            if matches!(self.phase, Phase::Beginning { .. } | Phase::Deciding { .. }) {
                match copy {
                    Copy::Absent => self.gone(now, fx),
                    Copy::Running | Copy::Paused | Copy::Switching => {
                        self.keep(now, fx);
                        let reason = "it was started here while its definition moved";
                        return Ended::Failed(reason.into());
                    }
                    Copy::ShutOff | Copy::MovedAway | Copy::Incoming => {
                        // The order to forget it may have been lost, with the daemon or on its way. It
                        // is looked at again after a while: it may not be obeyed at all.
                        let since = match self.phase {
                            Phase::Deciding { since, .. } => since,
                            _ => now,
                        };
                        self.phase = Phase::Deciding {
                            since,
                            looked_at: now,
                            there: None,
                            reason: "its definition is still here".into(),
                        };
                        fx.out_after_durable(Output::Forget { id: self.id });
                    }
                }
            }
            return Ended::No;
        }
        if self.phase == Phase::Reading {
            return self.looked_before(now, copy, outgoing, fx);
        }
        if matches!(self.phase, Phase::Beginning { .. }) && outgoing {
            self.phase = Phase::Moving;
            self.heard_at = now;
            self.tell_starts(fx);
            return Ended::No;
        }
        let Phase::Deciding { since, there, reason, .. } = &self.phase else { return Ended::No };
        let (since, there, reason) = (*since, *there, reason.clone());
        match copy {
            Copy::MovedAway => self.gone(now, fx),
            Copy::Running | Copy::Paused if outgoing => self.phase = Phase::Moving,
            Copy::Switching if outgoing => {
                self.phase = Phase::Switching;
                self.paused_at.get_or_insert(since);
                self.tell_guest(Guest::Paused, fx);
            }
            // Decided is decided: the destination has been promised the only copy.
            Copy::Running | Copy::Paused if self.decided == Decided::Destroying => self.destroy(fx),
            Copy::Running | Copy::Paused => {
                self.keep(now, fx);
                return Ended::Failed(reason);
            }
            // The hypervisor lost the job while the guest was paused: the destination knows more.
            Copy::Switching => match there {
                Some(Copy::Paused) => self.destroy(fx),
                Some(Copy::Absent) => fx.out(Output::ResumeSource { id: self.id }),
                _ => fx.send(self.to, Direct::Ask { id: self.id, offline: self.offline() }),
            },
            Copy::Absent | Copy::ShutOff => {
                // Its process is gone, and nothing more flows from here.
                self.may_flow = false;
                let ours = self.decided == Decided::Destroying;
                let handed_over = self.paused_at.is_some() && !self.ran_on;
                match there {
                    _ if ours => self.gone(now, fx),
                    Some(Copy::Paused) if handed_over => self.gone(now, fx),
                    Some(Copy::Absent) if copy == Copy::Absent => {
                        self.keep(now, fx);
                        return Ended::Vanished(reason);
                    }
                    Some(Copy::Absent) => {
                        self.keep(now, fx);
                        return Ended::ShutDown(format!(
                            "the VM shut down while it moved ({reason})"
                        ));
                    }
                    _ => {
                        // One that ran on here since has left an old copy there.
                        self.orphaned = there == Some(Copy::Paused) && !self.ran_on;
                        fx.send(self.to, Direct::Ask { id: self.id, offline: self.offline() });
                    }
                }
            }
            Copy::Incoming => {}
        }
        Ended::No
    }

    /// The hypervisor has said, before anything is asked for, whether the VM is free to go. One that a
    /// forgotten attempt still moves is not: that attempt is given up first, or completes.
    fn looked_before(
        &mut self,
        now: Instant,
        copy: Copy,
        outgoing: bool,
        fx: &mut Effects,
    ) -> Ended {
        self.renewed_at = now;
        match copy {
            // The hypervisor's list may be older than its resuming here.
            Copy::Running if !outgoing => {
                self.vm.state = RunState::Running;
                self.ask(now, fx);
            }
            Copy::Paused if !outgoing => {
                self.vm.state = RunState::Paused;
                self.ask(now, fx);
            }
            Copy::Running | Copy::Paused | Copy::Switching if outgoing => {
                if !core::mem::replace(&mut self.told_foreign, true) {
                    let text = format!(
                        "{} was being moved by somebody else, or by a former life of this daemon: that move \
                         is given up, and an evacuation moves it",
                        self.vm.name
                    );
                    self.tell(fx, NoticeKind::Vm, text);
                }
                fx.out(Output::AbortMove { id: self.id });
            }
            Copy::Running | Copy::Paused | Copy::Switching | Copy::Incoming => {}
            Copy::Absent | Copy::MovedAway | Copy::ShutOff => return Ended::Failed(String::new()),
        }
        Ended::No
    }

    /// The destination has said what it really has.
    /// `runs`: a third host says that it runs it.
    pub(crate) fn destination_has(
        &mut self,
        now: Instant,
        copy: Copy,
        runs: bool,
        fx: &mut Effects,
    ) {
        self.complete_there = copy == Copy::Paused;
        let given_away = self.is_given_away();
        if let Phase::Deciding { there, looked_at, .. } = &mut self.phase {
            if given_away {
                // The hypervisor need not be asked: it answers nothing while it clears up.
                return self.gone(now, fx);
            }
            *there = Some(copy);
            *looked_at = now;
            fx.out(Output::Look { vm: self.id.vm });
        } else if matches!(self.phase, Phase::Gone { .. }) && copy == Copy::Absent {
            if core::mem::replace(&mut self.lost_there, true) || runs {
                return;
            }
            self.tell(
                fx,
                NoticeKind::Alarm,
                format!(
                    "{} was complete at its destination and is not there any more: its host lost \
                     it. Start it cold from its disk.",
                    self.vm.name
                ),
            );
        }
    }

    fn destroy(&mut self, fx: &mut Effects) {
        self.decided = Decided::Destroying;
        self.persist(fx);
        fx.out_after_durable(Output::DestroySource { id: self.id });
        fx.out_after_durable(Output::Look { vm: self.id.vm });
    }

    /// Nothing of the VM can run here any more: the commit. It is told at once, since it is a fact
    /// of the world that no crash of this daemon can undo.
    pub(crate) fn gone(&mut self, now: Instant, fx: &mut Effects) {
        assert!(self.decided != Decided::Kept, "an attempt that was kept cannot be gone");
        self.decided = Decided::Gone;
        self.phase = Phase::Gone { told_at: now, since: now };
        self.tell_gone(now, fx);
        self.persist(fx);
        fx.urgent();
    }

    fn tell_gone(&self, now: Instant, fx: &mut Effects) {
        fx.commit(self.to, self.id, self.paused_ms(now), self.vm.state.resumes());
    }

    /// How long its guest has stood still, in milliseconds, if its pause was seen to begin.
    pub(crate) fn paused_ms(&self, now: Instant) -> Option<u64> {
        self.paused_at.filter(|_| self.pause_seen).map(|at| milliseconds(now.since(at)))
    }

    /// The VM stays here: what arrived there must go.
    pub(crate) fn keep(&mut self, now: Instant, fx: &mut Effects) {
        assert!(self.decided != Decided::Gone, "an attempt that is gone cannot be kept");
        if self.begun() {
            self.decided = Decided::Kept;
            self.persist(fx);
        }
        self.phase = Phase::Kept { told_at: now, since: now };
        fx.out(Output::CloseMove { id: self.id });
        fx.send_after_durable(self.to, Direct::SourceKept { id: self.id });
        fx.urgent();
    }

    /// The destination says that the VM has settled there.
    pub(crate) fn settled(&mut self, downtime_ms: Option<u64>, fx: &mut Effects) -> Ended {
        if !self.begun() || self.decided == Decided::Kept {
            self.tell(
                fx,
                NoticeKind::Alarm,
                format!(
                    "{} is said to run at its destination, but this host has not given it away: \
                     check both hosts by hand",
                    self.vm.name
                ),
            );
            return Ended::No;
        }
        fx.erase(&self.key());
        fx.out(Output::CloseMove { id: self.id });
        if !self.offline() {
            fx.out(Output::Forget { id: self.id });
        }
        fx.send_after_durable(self.to, Direct::Closed { id: self.id });
        fx.urgent();
        Ended::Settled { downtime_ms }
    }

    /// Time has passed. `destination_up`: it is heard; `destination_lost`: it is silent while
    /// others at its site are heard, so it is not merely cut off. `round_trip`: to it.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        config: &Config,
        destination_up: bool,
        destination_lost: bool,
        round_trip: Duration,
        fx: &mut Effects,
    ) -> Ended {
        let offline = self.offline();
        match &mut self.phase {
            Phase::Reading if now.since(self.renewed_at) >= LOOK_EVERY => {
                self.renewed_at = now;
                fx.out(match offline {
                    true => Output::ReadDefinition { id: self.id },
                    false => Output::Look { vm: self.id.vm },
                });
            }
            Phase::Reserving { asked_at, since, preparing } => {
                let (within, why) = match preparing {
                    true => (PREPARE_WITHIN, "the destination is not ready for it in time"),
                    false => (RESERVE_WITHIN, "the destination does not answer"),
                };
                if destination_lost
                    || now.since(*since) > within.max(round_trip * RESERVE_ROUND_TRIPS)
                {
                    let id = self.id;
                    fx.send(self.to, Direct::SourceKept { id });
                    return Ended::Failed(why.into());
                }
                if now.since(*asked_at) >= config.resend {
                    self.ask(now, fx);
                }
            }
            Phase::Beginning { since, .. } if now.since(*since) > BEGIN_WITHIN => {
                self.decide(now, "the hypervisor did not say that it started".into(), fx);
            }
            // Its word that it began may have been lost: until it is known the move has no tokens.
            Phase::Beginning { looked_at, .. }
                if !offline && now.since(*looked_at) > SILENT_FOR =>
            {
                *looked_at = now;
                fx.out(Output::Look { vm: self.id.vm });
            }
            Phase::Moving | Phase::Switching
                if now.since(self.heard_at) > SILENT_FOR
                    && config.planted(Bug::LostReplyIsFailure) =>
            {
                self.keep(now, fx);
                return Ended::Failed("the hypervisor has fallen silent about it".into());
            }
            Phase::Moving | Phase::Switching if now.since(self.heard_at) > SILENT_FOR => {
                self.heard_at = now;
                self.decide_in_silence(now, fx);
            }
            Phase::Deciding { since, looked_at, .. } if now.since(*looked_at) >= LOOK_EVERY => {
                *looked_at = now;
                self.may_flow &= now.since(*since) < MAY_FLOW_FOR;
                fx.out(Output::Look { vm: self.id.vm });
                fx.send(self.to, Direct::Ask { id: self.id, offline });
            }
            Phase::Gone { .. } if config.planted(Bug::CommitToldOnce) => {}
            Phase::Gone { told_at, .. } if now.since(*told_at) >= config.resend => {
                *told_at = now;
                self.tell_gone(now, fx);
            }
            Phase::Kept { told_at, since } if now.since(*told_at) >= config.resend => {
                if now.since(*since) > TELL_KEPT_FOR || !destination_up {
                    fx.erase(&self.key());
                    return Ended::Failed(String::new());
                }
                *told_at = now;
                fx.send(self.to, Direct::SourceKept { id: self.id });
            }
            _ => {}
        }
        self.give_up_on_lost(now, destination_lost, fx);
        self.give_up_on_long_pause(now, fx);
        let renews = matches!(
            self.phase,
            Phase::Reserved | Phase::Beginning { .. } | Phase::Moving | Phase::Switching
        );
        if renews && now.since(self.renewed_at) >= RENEW_EVERY {
            self.renewed_at = now;
            fx.send(self.to, Direct::Renew { id: self.id });
        }
        Ended::No
    }

    /// A guest that is paused for a destination that has fallen silent runs on here, if it is not too late:
    /// only the daemon there can resume it.
    pub(crate) fn give_up_on_silent(&mut self, fx: &mut Effects) {
        if self.phase == Phase::Switching && self.giving_up.is_none() {
            self.abort(GivingUp::Silence, fx);
        }
    }

    fn give_up_on_lost(&mut self, now: Instant, lost: bool, fx: &mut Effects) {
        if !lost || self.giving_up.is_some() {
            return;
        }
        match self.phase {
            Phase::Reserved => {
                self.giving_up = Some(GivingUp::Silence);
                self.keep(now, fx);
            }
            Phase::Beginning { .. } | Phase::Moving => self.abort(GivingUp::Silence, fx),
            _ => {}
        }
    }

    /// Gives the migration up; what really happened shows in the events that follow.
    pub(crate) fn abort(&mut self, why: GivingUp, fx: &mut Effects) {
        self.giving_up = Some(why);
        fx.out(Output::AbortMove { id: self.id });
    }

    /// Goes one step further for a guest that does not converge, within its policy.
    fn escalate(&mut self, tuning: Tuning, fx: &mut Effects) {
        if self.phase != Phase::Moving || !self.patience.is_over(tuning, self.progress.pass) {
            return;
        }
        let policy = &self.vm.policy;
        let longest = policy.max_downtime_escalated_ms;
        let steps = [
            (longest > policy.max_downtime_ms)
                .then(|| Escalation::Downtime(self.pause.for_last_pages(longest))),
            policy.post_copy.then_some(Escalation::PostCopy),
            policy.stop_and_copy.then_some(Escalation::StopAndCopy),
        ];
        let Some((index, step)) = steps
            .into_iter()
            .enumerate()
            .skip(self.escalated.into())
            .find_map(|(index, step)| Some((index, step?)))
        else {
            return self.yield_for_good(fx);
        };
        self.escalated = u8::try_from(index + 1).unwrap_or(u8::MAX);
        self.patience.next_step();
        let what = match step {
            Escalation::Downtime(_) => format!("a pause of up to {longest} ms is allowed"),
            Escalation::PostCopy => "it switches to post-copy".into(),
            Escalation::StopAndCopy => "it is paused and the rest copied".into(),
        };
        self.tell(
            fx,
            NoticeKind::Vm,
            format!(
                "{} does not converge after {} passes over its memory: {what}",
                self.vm.name, self.progress.pass
            ),
        );
        fx.out(Output::Escalate { id: self.id, step });
    }

    /// Its policy allows nothing more: it must not keep the link from others for what may never end.
    fn yield_for_good(&mut self, fx: &mut Effects) {
        if !core::mem::replace(&mut self.yields, true) {
            let (name, pass) = (&self.vm.name, self.progress.pass);
            let text = format!(
                "{name} does not converge after {pass} passes over its memory, and its policy allows no \
                 further step: it leaves the link to the others, and has it again after them. Let it write \
                 less, or allow it a longer pause"
            );
            self.tell(fx, NoticeKind::Failed, text);
            fx.urgent();
        }
    }
}

/// A departure found in the journal when the daemon starts: the hypervisor decides what it is.
pub(crate) fn restored(
    now: Instant,
    id: MoveId,
    record: crate::journal::DepartureRecord,
    fx: &mut Effects,
) -> Departure {
    let phase = match record.decided {
        Decided::Gone => Phase::Gone { told_at: Instant::default(), since: now },
        Decided::Kept => Phase::Kept { told_at: Instant::default(), since: now },
        Decided::Open | Decided::Destroying => {
            fx.out(Output::Look { vm: id.vm });
            Phase::Deciding {
                since: now,
                looked_at: now,
                there: None,
                reason: "the daemon restarted".into(),
            }
        }
    };
    Departure {
        id,
        to: record.to,
        link: record.link,
        evacuation: record.evacuation,
        vm: record.vm,
        phase,
        progress: Default::default(),
        start_ms: record.start_ms,
        attempts: record.attempts,
        definition: None,
        decided: record.decided,
        paused_at: None,
        guest: None,
        let_go_at: None,
        pause_seen: false,
        ran_on: false,
        giving_up: None,
        renewed_at: now,
        heard_at: now,
        weight: 0,
        escalated: 0,
        patience: Patience::default(),
        began_at: now,
        pass_began: now,
        rewritten: 0,
        rate: BytesPerSec(0),
        progressed_at: now,
        flows_since: None,
        flowed_at: now,
        limit: None,
        told_still: false,
        told_foreign: false,
        orphaned: false,
        yields: false,
        held: false,
        may_flow: true,
        told_waits: false,
        exited: false,
        complete_there: false,
        lost_there: false,
        pause: Pause::default(),
        claimed_by: record.claimed_by,
        listed_again: 0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        ids::{EvacuationId, Incarnation, LinkId, NodeId},
        journal::DepartureRecord,
        message::Stage,
        vm::{Progress, RunState, sample},
    };

    pub(in crate::departures) fn restored_move() -> Departure {
        let vm = sample();
        let id = MoveId { vm: vm.id, source: NodeId(1), incarnation: Incarnation(1), attempt: 1 };
        let record = DepartureRecord {
            to: NodeId(2),
            link: LinkId(1),
            evacuation: EvacuationId(1),
            vm,
            decided: Decided::Open,
            start_ms: 0,
            attempts: 1,
            claimed_by: alloc::vec::Vec::new(),
        };
        restored(Instant(0), id, record, &mut Effects::default())
    }

    #[test]
    fn what_may_still_flow_has_tokens_until_somebody_says_that_it_is_over() {
        let mut departure = restored_move();
        assert_eq!(departure.stage(), Some(Stage::Switching));
        let over = DepartureEvent::JobEnded(Err("cancelled".into()));
        departure.happened(Instant(1), Tuning::default(), over, &mut Effects::default());
        assert_eq!(departure.stage(), None);
    }

    #[test]
    fn what_may_still_flow_does_not_keep_its_tokens_for_ever() {
        let mut departure = restored_move();
        let (config, mut fx) = (Config::default(), Effects::default());
        for after in [MAY_FLOW_FOR / 2, MAY_FLOW_FOR * 2] {
            let now = Instant(0) + after;
            departure.tick(now, &config, true, false, Duration::ZERO, &mut fx);
            let expected = (after < MAY_FLOW_FOR).then_some(Stage::Switching);
            assert_eq!(departure.stage(), expected);
        }
    }

    #[test]
    fn the_last_bytes_are_counted_when_the_source_is_gone_and_change_nothing_else() {
        let mut departure = restored_move();
        let progress = Progress { sent: 900, wire: 800, ..Progress::default() };
        departure.happened(
            Instant(1),
            Tuning::default(),
            DepartureEvent::Progress(progress),
            &mut Effects::default(),
        );
        let gone = DepartureEvent::SourceGone;
        departure.happened(Instant(2), Tuning::default(), gone, &mut Effects::default());
        let before = departure.phase.clone();
        assert!(matches!(before, Phase::Gone { .. }));
        let mut fx = Effects::default();
        departure.happened(Instant(3), Tuning::default(), DepartureEvent::Sent(1000), &mut fx);
        departure.happened(Instant(4), Tuning::default(), DepartureEvent::Sent(0), &mut fx);
        assert_eq!((departure.bytes_sent(), &departure.phase), (1000, &before));
        assert!(fx.now.is_empty() && fx.after_durable.is_empty() && fx.changes.is_empty());
    }

    /// It arrived a moment ago, and the newest list is from before it was resumed.
    #[test]
    fn whether_a_guest_runs_is_what_is_seen_and_not_what_was_listed() {
        for (seen, expect) in [(Copy::Running, RunState::Running), (Copy::Paused, RunState::Paused)]
        {
            for listed in [RunState::Running, RunState::Paused] {
                let mut departure = restored_move();
                departure.vm.state = listed;
                departure.phase = Phase::Reading;
                departure.looked(Instant(1), seen, false, &mut Effects::default());
                assert_eq!(departure.vm.state, expect);
            }
        }
    }

    #[test]
    fn what_is_not_here_does_not_stand_still_and_its_copy_is_named_unless_it_ran_on() {
        for (ran_on, expect) in [(false, true), (true, false)] {
            let mut departure = restored_move();
            departure.ran_on = ran_on;
            let (later, mut fx) = (Instant(0) + Duration::from_secs(20), Effects::default());
            departure.destination_has(Instant(1), Copy::Paused, false, &mut fx);
            departure.looked(Instant(2), Copy::ShutOff, false, &mut fx);
            departure.watch_flow(later, BytesPerSec(1 << 30), None);
            assert_eq!((departure.stands_still_long(later), departure.orphaned), (false, expect));
        }
    }

    #[test]
    fn how_long_a_guest_stood_still_is_known_only_if_its_pause_was_seen_to_begin() {
        let second = Instant(0) + Duration::from_secs(1);
        let committed = |departure: &mut Departure| {
            let mut fx = Effects::default();
            departure.happened(second, Tuning::default(), DepartureEvent::SourceGone, &mut fx);
            assert_eq!(departure.paused_ms(second), fx.commits[0].paused_ms);
            fx.commits[0].paused_ms
        };
        let mut found_paused = restored_move();
        found_paused.looked(Instant(0), Copy::Switching, true, &mut Effects::default());
        assert_eq!(found_paused.stage(), Some(Stage::Switching));
        assert_eq!(committed(&mut found_paused), None);
        let mut seen = restored_move();
        seen.phase = Phase::Moving;
        seen.happened(
            Instant(0),
            Tuning::default(),
            DepartureEvent::GuestPaused,
            &mut Effects::default(),
        );
        assert_eq!(committed(&mut seen), Some(1000));
    }

    #[test]
    fn a_move_that_does_not_begin_leaves_the_link_to_others() {
        let mut departure = restored_move();
        departure.phase = Phase::Beginning { since: Instant(0), looked_at: Instant(0) };
        let soon = Instant(0) + Duration::from_secs(1);
        assert!(!departure.hold(soon, true));
        assert_eq!(departure.stage(), Some(Stage::Moving));
        assert!(departure.hold(soon + Duration::from_secs(5), true));
        assert_eq!(departure.stage(), None);
    }
}
