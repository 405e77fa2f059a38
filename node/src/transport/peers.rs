//! Who is listed, who is connected, and whom to dial when. Decides; touches no socket.
//!
//! - Every listed peer is dialled until it is connected, with growing pauses, for ever. Of two
//!   nodes the one with the lesser name begins; the other joins in after a moment, so that contact
//!   returns even where only one direction can be dialled.
//! - A connection that has been silent for too long is given up, and so is everything that still
//!   lies in it: a node that was paused must not act on what it was told before.
//! - A peer dials only when it has no connection. When one dials in beside a connection that is
//!   not new, the peer has lost that one: all are closed, and both begin anew.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// Two connections made within this time are both ends dialling at once, which is harmless.
const SIMULTANEOUS: Duration = Duration::from_secs(4);

/// The pace of dialling and of giving up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A connection that is silent for longer is given up.
    pub(super) silence: Duration,
    /// First pause between attempts.
    pub(super) redial_min: Duration,
    /// Longest pause between attempts.
    pub(super) redial_max: Duration,
    /// How long the node with the greater name lets the other dial.
    pub(super) courtesy: Duration,
}

#[derive(Debug)]
pub(super) struct PeerTable {
    me: String,
    pace: Pace,
    peers: HashMap<PeerId, PeerState>,
    ids: BTreeMap<String, PeerId>,
}

#[derive(Debug)]
struct PeerState {
    name: String,
    addresses: Vec<Multiaddr>,
    we_begin: bool,
    connections: BTreeMap<ConnectionId, Connection>,
    /// It listens to broadcasts on a connection that still counts.
    up: bool,
    /// When the last broadcast that it wrote came, whoever carried it.
    spoke: Option<Instant>,
    dialling: bool,
    next_dial: Instant,
    pause: Duration,
}

#[derive(Debug)]
struct Connection {
    since: Instant,
    heard: Instant,
    closing: bool,
}

/// What has changed, for the daemon to know and the driver to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) close: Vec<ConnectionId>,
    pub(super) down: Vec<String>,
}

impl PeerTable {
    pub(super) fn new(
        me: &str,
        peers: impl Iterator<Item = (String, PeerId, Vec<Multiaddr>)>,
        pace: Pace,
        now: Instant,
    ) -> Self {
        let mut table =
            Self { me: me.to_owned(), pace, peers: HashMap::new(), ids: BTreeMap::new() };
        for (name, id, addresses) in peers {
            let we_begin = me < name.as_str();
            table.ids.insert(name.clone(), id);
            let state = PeerState {
                name,
                addresses,
                we_begin,
                connections: BTreeMap::new(),
                up: false,
                dialling: false,
                spoke: None,
                next_dial: if we_begin { now } else { now + pace.courtesy },
                pause: pace.redial_min,
            };
            table.peers.insert(id, state);
        }
        table
    }

