//! VMs that ran when this host began to move them and ended meanwhile: their process died, or this host
//! lost power. What is left of them here is a definition, which moves like that of any VM that is shut off.
//!
//! Invariants:
//! - *not lost in the move*: such a VM is never taken for one that its operator shut off. That it ended is
//!   remembered, through restarts, until it runs again or has gone from here, and its [`Outcome`] says so;
//! - *kept first*: the hypervisor undoes what a move changed in its definition only once its attempt is
//!   decided, durably, to have left it here.
//!
//! [`Outcome`]: crate::vm::Outcome

use alloc::{format, string::String, vec::Vec};

use super::Node;
use crate::{
    departures::Departure,
    effects::Effects,
    ids::{EvacuationId, VmId},
    journal::{Key, Value},
    output::Output,
    vm::{Outcome, RunState, Vm},
};

/// That a VM arrived shut off although it ran, and what to do.
pub fn ended_on_its_way(name: &str, from: &str, to: &str) -> String {
    format!(
        "{name} ran when its move began, ended at {from} while it moved, and is at {to}, shut off: start \
         it there"
    )
}

impl Node {
    /// The guest of a VM has ended while it moved.
    pub(super) fn departure_shut_down(&mut self, vm: VmId, fx: &mut Effects) {
        if self.departures.get(vm).is_some_and(|departure| departure.vm.state.resumes()) {
            self.note_ended(vm, fx);
        }
    }

    /// Remembers that a VM ended here while it moved, or may have.
    pub(super) fn note_ended(&mut self, vm: VmId, fx: &mut Effects) {
        self.ended.insert(vm, false);
        fx.persist(&Key::Ended(vm), &Value::Ended);
    }

    /// Whether a VM that has settled at its destination had ended here before; forgets it.
    pub(super) fn had_ended(&mut self, departure: &Departure, fx: &mut Effects) -> bool {
        self.forget_ended(departure.id.vm, fx) && departure.offline()
    }

    fn forget_ended(&mut self, vm: VmId, fx: &mut Effects) -> bool {
        let known = self.ended.remove(&vm).is_some();
        if known {
            fx.erase(&Key::Ended(vm));
        }
        known
    }

    /// The hypervisor has listed its VMs. While an attempt is open its list may be older than the end.
    pub(super) fn watch_ended(&mut self, listed: &[Vm], fx: &mut Effects) {
        let stay = self.ended.keys().copied().filter(|vm| self.departures.get(*vm).is_none());
        for vm in stay.collect::<Vec<VmId>>() {
            match listed.iter().find(|one| one.id == vm).map(|one| one.state) {
                Some(RunState::ShutOff) => {
                    if self.ended.insert(vm, true) == Some(false) {
                        fx.out_after_durable(Output::Restore { vm });
                    }
                }
                Some(RunState::Running | RunState::Paused) | None => {
                    self.forget_ended(vm, fx);
                }
            }
        }
    }

    /// VMs that an evacuation moved shut off since they had ended on their way, and that no other host
    /// than the one that they left is known to run.
    pub(crate) fn to_be_started(&self, mover: EvacuationId) -> Vec<Outcome> {
        let of_it = self.outcomes.iter().filter(|((evacuation, _), _)| *evacuation == mover);
        let ended = of_it.map(|(_, outcome)| outcome).filter(|outcome| outcome.ended);
        let stays = |outcome: &&Outcome| {
            !self.runs_away_from(outcome) && !self.went_on_later(mover, outcome.vm)
        };
        ended.filter(stays).cloned().collect()
    }

    /// Whether a later evacuation has moved a VM again.
    fn went_on_later(&self, mover: EvacuationId, vm: VmId) -> bool {
        let started = |id: EvacuationId| self.evacuations.get(id).map(|known| known.started_at);
        let moved = self.outcomes.keys().filter(|(_, moved)| *moved == vm);
        moved.into_iter().any(|(other, _)| started(*other) > started(mover))
    }

    /// What the host that it left says of it may be from before its end.
    fn runs_away_from(&self, outcome: &Outcome) -> bool {
        let left = |node| self.directory.name(node) == outcome.from;
        let says = |(node, known): (_, &super::KnownInventory)| {
            known.running.contains_key(&outcome.vm) && !left(node)
        };
        let here = self.rests_running(outcome.vm) && !left(self.me);
        here || self.inventories.iter().any(|(node, known)| says((*node, known)))
    }
}
