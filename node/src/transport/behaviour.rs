//! The libp2p parts and how they are set.

use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade;
use libp2p::gossipsub::{self, ConfigBuilder, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, SwarmBuilder, Transport as _, noise, ping, tcp, yamux};

use super::codec::{BytesCodec, PROTOCOL};
use super::stall::StallLimit;
use super::{Limits, TransportError};

/// What every node listens to. The number changes when nodes can no longer understand each other.
const TOPIC: &str = "lifeboat/1";
/// What every node listens to for those that others cannot reach directly.
const RELAY_TOPIC: &str = "lifeboat/1/relayed";
/// Up to this many nodes, whoever broadcasts tells every node itself.
const SMALL_CLUSTER: usize = 16;
/// What a broadcast may weigh on top of its bytes: author, number, signature, topic; and room to
/// receive a message that is too large, so that its author can be named.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// Connections that have not said who they are.
const MAX_PENDING_INCOMING: u32 = 256;
/// Both ends may have dialled, and the old ones may still be closing.
const MAX_PER_PEER: u32 = 8;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) allowed: allow_block_list::Behaviour<AllowedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) direct: request_response::Behaviour<BytesCodec>,
    pub(super) ping: ping::Behaviour,
}

pub(super) fn topic() -> IdentTopic {
    IdentTopic::new(TOPIC)
}

pub(super) fn relay_topic() -> IdentTopic {
    IdentTopic::new(RELAY_TOPIC)
}

/// TCP, Noise and Yamux, and on top of them what nodes say to each other.
pub(super) fn build_swarm(
    keypair: &Keypair,
    peers: impl Iterator<Item = PeerId>,
    nodes: usize,
    limits: &Limits,
) -> Result<Swarm<Behaviour>, TransportError> {
    let setup = |reason: &dyn ToString| TransportError::Setup { reason: reason.to_string() };
    let mut behaviour = Behaviour {
        allowed: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
                .with_max_established_per_peer(Some(MAX_PER_PEER)),
        ),
        gossip: gossip(keypair, nodes, limits).map_err(|reason| setup(&reason))?,
        direct: request_response::Behaviour::with_codec(
            BytesCodec { max_bytes: limits.message_bytes },
            [(PROTOCOL, ProtocolSupport::Full)],
            request_response::Config::default().with_request_timeout(limits.direct_timeout),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(limits.silence / 3).with_timeout(limits.silence),
        ),
    };
    for peer in peers {
        behaviour.allowed.allow_peer(peer);
    }
    let noise = noise::Config::new(keypair).map_err(|reason| setup(&reason))?;
    let (dial_timeout, stall_limit) = (limits.dial_timeout, limits.silence);
    let swarm = SwarmBuilder::with_existing_identity(keypair.clone())
        .with_tokio()
        .with_other_transport(|_| {
            tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
                .map(move |stream, _| StallLimit::new(stream, stall_limit))
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise)
                .multiplex(yamux::Config::default())
                .timeout(dial_timeout)
        })
        .map_err(|reason| setup(&reason))?
        .with_behaviour(|_| behaviour)
        .map_err(|reason| setup(&reason))?
        // The peer table decides when a connection ends; being idle is no reason.
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::MAX))
        .build();
    Ok(swarm)
}

/// Signed broadcasts over an overlay of degree 8. Nothing waits for longer than seconds: whatever
/// is old is of no use, because the next broadcast replaces it.
fn gossip(
    keypair: &Keypair,
    nodes: usize,
    limits: &Limits,
) -> Result<gossipsub::Behaviour, String> {
    let config = ConfigBuilder::default()
        .flood_publish(nodes <= SMALL_CLUSTER)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .gossip_lazy(3)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(500))
        .history_length(5)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(60))
        .prune_backoff(Duration::from_secs(5))
        .unsubscribe_backoff(Duration::from_secs(1))
        .max_transmit_size(limits.message_bytes + ENVELOPE_BYTES)
        .connection_handler_queue_len(limits.queue)
        .publish_queue_duration(limits.outgoing_age)
        .forward_queue_duration(Duration::from_secs(1))
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .build()
        .map_err(|reason| reason.to_string())?;
    let mut gossip =
        gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config)?;
    for topic in [topic(), relay_topic()] {
        gossip.subscribe(&topic).map_err(|reason| reason.to_string())?;
    }
    Ok(gossip)
}
