//! Who is alive, and who has heard whom.
//!
//! Invariants:
//! - a peer's state only moves forward: by life, then by heartbeat number;
//! - *fresh echo*: [`Membership::fresh_echo`] holds only while the peer cannot yet have declared this
//!   node dead. The right to issue tokens rests on it (see [`crate::tokens::issuer`]).

use alloc::{collections::BTreeMap, collections::VecDeque, vec::Vec};
use core::time::Duration;

use crate::{
    config::Config,
    ids::{Incarnation, NodeId},
    message::{Echo, Heartbeat},
    time::{Instant, nanoseconds},
};

/// How a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heard lately.
    Alive,
    /// Silent for a while, still counted on.
    Suspected,
    /// Silent for too long.
    Dead,
    /// It said that it leaves.
    Left,
    /// Never heard in this life of ours.
    Unseen,
}

/// A peer as last heard.
#[derive(Debug, Clone, Hash)]
pub struct Peer {
    /// Its newest heartbeat.
    pub heartbeat: Heartbeat,
    /// When that was heard.
    pub heard_at: Instant,
    /// Since when it has been alive without a break.
    pub alive_since: Instant,
    /// Whether this very life of it counted as dead before that: it may have taken over meanwhile.
    pub revived: bool,
    /// When it first echoed a heartbeat that this life of ours sent after `alive_since`: an older
    /// one, in a message that waited somewhere, does not show that it hears us now.
    pub echoed_since: Option<Instant>,
    /// The newest of our heartbeats that it echoed, by when we sent it.
    pub echo_sent_at: Option<Instant>,
    /// Smoothed round-trip time.
    pub round_trip: Option<Duration>,
}

/// Why a heartbeat changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// It is of a former life.
    FormerLife,
    /// It is older than, or the same as, one heard before.
    OldNumber,
}

/// All peers as this node knows them.
#[derive(Debug, Clone, Hash)]
pub struct Membership {
    me: NodeId,
    incarnation: Incarnation,
    dead_after: Duration,
    vouched_for: Duration,
    suspect_after: Duration,
    keep_sent: Duration,
    peers: BTreeMap<NodeId, Peer>,
    sent: VecDeque<(u64, Instant)>,
}

impl Membership {
    /// Of a node that has heard nobody yet.
    pub fn new(me: NodeId, incarnation: Incarnation, config: &Config) -> Self {
        Self {
            me,
            incarnation,
            dead_after: config.dead_after,
            vouched_for: config.dead_after * 1000 / (1000 + config.drift_permille),
            suspect_after: config.suspect_after,
            keep_sent: config.dead_after + config.lease,
            peers: BTreeMap::new(),
            sent: VecDeque::new(),
        }
    }

    /// Notes that our heartbeat `number` is sent now.
    pub fn sent(&mut self, now: Instant, number: u64) {
        while self.sent.front().is_some_and(|(_, at)| now.since(*at) > self.keep_sent) {
            self.sent.pop_front();
        }
        self.sent.push_back((number, now));
    }

