//! Which domains are leaving and arriving, as far as this process knows.
//!
//! A move that leaves is known by a number of its own, so that what is learnt late of an earlier
//! attempt is not taken for the present one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use virt::sys;

use super::events::{Part, begins_to_arrive};
use crate::VmId;

/// One attempt to send a VM away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Attempt(u64);

#[derive(Default)]
pub(super) struct Moves(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    outgoing: BTreeMap<VmId, Outgoing>,
    incoming: BTreeSet<VmId>,
    last_attempt: u64,
}

struct Outgoing {
    attempt: Attempt,
    /// The migration call, or the job that was found, is over.
    ended: bool,
    /// The guest stands still: for the switchover, or since before the migration.
    paused: bool,
    /// It was this driver that paused it.
    halted: bool,
    /// Its owner paused it: the move is given up.
    held: bool,
    /// The process was reported to have exited.
    exited: bool,
}

impl Outgoing {
    fn stands_still(&self, attempt: Attempt) -> bool {
        self.attempt == attempt && self.paused && !self.ended && !self.exited
    }
}

impl Moves {
    /// Notes a new attempt; `None` if one is under way already.
    pub(super) fn leave(&self, vm: VmId) -> Option<Attempt> {
        let mut tables = self.tables();
        if tables.outgoing.get(&vm).is_some_and(|outgoing| !outgoing.ended) {
            return None;
        }
        tables.last_attempt += 1;
        let attempt = Attempt(tables.last_attempt);
        let outgoing = Outgoing {
            attempt,
            ended: false,
            paused: false,
            halted: false,
            held: false,
            exited: false,
        };
        tables.outgoing.insert(vm, outgoing);
        Some(attempt)
    }

    /// Forgets an attempt: the VM stays here.
    pub(super) fn stays(&self, vm: VmId, attempt: Attempt) {
        let mut tables = self.tables();
        if tables.outgoing.get(&vm).is_some_and(|outgoing| outgoing.attempt == attempt) {
            tables.outgoing.remove(&vm);
        }
    }

    /// Notes that the guest stands still.
    pub(super) fn paused(&self, vm: VmId, attempt: Attempt) {
        if let Some(outgoing) = self.tables().outgoing.get_mut(&vm)
            && outgoing.attempt == attempt
        {
            outgoing.paused = true;
        }
    }

    /// Notes that this driver is about to pause the guest itself.
    pub(super) fn halts(&self, vm: VmId) {
        if let Some(outgoing) = self.tables().outgoing.get_mut(&vm) {
            outgoing.halted = true;
        }
    }

    /// The attempt, unless this driver has paused its guest itself.
    pub(super) fn not_halted(&self, vm: VmId) -> Option<Attempt> {
        let tables = self.tables();
        let outgoing = tables.outgoing.get(&vm).filter(|outgoing| !outgoing.halted);
        outgoing.map(|outgoing| outgoing.attempt)
    }

    /// Whether the guest stands still, and its migration is not over.
    pub(super) fn stands_still(&self, vm: VmId, attempt: Attempt) -> bool {
        let tables = self.tables();
        tables.outgoing.get(&vm).is_some_and(|outgoing| outgoing.stands_still(attempt))
    }

    /// Notes that the guest is paused by its owner; false if it runs again, or the attempt is over.
    pub(super) fn hold(&self, vm: VmId, attempt: Attempt) -> bool {
        let mut tables = self.tables();
        let outgoing = tables.outgoing.get_mut(&vm);
        let still = outgoing.filter(|outgoing| outgoing.stands_still(attempt));
        still.map(|outgoing| outgoing.held = true).is_some()
    }

    /// Whether the guest is paused by its owner.
    pub(super) fn is_held(&self, vm: VmId, attempt: Attempt) -> bool {
        let tables = self.tables();
        let outgoing = tables.outgoing.get(&vm);
        outgoing.is_some_and(|outgoing| outgoing.attempt == attempt && outgoing.held)
    }

    /// Whether the guest stands still: a process that exits now was given away, or has taken the
    /// only state of its guest with it; in neither case did the guest itself shut down.
    pub(super) fn is_paused(&self, vm: VmId, attempt: Attempt) -> bool {
        let tables = self.tables();
        let outgoing = tables.outgoing.get(&vm);
        outgoing.is_some_and(|outgoing| outgoing.attempt == attempt && outgoing.paused)
    }

    /// Notes that the migration itself is over, whatever its outcome.
    pub(super) fn ended(&self, vm: VmId, attempt: Attempt) {
        if let Some(outgoing) = self.tables().outgoing.get_mut(&vm)
            && outgoing.attempt == attempt
        {
            outgoing.ended = true;
        }
    }

    /// Whether the migration is not over, as far as this process knows.
    pub(super) fn is_under_way(&self, vm: VmId) -> bool {
        self.tables().outgoing.get(&vm).is_some_and(|outgoing| !outgoing.ended)
    }

    /// Notes that the VM's process has exited; true only the first time in an attempt.
    pub(super) fn exited(&self, vm: VmId, attempt: Attempt) -> bool {
        match self.tables().outgoing.get_mut(&vm) {
            Some(outgoing) if outgoing.attempt == attempt => {
                !std::mem::replace(&mut outgoing.exited, true)
            }
            _ => false,
        }
    }

