//! One node of the token protocol: the shipped membership, holder and issuer, and a clock.

use super::canonical::{NUMBERS_BACK, clock_start, index_of, life, node_id, numbers_start};
use lifeboat_protocol::{
    Config, Incarnation, Instant, NodeId,
    membership::Membership,
    message::{Echo, Heartbeat, HostReport, QueueReport},
    tokens::{
        Acceptance, Table,
        holder::Holder,
        issuer::{Issuer, Target},
    },
};
use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

/// Longer than any round trip: the model leaves round-trip times out, and this makes them zero.
const HELD_US: u64 = 1 << 40;

/// How many of its former life's numbers a player uses again.
const NUMBERS_AGAIN: u64 = 3;

/// What one player said to all, as far as tokens are concerned.
#[derive(Debug, Clone, Hash)]
pub(super) struct Said {
    pub(super) incarnation: Incarnation,
    pub(super) number: u64,
    pub(super) echoes: Vec<(NodeId, Incarnation, u64)>,
    pub(super) tables: Vec<Table>,
    pub(super) accepted: Vec<Acceptance>,
}

/// What a former life of a sender left with the carrier: it may be used until then.
#[derive(Debug, Clone, Copy, Hash)]
struct Left {
    tokens: u16,
    until: Instant,
}

/// A player that may hold tokens, or issue them, or be down.
#[derive(Debug, Clone)]
pub(super) struct Player {
    pub(super) index: usize,
    /// Players below this index send; the others issue.
    senders: usize,
    pub(super) now: Instant,
    pub(super) life: u64,
    pub(super) number: u64,
    pub(super) up: bool,
    pub(super) membership: Membership,
    pub(super) holder: Option<Holder>,
    pub(super) issuer: Option<Issuer>,
    left: Vec<Left>,
    /// When it sent the newest of its heartbeats that anybody heard, unless that was a lease ago:
    /// no right can run for longer.
    heard_sent_at: Option<Instant>,
}

impl Player {
    pub(super) fn new(index: usize, senders: usize, config: &Config) -> Self {
        let mut player = Self {
            index,
            senders,
            now: clock_start(index),
            life: 0,
            number: numbers_start(index),
            up: false,
            membership: Membership::new(node_id(index), life(0), config),
            holder: None,
            issuer: None,
            left: Vec::new(),
            heard_sent_at: None,
        };
        player.start(config);
        player
    }

    pub(super) fn id(&self) -> NodeId {
        node_id(self.index)
    }

