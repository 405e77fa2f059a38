//! How moves are shown to people: where each end is, and whom it waits for.
//!
//! What is shown says no more than is known. A guest that stands still because one end of its move
//! does not speak is uncertain, with the reason and the way out; and a move whose outcome is looked
//! into has not switched over because of that.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use super::Node;
use crate::{
    arrivals::Arrival,
    departures::{Departure, Phase},
    effects::Effects,
    ids::VmId,
    message::VmState,
    output::NoticeKind,
    time::Instant,
};

/// How long a destination that is not heard may owe its word before people should know.
const OWED_FOR: Duration = Duration::from_secs(3);
/// The same of a destination that is heard: its hypervisor may take a while to resume the guest.
const OWED_THOUGH_HEARD_FOR: Duration = Duration::from_secs(10);

impl Node {
    /// Where a VM that leaves this host is.
    pub(super) fn shown_departure(&self, now: Instant, departure: &Departure) -> VmState {
        match departure.state(now) {
            _ if self.waits_for_destination(now, departure) => VmState::Unknown,
            // Its guest has not been paused: nothing switches over.
            VmState::Switching
                if departure.phase != Phase::Switching && departure.paused_at.is_none() =>
            {
                VmState::Moving
            }
            state => state,
        }
    }

    /// Says once that a VM which can run at its destination only waits for the word from there.
    pub(super) fn tell_waits(&mut self, now: Instant, vm: VmId, fx: &mut Effects) {
        let departure = self.departures.get(vm).filter(|one| !one.told_waits);
        let waits = |one: &&Departure| self.waits_for_destination(now, one);
        let Some(departure) = departure.filter(waits) else { return };
        let why = self.doubts_of_departure(now, departure).join("; ");
        let text = format!("it is not certain where {} runs: {why}", departure.vm.name);
        fx.vm_notice(NoticeKind::Unknown, vm, departure.evacuation, text);
        if let Some(departure) = self.departures.get_mut(vm) {
            departure.told_waits = true;
        }
    }

    /// Why it is not certain where a VM that leaves this host is, if it is not, or why it waits.
    pub(super) fn doubts_of_departure(&self, now: Instant, departure: &Departure) -> Vec<String> {
        let to = self.directory.name(departure.to);
        let silent = !self.membership.is_up(now, departure.to);
        if self.waits_for_destination(now, departure) {
            let me = self.directory.name(self.me);
            let third = self.third_running(departure.id.vm, departure.to);
            return alloc::vec![match third.map(|node| self.directory.name(node)) {
                Some(third) if silent => format!(
                    "{third} says that it runs it, so {to}, which is not heard, is not told to run what \
                     it may have of it. If {to} is lost: `lifeboat cancel --declare-dead {to}` on {me}"
                ),
                Some(third) => format!(
                    "{third} says that it runs it, so {to} is not told to run what it has of it: end \
                     one of the two by hand"
                ),
                None if departure.lost_there => format!(
                    "it was complete at {to} and is not there any more: start it cold from its disk"
                ),
                None if silent => format!(
                    "it has left this host for {to}, which is not heard, and stands still until the \
                     daemon there is back. If {to} is lost: `lifeboat cancel --declare-dead {to}` on \
                     {me}, then start it cold from its disk on another host"
                ),
                None => format!(
                    "it has left this host for {to}, which does not say that it runs there: see \
                     `lifeboat events` on {to}"
                ),
            }];
        }
        match &departure.phase {
            phase if departure.stands_still_long(now) => {
                let how = match phase {
                    Phase::Moving => "it runs on here, but",
                    _ => "its hypervisor does not say how its move stands, and",
                };
                alloc::vec![format!(
                    "{how} nothing of it flows to {to} although it may: its hypervisor process hangs here \
                     or there, or the way to {to} is cut. The others go on"
                )]
            }
            Phase::Beginning { .. } | Phase::Moving if departure.held && silent => {
                alloc::vec![format!(
                    "it runs on here and waits: {to}, where it goes, is not heard, and a guest is not \
                     paused for a host that may not resume it"
                )]
            }
            Phase::Deciding { .. } if departure.orphaned => alloc::vec![format!(
                "nothing of it runs here, and {to} has a complete copy, paused, from before the daemon \
                 here restarted. If this host lost power while it switched over, resume that copy by hand \
                 on {to}: it is the newest. To start it here is to start it cold, and ends the copy there"
            )],
            Phase::Deciding { reason, .. }
                if self.shown_departure(now, departure) == VmState::Unknown =>
            {
                let whom = if silent { format!("; {to} is not heard") } else { String::new() };
                alloc::vec![format!(
                    "what became of its move to {to} is looked into: {reason}{whom}"
                )]
            }
            _ => Vec::new(),
        }
    }

