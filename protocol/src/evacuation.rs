//! Evacuations: started anywhere, known everywhere, cancelled anywhere.
//!
//! A record has two parts with their own rules. Its terms are written once, where it starts, and
//! never change. Its state only moves forward: active, cancelled. So records merge by taking the
//! later state, and an old message never revives what was cancelled.
//!
//! Several evacuations that cover the same host do not fight: its VMs go to whatever sites any of them
//! names, by the earliest of their deadlines, and each move is that of the one with the lowest id
//! that names its destination. One with the same terms as an earlier one counts its arrivals as its own.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::{
    directory::Directory,
    ids::{EvacuationId, NodeId, SiteId},
    time::{Instant, milliseconds},
};

/// Most evacuations that one node remembers.
const REMEMBERED: usize = 64;
/// Most evacuations in one heartbeat.
const GOSSIPED: usize = 8;
/// Most hosts that one evacuation may name, so that a heartbeat with several records fits a message.
const NAMED: usize = 200;
/// How long something new is told in every heartbeat.
const NEWS_FOR: Duration = Duration::from_secs(5);

/// Whether an evacuation still wants anything done. Later variants win a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// VMs leave.
    Active,
    /// No further VM starts; moves under way end by themselves.
    Cancelled,
    /// No further VM starts; moves under way are given up.
    Aborted,
}

/// An evacuation as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: EvacuationId,
    /// Where it was started.
    pub initiator: NodeId,
    /// Sites to be emptied.
    pub from_sites: Vec<SiteId>,
    /// Hosts to be emptied, besides those sites.
    pub from_hosts: Vec<NodeId>,
    /// Where the VMs go.
    pub to: Vec<SiteId>,
    /// How long ago it started, in milliseconds, when this was sent.
    pub age_ms: u64,
    /// Deadline, in milliseconds after the start.
    pub deadline_ms: Option<u64>,
    /// How far it is.
    pub state: State,
}

impl Record {
    /// Whether it empties this host.
    pub fn covers(&self, node: NodeId, site: SiteId) -> bool {
        self.from_sites.contains(&site) || self.from_hosts.contains(&node)
    }

    /// Whether it empties exactly what `other` does, towards the same sites.
    pub fn same_terms(&self, other: &Record) -> bool {
        (&self.from_sites, &self.from_hosts, &self.to)
            == (&other.from_sites, &other.from_hosts, &other.to)
    }
}

/// An evacuation as this node remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its terms and state; `age_ms` is as of `started_at`'s making and not kept up.
    pub record: Record,
    /// When it started, by this node's clock.
    pub started_at: Instant,
    /// When this node last learnt something new of it.
    pub changed_at: Instant,
}

impl Known {
    /// How long ago it started.
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.started_at)
    }

    fn told(&self, now: Instant) -> Record {
        Record { age_ms: milliseconds(self.age(now)), ..self.record.clone() }
    }

    /// How long ago its deadline passed; `None` before that, and without one.
    pub fn late_by(&self, now: Instant) -> Option<Duration> {
        let deadline = Duration::from_millis(self.record.deadline_ms?);
        self.age(now).checked_sub(deadline).filter(|late| !late.is_zero())
    }

    /// What is left until its deadline; `None` without one.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        let deadline = Duration::from_millis(self.record.deadline_ms?);
        Some(deadline.saturating_sub(self.age(now)))
    }
}

/// All evacuations that this node knows.
#[derive(Debug, Clone, Default, Hash)]
pub struct Evacuations {
    known: BTreeMap<EvacuationId, Known>,
    /// Those that are not remembered any more, until their traces are erased.
    forgotten: Vec<EvacuationId>,
    /// The newest that was ever forgotten: whoever still tells of one so old slept through its end.
    forgotten_up_to: Option<EvacuationId>,
}

