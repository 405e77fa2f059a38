//! Who is alive, and who has heard whom.
//!
//! Invariants:
//! - a peer's state only moves forward: by life, then by heartbeat number;
//! - *fresh echo*: [`Membership::fresh_echo`] holds only while the peer cannot yet have declared this
//!   node dead. The right to issue tokens rests on it (see [`crate::tokens::issuer`]).

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use crate::{
    config::Config,
    ids::{Incarnation, NodeId},
    message::{Echo, Heartbeat},
    time::{Instant, nanoseconds},
    tuning::{Constant, Name, Tuning},
};

/// Of one that speaks every so often: intervals of silence after which it is suspected.
const SUSPECTED_AFTER: u32 = 2;
/// Of one that speaks every so often: intervals of silence after which it counts as dead.
const DEAD_AFTER: u32 = 3;
/// How late a message may be besides.
const LATE: Duration = Duration::from_millis(500);
/// A round-trip time is a mean in which the newest sample counts for one of so many, as TCP's is (RFC 6298).
/// With fewer it follows each delay of a daemon, with more it follows a path that has changed for too long.
pub(crate) const ROUND_TRIPS_IN_MEAN: Constant<u32> = Name::RoundTripsInMean.of(8);

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
    pub heartbeat: Arc<Heartbeat>,
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
    /// Silence after which it is suspected: longer for one that has said to speak more rarely.
    suspect_after: Duration,
    /// Silence after which it counts as dead.
    dead_after: Duration,
}

impl Peer {
    /// After which moments it is suspected, and counts as dead, if it stays silent.
    fn thresholds(&self) -> [Instant; 2] {
        [self.heard_at + self.suspect_after, self.heard_at + self.dead_after]
    }
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
    /// When each peer becomes suspected, and when it counts as dead, if it stays silent.
    thresholds: BTreeSet<(Instant, NodeId)>,
    sent: VecDeque<(u64, Instant)>,
    tuning: Tuning,
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
            thresholds: BTreeSet::new(),
            sent: VecDeque::new(),
            tuning: config.tuning(),
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

    /// Takes in a peer's heartbeat that came as everyone gets it.
    ///
    /// # Errors
    /// [`Stale`], with nothing changed.
    pub fn heard(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: impl Into<Arc<Heartbeat>>,
    ) -> Result<(), Stale> {
        self.heard_every(now, from, heartbeat, Duration::ZERO)
    }

