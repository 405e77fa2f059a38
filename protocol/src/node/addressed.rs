//! What this node says to whom in a large cluster.
//!
//! In a cluster of more than [`crate::Config::mesh`] nodes, heartbeats that everyone hears would grow
//! with its square. There each site has *stewards*, the same few nodes in everybody's eyes. They issue
//! the tokens of the links that lead to their site, and know its hosts. A node speaks to
//! - the stewards of its own site: rarely, and often while anything flows to it;
//! - the issuers of the links that lead away, while it has something to move: often to the one that
//!   estimates the link while it has tokens or a share, more rarely to the others, which renew its
//!   leases, and rarely while it waits;
//! - the other ends of its moves;
//! - as a steward, to the other issuers of its links as often as nodes of a small cluster do.
//!
//! Whoever is spoken to answers. Evacuations are told to all stewards by the node at which they are
//! asked for, and by each steward to all that it knows, at once.
//!
//! Invariants: what a lease, a confirmation and an echo rest on is the same as in a small cluster.
//! Numbers of heartbeats are of the speaker, not of a pair, and each number was sent at one moment.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::Node;
use crate::{
    audience::Turn,
    effects::Effects,
    ids::{LinkId, NodeId, SiteId},
    membership::Liveness,
    message::{Addressed, CapacityGossip, Heartbeat, LinkReport, Message, QueueReport},
    output::Output,
    time::{Instant, milliseconds},
    tokens::{Acceptance, Entry, Table},
    wire,
};

/// How long the node at which an evacuation is asked for tells it to all stewards.
const TELL_ALL_FOR: Duration = Duration::from_secs(5);
/// Time after which a node sees anew to whom it wants to speak, if nothing made it do so earlier.
const WISH_EVERY: Duration = Duration::from_millis(100);
/// Longest interval between heartbeats that is believed.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
/// Intervals up to which somebody counts as concerned by urgent news.
const CONCERNED: Duration = Duration::from_secs(1);

impl Node {
    /// Whether the cluster is too large for everyone to tell everyone everything.
    pub(crate) fn is_large(&self) -> bool {
        self.directory.len() > self.config.mesh
    }

    pub(super) fn stewards(&self, site: SiteId) -> &[NodeId] {
        self.directory.stewards(site, self.config.stewards)
    }

    pub(super) fn is_steward(&self, node: NodeId) -> bool {
        let site = self.directory.site_of(node);
        site.is_some_and(|site| self.stewards(site).contains(&node))
    }

    /// The nodes that may issue a link's tokens: all at its receiving end, or its stewards.
    pub(super) fn candidates(&self, link: LinkId) -> Vec<NodeId> {
        if !self.is_large() {
            return self.directory.receivers(link).to_vec();
        }
        let sites = self.directory.link(link).map_or(&[][..], |entry| &entry.to);
        let mut all: Vec<NodeId> =
            sites.iter().flat_map(|site| self.stewards(*site)).copied().collect();
        all.sort_unstable();
        all
    }

    /// Whether the silence of a node says anything: whether it ought to speak to this one.
    pub(crate) fn expects(&self, node: NodeId) -> bool {
        if !self.is_large() || self.audience.wishes(node) {
            return true;
        }
        let near = self.directory.site_of(node) == Some(self.site);
        near && (self.stewards(self.site).contains(&self.me) || self.is_steward(node))
    }

    /// How a node stands, as far as this one can know: nodes that had a reason to speak to it once
    /// and have none now are not known to be dead.
    pub(crate) fn standing(&self, now: Instant, node: NodeId) -> Liveness {
        match self.membership.liveness(now, node) {
            Liveness::Dead | Liveness::Suspected if !self.expects(node) => Liveness::Unseen,
            liveness => liveness,
        }
    }

    /// Since when a node has been silent that ought to speak to this one.
    pub(super) fn silent_since(&self, node: NodeId) -> Instant {
        let heard_at = self.membership.peer(node).map_or(self.started_at, |peer| peer.heard_at);
        let since = self.partners.get(&node).copied();
        heard_at.max(since.filter(|_| self.is_large()).unwrap_or_default())
    }