    /// How many players send; they come first.
    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        life(self.life)
    }

    /// A new life without any memory.
    pub(super) fn start(&mut self, config: &Config) {
        self.life += 1;
        self.up = true;
        self.membership = Membership::new(self.id(), self.incarnation(), config);
        if self.index < self.senders {
            self.holder = Some(Holder::new(self.now, super::canonical::LINK, config));
        } else {
            self.issuer = Some(Issuer::new(super::canonical::LINK, config.lease_with_drift()));
        }
    }

    /// The daemon dies. The carrier goes on with what it was granted last.
    pub(super) fn crash(&mut self, config: &Config) {
        self.up = false;
        if let Some(holder) = self.holder.take()
            && let Some(until) = holder.usable_until(self.now)
        {
            self.left.push(Left { tokens: holder.usable(self.now), until });
        }
        self.issuer = None;
        self.membership = Membership::new(self.id(), self.incarnation(), config);
        // A life counts its heartbeats anew, so their numbers meet those of the former one. Here
        // they do so soon, however long that was.
        self.number -= NUMBERS_AGAIN;
    }

    /// Its clock goes on by `step`.
    pub(super) fn pass(&mut self, step: Duration, lease: Duration) {
        self.now = self.now + step;
        let now = self.now;
        self.left.retain(|left| left.until > now);
        self.heard_sent_at = self.heard_sent_at.filter(|sent_at| now.since(*sent_at) < lease);
    }

    /// What follows from anything that happened, as in the shipped node.
    pub(super) fn follow(&mut self, receivers: &[NodeId], targets: &[Target]) {
        let (now, me) = (self.now, self.id());
        if let Some(issuer) = &mut self.issuer {
            issuer.update_claims(now, me, receivers, &self.membership);
            issuer.issue(now, me, receivers, &self.membership, targets);
        }
    }

    pub(super) fn speak(&mut self) -> Said {
        self.number += 1;
        self.membership.sent(self.now, self.number);
        // Only issuers go by echoes.
        let echoes = match self.issuer {
            Some(_) => self.membership.echoes(self.now),
            None => Vec::new(),
        };
        Said {
            incarnation: self.incarnation(),
            number: self.number,
            echoes: echoes.iter().map(|echo| (echo.node, echo.incarnation, echo.number)).collect(),
            tables: self
                .issuer
                .iter()
                .map(|issuer| issuer.table())
                .filter(|table| table.version > 0)
                .cloned()
                .collect(),
            accepted: self
                .holder
                .as_mut()
                .map(|holder| holder.acceptances(self.now))
                .unwrap_or_default(),
        }
    }

    /// Hears what `from` said; whether that was news.
    pub(super) fn hear(&mut self, from: NodeId, said: &Said) -> bool {
        let me = (self.id(), self.incarnation());
        let issues = self.issuer.is_some();
        let echoes = said.echoes.iter().filter(|(node, _, _)| issues && *node == me.0);
        let heartbeat = Heartbeat {
            incarnation: said.incarnation,
            number: said.number,
            leaving: false,
            echoes: echoes
                .map(|(node, incarnation, number)| Echo {
                    node: *node,
                    incarnation: *incarnation,
                    number: *number,
                    held_us: HELD_US,
                })
                .collect(),
            host: HostReport::default(),
            links: Vec::new(),
            queue: QueueReport::default(),
            tables: Vec::new(),
            accepted: Vec::new(),
            capacities: Vec::new(),
            evacuations: Vec::new(),
        };
        if self.membership.heard(self.now, from, heartbeat).is_err() {
            return false;
        }
        if let Some(issuer) = &mut self.issuer {
            for accepted in &said.accepted {
                issuer.accepted(from, me, accepted);
            }
        }
        if let Some(holder) = &mut self.holder {
            for table in &said.tables {
                // One that is older than the one gone by is not taken; that is all.
                let issuer = (from, said.incarnation);
                let _ = holder.take(self.now, issuer, table, me, &self.membership);
            }
        }
        true
    }

    /// Whether it would refuse this as old.
    pub(super) fn knows(&self, from: NodeId, said: &Said) -> bool {
        self.membership.peer(from).is_some_and(|peer| {
            (peer.heartbeat.incarnation, peer.heartbeat.number) >= (said.incarnation, said.number)
        })
    }

    /// Somebody heard its heartbeat `number` of the life `incarnation`.
    pub(super) fn was_heard(&mut self, incarnation: Incarnation, number: u64) {
        if incarnation == self.incarnation() && self.up {
            self.heard_sent_at = self.heard_sent_at.max(self.membership.sent_at(number));
        }
    }

    /// Tokens that bytes may flow by now: the daemon's, or those that a former life left with the
    /// carrier.
    pub(super) fn usable(&self) -> u16 {
        let held = self.holder.as_ref().map_or(0, |holder| holder.usable(self.now));
        self.left.iter().map(|left| left.tokens).fold(held, u16::max)
    }

    /// Whether a lease has passed since it sent the last heartbeat that anybody heard.
    pub(super) fn has_no_right(&self) -> bool {
        self.heard_sent_at.is_none()
    }

    /// Whether what it uses, if anything, rests on a heartbeat of its own that was heard, and that
    /// it sent less than a lease ago.
    pub(super) fn uses_only_valid(&self) -> bool {
        self.usable() == 0 || !self.has_no_right()
    }
}

/// Everything that a player's future depends on. Of the membership, which is large, only what
/// tokens depend on: the senders' liveness is the issuers' business alone, and echoes are the
/// issuers' among themselves. Issuers' heartbeats pass between issuers in the tick in which they are
/// said, so that the time of hearing one says which it was; what a sender knows of them, it knows of
/// those that may still arrive, which the state hashes.
impl Hash for Player {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let sends = self.index < self.senders;
        (self.now, self.up).hash(state);
        state.write_u8(self.life as u8);
        (&self.holder, &self.issuer, &self.left, self.heard_sent_at).hash(state);
        for number in (self.number - NUMBERS_BACK..=self.number).filter(|_| sends) {
            self.membership.sent_at(number).hash(state);
        }
        for (node, peer) in self.membership.peers() {
            (node, peer.heartbeat.incarnation).hash(state);
            let up = self.membership.is_up(self.now, node);
            up.hash(state);
            if index_of(node) < self.senders {
                peer.heartbeat.number.hash(state);
                up.then_some(peer.heard_at).hash(state);
            } else if up && !sends {
                (peer.heard_at, peer.alive_since).hash(state);
                (peer.echoed_since, peer.echo_sent_at).hash(state);
            }
        }
    }
}
