//! The source's end of each VM's way: from its reservation to the word that it runs elsewhere.
//!
//! Invariants:
//! - *gone is gone*: [`SourceGone`] is said for an attempt only after this host's hypervisor showed that
//!   nothing of the VM can run here any more, and then for ever, unless a person's word takes it back;
//! - *kept is kept*: an attempt of which [`SourceKept`] was said is never said to be gone;
//! - *a lost answer is unknown*: no outcome is concluded from a return code or from silence, only
//!   from what a hypervisor shows.
//!
//! Together with [`crate::arrivals`], which resumes a copy only on `SourceGone` of that very
//! attempt, this is why a VM never runs twice. [`step`] holds the transitions.
//!
//! [`SourceGone`]: crate::message::Direct::SourceGone
//! [`SourceKept`]: crate::message::Direct::SourceKept

mod foresee;
pub(crate) mod patience;
mod pause_limit;
pub(crate) mod stall;
pub(crate) mod step;

use alloc::{collections::BTreeMap, string::String};
use core::time::Duration;

use self::patience::Patience;
use crate::{
    ids::{EvacuationId, LinkId, MoveId, NodeId, VmId},
    journal::{Decided, DepartureRecord},
    message::{Stage, VmState},
    output::Guest,
    pause::Pause,
    time::Instant,
    tuning::{Constant, Name, Tuning},
    units::BytesPerSec,
    vm::{Copy, Progress, RunState, Vm},
};

/// Time for the local part of a start, while less flows than the link has room for: sockets and processes.
/// With less a stream that gains speed is taken for a full link; with more a full link is found later.
pub(crate) const LOCAL_START: Constant<Duration> = Name::LocalStart.of(Duration::from_millis(500));
/// Round trips until a stream has its full speed: three to open it, and eight doublings from TCP's
/// first window of ten segments to some MiB. Less and more do what they do for [`LOCAL_START`].
/// Measured (sensitivity): with half VMs complete 14 % later where round trips are long.
pub(crate) const RAMP_ROUND_TRIPS: Constant<u32> = Name::RampRoundTrips.of(11);

/// How far a departure is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A shut-off VM's definition is being read.
    Reading,
    /// The destination has been asked.
    Reserving {
        /// When it was last asked.
        asked_at: Instant,
        /// When it was first asked.
        since: Instant,
        /// Whether it has said that it makes ready.
        preparing: bool,
    },
    /// The destination has set room aside; the carrier's streams are open.
    Reserved,
    /// The hypervisor has been told to start.
    Beginning {
        /// When.
        since: Instant,
        /// When the hypervisor was last asked whether it has.
        looked_at: Instant,
    },
    /// Memory is being copied.
    Moving,
    /// The guest is paused for the switchover.
    Switching,
    /// Something ended or broke: both ends look at what they really have.
    Deciding {
        /// Since when.
        since: Instant,
        /// When the hypervisor was last asked.
        looked_at: Instant,
        /// What the destination last said that it has.
        there: Option<Copy>,
        /// What happened, for people.
        reason: String,
    },
    /// Nothing of the VM can run here; the destination is told until it answers.
    Gone {
        /// When it was last told.
        told_at: Instant,
        /// Since when.
        since: Instant,
    },
    /// The VM stays here; the destination is told until it answers.
    Kept {
        /// When it was last told.
        told_at: Instant,
        /// Since when.
        since: Instant,
    },
}