    /// The attempt to move a VM away that is known.
    pub(super) fn attempt(&self, vm: VmId) -> Option<Attempt> {
        let tables = self.tables();
        tables.outgoing.get(&vm).map(|outgoing| outgoing.attempt)
    }

    /// Notes that a VM is arriving.
    pub(super) fn arriving(&self, vm: VmId) {
        self.tables().incoming.insert(vm);
    }

    /// The part that this host has in a VM's move.
    pub(super) fn part(&self, vm: VmId) -> Part {
        let tables = self.tables();
        let outgoing = tables.outgoing.get(&vm);
        Part {
            outgoing: outgoing.is_some_and(|outgoing| !outgoing.exited),
            exited: outgoing.is_some_and(|outgoing| outgoing.exited),
            incoming: tables.incoming.contains(&vm),
        }
    }

    /// Takes a lifecycle event into account; returns the part the host had when it came.
    pub(super) fn lifecycle(&self, vm: VmId, event: u32, detail: u32) -> Part {
        if begins_to_arrive(event, detail) {
            self.arriving(vm);
        }
        let part = self.part(vm);
        let mut tables = self.tables();
        if let Some(outgoing) = tables.outgoing.get_mut(&vm) {
            match event {
                sys::VIR_DOMAIN_EVENT_SUSPENDED => outgoing.paused = true,
                sys::VIR_DOMAIN_EVENT_RESUMED => outgoing.paused = false,
                _ => {}
            }
        }
        match event {
            sys::VIR_DOMAIN_EVENT_SUSPENDED if detail == sys::VIR_DOMAIN_EVENT_SUSPENDED_PAUSED => {
                tables.incoming.remove(&vm);
            }
            sys::VIR_DOMAIN_EVENT_STOPPED => {
                tables.incoming.remove(&vm);
            }
            // It has a process again: what is known of the one that left says nothing of this one.
            sys::VIR_DOMAIN_EVENT_STARTED
                if tables.outgoing.get(&vm).is_some_and(|outgoing| outgoing.exited) =>
            {
                tables.outgoing.remove(&vm);
            }
            sys::VIR_DOMAIN_EVENT_RESUMED => {
                tables.incoming.remove(&vm);
                if tables.outgoing.get(&vm).is_some_and(|outgoing| outgoing.ended) {
                    tables.outgoing.remove(&vm);
                }
            }
            _ => {}
        }
        part
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: VmId = VmId([1; 16]);

    #[test]
    fn one_attempt_at_a_time() {
        let moves = Moves::default();
        let first = moves.leave(VM).unwrap();
        assert_eq!(moves.leave(VM), None);
        moves.ended(VM, first);
        let second = moves.leave(VM).unwrap();
        assert!(!moves.exited(VM, first), "what is learnt of an earlier attempt does not count");
        assert!(moves.exited(VM, second));
        assert!(!moves.exited(VM, second), "told once only");
    }

    #[test]
    fn a_vm_that_is_started_again_has_a_process() {
        let moves = Moves::default();
        let attempt = moves.leave(VM).unwrap();
        assert!(moves.exited(VM, attempt));
        assert!(moves.part(VM).exited);
        moves.lifecycle(VM, 2, 0);
        assert_eq!(moves.part(VM), Part::default());
    }

    #[test]
    fn a_guest_that_runs_again_does_not_stand_still() {
        let moves = Moves::default();
        let attempt = moves.leave(VM).unwrap();
        assert!(!moves.is_paused(VM, attempt));
        moves.lifecycle(VM, 3, 1);
        assert!(moves.is_paused(VM, attempt));
        assert!(moves.stands_still(VM, attempt));
        moves.lifecycle(VM, 4, 1);
        assert!(!moves.is_paused(VM, attempt));
        assert!(!moves.hold(VM, attempt), "nobody paused what runs");
        assert!(!moves.is_held(VM, attempt));
    }

    #[test]
    fn a_pause_by_hand_is_known_only_while_the_move_is_under_way() {
        let moves = Moves::default();
        let attempt = moves.leave(VM).unwrap();
        moves.lifecycle(VM, 3, 1);
        moves.ended(VM, attempt);
        assert!(!moves.stands_still(VM, attempt) && !moves.hold(VM, attempt));
        let next = moves.leave(VM).unwrap();
        moves.lifecycle(VM, 3, 1);
        assert!(!moves.hold(VM, attempt), "what is learnt of an earlier attempt does not count");
        assert!(moves.hold(VM, next) && moves.is_held(VM, next));
    }

    #[test]
    fn an_arrival_is_over_once_it_was_announced() {
        let moves = Moves::default();
        assert!(moves.lifecycle(VM, 2, 1).incoming);
        assert!(moves.lifecycle(VM, 3, 0).incoming);
        assert!(!moves.lifecycle(VM, 3, 0).incoming, "a later pause is an operator's");
    }

    #[test]
    fn a_guest_that_runs_again_after_the_end_stays() {
        let moves = Moves::default();
        let attempt = moves.leave(VM).unwrap();
        assert!(moves.lifecycle(VM, 4, 0).outgoing, "resumed by hand while the job goes on");
        assert!(moves.part(VM).outgoing);
        moves.ended(VM, attempt);
        assert!(moves.lifecycle(VM, 4, 1).outgoing);
        assert!(!moves.part(VM).outgoing);
    }
}