    fn waits_for_destination(&self, now: Instant, departure: &Departure) -> bool {
        let Phase::Gone { since, .. } = departure.phase else { return false };
        let patience = match self.membership.is_up(now, departure.to) {
            true => OWED_THOUGH_HEARD_FOR,
            false => OWED_FOR,
        };
        now.since(since) >= patience
    }

    /// Where a VM that comes to this host is.
    pub(super) fn shown_arrival(&self, now: Instant, arrival: &Arrival) -> VmState {
        match arrival.waits_for_word(now) || arrival.lost {
            true => VmState::Unknown,
            false => VmState::Arriving,
        }
    }

    /// Whether an arrival is more than room that was set aside, and more than what a hypervisor that does
    /// not answer may have had of it. What its host has lost is not looked for there once it runs elsewhere.
    pub(super) fn lists_arrival(&self, now: Instant, arrival: &Arrival) -> bool {
        let runs_elsewhere = || self.others_running(now, arrival.id.vm).next().is_some();
        let is_part = arrival.phase == crate::arrivals::Phase::Expected && !arrival.committed;
        let is_there = !is_part || self.hypervisor_down.is_none();
        arrival.has_come() && is_there && !(arrival.lost && runs_elsewhere())
    }

    /// Why it is not certain where a VM that comes to this host is, if it is not.
    pub(super) fn doubts_of_arrival(&self, now: Instant, arrival: &Arrival) -> Vec<String> {
        let source = self.directory.name(arrival.id.source);
        if arrival.lost {
            return alloc::vec![format!(
                "{source} has given it away, and it is not here: start it cold from its disk"
            )];
        }
        if !arrival.waits_for_word(now) {
            let stops = arrival.phase == crate::arrivals::Phase::Expected
                && !self.membership.is_up(now, arrival.id.source);
            let why =
                || format!("not all of it has come, and {source}, which it leaves, is not heard");
            return stops.then(why).into_iter().collect();
        }
        if arrival.withheld {
            let others = self.running_beside(now, arrival.id.vm, self.me).join(" and ");
            return alloc::vec![match others.is_empty() {
                false => format!(
                    "it is complete here and paused: {others} says that it runs it: end the copy here by \
                     hand"
                ),
                true => format!(
                    "it is complete here and paused: {source} takes back that it gave it away, since \
                     this host was declared dead, or the VM started elsewhere. If a host that is not \
                     heard runs it, end the copy here by hand; if none does, resume it by hand"
                ),
            }];
        }
        if arrival.committed {
            let why = self.why_not_resumed(now, arrival);
            let why = why.unwrap_or_else(|| "the hypervisor does not resume it".into());
            return alloc::vec![format!("it is complete here and paused: {why}")];
        }
        let waits = format!(
            "it is complete here and paused: {source} does not say whether its own copy is gone"
        );
        if self.membership.is_up(now, arrival.id.source) {
            return alloc::vec![format!(
                "{waits}: see what `lifeboat status` says of it on {source}. If {source} lost power while \
                 it switched over, and nobody has started it since, resume it here by hand"
            )];
        }
        let me = self.directory.name(self.me);
        alloc::vec![format!(
            "{waits}, and is not heard. If you know that {source} is dead, its power off: `lifeboat \
             cancel --declare-dead {source}` on {me}"
        )]
    }

    /// VMs of this host of which it is not certain where they are, and that left it and run nowhere.
    pub(super) fn uncertain_here(&self, now: Instant) -> usize {
        let is_unknown = |state: &VmState| *state == VmState::Unknown;
        let leave = self.departures.all().map(|one| self.shown_departure(now, one));
        let come = self.arrivals.all().filter(|one| self.lists_arrival(now, one));
        let come = come.map(|one| self.shown_arrival(now, one));
        leave.chain(come).filter(is_unknown).count() + self.stranded.open()
    }
}

/// Whether what a silent host said last of a VM, `old`, is overtaken by what the hosts say that are
/// heard and list it.
pub(crate) fn is_overtaken(old: VmState, heard: &[VmState]) -> bool {
    // The other end of a move that is not over tells of its own end alone.
    let is_open = |state: &VmState| {
        matches!(state, VmState::Arriving | VmState::Committing | VmState::Unknown)
    };
    match old {
        VmState::Arriving => !heard.is_empty(),
        _ => heard.iter().any(|state| !is_open(state)),
    }
}