    /// Takes in a heartbeat that was for this node alone.
    pub(super) fn heard_addressed(
        &mut self,
        now: Instant,
        from: NodeId,
        said: Addressed,
        fx: &mut Effects,
    ) {
        let every = Duration::from_millis(said.every_ms.into()).min(LONGEST_INTERVAL);
        // Most of what a steward hears changes nothing of whom it speaks to.
        self.wishes_stale = !said.advice.is_empty() || !said.heartbeat.tables.is_empty();
        if !self.heard_every(now, from, said.heartbeat, every, fx) {
            return;
        }
        let wanted = Duration::from_millis(said.wanted_ms.into()).min(LONGEST_INTERVAL);
        let wanted = Some(wanted.max(self.config.busy_heartbeat)).filter(|_| said.wanted_ms > 0);
        self.audience.heard(now, from, wanted);
        for advice in said.advice {
            let issues =
                self.candidates.get(&advice.link).is_some_and(|nodes| nodes.contains(&from));
            if issues && self.holders.contains_key(&advice.link) {
                self.take_advice(now, advice);
            }
        }
    }

    /// An evacuation was asked for, or cancelled, here.
    pub(super) fn tell_all_stewards(&mut self, now: Instant) {
        self.tells_all_until = now + TELL_ALL_FOR;
    }

    /// Something is new that all whom this node speaks to have to know.
    pub(super) fn hurry_all(&mut self, now: Instant) {
        for node in self.audience.all() {
            self.audience.hurry(now, node);
        }
    }

    /// Whom this node wants to speak to now, and how often.
    fn wishes(&self, now: Instant) -> BTreeMap<NodeId, Duration> {
        let mut wishes = BTreeMap::new();
        let mut wish = |node: NodeId, every: Duration| {
            if node != self.me {
                let known = wishes.entry(node).or_insert(every);
                *known = every.min(*known);
            }
        };
        let (often, rarely) = (self.config.busy_heartbeat, self.config.distant_heartbeat);
        let flows = |link: LinkId| {
            let sample = self.samples.get(now, link);
            sample.is_some_and(|sample| sample.sent.0 > 0 || sample.arrived.0 > 0)
        };
        let steward = self.stewards(self.site).contains(&self.me);
        let moves_here = self.arrivals.all().next().is_some();
        for node in self.stewards(self.site) {
            wish(*node, if moves_here { self.config.waiting_heartbeat } else { rarely });
        }
        if steward {
            for (site, _) in self.directory.sites().filter(|(site, _)| *site != self.site) {
                self.stewards(site).iter().for_each(|node| wish(*node, rarely));
            }
        }
        for link in self.issuers.keys() {
            let nodes = self.candidates.get(link).into_iter().flatten();
            nodes.for_each(|node| wish(*node, self.pace()));
        }
        // What arrives is reported to whoever estimates the link.
        for (link, candidates) in &self.candidates {
            if flows(*link) && self.directory.is_receiver(*link, self.me) {
                if let Some(lead) = self.lead(now, *link) {
                    wish(lead, often);
                }
                candidates.iter().for_each(|node| wish(*node, self.config.waiting_heartbeat));
            }
        }
        let leaves = self.destinations();
        for link in self.holders.keys() {
            let to = self.directory.link(*link).map_or(&[][..], |entry| &entry.to);
            let towards = |sites: &[SiteId]| to.iter().any(|site| sites.contains(site));
            let waits = leaves.as_ref().is_some_and(|sites| towards(sites)) && self.has_to_move();
            let departs = self.departures.all().any(|one| one.link == *link);
            let takes_part = departs
                || flows(*link)
                || self.usable_tokens(now, *link) > 0
                || waits && self.is_advised(now, *link);
            let every = if takes_part { CONCERNED } else { self.config.waiting_heartbeat };
            if !takes_part && !waits {
                continue;
            }
            for node in self.candidates.get(link).into_iter().flatten() {
                wish(*node, every);
            }
            if let Some(lead) = self.lead(now, *link).filter(|_| takes_part) {
                wish(lead, often);
            }
        }
        for node in self.partners.keys() {
            wish(*node, self.config.heartbeat);
        }
        if now < self.tells_all_until {
            for (site, _) in self.directory.sites() {
                self.stewards(site).iter().for_each(|node| wish(*node, CONCERNED));
            }
        }
        wishes
    }

    /// How often issuers of one link speak to each other.
    fn pace(&self) -> Duration {
        let granted = self.issuers.values().any(|issuer| !issuer.table().entries.is_empty());
        if granted { self.config.busy_heartbeat } else { self.config.heartbeat }
    }

    /// Whether there is a VM here that has to leave.
    fn has_to_move(&self) -> bool {
        !self.vms.is_empty() || self.departures.all().next().is_some()
    }

