//! VMs that have left here for a host which a person has declared dead, or which has lost them.
//!
//! Their commit may not have been heard there, and from then on it is kept back: whoever starts such a
//! VM cold on another host must be sure that the first copy does not run one day because its host is
//! back. Whoever has the copy and asks is told [`Direct::Withheld`].
//!
//! Invariants:
//! - *kept back is kept back*: of an attempt that is stranded [`Direct::SourceGone`] is never said again,
//!   not by a restarted daemon either;
//! - a VM that is stranded counts as uncertain until a living host says that it runs it.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use super::Node;
use crate::{
    departures::{Phase, step},
    effects::Effects,
    ids::{MoveId, NodeId, VmId},
    journal::{DepartureRecord, Key, StrandedRecord, Value},
    message::Direct,
    output::{NoticeKind, Output},
    time::Instant,
    vm::{Copy, RunState, Vm},
};

/// Time between two words to a host that was declared dead and is heard again.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Why a commit is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranding {
    /// A person has declared the destination dead.
    DeclaredDead,
    /// The destination has lost the copy, and the VM runs on a third host.
    LostThere,
    /// The VM was started on this very host.
    StartedHere,
}

/// One of them.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Stranded {
    departure: DepartureRecord,
    /// Whether the host that was declared dead has said since that it has nothing of it.
    gone_there: bool,
    /// Whether a living host has said that it runs it.
    found: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct AllStranded {
    all: BTreeMap<MoveId, Stranded>,
    told_at: Instant,
}

impl AllStranded {
    pub(crate) fn has(&self, id: MoveId) -> bool {
        self.all.contains_key(&id)
    }

    /// Whether a VM is stranded and nobody has said that it runs.
    pub(crate) fn is_open(&self, vm: VmId) -> bool {
        self.all.iter().any(|(id, one)| id.vm == vm && !one.found)
    }

    /// How many VMs nobody says to run.
    pub(crate) fn open(&self) -> usize {
        self.all.values().filter(|one| !one.found).count()
    }

    /// Those that nobody says to run and that had left for a node, by name.
    pub(crate) fn names_of(&self, node: NodeId) -> impl Iterator<Item = String> + '_ {
        let open = self.all.values().filter(move |one| one.departure.to == node && !one.found);
        open.map(|one| one.departure.vm.name.clone())
    }

    pub(crate) fn restore(&mut self, id: MoveId, record: StrandedRecord) {
        let StrandedRecord { departure, gone_there } = record;
        self.all.insert(id, Stranded { departure, gone_there, found: false });
    }
}

impl Node {
    /// Why a person's word that a node is dead is not taken; `None` if it is. `whole_site`: he knows
    /// that no host of that site is heard, and that it is not merely cut off.
    pub fn declaration_refused(
        &self,
        now: Instant,
        node: NodeId,
        whole_site: bool,
    ) -> Option<String> {
        if let Some(reason) = self.unwritable() {
            return Some(format!(
                "{reason}, and the word must outlast a restart: free space first"
            ));
        }
        let name = self.directory.name(node);
        let silence = now.since(self.silent_since(node));
        if self.membership.is_up(now, node) {
            return Some(format!("{name} is heard, so it is not dead"));
        }
        if silence <= self.config.dead_after {
            return Some(format!("{name} was heard a moment ago: try again in a few seconds"));
        }
        let site = self.directory.site_of(node);
        let heard = self.membership.up(now).any(|(other, _)| self.directory.site_of(other) == site)
            || site == Some(self.site);
        if heard || whole_site {
            return None;
        }
        let site = site.map(|site| self.directory.site_name(site)).unwrap_or_default();
        Some(format!(
            "no host of site {site} is heard: most likely the link to it is cut and {name} goes on \
             running its VMs, so that this word would make some run twice. If you know that {name} has \
             no power, say so with --whole-site"
        ))
    }

    /// A person has said that a node is dead.
    pub(super) fn declared_dead(&mut self, now: Instant, node: NodeId, fx: &mut Effects) {
        self.void_claims(node, fx);
        for vm in self.arrivals.vms() {
            let claimed = self.third_running(vm, node).map(|node| self.directory.name(node));
            let Some(arrival) = self.arrivals.get_mut(vm).filter(|one| one.id.source == node)
            else {
                continue;
            };
            match claimed {
                None => arrival.source_declared_dead(now, fx),
                Some(third) => fx.notice(
                    NoticeKind::Rejected,
                    format!("{} is not resumed: {third} says that it runs it", arrival.vm.name),
                ),
            }
        }
        for vm in self.departures.vms() {
            let Some(departure) = self.departures.get_mut(vm).filter(|one| one.to == node) else {
                continue;
            };
            match departure.phase {
                Phase::Gone { .. } => self.strand(vm, Stranding::DeclaredDead, fx),
                // What it has of the VM will never run: its own copy goes on, and is kept for good.
                Phase::Deciding { .. } => departure.destination_has(now, Copy::Absent, false, fx),
                _ => {}
            }
        }
    }

