use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::identity::NodeIdentity;

const DEADLINE: Duration = Duration::from_secs(30);
const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A node of a test, and what has become of it.
struct Node {
    peer: Peer,
    identity: NodeIdentity,
    transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
}

impl Node {
    /// Starts a node that lists `peers`.
    async fn start(name: &str, peers: &[&Peer]) -> Self {
        Self::start_with(name, NodeIdentity::generate(), ANY_PORT, peers, Limits::default()).await
    }

    async fn start_with(
        name: &str,
        identity: NodeIdentity,
        listen: SocketAddr,
        peers: &[&Peer],
        limits: Limits,
    ) -> Self {
        let peers = peers.iter().map(|peer| (*peer).clone()).collect();
        let (transport, events, bound) =
            start(identity.keypair(), name, peers, listen, limits).await.unwrap();
        let peer =
            Peer { name: name.to_owned(), peer_id: identity.peer_id(), addresses: vec![bound] };
        Self { peer, identity, transport, events }
    }

    /// The next event that satisfies; the others are passed over.
    async fn until(&mut self, wanted: impl Fn(&TransportEvent) -> bool) -> TransportEvent {
        timeout(DEADLINE, async {
            loop {
                let event = self.events.recv().await.expect("the transport runs");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
        .expect("in time")
    }

    async fn until_up(&mut self, name: &str) {
        self.until(|event| *event == TransportEvent::PeerUp(name.to_owned())).await;
    }

    async fn until_down(&mut self, name: &str) {
        self.until(|event| *event == TransportEvent::PeerDown(name.to_owned())).await;
    }

    async fn until_received(&mut self, from: &str, bytes: &[u8], broadcast: bool) {
        let expect =
            TransportEvent::Received { from: from.to_owned(), bytes: bytes.to_vec(), broadcast };
        self.until(|event| *event == expect).await;
    }

    async fn until_rejected(&mut self, from: &str, says: &str) {
        self.until(|event| match event {
            TransportEvent::Rejected { from: named, reason } => {
                named == from && reason.contains(says)
            }
            _ => false,
        })
        .await;
    }
}

/// A key that will be used by a node which is started later, and can only be reached when it dials.
fn expected(name: &str) -> (NodeIdentity, Peer) {
    let identity = NodeIdentity::generate();
    let peer = Peer { name: name.to_owned(), peer_id: identity.peer_id(), addresses: vec![] };
    (identity, peer)
}

/// Two nodes that know each other and are connected.
async fn pair(limits_of_second: Limits) -> (Node, Node) {
    let (identity, second) = expected("b");
    let mut a = Node::start("a", &[&second]).await;
    let mut b = Node::start_with("b", identity, ANY_PORT, &[&a.peer], limits_of_second).await;
    a.until_up("b").await;
    b.until_up("a").await;
    (a, b)
}

#[tokio::test]
async fn three_nodes_exchange_broadcasts_and_direct_messages() {
    let (b_identity, b_peer) = expected("b");
    let (c_identity, c_peer) = expected("c");
    let mut a = Node::start("a", &[&b_peer, &c_peer]).await;
    let mut b =
        Node::start_with("b", b_identity, ANY_PORT, &[&a.peer, &c_peer], Limits::default()).await;
    let mut c =
        Node::start_with("c", c_identity, ANY_PORT, &[&a.peer, &b.peer], Limits::default()).await;
    c.until_up("a").await;
    a.until_up("c").await;
    c.until_up("b").await;

    c.transport.broadcast(b"to all".to_vec());
    a.until_received("c", b"to all", true).await;
    b.until_received("c", b"to all", true).await;
    c.transport.send("a", b"to one".to_vec());
    a.until_received("c", b"to one", false).await;
    a.transport.send("c", vec![]);
    c.until_received("a", b"", false).await;
    assert_eq!(c.transport.counters(), TransportCounters::default());
}

/// Waits until a broadcast of one has come to the other. One that is lost while the overlay forms is
/// followed by the next, as heartbeats are.
async fn hear(speaker: &Node, listener: &mut Node) {
    let heard = listener.until_received(&speaker.peer.name, b"here", true);
    tokio::pin!(heard);
    loop {
        speaker.transport.broadcast(b"here".to_vec());
        if timeout(Duration::from_millis(100), &mut heard).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn where_the_way_between_two_is_cut_a_third_hands_on_what_they_say_to_each_other() {
    let (a_identity, a_peer) = expected("a");
    let (b_identity, b_peer) = expected("b");
    let mut c = Node::start("c", &[&a_peer, &b_peer]).await;
    // Neither knows where the other is.
    let mut a =
        Node::start_with("a", a_identity, ANY_PORT, &[&b_peer, &c.peer], Limits::default()).await;
    let mut b =
        Node::start_with("b", b_identity, ANY_PORT, &[&a_peer, &c.peer], Limits::default()).await;
    a.until_up("c").await;
    b.until_up("c").await;
    c.until_up("b").await;
    a.transport.send("b", b"not heard yet".to_vec());
    hear(&a, &mut b).await;
    hear(&b, &mut a).await;
    let large = vec![7; Limits::default().message_bytes];
    for text in [&b"for you"[..], &large] {
        a.transport.send("b", text.to_vec());
        b.until_received("a", text, false).await;
        b.transport.send("a", text.to_vec());
        a.until_received("b", text, false).await;
    }
    let told = std::iter::from_fn(|| c.events.try_recv().ok());
    let direct =
        |event: &TransportEvent| matches!(event, TransportEvent::Received { broadcast: false, .. });
    assert_eq!(told.filter(direct).count(), 0, "what is for others was taken");
    assert!(a.transport.counters().direct_lost <= 1);
}

#[tokio::test]
async fn a_message_of_the_largest_size_passes() {
    let (mut a, b) = pair(Limits::default()).await;
    let large = vec![7; Limits::default().message_bytes];
    b.transport.broadcast(large.clone());
    a.until_received("b", &large, true).await;
    b.transport.send("a", large.clone());
    a.until_received("b", &large, false).await;
}

#[tokio::test]
async fn being_alone_is_no_error() {
    let a = Node::start("a", &[]).await;
    a.transport.broadcast(b"anyone?".to_vec());
    a.transport.send("b", b"you?".to_vec());
    timeout(DEADLINE, async {
        while a.transport.counters().direct_lost == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("in time");
    assert_eq!(a.transport.counters().outgoing_dropped, 0);
}

#[tokio::test]
async fn a_stranger_is_refused_and_reported() {
    let mut a = Node::start("a", &[]).await;
    let stranger = Node::start("z", &[&a.peer]).await;
    let event = a.until(|event| matches!(event, TransportEvent::StrangerRefused { .. })).await;
    let TransportEvent::StrangerRefused { peer, address } = event else { unreachable!() };
    assert_eq!(peer, stranger.peer.peer_id.to_string());
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(a.transport.counters().strangers_refused > 0);
    drop(stranger);
}

#[tokio::test]
async fn an_oversized_broadcast_is_refused_by_both_ends() {
    let generous = Limits { message_bytes: 100 * 1024, ..Limits::default() };
    let (mut a, b) = pair(generous).await;
    let too_large = vec![7; 64 * 1024 + 1];
    a.transport.broadcast(too_large.clone());
    assert_eq!(a.transport.counters().outgoing_dropped, 1);
    b.transport.broadcast(too_large);
    a.until_rejected("b", "a broadcast of 65537 bytes by b").await;
    b.transport.broadcast(b"still here".to_vec());
    a.until_received("b", b"still here", true).await;
    assert_eq!(a.transport.counters().rejected, 1);
}

#[tokio::test]
async fn an_oversized_direct_message_is_refused_by_both_ends() {
    let generous = Limits { message_bytes: 100 * 1024, ..Limits::default() };
    let (mut a, b) = pair(generous).await;
    let too_large = vec![7; 64 * 1024 + 1];
    a.transport.send("b", too_large.clone());
    assert_eq!(a.transport.counters().outgoing_dropped, 1);
    b.transport.send("a", too_large);
    a.until_rejected("b", "more than 65536 bytes").await;
    b.transport.send("a", b"still here".to_vec());
    a.until_received("b", b"still here", false).await;
    assert_eq!(a.transport.counters().rejected, 1);
}

#[tokio::test]
async fn a_broadcast_by_somebody_unlisted_is_rejected() {
    let (b_identity, b_peer) = expected("b");
    let (c_identity, c_peer) = expected("c");
    let mut a = Node::start("a", &[&b_peer]).await;
    let mut b =
        Node::start_with("b", b_identity, ANY_PORT, &[&a.peer, &c_peer], Limits::default()).await;
    let mut c = Node::start_with("c", c_identity, ANY_PORT, &[&b.peer], Limits::default()).await;
    a.until_up("b").await;
    b.until_up("a").await;
    c.until_up("b").await;
    c.transport.broadcast(b"through b".to_vec());
    b.until_received("c", b"through b", true).await;
    a.until_rejected("b", "not listed").await;
}

#[tokio::test]
async fn a_peer_that_restarts_is_reached_again() {
    let (mut a, mut b) = pair(Limits::default()).await;
    let listen = b.peer.addresses[0];
    for round in 0..3u8 {
        drop(b.events);
        a.until_down("b").await;
        b = Node::start_with("b", b.identity, listen, &[&a.peer], Limits::default()).await;
        a.until_up("b").await;
        b.until_up("a").await;
        a.transport.broadcast(vec![round]);
        b.until_received("a", &[round], true).await;
    }
}

#[tokio::test]
async fn a_peer_that_only_one_side_can_dial_is_reached_again() {
    let (identity, b_peer) = expected("b");
    let mut a = Node::start("a", &[&b_peer]).await;
    let (a_identity, a_address) = (a.identity.clone(), a.peer.addresses[0]);
    let mut b = Node::start_with("b", identity, ANY_PORT, &[&a.peer], Limits::default()).await;
    b.until_up("a").await;
    drop(a.events);
    b.until_down("a").await;
    a = Node::start_with("a", a_identity, a_address, &[&b_peer], Limits::default()).await;
    b.until_up("a").await;
    a.until_up("b").await;
}

/// Passes bytes on, as the carrier's port does, and can fall silent without closing anything.
async fn relay(to: SocketAddr, silent: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut silent = silent.clone();
            tokio::spawn(async move {
                if *silent.borrow() {
                    return;
                }
                let mut far = TcpStream::connect(to).await.unwrap();
                let falls_silent = async { silent.wait_for(|silent| *silent).await.map(|_| ()) };
                let fell_silent = tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => false,
                    _ = falls_silent => true,
                };
                if fell_silent {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_link_that_falls_silent_is_noticed_and_used_again_when_it_is_back() {
    let limits = Limits { silence: Duration::from_millis(900), ..Limits::default() };
    let (identity, mut a_seen) = expected("a");
    let (b_identity, b_peer) = expected("b");
    let mut a = Node::start_with("a", identity, ANY_PORT, &[&b_peer], limits.clone()).await;
    let (silence, silent) = watch::channel(false);
    a_seen.addresses = vec![relay(a.peer.addresses[0], silent).await];
    let mut b = Node::start_with("b", b_identity, ANY_PORT, &[&a_seen], limits).await;
    a.until_up("b").await;
    b.until_up("a").await;

    silence.send(true).unwrap();
    a.until_down("b").await;
    b.until_down("a").await;
    b.transport.send("a", b"lost".to_vec());
    silence.send(false).unwrap();
    a.until_up("b").await;
    b.until_up("a").await;
    b.transport.send("a", b"back".to_vec());
    let event = a.until(|event| matches!(event, TransportEvent::Received { .. })).await;
    let expect = TransportEvent::Received {
        from: "b".to_owned(),
        bytes: b"back".to_vec(),
        broadcast: false,
    };
    assert_eq!(event, expect);
}

#[tokio::test]
async fn a_slow_daemon_loses_the_oldest_broadcasts_and_they_are_counted() {
    let few = Limits { queue: 8, ..Limits::default() };
    let (b_identity, b_peer) = expected("b");
    let mut a = Node::start_with("a", NodeIdentity::generate(), ANY_PORT, &[&b_peer], few).await;
    let mut b = Node::start_with("b", b_identity, ANY_PORT, &[&a.peer], Limits::default()).await;
    a.until_up("b").await;
    b.until_up("a").await;
    for number in 0..200u8 {
        b.transport.broadcast(vec![number]);
    }
    timeout(DEADLINE, async {
        while a.transport.counters().events_dropped == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("in time");
    a.until_received("b", &[199], true).await;
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let a = Node::start("a", &[]).await;
    let identity = NodeIdentity::generate();
    let taken = a.peer.addresses[0];
    let second = start(identity.keypair(), "b", vec![], taken, Limits::default()).await;
    let message = second.map(|_| ()).unwrap_err().to_string();
    assert!(message.contains(&taken.to_string()), "{message}");
}