/// One VM on its way out.
#[derive(Debug, Clone, Hash)]
pub struct Departure {
    /// The attempt.
    pub id: MoveId,
    /// Its destination.
    pub to: NodeId,
    /// The link that it takes.
    pub link: LinkId,
    /// The evacuation that moves it.
    pub evacuation: EvacuationId,
    /// The VM as it was when the attempt began.
    pub vm: Vm,
    /// How far it is.
    pub phase: Phase,
    /// How far the copying is.
    pub progress: Progress,
    /// Start of the copying, in milliseconds after the start of the evacuation.
    pub start_ms: u64,
    /// Attempts so far, this one included.
    pub attempts: u32,
    pub(crate) definition: Option<String>,
    pub(crate) decided: Decided,
    pub(crate) paused_at: Option<Instant>,
    /// When the move was last given up, or closed, while its guest was paused.
    pub(crate) let_go_at: Option<Instant>,
    /// What the carrier was told of the guest.
    pub(crate) guest: Option<Guest>,
    /// Whether its guest's pause was seen to begin, so that its length is known.
    pub(crate) pause_seen: bool,
    pub(crate) ran_on: bool,
    pub(crate) giving_up: Option<GivingUp>,
    pub(crate) renewed_at: Instant,
    /// When hypervisor or carrier last said anything of it.
    pub(crate) heard_at: Instant,
    pub(crate) weight: u16,
    pub(crate) escalated: u8,
    /// How long it has been given to converge.
    pub(crate) patience: Patience,
    /// When the hypervisor was told to start; before that, when it was decided to move the VM.
    pub(crate) began_at: Instant,
    /// When the present pass over memory began, as far as that was noticed.
    pub(crate) pass_began: Instant,
    /// Bytes that the guest is likely to have rewritten in this pass, where the hypervisor does not count
    /// them.
    pub(crate) rewritten: u64,
    /// What flowed between the last two words of its progress, bytes per second; zero while unknown.
    pub(crate) rate: BytesPerSec,
    /// When the last word of its progress came.
    pub(crate) progressed_at: Instant,
    /// When its first bytes flowed, once that is known.
    pub(crate) flows_since: Option<Instant>,
    /// Whether it waits while its guest runs, and leaves the link to others: its destination is silent, or
    /// its hypervisor does not begin.
    pub(crate) held: bool,
    /// Whether its bytes may flow while its outcome is open: nobody said that the migration is over.
    pub(crate) may_flow: bool,
    /// Whether the process of the guest, which stood still, has exited.
    pub(crate) exited: bool,
    /// Whether the destination has said that the copy there is complete.
    pub(crate) complete_there: bool,
    /// Whether people have been told that it waits for a silent destination.
    pub(crate) told_waits: bool,
    /// Whether the destination has said, after the commit, that the copy is not there any more.
    pub(crate) lost_there: bool,
    /// How long its guest will stand still.
    pub(crate) pause: Pause,
    /// When anything of it was last seen to flow, or it might not flow.
    pub(crate) flowed_at: Instant,
    /// The most that it can make use of, where that is less than its streams and interfaces carry.
    pub(crate) limit: Option<BytesPerSec>,
    /// Whether people have been told that it stands still.
    pub(crate) told_still: bool,
    /// Whether people were told that somebody else was moving it.
    pub(crate) told_foreign: bool,
    /// Whether nothing of it runs here and a complete copy waits there, and nobody knows whether the guest
    /// ran on here after that was made.
    pub(crate) orphaned: bool,
    /// Whether it leaves the link to others, since it does not converge and nothing more is allowed.
    pub(crate) yields: bool,
    /// Third hosts that say that they run the VM.
    pub(crate) claimed_by: alloc::vec::Vec<NodeId>,
    /// How often in a row the hypervisor has listed it as running since it is gone.
    pub(crate) listed_again: u8,
}

/// Why a move under way is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GivingUp {
    /// Its evacuation was, by somebody.
    Asked,
    /// Its destination was not heard.
    Silence,
    /// Nothing of it flowed.
    StandsStill,
    /// Its guest stood still for too long.
    PausedTooLong,
}

/// Time within which a hypervisor begins, as a rule, once it is told to. One that takes longer, or a
/// journal that does not take the intent, must not keep the link from others.
const BEGINS_LATE: Duration = Duration::from_secs(5);

/// Bytes that a guest has rewritten after some time: at its rate, and no more than there is to rewrite.
/// `dirty_rate`: as measured during the move, bytes per second; the higher of it and the one before
/// counts.
fn rewritten(vm: &Vm, dirty_rate: u64, time: Duration) -> u64 {
    let set = if vm.working_set == 0 { vm.memory } else { vm.working_set.min(vm.memory) };
    BytesPerSec(dirty_rate.max(vm.dirty_rate)).bytes_in(time).min(set)
}

