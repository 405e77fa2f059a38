//! What a carrier is started with.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// Everything that a carrier is started with.
#[derive(Debug, Clone)]
pub struct CarrierConfig {
    /// The UNIX socket on which the daemon gives orders; made with mode 0600, a stale one is replaced.
    pub control_socket: PathBuf,
    /// A file with the node's key: the protobuf encoding of an ed25519 libp2p keypair.
    pub key_file: PathBuf,
    /// The one port between hosts.
    pub listen: SocketAddr,
    /// Where the daemon's libp2p listens; `None` until the daemon says so.
    pub upstream: Option<SocketAddr>,
    /// How patient the carrier is.
    pub patience: Patience,
    /// With what else, by name, whoever starts it has started it: its status tells that to those who
    /// adopt it, and it means nothing here.
    pub settings: BTreeMap<String, String>,
}

/// How long the carrier waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Silence of the peer after which a move ends while the guest still runs at the source. Default 10 min;
    /// raising it costs nothing but sockets and at most 16 MiB per move.
    pub hold: Duration,
    /// Silence after which a move ends while the guest is paused, and time without a share while it is, or may be
    /// and no daemon is there. Default 1.5 s: shorter takes a lost packet
    /// for an outage, longer freezes the guest longer.
    pub paused: Duration,
    /// Silence after which a move ends while no daemon is connected. Default 5 s. Nobody says then whether the
    /// guest is paused: the hold could freeze it for minutes, and 1.5 s would restart a long pre-copy for
    /// every hiccup of the link. 5 s bounds the freeze, and outlives most hiccups.
    pub unattended: Duration,
    /// How long a move may go without a share while no daemon is there, although the guest was last said to run
    /// on for a while. Default 30 s: it may have been paused since. Shorter throws away what was sent for a
    /// daemon that is slow to come back.
    pub deserted: Duration,
    /// How long a move stays after its last local connection has ended. Default 60 s.
    pub idle: Duration,
    /// How long the destination waits for the source after all its streams were closed from the far side,
    /// which is what the death of a carrier looks like (a cut link leaves them open). Default 30 s.
    pub orphan: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(600),
            paused: Duration::from_millis(1500),
            unattended: Duration::from_secs(5),
            deserted: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            orphan: Duration::from_secs(30),
        }
    }
}