    /// This node's name.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// A broadcast that a peer wrote has come.
    pub(super) fn spoke(&mut self, id: &PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.spoke = Some(now);
        }
    }

    /// Whether a peer is alive, and others hear it: its broadcasts come, by whatever way.
    pub(super) fn heard_through_others(&self, name: &str, now: Instant) -> bool {
        let peer = self.ids.get(name).and_then(|id| self.peers.get(id));
        peer.and_then(|peer| peer.spoke)
            .is_some_and(|spoke| now.saturating_duration_since(spoke) <= self.pace.silence)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    pub(super) fn name(&self, id: &PeerId) -> Option<&str> {
        self.peers.get(id).map(|peer| peer.name.as_str())
    }

    /// The peer of this name, if there is a connection to send on.
    pub(super) fn reachable(&self, name: &str) -> Option<PeerId> {
        let id = self.ids.get(name)?;
        self.is_live(id).then_some(*id)
    }

    /// Whether the peer has a connection that still counts.
    pub(super) fn is_live(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(PeerState::is_live)
    }

    /// Whether this connection still counts.
    pub(super) fn is_live_connection(&self, id: &PeerId, connection: ConnectionId) -> bool {
        self.peers
            .get(id)
            .and_then(|peer| peer.connections.get(&connection))
            .is_some_and(|connection| !connection.closing)
    }

    /// Whom to dial now, and where. Each is taken to be dialled from here on.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let max = self.pace.redial_max;
        let due = self.peers.iter_mut().filter(|(_, peer)| {
            peer.connections.is_empty() && !peer.dialling && peer.next_dial <= now
        });
        due.map(|(id, peer)| {
            peer.dialling = true;
            peer.next_dial = now + peer.pause;
            peer.pause = (peer.pause * 2).min(max);
            (*id, peer.addresses.clone())
        })
        .collect()
    }

    pub(super) fn dial_failed(&mut self, id: &PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.dialling = false;
        }
    }

    pub(super) fn connected(
        &mut self,
        id: &PeerId,
        connection: ConnectionId,
        outgoing: bool,
        now: Instant,
    ) -> Changes {
        let Some(peer) = self.peers.get_mut(id) else {
            return Changes { close: vec![connection], down: vec![] };
        };
        if outgoing {
            peer.dialling = false;
        }
        let lost = peer.connections.values().any(|old| now - old.since > SIMULTANEOUS);
        let fresh = Connection { since: now, heard: now, closing: false };
        peer.connections.insert(connection, fresh);
        let mut changes = Changes::default();
        if lost {
            peer.give_up(&mut changes);
        }
        changes
    }

    pub(super) fn closed(
        &mut self,
        id: &PeerId,
        connection: ConnectionId,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        let Some(peer) = self.peers.get_mut(id) else { return changes };
        peer.connections.remove(&connection);
        peer.note_down(&mut changes);
        if peer.connections.is_empty() {
            let wait = if peer.we_begin { self.pace.redial_min } else { self.pace.courtesy };
            peer.next_dial = peer.next_dial.max(now + wait);
        }
        changes
    }

    /// The other end answered on this connection.
    pub(super) fn heard(&mut self, id: &PeerId, connection: ConnectionId, now: Instant) {
        let peer = self.peers.get_mut(id);
        if let Some(connection) = peer.and_then(|peer| peer.connections.get_mut(&connection)) {
            connection.heard = now;
        }
    }

    /// The other end listens to broadcasts; its name if that is news.
    pub(super) fn subscribed(&mut self, id: &PeerId) -> Option<String> {
        let min = self.pace.redial_min;
        let peer = self.peers.get_mut(id).filter(|peer| !peer.up && peer.is_live())?;
        peer.up = true;
        peer.pause = min;
        Some(peer.name.clone())
    }

    /// Gives up connections on which nobody answered, and peers that connected but never listened.
    pub(super) fn give_up_silent(&mut self, now: Instant) -> Changes {
        let silence = self.pace.silence;
        let mut changes = Changes::default();
        for peer in self.peers.values_mut() {
            for (id, connection) in &mut peer.connections {
                if !connection.closing && now.saturating_duration_since(connection.heard) > silence
                {
                    connection.closing = true;
                    changes.close.push(*id);
                }
            }
            let deaf = !peer.up
                && peer
                    .connections
                    .values()
                    .any(|connection| now.saturating_duration_since(connection.since) > silence);
            if deaf {
                peer.give_up(&mut changes);
            }
            peer.note_down(&mut changes);
        }
        changes
    }
}

impl PeerState {
    fn is_live(&self) -> bool {
        self.connections.values().any(|connection| !connection.closing)
    }

    fn give_up(&mut self, changes: &mut Changes) {
        for (id, connection) in &mut self.connections {
            if !connection.closing {
                connection.closing = true;
                changes.close.push(*id);
            }
        }
        self.note_down(changes);
    }

