//! The carrier: the process that brings migration bytes from host to host, within the share.
//!
//! It stands beside the daemon and outlives it. The daemon gives orders over a UNIX socket ([`Client`]); the
//! hypervisors connect to UNIX sockets that the carrier makes, or that it connects to at the far side; between
//! hosts there is one TCP port ([`run`]).
//!
//! | part | what it is for |
//! |---|---|
//! | `port`, `relay` | one port: streams between carriers, and the daemons' libp2p passed through |
//! | `tls` | both ends prove their node keys |
//! | `wire` | greetings and frames |
//! | `stripe` | one order of bytes over many streams, without I/O |
//! | `pace` | the budget of each link |
//! | `squeeze` | compression when it pays |
//! | `moves` | the moves: tasks around all this |
//! | `control` | the daemon's orders |
//!
//! Architecture invariants: the carrier decides nothing about the cluster; it keeps no state on disk; the
//! daemon's death changes nothing but its patience with a silent peer ([`Patience::unattended`]) and with a
//! share that has run out ([`Patience::deserted`]); a peer
//! reaches only sockets of a move that both daemons agreed on; no input of a peer makes it panic.

mod carrier;
mod clock;
mod config;
mod control;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod moves;
mod pace;
mod port;
mod relay;
mod socket;
mod squeeze;
mod stripe;
mod tls;
mod wire;

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use libp2p_identity::{KeyType, Keypair};
use tokio::net::TcpListener;
use tracing::info;

pub use clock::now_ns;
pub use config::{CarrierConfig, Patience};
pub use control::{
    AcceptMove, Channel, Client, ClientError, CloseReason, Compress, Event, Events, GuestState,
    LimitedBy, LinkStatus, MoveState, MoveStatus, OpenMove, PeerStatus, SetMove, SetShare, Status,
};

/// Runs a carrier until its process ends; needs a multi-threaded tokio runtime to be fast.
///
/// # Errors
///
/// If the key cannot be read, the port or the control socket cannot be had, or another carrier already
/// listens on the control socket.
pub async fn run(config: CarrierConfig) -> anyhow::Result<()> {
    let CarrierConfig { control_socket, key_file, listen, upstream, patience, settings } = config;
    let identity = tls::Identity::new(read_key(&key_file)?)?;
    let daemons = control::listen(&control_socket)
        .with_context(|| format!("cannot listen on {}", control_socket.display()))?;
    let hosts = TcpListener::bind(listen).await.with_context(|| cannot_listen(listen))?;
    info!(peer = %identity.peer_id(), %listen, "the carrier is ready");
    let carrier = carrier::Carrier::new(identity, upstream, patience, settings);
    tokio::join!(port::serve(carrier.clone(), hosts), control::serve(carrier, daemons));
    Ok(())
}

fn cannot_listen(address: SocketAddr) -> String {
    let port = address.port();
    format!(
        "cannot listen on {address}, the port between hosts; if another process has it, \
         `ss -ltnp 'sport = :{port}'` names it: stop that one, or set another `listen` here and the \
         same port in this node's address on all hosts"
    )
}

fn read_key(path: &Path) -> anyhow::Result<Keypair> {
    let path_shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the key {path_shown}"))?;
    let keypair = Keypair::from_protobuf_encoding(&bytes)
        .with_context(|| format!("{path_shown} holds no protobuf-encoded libp2p key"))?;
    anyhow::ensure!(keypair.key_type() == KeyType::Ed25519, "{path_shown} is not an ed25519 key");
    Ok(keypair)
}