impl Evacuations {
    /// Takes in a record. Returns whether anything was new.
    pub fn merge(&mut self, now: Instant, record: &Record) -> bool {
        let age = Duration::from_millis(record.age_ms);
        let started_at = Instant(now.0.saturating_sub(crate::time::nanoseconds(age)));
        if let Some(known) = self.known.get_mut(&record.id) {
            // A node that restarted learns from the others how long ago it was.
            known.started_at = known.started_at.min(started_at);
            let news = record.state > known.record.state;
            if news {
                known.changed_at = now;
            }
            known.record.state = known.record.state.max(record.state);
            return news;
        }
        if self.forgotten_up_to.is_some_and(|newest| record.id <= newest) {
            return false;
        }
        self.known.insert(record.id, Known { record: record.clone(), started_at, changed_at: now });
        if self.known.len() > REMEMBERED {
            let oldest = self
                .known
                .iter()
                .filter(|(_, known)| known.record.state != State::Active)
                .min_by_key(|(_, known)| known.started_at)
                .map(|(id, _)| *id);
            if let Some(id) = oldest {
                self.known.remove(&id);
                self.forgotten.push(id);
                self.forgotten_up_to = self.forgotten_up_to.max(Some(id));
            }
        }
        true
    }

    /// For [`crate::planted::Bug::CancelledRevived`].
    pub(crate) fn forget_cancelled(&mut self, id: EvacuationId) {
        self.known.retain(|known, one| *known != id || one.record.state == State::Active);
    }

    /// Those that are not remembered any more since the last call.
    pub(crate) fn forgotten(&mut self) -> Vec<EvacuationId> {
        core::mem::take(&mut self.forgotten)
    }

    /// Records as of now: of all that are active, or of all.
    pub(crate) fn records(&self, now: Instant, ended_too: bool) -> Vec<Record> {
        let kept = |known: &&Known| ended_too || known.record.state == State::Active;
        self.known.values().filter(kept).map(|known| known.told(now)).collect()
    }

