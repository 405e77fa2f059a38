//! What nodes say to each other: the only way between the daemon and the network.
//!
//! Broadcasts concern all (gossipsub, signed by their author); direct messages concern two
//! (request-response). A direct message to a node that cannot be reached, but whose broadcasts come through
//! others, takes the way of broadcasts, too. Both are best effort: they can be lost, and the protocol above lives with
//! that. The sender of whatever is handed on is authenticated; a node is known by its key alone,
//! never by its address, because bytes may come through a relay.
//!
//! - *only listed peers*: others are refused after they have shown their key, and reported;
//! - *nothing old*: what waited for longer than seconds, in a queue here or in a socket of a node
//!   that was paused, is dropped; nothing is kept for a peer that cannot be reached;
//! - *bounded*: every queue has a limit; the oldest broadcasts give way first and are counted.
//!
//! This module never looks into a message and never answers one.

mod behaviour;
mod codec;
mod driver;
mod peers;
mod queue;
mod relayed;
mod stall;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tracing::error;

use behaviour::build_swarm;
use driver::Driver;
use peers::{Pace, PeerTable};
use queue::{BoundedQueue, Keep};

/// A node that may speak to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The public name of its key.
    pub peer_id: PeerId,
    /// Where to dial it.
    pub addresses: Vec<SocketAddr>,
}

/// Sizes and times of the transport. The defaults are right for 2 to 100 nodes and round trips of
/// up to half a second.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest message, in bytes. Default 64 KiB. All nodes must agree.
    pub message_bytes: usize,
    /// Messages per queue. Default 1024; at most `queue` x `message_bytes` of memory each.
    pub queue: usize,
    /// Direct messages to one peer that are not yet acknowledged. Default 64.
    pub in_flight: usize,
    /// A direct message that is not acknowledged within this is lost. Default 2 s.
    pub direct_timeout: Duration,
    /// Messages that waited longer to be sent are dropped. Default 2 s.
    pub outgoing_age: Duration,
    /// Messages that waited longer for the daemon are dropped. Default 4 s.
    pub incoming_age: Duration,
    /// A connection is given up when nobody answers on it for this long. Default 3 s; must be
    /// well above the round trip.
    pub silence: Duration,
    /// A connection must be made, encrypted and agreed within this. Default 3 s; some five round
    /// trips.
    pub dial_timeout: Duration,
    /// First pause before a lost peer is dialled again. Default 200 ms.
    pub redial_min: Duration,
    /// Longest pause between two attempts. Default 2 s.
    pub redial_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 * 1024,
            queue: 1024,
            in_flight: 64,
            direct_timeout: Duration::from_secs(2),
            outgoing_age: Duration::from_secs(2),
            incoming_age: Duration::from_secs(4),
            silence: Duration::from_secs(3),
            dial_timeout: Duration::from_secs(3),
            redial_min: Duration::from_millis(200),
            redial_max: Duration::from_secs(2),
        }
    }
}

/// What the network has to say to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// A message.
    Received {
        /// The listed node that wrote it; authenticated.
        from: String,
        /// What it wrote.
        bytes: Vec<u8>,
        /// Whether it went to all.
        broadcast: bool,
    },
    /// This node can be reached and hears broadcasts.
    PeerUp(String),
    /// This node cannot be reached directly. Its broadcasts may still come through others.
    PeerDown(String),
    /// Somebody who is not listed tried to connect. At most one a second is reported.
    StrangerRefused {
        /// Its key.
        peer: String,
        /// Where it came from, as far as can be seen from here.
        address: String,
    },
    /// A listed node sent what cannot be accepted. Nothing of it was used.
    Rejected {
        /// The node that sent it, or passed it on.
        from: String,
        /// What was wrong.
        reason: String,
    },
}

/// What the transport had to drop or refuse since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransportCounters {
    /// Messages not sent: no room, too old, or too large.
    pub outgoing_dropped: u64,
    /// Direct messages not sent or not acknowledged.
    pub direct_lost: u64,
    /// Events that the daemon was too slow for.
    pub events_dropped: u64,
    /// Messages that were refused.
    pub rejected: u64,
    /// Connections of strangers that were refused.
    pub strangers_refused: u64,
}

/// Why the transport could not start.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The listening socket could not be opened.
    #[error(
        "cannot listen on {address}: {reason}; is another lifeboat running, or another program using this port?"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A part of the network stack refused its settings.
    #[error("cannot set up the network: {reason}")]
    Setup {
        /// What it said.
        reason: String,
    },
}