    fn note_down(&mut self, changes: &mut Changes) {
        if self.up && !self.is_live() {
            self.up = false;
            changes.down.push(self.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        silence: Duration::from_secs(3),
        redial_min: Duration::from_millis(200),
        redial_max: Duration::from_secs(2),
        courtesy: Duration::from_secs(1),
    };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn table(me: &str, peer: &str, now: Instant) -> (PeerTable, PeerId) {
        let id = PeerId::random();
        let listed = std::iter::once((peer.to_owned(), id, vec![]));
        (PeerTable::new(me, listed, PACE, now), id)
    }

    #[test]
    fn the_lesser_name_begins_and_the_other_joins_in() {
        let now = Instant::now();
        let (mut lesser, _) = table("a", "b", now);
        let (mut greater, _) = table("b", "a", now);
        assert_eq!(lesser.due(now).len(), 1);
        assert_eq!(greater.due(now).len(), 0);
        assert_eq!(greater.due(now + secs(1)).len(), 1);
    }

    #[test]
    fn dialling_goes_on_for_ever_with_growing_pauses() {
        let start = Instant::now();
        let (mut table, id) = table("a", "b", start);
        let mut attempts = vec![];
        for step in 0..200 {
            let now = start + ms(50) * step;
            if !table.due(now).is_empty() {
                attempts.push((now - start).as_millis());
                table.dial_failed(&id);
            }
        }
        assert_eq!(attempts, [0, 200, 600, 1400, 3000, 5000, 7000, 9000]);
    }

    #[test]
    fn a_peer_is_up_once_it_listens_and_down_when_its_last_connection_goes() {
        let now = Instant::now();
        let (mut table, id) = table("a", "b", now);
        table.due(now);
        assert_eq!(table.connected(&id, connection(1), true, now), Changes::default());
        assert_eq!(table.connected(&id, connection(2), false, now + secs(1)), Changes::default());
        assert_eq!(table.subscribed(&id), Some("b".to_owned()));
        assert_eq!(table.subscribed(&id), None);
        assert_eq!(table.reachable("b"), Some(id));
        assert_eq!(table.closed(&id, connection(1), now), Changes::default());
        let changes = table.closed(&id, connection(2), now);
        assert_eq!(changes.down, ["b"]);
        assert_eq!(table.reachable("b"), None);
        assert_eq!(table.due(now).len(), 0);
        assert_eq!(table.due(now + ms(200)).len(), 1);
    }

    #[test]
    fn silence_ends_a_connection_at_once_and_it_is_dialled_again_when_it_is_gone() {
        let now = Instant::now();
        let (mut table, id) = table("a", "b", now);
        table.due(now);
        table.connected(&id, connection(1), true, now);
        table.subscribed(&id);
        table.heard(&id, connection(1), now + secs(2));
        assert_eq!(table.give_up_silent(now + secs(5)), Changes::default());
        let changes = table.give_up_silent(now + ms(5_001));
        assert_eq!((changes.close, changes.down), (vec![connection(1)], vec!["b".to_owned()]));
        assert!(!table.is_live_connection(&id, connection(1)));
        assert_eq!(table.give_up_silent(now + secs(6)), Changes::default());
        assert_eq!(table.due(now + secs(6)).len(), 0);
        table.closed(&id, connection(1), now + secs(6));
        assert_eq!(table.due(now + ms(6_200)).len(), 1);
    }

    #[test]
    fn a_peer_that_connects_but_never_listens_is_given_up() {
        let now = Instant::now();
        let (mut table, id) = table("a", "b", now);
        table.connected(&id, connection(1), false, now);
        table.heard(&id, connection(1), now + secs(3));
        let changes = table.give_up_silent(now + ms(3_001));
        assert_eq!((changes.close, changes.down), (vec![connection(1)], vec![]));
    }

    #[test]
    fn a_peer_that_dials_again_has_lost_the_connection_before() {
        let now = Instant::now();
        let (mut table, id) = table("b", "a", now);
        table.connected(&id, connection(1), false, now);
        table.subscribed(&id);
        table.heard(&id, connection(1), now + secs(5));
        let changes = table.connected(&id, connection(2), false, now + secs(5));
        assert_eq!(changes.close, [connection(1), connection(2)]);
        assert_eq!(changes.down, ["a"]);
    }

    #[test]
    fn a_connection_of_a_stranger_is_closed() {
        let now = Instant::now();
        let (mut table, _) = table("a", "b", now);
        let changes = table.connected(&PeerId::random(), connection(7), false, now);
        assert_eq!(changes.close, [connection(7)]);
    }
}