    /// One evacuation.
    pub fn get(&self, id: EvacuationId) -> Option<&Known> {
        self.known.get(&id)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// Those that still want VMs to leave, first started first.
    pub fn active(&self) -> Vec<&Known> {
        let mut active: Vec<&Known> =
            self.known.values().filter(|known| known.record.state == State::Active).collect();
        active.sort_by_key(|known| (known.started_at, known.record.id));
        active
    }

    /// The evacuations that empty this host now.
    pub fn covering(&self, node: NodeId, site: SiteId) -> impl Iterator<Item = &Known> {
        // By id alone: start times are each node's own reckoning, and all must choose the same.
        self.known
            .values()
            .filter(|known| known.record.state == State::Active)
            .filter(move |known| known.record.covers(node, site))
    }

    /// Whether any evacuation empties this host now.
    pub fn empties(&self, node: NodeId, site: SiteId) -> bool {
        self.covering(node, site).next().is_some()
    }

    /// The evacuation that moves this host's VMs to a site.
    pub fn mover(&self, node: NodeId, site: SiteId, to: SiteId) -> Option<EvacuationId> {
        let mut covering = self.covering(node, site);
        covering.find(|known| known.record.to.contains(&to)).map(|known| known.record.id)
    }

    /// What is left until the next deadline of all that empty this host; `None` without one that is not
    /// past.
    pub fn time_left(&self, now: Instant, node: NodeId, site: SiteId) -> Option<Duration> {
        let left = self.covering(node, site).filter_map(|known| known.time_left(now));
        left.filter(|left| !left.is_zero()).min()
    }

    /// The active evacuation into which this one is merged: an earlier one with the same terms.
    pub fn merged_into(&self, id: EvacuationId) -> Option<EvacuationId> {
        let record = &self.known.get(&id)?.record;
        self.known
            .values()
            .map(|known| &known.record)
            .find(|other| other.id < id && other.state == State::Active && other.same_terms(record))
            .map(|other| other.id)
    }

    /// Records for heartbeat number `turn`: what is new, and of all others each in its turn, so that
    /// whoever missed something or came late learns everything within some heartbeats.
    pub fn gossip(&self, now: Instant, turn: u64) -> Vec<Record> {
        let (mut news, mut rest): (Vec<&Known>, Vec<&Known>) =
            self.known.values().partition(|known| now.since(known.changed_at) < NEWS_FOR);
        news.sort_by_key(|known| core::cmp::Reverse(known.changed_at));
        // News alone never fills a heartbeat, so that the rest has its turn.
        rest.extend(news.split_off(news.len().min(GOSSIPED / 2)));
        let room = GOSSIPED - news.len();
        let first = usize::try_from(turn).unwrap_or(0).wrapping_mul(room);
        let next = (0..rest.len().min(room)).map(|at| rest[first.wrapping_add(at) % rest.len()]);
        news.iter().copied().chain(next).map(|known| known.told(now)).collect()
    }

    /// Records of what is new, newest first, and of what somebody may have missed who has last shown
    /// to hear what this node sent at `heard`.
    pub fn news(&self, now: Instant, heard: Option<Instant>) -> Vec<Record> {
        let is_news = |known: &&Known| {
            let missed = heard.is_none_or(|heard| heard <= known.changed_at);
            missed || now.since(known.changed_at) < NEWS_FOR
        };
        let mut news: Vec<&Known> = self.known.values().filter(is_news).collect();
        news.sort_by_key(|known| core::cmp::Reverse(known.changed_at));
        news.truncate(GOSSIPED);
        news.into_iter().map(|known| known.told(now)).collect()
    }

    /// Why an evacuation with these terms makes no sense here and now; empty if it does.
    pub fn refusals(
        directory: &Directory,
        from_sites: &[SiteId],
        from_hosts: &[NodeId],
        to: &[SiteId],
        deadline_ms: Option<u64>,
    ) -> Vec<String> {
        let mut reasons = Vec::new();
        if from_sites.is_empty() && from_hosts.is_empty() {
            reasons.push("nothing to evacuate is named: give at least one site or host".into());
        }
        if to.is_empty() {
            reasons.push("no destination is named: give at least one site".into());
        }
        for site in to {
            if from_sites.contains(site) {
                let name = directory.site_name(*site);
                reasons.push(alloc::format!(
                    "the destination {name} is itself to be evacuated: name another site"
                ));
            }
        }
        for host in from_hosts {
            if let Some(site) = directory.site_of(*host)
                && to.contains(&site)
            {
                reasons.push(alloc::format!(
                    "host {} stands in the destination site {}: name another site",
                    directory.name(*host),
                    directory.site_name(site)
                ));
            }
        }
        if from_hosts.len() > NAMED {
            reasons.push(alloc::format!(
                "{} hosts are named, and {NAMED} is the most: name their site instead, or evacuate some after the others",
                from_hosts.len()
            ));
        }
        if deadline_ms == Some(0) {
            reasons.push("the deadline is already past".into());
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, state: State) -> Record {
        Record {
            id: EvacuationId(id),
            initiator: NodeId(1),
            from_sites: alloc::vec![SiteId(1)],
            from_hosts: Vec::new(),
            to: alloc::vec![SiteId(2)],
            age_ms: 0,
            deadline_ms: None,
            state,
        }
    }

    #[test]
    fn who_slept_through_an_end_that_others_have_forgotten_does_not_revive_it() {
        let mut known = Evacuations::default();
        let newest = REMEMBERED as u64 + 1;
        for id in 1..=newest {
            assert!(known.merge(Instant(id), &record(id, State::Cancelled)));
        }
        assert!(known.get(EvacuationId(1)).is_none(), "it is one too many");
        assert!(!known.merge(Instant(newest), &record(1, State::Active)));
        assert!(known.active().is_empty());
        assert!(known.merge(Instant(newest), &record(newest + 1, State::Active)));
    }
}