    /// Takes in a heartbeat of a peer that will speak again within `every`. Its silence is borne for
    /// longer than that of others, never for less.
    ///
    /// # Errors
    /// [`Stale`], with nothing changed.
    pub fn heard_every(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: impl Into<Arc<Heartbeat>>,
        every: Duration,
    ) -> Result<(), Stale> {
        let heartbeat = heartbeat.into();
        let known = self.peers.get(&from);
        if let Some(peer) = known {
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
        let echoed = echo.and_then(|echo| Some((echo, self.sent_at(echo.number)?)));
        let revived = known.is_some_and(|peer| peer.heartbeat.incarnation == heartbeat.incarnation);
        let continues =
            known.is_some_and(|peer| revived && now.since(peer.heard_at) <= peer.dead_after);
        let rarely = |intervals: u32| match every {
            Duration::ZERO => Duration::ZERO,
            every => every * intervals + LATE,
        };
        let suspect_after = self.suspect_after.max(rarely(SUSPECTED_AFTER));
        let dead_after = self.dead_after.max(rarely(DEAD_AFTER));
        let begun_anew = |heartbeat| Peer {
            heartbeat,
            heard_at: now,
            alive_since: now,
            revived,
            echoed_since: None,
            echo_sent_at: None,
            round_trip: None,
            suspect_after,
            dead_after,
        };
        let former = known.map(Peer::thresholds);
        for at in former.into_iter().flatten() {
            self.thresholds.remove(&(at, from));
        }
        let peer = match self.peers.entry(from) {
            Entry::Occupied(known) => {
                let peer = known.into_mut();
                if continues {
                    peer.heartbeat = heartbeat;
                    peer.heard_at = now;
                    (peer.suspect_after, peer.dead_after) = (suspect_after, dead_after);
                } else {
                    *peer = begun_anew(heartbeat);
                }
                peer
            }
            Entry::Vacant(new) => new.insert(begun_anew(heartbeat)),
        };
        if let Some((echo, sent_at)) = echoed {
            if sent_at >= peer.alive_since {
                peer.echoed_since.get_or_insert(now);
            }
            peer.echo_sent_at = peer.echo_sent_at.max(Some(sent_at));
            let held = Duration::from_micros(echo.held_us);
            let sample = now.since(sent_at).saturating_sub(held);
            let many = self.tuning.of(ROUND_TRIPS_IN_MEAN);
            let mean = |before: Duration| (before * (many - 1) + sample) / many;
            peer.round_trip = Some(peer.round_trip.map_or(sample, mean));
        }
        let thresholds = peer.thresholds();
        self.thresholds.extend(thresholds.map(|at| (at, from)));
        Ok(())
    }

    /// How a peer stands now. This node itself is always alive.
    pub fn liveness(&self, now: Instant, node: NodeId) -> Liveness {
        if node == self.me {
            return Liveness::Alive;
        }
        self.peers.get(&node).map_or(Liveness::Unseen, |peer| self.liveness_of(now, peer))
    }

    /// How a peer that was heard stands now.
    pub fn liveness_of(&self, now: Instant, peer: &Peer) -> Liveness {
        let silence = now.since(peer.heard_at);
        if peer.heartbeat.leaving {
            Liveness::Left
        } else if silence > peer.dead_after {
            Liveness::Dead
        } else if silence > peer.suspect_after {
            Liveness::Suspected
        } else {
            Liveness::Alive
        }
    }

    /// Whether a peer is counted on: alive or merely suspected.
    pub fn is_up(&self, now: Instant, node: NodeId) -> bool {
        is_up(self.liveness(now, node))
    }

    /// A peer, if it was ever heard.
    pub fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    /// All peers that are up.
    pub fn up(&self, now: Instant) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers
            .iter()
            .filter(move |(_, peer)| is_up(self.liveness_of(now, peer)))
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

    /// Whether a peer that had heard our heartbeat `number` cannot yet have declared us dead, however fast
    /// its clock runs.
    pub fn is_vouched(&self, now: Instant, number: u64) -> bool {
        self.sent_at(number).is_some_and(|sent_at| now.since(sent_at) < self.vouched_for)
    }

    /// Until when a peer that is up cannot have declared us dead: counted from the sending of what it
    /// echoed, or from when it came up. `None` if it is not up.
    pub fn vouched_until(&self, now: Instant, node: NodeId) -> Option<Instant> {
        let peer = self.peers.get(&node).filter(|peer| is_up(self.liveness_of(now, peer)))?;
        Some(self.vouched_by(peer))
    }

    /// Until when a peer that is up cannot have declared us dead.
    pub fn vouched_by(&self, peer: &Peer) -> Instant {
        peer.alive_since.max(peer.echo_sent_at.unwrap_or_default()) + self.vouched_for
    }

    /// Echoes for our next heartbeat to all: of all peers that are up.
    pub fn echoes(&self, now: Instant) -> Vec<Echo> {
        self.up(now).map(|(node, peer)| echo(now, node, peer)).collect()
    }

    /// The echo for a heartbeat to one peer, if that is up: nobody else has a use for it.
    pub fn echo_for(&self, now: Instant, node: NodeId) -> Option<Echo> {
        let peer = self.peers.get(&node).filter(|peer| is_up(self.liveness_of(now, peer)))?;
        Some(echo(now, node, peer))
    }

    /// When the next peer becomes suspected or dead if it stays silent.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        // What is past has been dealt with: it goes when its peer is heard again.
        let next = self.thresholds.range((now, NodeId(0))..).next();
        next.map(|(at, _)| *at + Duration::from_nanos(1))
    }
}

fn echo(now: Instant, node: NodeId, peer: &Peer) -> Echo {
    Echo {
        node,
        incarnation: peer.heartbeat.incarnation,
        number: peer.heartbeat.number,
        held_us: nanoseconds(now.since(peer.heard_at)) / 1000,
    }
}

fn is_up(liveness: Liveness) -> bool {
    matches!(liveness, Liveness::Alive | Liveness::Suspected)
}