    /// Keeps note of the other ends of this node's moves, and since when they are that.
    fn note_partners(&mut self, now: Instant) {
        let to = self.departures.all().map(|departure| departure.to);
        let from = self.arrivals.all().map(|arrival| arrival.id.source);
        let before = core::mem::take(&mut self.partners);
        self.partners =
            to.chain(from).map(|node| (node, before.get(&node).copied().unwrap_or(now))).collect();
    }

    /// Speaks to whoever is due.
    pub(super) fn speak_to_each(&mut self, now: Instant, fx: &mut Effects) {
        if core::mem::take(&mut self.wishes_stale) || now >= self.wished_at + WISH_EVERY {
            self.wished_at = now;
            self.note_partners(now);
            let wishes = self.wishes(now);
            self.audience.wish(now, wishes);
        }
        if core::mem::take(&mut self.heartbeat_urgent) {
            for node in self.audience.wished_within(CONCERNED) {
                self.audience.hurry(now, node);
            }
            if self.leaving {
                self.hurry_all(now);
            }
        }
        let turns = self.audience.take_due(now, |node| self.membership.is_up(now, node));
        if turns.is_empty() {
            return;
        }
        self.heartbeat_number += 1;
        self.heartbeat_at = now;
        self.membership.sent(now, self.heartbeat_number);
        let queue = self.queue_report(now);
        let accepted = self.acceptances(now);
        let links = self.own_link_reports(now);
        for turn in turns {
            let said = self.compose_for(now, &turn, &queue, &accepted, &links);
            fx.out(Output::Send { to: turn.to, bytes: wire::encode(&Message::Addressed(said)) });
        }
    }

    fn compose_for(
        &self,
        now: Instant,
        turn: &Turn,
        queue: &QueueReport,
        accepted: &[Acceptance],
        links: &[LinkReport],
    ) -> Addressed {
        let to = turn.to;
        let site = self.directory.site_of(to).unwrap_or(self.site);
        let issues =
            |link: LinkId| self.candidates.get(&link).is_some_and(|nodes| nodes.contains(&to));
        let concerned = self.holders.keys().any(|link| issues(*link));
        let rare = turn.every >= CONCERNED || turn.before.is_none();
        let heartbeat = Heartbeat {
            incarnation: self.incarnation,
            number: self.heartbeat_number,
            leaving: self.leaving,
            echoes: self.membership.echo_for(now, to).into_iter().collect(),
            host: self.host_report(),
            links: links.iter().copied().filter(|report| issues(report.link)).collect(),
            queue: if concerned { queue.clone() } else { QueueReport::default() },
            tables: self.tables_for(to, site),
            accepted: accepted.iter().filter(|one| one.issuer == to).cloned().collect(),
            capacities: self.capacities_for(site),
            evacuations: if rare {
                self.evacuations.gossip(now, self.heartbeat_number)
            } else {
                let heard = self.membership.peer(to).and_then(|peer| peer.echo_sent_at);
                self.evacuations.news(now, heard)
            },
        };
        let ms = |span: Duration| u32::try_from(milliseconds(span)).unwrap_or(u32::MAX);
        let (every_ms, wanted_ms) = (ms(turn.every), turn.wanted.map_or(0, ms));
        Addressed { heartbeat, every_ms, wanted_ms, advice: self.advice_for(now, to) }
    }

    /// This node's tables as far as they concern one sender.
    fn tables_for(&self, to: NodeId, site: SiteId) -> Vec<Table> {
        let mut tables = Vec::new();
        for (link, issuer) in &self.issuers {
            let table = issuer.table();
            if table.version == 0 || self.directory.link(*link).is_none_or(|one| one.from != site) {
                continue;
            }
            let own = |entry: &&Entry| entry.sender == to;
            let entries = table.entries.iter().filter(own).copied().collect();
            tables.push(Table {
                link: *link,
                version: table.version,
                slices: table.slices,
                entries,
            });
        }
        tables
    }

    /// What was learnt of the links that touch a site.
    fn capacities_for(&self, site: SiteId) -> Vec<CapacityGossip> {
        let touches = |link: LinkId| {
            let entry = self.directory.link(link);
            entry.is_some_and(|entry| entry.from == site || entry.to.contains(&site))
        };
        let known = self.capacities.iter().map(|(link, capacity)| capacity.gossip(*link));
        known.filter(|gossip| gossip.epoch > 0 && touches(gossip.link)).collect()
    }
}