    /// When our heartbeat `number` was sent, unless that is too long ago to matter.
    pub fn sent_at(&self, number: u64) -> Option<Instant> {
        let index = self.sent.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.sent[index].1)
    }

    /// Takes in a peer's heartbeat.
    ///
    /// # Errors
    /// [`Stale`], with nothing changed.
    pub fn heard(&mut self, now: Instant, from: NodeId, heartbeat: Heartbeat) -> Result<(), Stale> {
        if let Some(peer) = self.peers.get(&from) {
            if heartbeat.incarnation < peer.heartbeat.incarnation {
                return Err(Stale::FormerLife);
            }
            if heartbeat.incarnation == peer.heartbeat.incarnation
                && heartbeat.number <= peer.heartbeat.number
            {
                return Err(Stale::OldNumber);
            }
        }
        let echo = heartbeat
            .echoes
            .iter()
            .find(|echo| echo.node == self.me && echo.incarnation == self.incarnation)
            .copied();
        let continues = self.peers.get(&from).is_some_and(|peer| {
            peer.heartbeat.incarnation == heartbeat.incarnation
                && now.since(peer.heard_at) <= self.dead_after
        });
        let known = self.peers.remove(&from);
        let life = known.as_ref().map(|peer| peer.heartbeat.incarnation);
        let revived = life == Some(heartbeat.incarnation);
        let before = known.filter(|_| continues);
        let mut peer = before.unwrap_or(Peer {
            heartbeat: heartbeat.clone(),
            heard_at: now,
            alive_since: now,
            revived,
            echoed_since: None,
            echo_sent_at: None,
            round_trip: None,
        });
        peer.heard_at = now;
        peer.heartbeat = heartbeat;
        if let Some(sent_at) = echo.and_then(|echo| self.sent_at(echo.number)) {
            if sent_at >= peer.alive_since {
                peer.echoed_since.get_or_insert(now);
            }
            peer.echo_sent_at = peer.echo_sent_at.max(Some(sent_at));
            let held = Duration::from_micros(echo.map_or(0, |echo| echo.held_us));
            let sample = now.since(sent_at).saturating_sub(held);
            peer.round_trip =
                Some(peer.round_trip.map_or(sample, |smooth| (smooth * 7 + sample) / 8));
        }
        self.peers.insert(from, peer);
        Ok(())
    }

    /// How a peer stands now. This node itself is always alive.
    pub fn liveness(&self, now: Instant, node: NodeId) -> Liveness {
        if node == self.me {
            return Liveness::Alive;
        }
        let Some(peer) = self.peers.get(&node) else { return Liveness::Unseen };
        let silence = now.since(peer.heard_at);
        if peer.heartbeat.leaving {
            Liveness::Left
        } else if silence > self.dead_after {
            Liveness::Dead
        } else if silence > self.suspect_after {
            Liveness::Suspected
        } else {
            Liveness::Alive
        }
    }

    /// Whether a peer is counted on: alive or merely suspected.
    pub fn is_up(&self, now: Instant, node: NodeId) -> bool {
        matches!(self.liveness(now, node), Liveness::Alive | Liveness::Suspected)
    }

    /// A peer, if it was ever heard.
    pub fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    /// All peers that are up.
    pub fn up(&self, now: Instant) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers
            .iter()
            .filter(move |(node, _)| self.is_up(now, **node))
            .map(|(node, peer)| (*node, peer))
    }

    /// All peers ever heard.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(node, peer)| (*node, peer))
    }

    /// Whether a peer has lately echoed this life of ours: however fast its clock runs, it cannot
    /// have declared us dead before our clock says `dead_after`, less the drift allowance, past the
    /// sending of what it echoed.
    pub fn fresh_echo(&self, now: Instant, node: NodeId) -> bool {
        self.peers
            .get(&node)
            .and_then(|peer| peer.echo_sent_at)
            .is_some_and(|sent_at| now.since(sent_at) < self.vouched_for)
    }

    /// Until when a peer that is up cannot have declared us dead: counted from the sending of what it
    /// echoed, or from when it came up. `None` if it is not up.
    pub fn vouched_until(&self, now: Instant, node: NodeId) -> Option<Instant> {
        let peer = self.peers.get(&node).filter(|_| self.is_up(now, node))?;
        let vouched_at = peer.alive_since.max(peer.echo_sent_at.unwrap_or_default());
        Some(vouched_at + self.vouched_for)
    }

    /// Echoes for our next heartbeat: of all peers that are up.
    pub fn echoes(&self, now: Instant) -> Vec<Echo> {
        self.up(now)
            .map(|(node, peer)| Echo {
                node,
                incarnation: peer.heartbeat.incarnation,
                number: peer.heartbeat.number,
                held_us: nanoseconds(now.since(peer.heard_at)) / 1000,
            })
            .collect()
    }

    /// When the next peer becomes suspected or dead if it stays silent.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.peers
            .values()
            .flat_map(|peer| [peer.heard_at + self.suspect_after, peer.heard_at + self.dead_after])
            .map(|at| at + Duration::from_nanos(1))
            .filter(|at| *at > now)
            .min()
    }
}