impl Departure {
    /// Its stage in the schedule; `None` while it is held, and once it takes nothing from the link any
    /// more. What may still flow gets what a switchover needs: a hypervisor that waits for its last
    /// bytes to flow does not answer, so that without tokens the outcome would stay open for ever.
    pub fn stage(&self) -> Option<Stage> {
        match self.phase {
            Phase::Beginning { .. } | Phase::Moving if self.held => None,
            Phase::Deciding { .. } if self.may_flow => Some(Stage::Switching),
            Phase::Reading | Phase::Reserving { .. } => Some(Stage::Queued),
            Phase::Reserved => Some(Stage::Reserved),
            Phase::Beginning { .. } | Phase::Moving => Some(Stage::Moving),
            Phase::Switching => Some(Stage::Switching),
            Phase::Deciding { .. } | Phase::Gone { .. } | Phase::Kept { .. } => None,
        }
    }

    /// Its state for people. A decision that takes longer than two seconds is called unknown.
    pub fn state(&self, now: Instant) -> VmState {
        match self.phase {
            Phase::Reading | Phase::Reserving { .. } => VmState::Queued,
            Phase::Reserved => VmState::Reserved,
            Phase::Beginning { .. } | Phase::Moving => VmState::Moving,
            Phase::Switching => VmState::Switching,
            Phase::Deciding { since, .. } if now.since(since).as_secs() < 2 => VmState::Switching,
            Phase::Deciding { .. } => VmState::Unknown,
            Phase::Gone { .. } => VmState::Committing,
            Phase::Kept { .. } => VmState::Failed,
        }
    }

    /// Whether its guest stands still for its switchover, as far as is known.
    pub fn guest_is_paused(&self) -> bool {
        let open = matches!(self.phase, Phase::Switching | Phase::Deciding { .. });
        open && self.paused_at.is_some() && !self.ran_on
    }

    /// Whether nothing of the VM could run here any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone { .. })
    }

    /// Whether the migration was handed to the hypervisor.
    pub fn begun(&self) -> bool {
        !matches!(self.phase, Phase::Reading | Phase::Reserving { .. } | Phase::Reserved)
    }

    /// Whether its streams are still gaining speed, so that less flows than the link has room for.
    pub(crate) fn gains_speed(&self, now: Instant, tuning: Tuning, round_trip: Duration) -> bool {
        let ramp = tuning.of(LOCAL_START) + round_trip * tuning.of(RAMP_ROUND_TRIPS);
        self.is_moving() && now.since(self.began_at) < ramp
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.phase == Phase::Moving
    }

    /// Holds it, or lets it go on. A guest must not be paused for a destination that cannot resume it; one
    /// that is paused already needs its last bytes to flow. Whether that is news.
    pub(crate) fn hold(&mut self, now: Instant, destination_alive: bool) -> bool {
        let held = match self.phase {
            Phase::Beginning { since, .. } => {
                !destination_alive || now.since(since) > BEGINS_LATE && !self.offline()
            }
            Phase::Moving => !destination_alive,
            _ => false,
        };
        if held {
            self.patience.begin_anew(self.progress.pass);
        }
        core::mem::replace(&mut self.held, held) != held
    }

    /// Takes in how far the copying is.
    pub(crate) fn progressed(&mut self, now: Instant, progress: Progress) {
        if progress.pass != self.progress.pass {
            self.pass_began = now;
        }
        let (before, since) = (self.progress.sent, now.since(self.progressed_at));
        // What the carriers say to each other is no progress: the hypervisor's own count is.
        let flows = |one: &Progress| (one.sent, one.remaining, one.pass);
        if flows(&progress) != flows(&self.progress) {
            if now.since(self.flowed_at) >= stall::STANDS_STILL_AFTER {
                self.patience.begin_anew(progress.pass);
            } else {
                self.patience.flowed(since);
            }
            self.flowed_at = now;
        }
        if before > 0 && !since.is_zero() {
            self.rate = BytesPerSec::measured(progress.sent.saturating_sub(before), since);
            if self.rate.0 > 0 && self.flows_since.is_none() {
                // The first bytes flowed before they were first told of.
                let told = self.progressed_at.since(self.began_at);
                let unnoticed = self.rate.time_for(before).min(told);
                self.flows_since = Some(self.began_at + (told - unnoticed));
            }
        }
        self.progressed_at = now;
        // One count of the carrier may have come in before another that was made earlier.
        let wire = progress.wire.max(self.progress.wire);
        self.progress = Progress { wire, ..progress };
        self.rewritten = match progress.rewritten_counted {
            true => 0,
            false => rewritten(&self.vm, progress.dirty_rate, now.since(self.pass_began)),
        };
    }

    /// From the order to start until the first bytes flowed, once that is known.
    pub(crate) fn setup(&self) -> Option<Duration> {
        self.flows_since.map(|first| first.since(self.began_at))
    }

    /// Bytes still to be sent, as last told.
    pub fn remaining(&self) -> u64 {
        match self.phase {
            Phase::Moving if self.progress.sent > 0 => {
                self.progress.remaining.saturating_add(self.rewritten)
            }
            Phase::Switching if self.progress.sent > 0 => self.progress.remaining,
            Phase::Deciding { .. } | Phase::Gone { .. } => 0,
            _ => self.vm.bytes(),
        }
    }

    /// Bytes put on the wire, or what the hypervisor sent where no carrier counts them.
    pub(crate) fn bytes_sent(&self) -> u64 {
        if self.progress.wire > 0 { self.progress.wire } else { self.progress.sent }
    }

    pub(crate) fn offline(&self) -> bool {
        self.vm.state == RunState::ShutOff
    }

    pub(crate) fn record(&self) -> DepartureRecord {
        DepartureRecord {
            to: self.to,
            link: self.link,
            evacuation: self.evacuation,
            vm: self.vm.clone(),
            decided: self.decided,
            start_ms: self.start_ms,
            attempts: self.attempts,
            claimed_by: self.claimed_by.clone(),
        }
    }
}

