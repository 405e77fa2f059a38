//! The task that owns the network: moves messages between the swarm and the daemon.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::allow_block_list::NotAllowed;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use libp2p::request_response;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, ping};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::behaviour::{Behaviour, BehaviourEvent, relay_topic, topic};
use super::peers::{Changes, PeerTable};
use super::queue::{BoundedQueue, Keep};
use super::relayed::Relayed;
use super::{
    Limits, Outgoing, Shared, TransportError, TransportEvent, listen_error, multiaddr, socket_addr,
};

/// How often dialling and silence are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the same kind of trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Opens the listening socket and waits until its address is known.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    address: SocketAddr,
) -> Result<SocketAddr, TransportError> {
    refuse_shared_port(address)?;
    swarm.listen_on(multiaddr(address)).map_err(|error| listen_error(address, error))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(bound) = socket_addr(&address) {
                    return Ok(bound);
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                return Err(TransportError::Listen { address, reason: error.to_string() });
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                return Err(TransportError::Listen { address, reason: error.to_string() });
            }
            _ => {}
        }
    }
}

/// libp2p lets several sockets share a port, and would so take a part of the connections of a
/// daemon that runs already. Ours must be alone.
fn refuse_shared_port(address: SocketAddr) -> Result<(), TransportError> {
    std::net::TcpListener::bind(address)
        .map(drop)
        .map_err(|error| TransportError::Listen { address, reason: error.to_string() })
}

