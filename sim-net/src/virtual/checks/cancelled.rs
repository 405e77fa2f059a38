//! A cancelled evacuation starts nothing on hosts that could have heard of it and have not lost their
//! journals, and no node that
//! knows it to be cancelled ever takes it for active again in the same life.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_protocol::{EvacuationId, NodeId, Output, evacuation::State};

use super::{Check, Checks, World};
use crate::r#virtual::{SECOND, host::Host};

/// Within this, every undisturbed host knows what was cancelled.
const HEARD_WITHIN: u64 = 10 * SECOND;

/// What was cancelled, and who was seen to know.
#[derive(Debug, Default)]
pub(super) struct Memory {
    cancelled_at: BTreeMap<EvacuationId, u64>,
    known_to: BTreeSet<(NodeId, u64, EvacuationId)>,
}

impl Memory {
    pub(super) fn note(&mut self, id: EvacuationId, now: u64) {
        self.cancelled_at.entry(id).or_insert(now);
    }
}

impl Checks {
    pub(super) fn starts_nothing(&mut self, host: &Host, output: &Output, now: u64) {
        let Output::BeginMove { id, .. } = output else { return };
        let Some(node) = &host.daemon else { return };
        let Some(departure) = node.departures().get(id.vm) else { return };
        let Some(at) = self.cancelled.cancelled_at.get(&departure.evacuation) else { return };
        let could_have_heard = !host.journal.was_lost
            && now > at + HEARD_WITHIN
            && now > host.sound_since.saturating_add(HEARD_WITHIN);
        let known = self.cancelled.known_to.contains(&(host.id, host.life, departure.evacuation));
        if could_have_heard || known {
            let what =
                format!("{} starts {} although it was cancelled", host.name, departure.vm.name);
            self.object(Check::Cancelled, now, what);
        }
    }
}

impl World {
    pub(super) fn check_stays_cancelled(&mut self) {
        if self.checks.cancelled.cancelled_at.is_empty() {
            return;
        }
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let Some(node) = &host.daemon else { continue };
            for evacuation in node.evacuation_records() {
                let key = (host.id, host.life, evacuation.id);
                if evacuation.state != State::Active {
                    self.checks.cancelled.known_to.insert(key);
                } else if self.checks.cancelled.known_to.contains(&key) {
                    let what = format!("{} revives the evacuation {}", host.name, evacuation.id);
                    self.checks.object(Check::Cancelled, self.now, what);
                }
            }
        }
    }
}