/// A peer asked about an attempt, and the hypervisor has been asked in turn.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Asked {
    pub(crate) id: MoveId,
    pub(crate) from: NodeId,
    /// Whether a definition was all that moved.
    pub(crate) offline: bool,
}

/// All VMs on their way out of this host.
#[derive(Debug, Clone, Default, Hash)]
pub struct Departures {
    all: BTreeMap<VmId, Departure>,
    /// Destinations that asked about attempts which this life knows nothing of.
    pub(crate) asked: BTreeMap<VmId, Asked>,
}

impl Departures {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Departure> {
        self.all.values()
    }

    /// The departure of a VM.
    pub fn get(&self, vm: VmId) -> Option<&Departure> {
        self.all.get(&vm)
    }

    pub(crate) fn get_mut(&mut self, vm: VmId) -> Option<&mut Departure> {
        self.all.get_mut(&vm)
    }

    pub(crate) fn by_id(&mut self, id: MoveId) -> Option<&mut Departure> {
        self.all.get_mut(&id.vm).filter(|departure| departure.id == id)
    }

    pub(crate) fn insert(&mut self, departure: Departure) {
        self.all.insert(departure.id.vm, departure);
    }

    pub(crate) fn remove(&mut self, vm: VmId) -> Option<Departure> {
        self.all.remove(&vm)
    }

    pub(crate) fn vms(&self) -> alloc::vec::Vec<VmId> {
        self.all.keys().copied().collect()
    }
}

/// What is said to one that asks about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing of the VM can run at its source: the commit.
    Gone,
    /// It stays at its source.
    Kept,
    /// What the destination has.
    Has(Copy),
    /// It runs at the destination.
    Settled,
}

/// What a source answers a destination that asks about an attempt it has no record of, once its
/// hypervisor has been asked. `None`: nothing is certain, so nothing is said.
pub(crate) fn answer_without_record(offline: bool, copy: Copy, outgoing: bool) -> Option<Answer> {
    match copy {
        // The definition is still here: what is there is the copy of an attempt that never began.
        Copy::ShutOff if offline => Some(Answer::Kept),
        Copy::Running | Copy::Paused if !outgoing => Some(Answer::Kept),
        Copy::MovedAway => Some(Answer::Gone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::sample;

    #[test]
    fn what_a_guest_rewrites_in_a_pass_is_no_more_than_its_working_set() {
        let mut vm = Vm { dirty_rate: 8_000_000, ..sample() };
        let seconds = Duration::from_secs;
        assert_eq!(rewritten(&vm, 0, seconds(5)), 40_000_000);
        assert_eq!(rewritten(&vm, 20_000_000, seconds(5)), 100_000_000, "what was measured counts");
        assert_eq!(rewritten(&vm, 0, seconds(1000)), 1 << 30);
        vm.working_set = 50_000_000;
        assert_eq!(rewritten(&vm, 20_000_000, seconds(5)), 50_000_000);
    }
}