/// Lets through one in every interval and counts the others.
#[derive(Debug, Default)]
struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// How many were held back since the last one that was let through; `None` to hold back.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now - last < TELL_EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    peers: PeerTable,
    shared: Arc<Shared>,
    events: mpsc::Sender<TransportEvent>,
    inbox: BoundedQueue<TransportEvent>,
    /// Direct messages that are not yet acknowledged.
    in_flight: HashMap<PeerId, usize>,
    max_in_flight: usize,
    max_bytes: usize,
    silence: Duration,
    last_turn: Instant,
    strangers: Throttle,
    rejections: Throttle,
    impostors: Throttle,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        peers: PeerTable,
        shared: Arc<Shared>,
        events: mpsc::Sender<TransportEvent>,
        limits: Limits,
    ) -> Self {
        Self {
            swarm,
            peers,
            shared,
            events,
            inbox: BoundedQueue::new(limits.queue, limits.incoming_age),
            in_flight: HashMap::new(),
            max_in_flight: limits.in_flight,
            max_bytes: limits.message_bytes,
            silence: limits.silence,
            last_turn: Instant::now(),
            strangers: Throttle::default(),
            rejections: Throttle::default(),
            impostors: Throttle::default(),
        }
    }

    /// Runs until the daemon drops its end of the events.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let events = self.events.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    self.note_pause();
                    self.on_swarm_event(event);
                }
                () = shared.filled.notified() => self.send_outbox(),
                permit = events.reserve(), if !self.inbox.is_empty() => match permit {
                    Ok(permit) => {
                        let (event, spoilt) = self.inbox.pop(Instant::now());
                        shared.counts.events_dropped.fetch_add(spoilt, Ordering::Relaxed);
                        if let Some(event) = event {
                            permit.send(event);
                        }
                    }
                    Err(_) => return,
                },
                _ = tick.tick() => {
                    self.note_pause();
                    self.maintain();
                }
                () = events.closed() => return,
            }
        }
    }

    /// If this process stood still, what lies in its sockets is old: connections that were silent
    /// for too long are given up before anything in them is looked at.
    fn note_pause(&mut self) {
        let now = Instant::now();
        let stood_still = now - self.last_turn;
        self.last_turn = now;
        if stood_still > self.silence {
            warn!(?stood_still, "this node stood still; it forgets what it was told meanwhile");
            let changes = self.peers.give_up_silent(now);
            self.apply(changes);
        }
    }

    fn maintain(&mut self) {
        let now = Instant::now();
        let changes = self.peers.give_up_silent(now);
        self.apply(changes);
        for (peer, addresses) in self.peers.due(now) {
            let dial = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::Always)
                .allocate_new_port()
                .build();
            if let Err(error) = self.swarm.dial(dial) {
                debug!(%peer, %error, "cannot dial");
                self.peers.dial_failed(&peer);
            }
        }
    }

    fn apply(&mut self, changes: Changes) {
        for connection in changes.close {
            self.swarm.close_connection(connection);
        }
        for name in changes.down {
            self.tell(Keep::Always, TransportEvent::PeerDown(name));
        }
    }

    fn tell(&mut self, keep: Keep, event: TransportEvent) {
        let dropped = self.inbox.push(Instant::now(), keep, event);
        self.count(|counts| &counts.events_dropped, dropped);
    }

    fn count(&self, which: fn(&super::Counts) -> &AtomicU64, more: u64) {
        which(&self.shared.counts).fetch_add(more, Ordering::Relaxed);
    }

    fn send_outbox(&mut self) {
        loop {
            let (message, spoilt) = self.shared.outbox().pop(Instant::now());
            self.count(|counts| &counts.outgoing_dropped, spoilt);
            match message {
                Some(Outgoing::Broadcast(bytes)) => self.publish(bytes),
                Some(Outgoing::Direct { to, bytes }) => self.send_direct(&to, bytes),
                None => return,
            }
        }
    }

    fn publish(&mut self, bytes: Vec<u8>) {
        self.gossip(topic(), bytes);
    }

    fn gossip(&mut self, topic: IdentTopic, bytes: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
            // Alone for now: whoever joins hears the next one.
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => {
                debug!(%error, "a broadcast was not sent");
                self.count(|counts| &counts.outgoing_dropped, 1);
            }
        }
    }

    fn send_direct(&mut self, to: &str, bytes: Vec<u8>) {
        let peer = self.peers.reachable(to);
        if peer.is_none() && self.peers.heard_through_others(to, Instant::now()) {
            debug!(node = to, "not reachable directly; a direct message goes through others");
            return self.gossip(relay_topic(), Relayed { to, bytes: &bytes }.encoded());
        }
        let Some(peer) = peer.filter(|peer| self.waiting_on(peer) < self.max_in_flight) else {
            debug!(node = to, "a direct message was not sent: not reachable, or too slow");
            self.count(|counts| &counts.direct_lost, 1);
            return;
        };
        *self.in_flight.entry(peer).or_default() += 1;
        self.swarm.behaviour_mut().direct.send_request(&peer, bytes);
    }

    fn waiting_on(&self, peer: &PeerId) -> usize {
        self.in_flight.get(peer).copied().unwrap_or(0)
    }

    fn direct_settled(&mut self, peer: &PeerId) {
        if let Some(waiting) = self.in_flight.get_mut(peer) {
            *waiting = waiting.saturating_sub(1);
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Direct(event)) => self.on_direct(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            })) => match result {
                Ok(_) => self.peers.heard(&peer, connection, now),
                Err(error) => debug!(node = self.peers.name(&peer), %error, "no answer to a ping"),
            },
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let outgoing = endpoint.is_dialer();
                let changes = self.peers.connected(&peer_id, connection_id, outgoing, now);
                self.apply(changes);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                if let Some(cause) = cause {
                    debug!(node = self.peers.name(&peer_id), %cause, "a connection ended");
                }
                let changes = self.peers.closed(&peer_id, connection_id, now);
                self.apply(changes);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_dial_error(&peer, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                self.on_incoming_error(&send_back_addr, error, peer_id);
            }
            SwarmEvent::ListenerError { error, .. } => {
                warn!(%error, "cannot accept a connection");
            }
            _ => {}
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let verdict = self.judge_broadcast(&propagation_source, message);
                self.swarm.behaviour_mut().gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    verdict,
                );
            }
            gossipsub::Event::Subscribed { peer_id, topic: heard } if heard == topic().hash() => {
                if let Some(name) = self.peers.subscribed(&peer_id) {
                    self.tell(Keep::Always, TransportEvent::PeerUp(name));
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                let node = self.peers.name(&peer_id);
                debug!(node, ?failed_messages, "a node is too slow for our broadcasts");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                let node = self.peers.name(&peer_id);
                warn!(node, "a node does not take part in gossip; is it another version?");
            }
            _ => {}
        }
    }

    /// Whether a broadcast is handed on to the daemon and to other nodes.
    fn judge_broadcast(
        &mut self,
        carried_by: &PeerId,
        message: gossipsub::Message,
    ) -> MessageAcceptance {
        if !self.peers.is_live(carried_by) {
            return MessageAcceptance::Ignore;
        }
        let author = message.source.and_then(|author| self.peers.name(&author));
        let Some(author) = author.map(str::to_owned) else {
            let writer = message.source.map_or("nobody".to_owned(), |id| id.to_string());
            self.reject(carried_by, format!("a broadcast by {writer}, who is not listed"));
            return MessageAcceptance::Reject;
        };
        let relayed = message.topic == relay_topic().hash();
        let to_others;
        let bytes = if relayed {
            let Some(relayed) = Relayed::decoded(&message.data) else {
                self.reject(carried_by, format!("a relayed message of {author} for nobody"));
                return MessageAcceptance::Reject;
            };
            to_others = relayed.to != self.peers.me();
            relayed.bytes
        } else {
            to_others = false;
            &message.data
        };
        if bytes.len() > self.max_bytes {
            let size = bytes.len();
            self.reject(carried_by, format!("a broadcast of {size} bytes by {author}"));
            return MessageAcceptance::Reject;
        }
        if let Some(author) = message.source {
            self.peers.spoke(&author, Instant::now());
        }
        if !to_others {
            let (bytes, broadcast) = (bytes.to_vec(), !relayed);
            let keep = if broadcast { Keep::WhileFresh } else { Keep::Longer };
            self.tell(keep, TransportEvent::Received { from: author, bytes, broadcast });
        }
        MessageAcceptance::Accept
    }

    fn on_direct(&mut self, event: request_response::Event<Vec<u8>, ()>) {
        match event {
            request_response::Event::Message {
                peer,
                connection_id,
                message: request_response::Message::Request { request, channel, .. },
            } => {
                if request.len() > self.max_bytes {
                    let max = self.max_bytes;
                    self.reject(&peer, format!("a direct message of more than {max} bytes"));
                    return;
                }
                // An answer that cannot be sent means that the other end has gone; it will know.
                let _ = self.swarm.behaviour_mut().direct.send_response(channel, ());
                self.take_direct(&peer, connection_id, request);
            }
            request_response::Event::Message {
                peer,
                message: request_response::Message::Response { .. },
                ..
            } => self.direct_settled(&peer),
            request_response::Event::OutboundFailure { peer, error, .. } => {
                debug!(node = self.peers.name(&peer), %error, "a direct message was lost");
                self.direct_settled(&peer);
                self.count(|counts| &counts.direct_lost, 1);
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                debug!(node = self.peers.name(&peer), %error, "a direct message did not arrive");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn take_direct(&mut self, peer: &PeerId, connection: ConnectionId, bytes: Vec<u8>) {
        if !self.peers.is_live_connection(peer, connection) {
            return;
        }
        if let Some(from) = self.peers.name(peer).map(str::to_owned) {
            let event = TransportEvent::Received { from, bytes, broadcast: false };
            self.tell(Keep::Longer, event);
        }
    }

    fn reject(&mut self, peer: &PeerId, reason: String) {
        self.count(|counts| &counts.rejected, 1);
        let Some(more) = self.rejections.pass(Instant::now()) else { return };
        let from = self.peers.name(peer).map_or_else(|| peer.to_string(), str::to_owned);
        warn!(node = from, reason, more, "rejected");
        self.tell(Keep::WhileFresh, TransportEvent::Rejected { from, reason });
    }

    fn on_dial_error(&mut self, peer: &PeerId, error: &DialError) {
        self.peers.dial_failed(peer);
        let node = self.peers.name(peer);
        match error {
            DialError::WrongPeerId { obtained, address } => {
                if let Some(more) = self.impostors.pass(Instant::now()) {
                    warn!(
                        node, listed = %peer, %obtained, %address, more,
                        "another key answers at the address of this node; correct its address or \
                         its peer in the configuration"
                    );
                }
            }
            error => debug!(node, %error, "not reached"),
        }
    }

    fn on_incoming_error(&mut self, address: &Multiaddr, error: ListenError, peer: Option<PeerId>) {
        let (ListenError::Denied { cause }, Some(peer)) = (&error, peer) else {
            debug!(%address, %error, "a connection was not made");
            return;
        };
        if cause.downcast_ref::<NotAllowed>().is_none() {
            debug!(%address, %error, node = self.peers.name(&peer), "a connection was refused");
            return;
        }
        self.count(|counts| &counts.strangers_refused, 1);
        let Some(more) = self.strangers.pass(Instant::now()) else { return };
        let address = socket_addr(address).map_or(address.to_string(), |addr| addr.to_string());
        warn!(
            %peer, address, more,
            "refused a peer that is not listed; if it is one of ours, add its [[node]] here"
        );
        let event = TransportEvent::StrangerRefused { peer: peer.to_string(), address };
        self.tell(Keep::WhileFresh, event);
    }
}