    /// Keeps the commit of a VM back for good.
    pub(super) fn strand(&mut self, vm: VmId, why: Stranding, fx: &mut Effects) {
        let Some(departure) = self.departures.remove(vm) else { return };
        let (id, record) = (departure.id, departure.record());
        fx.erase(&Key::Departure(id));
        let one = Stranded { departure: record, gone_there: false, found: false };
        self.keep_stranded(id, one, fx);
        fx.out(Output::CloseMove { id });
        let (name, to) = (&departure.vm.name, self.directory.name(departure.to));
        let said = match why {
            Stranding::LostThere => None,
            Stranding::DeclaredDead => Some((
                NoticeKind::Unknown,
                format!(
                    "{name} is not given to {to} any more, which was declared dead: it can be started \
                     cold from its disk on another host"
                ),
            )),
            Stranding::StartedHere => Some((
                NoticeKind::Alarm,
                format!(
                    "{name} was started here although it had left for {to}: a complete copy that waits \
                     there is not resumed any more. End it by hand"
                ),
            )),
        };
        if let Some((kind, text)) = said {
            fx.vm_notice(kind, vm, departure.evacuation, text);
        }
        fx.urgent();
    }

    /// What is left here of a VM that runs elsewhere is to be forgotten.
    pub(super) fn leave_remains(&mut self, id: MoveId, fx: &mut Effects) {
        self.given_away.insert(id.vm, id);
        fx.persist(&Key::Remains(id), &Value::Remains);
        fx.out(Output::Look { vm: id.vm });
    }

    fn keep_stranded(&mut self, id: MoveId, one: Stranded, fx: &mut Effects) {
        let record =
            StrandedRecord { departure: one.departure.clone(), gone_there: one.gone_there };
        fx.persist(&Key::Stranded(id), &Value::Stranded(record));
        self.stranded.all.insert(id, one);
    }

    /// The destination of a stranded move speaks of it. Returns whether there is such a move.
    pub(super) fn said_of_stranded(
        &mut self,
        now: Instant,
        from: NodeId,
        id: MoveId,
        direct: &Direct,
        fx: &mut Effects,
    ) -> bool {
        let Some(one) = self.stranded.all.get(&id).filter(|one| one.departure.to == from) else {
            return false;
        };
        let mut one = one.clone();
        match direct {
            Direct::Settled { downtime_ms, .. } => {
                self.stranded.all.remove(&id);
                fx.erase(&Key::Stranded(id));
                if self.departures.get(id.vm).is_some() || self.rests_running(id.vm) {
                    fx.send_after_durable(from, Direct::Closed { id });
                    return true;
                }
                // It ran there before the word, or was resumed there by hand.
                let record = one.departure;
                let mut departure = step::restored(now, id, record, fx);
                let ended = departure.settled(*downtime_ms, fx);
                self.departures.insert(departure);
                self.departure_ended(now, id.vm, ended, fx);
            }
            Direct::Discarded { .. } | Direct::DestinationHas { copy: Copy::Absent, .. }
                if !one.gone_there =>
            {
                one.gone_there = true;
                self.keep_stranded(id, one, fx);
            }
            _ => {}
        }
        true
    }

    /// Time has passed: tells hosts that were declared dead and are back, and sees whether the VMs have
    /// been started elsewhere.
    pub(super) fn tick_stranded(&mut self, now: Instant, fx: &mut Effects) {
        let tells = now.since(self.stranded.told_at) >= TELL_EVERY;
        if self.stranded.all.is_empty() || !tells {
            return;
        }
        self.stranded.told_at = now;
        let ids: Vec<MoveId> = self.stranded.all.keys().copied().collect();
        for id in ids {
            let at = self.others_running(now, id.vm).next();
            let here = self.vms.get(&id.vm).is_some_and(|vm| vm.state == RunState::Running);
            let at = at.or_else(|| here.then_some(self.me));
            let Some(one) = self.stranded.all.get_mut(&id) else { continue };
            if let (false, Some(at)) = (one.found, at) {
                one.found = true;
                let text = format!("{} runs at {}", one.departure.vm.name, self.directory.name(at));
                fx.vm_notice(NoticeKind::Vm, id.vm, one.departure.evacuation, text);
            }
            if one.found && one.gone_there {
                self.stranded.all.remove(&id);
                fx.erase(&Key::Stranded(id));
                if !self.vms.contains_key(&id.vm) {
                    self.leave_remains(id, fx);
                }
            } else if !one.gone_there && self.membership.is_up(now, one.departure.to) {
                fx.send(one.departure.to, Direct::Withheld { id });
            }
        }
    }

    /// Stranded VMs that nobody says to run, as this host's inventory lists them.
    pub(super) fn stranded_listed(&self, now: Instant) -> impl Iterator<Item = (&Vm, String)> {
        let open = self.stranded.all.values().filter(|one| !one.found);
        open.map(move |one| {
            let to = self.directory.name(one.departure.to);
            let reason = match one.gone_there {
                true => format!(
                    "it left this host for {to}, which has nothing of it: start it cold from its disk"
                ),
                false if self.membership.is_up(now, one.departure.to) => format!(
                    "it left this host for {to}, which was declared dead and is back: a copy that waits \
                     there is not resumed by itself. Resume it there by hand, or end it there and start \
                     it cold from its disk"
                ),
                false => format!(
                    "it left this host for {to}, which was declared dead and will not run it: start it \
                     cold from its disk on another host"
                ),
            };
            (&one.departure.vm, reason)
        })
    }
}