/// A handle to speak with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<BoundedQueue<Outgoing>>,
    filled: Notify,
    max_bytes: usize,
    counts: Counts,
}

#[derive(Debug)]
enum Outgoing {
    Broadcast(Vec<u8>),
    Direct { to: String, bytes: Vec<u8> },
}

#[derive(Debug, Default)]
struct Counts {
    outgoing_dropped: AtomicU64,
    direct_lost: AtomicU64,
    events_dropped: AtomicU64,
    rejected: AtomicU64,
    strangers_refused: AtomicU64,
}

impl Transport {
    /// Tells all nodes. Returns at once; no node being there to hear is no error.
    pub fn broadcast(&self, bytes: Vec<u8>) {
        self.submit(Keep::WhileFresh, bytes.len(), Outgoing::Broadcast(bytes));
    }

    /// Tells one node, by name. Returns at once; lost if the node cannot be reached now, neither directly
    /// nor, while its broadcasts come, through others.
    pub fn send(&self, to: &str, bytes: Vec<u8>) {
        self.submit(Keep::Longer, bytes.len(), Outgoing::Direct { to: to.to_owned(), bytes });
    }

    /// What was dropped or refused so far.
    pub fn counters(&self) -> TransportCounters {
        let counts = &self.shared.counts;
        TransportCounters {
            outgoing_dropped: counts.outgoing_dropped.load(Ordering::Relaxed),
            direct_lost: counts.direct_lost.load(Ordering::Relaxed),
            events_dropped: counts.events_dropped.load(Ordering::Relaxed),
            rejected: counts.rejected.load(Ordering::Relaxed),
            strangers_refused: counts.strangers_refused.load(Ordering::Relaxed),
        }
    }

    fn submit(&self, keep: Keep, size: usize, message: Outgoing) {
        let max = self.shared.max_bytes;
        if size > max {
            error!(size, max, "a message of this node is too large for the others; not sent");
            self.shared.counts.outgoing_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.shared.outbox().push(Instant::now(), keep, message);
        self.shared.counts.outgoing_dropped.fetch_add(dropped, Ordering::Relaxed);
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn outbox(&self) -> std::sync::MutexGuard<'_, BoundedQueue<Outgoing>> {
        // The queue is whole between any two of its calls, whoever panicked meanwhile.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to listen and to dial all peers but `me`. Returns the handle, the events, and the
/// address that is listened on (its port chosen by the system if 0 was asked for).
///
/// Must be called within a tokio runtime. Dropping the receiver stops the transport.
pub async fn start(
    keypair: &Keypair,
    me: &str,
    peers: Vec<Peer>,
    listen: SocketAddr,
    limits: Limits,
) -> Result<(Transport, mpsc::Receiver<TransportEvent>, SocketAddr), TransportError> {
    let own_id = keypair.public().to_peer_id();
    let others = peers.into_iter().filter(|peer| peer.peer_id != own_id && peer.name != me);
    let pace = Pace {
        silence: limits.silence,
        redial_min: limits.redial_min,
        redial_max: limits.redial_max,
        courtesy: limits.redial_min * 5,
    };
    let listed = others.map(|peer| {
        let addresses = peer.addresses.into_iter().map(multiaddr).collect();
        (peer.name, peer.peer_id, addresses)
    });
    let table = PeerTable::new(me, listed, pace, Instant::now());

    let nodes = table.ids().count() + 1;
    let mut swarm = build_swarm(keypair, table.ids(), nodes, &limits)?;
    let bound = driver::listen(&mut swarm, listen).await?;

    let shared = Arc::new(Shared {
        outbox: Mutex::new(BoundedQueue::new(limits.queue, limits.outgoing_age)),
        filled: Notify::new(),
        max_bytes: limits.message_bytes,
        counts: Counts::default(),
    });
    let (events, receiver) = mpsc::channel(16);
    tokio::spawn(Driver::new(swarm, table, Arc::clone(&shared), events, limits).run());
    Ok((Transport { shared }, receiver, bound))
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// The IP address and port of a TCP address.
fn socket_addr(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => Some(SocketAddr::from((ip, port))),
        (Protocol::Ip6(ip), Protocol::Tcp(port)) => Some(SocketAddr::from((ip, port))),
        _ => None,
    }
}

/// What lies beneath the layers that libp2p wraps around an error of the system.
fn listen_error(address: SocketAddr, error: libp2p::TransportError<io::Error>) -> TransportError {
    let reason = match error {
        libp2p::TransportError::Other(error) => error.to_string(),
        other => other.to_string(),
    };
    TransportError::Listen { address, reason }
}
