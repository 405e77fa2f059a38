//! The words of the control protocol.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A channel of a move: what one UNIX socket of the hypervisor carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The same at both ends; at most 64 bytes.
    pub name: String,
    /// At the source the carrier listens there, at the destination it connects there.
    pub path: PathBuf,
}

/// When blocks are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub enum Compress {
    /// Never: `false`.
    Never,
    /// Every block that shrinks: `true`.
    Always,
    /// While the share is thin against the speed of compression, and the bytes shrink: `"auto"`.
    #[default]
    Auto,
}

impl TryFrom<serde_json::Value> for Compress {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        match value {
            serde_json::Value::Bool(false) => Ok(Self::Never),
            serde_json::Value::Bool(true) => Ok(Self::Always),
            serde_json::Value::String(word) if word == "auto" => Ok(Self::Auto),
            _ => Err("compress is true, false or \"auto\""),
        }
    }
}

impl From<Compress> for serde_json::Value {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::Never => false.into(),
            Compress::Always => true.into(),
            Compress::Auto => "auto".into(),
        }
    }
}

/// Opens a move at the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenMove {
    /// Opaque, unique for each attempt; at most 128 bytes.
    pub move_id: String,
    /// The link whose share the move uses.
    pub link: String,
    /// Who must answer at the far side.
    pub peer_id: String,
    /// Where the far carrier may be reached; all are tried.
    pub addresses: Vec<SocketAddr>,
    /// Parallel data streams, 1 to 64; one more carries control frames.
    pub streams: u16,
    /// What is carried; the carrier makes these sockets.
    pub channels: Vec<Channel>,
    /// Against the other moves of the link; 0 counts as 1.
    pub weight: u32,
    /// When blocks are compressed.
    #[serde(default)]
    pub compress: Compress,
}

/// Accepts a move at the destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptMove {
    /// As at the source.
    pub move_id: String,
    /// The source.
    pub from_peer: String,
    /// What may be connected; nothing else ever is.
    pub channels: Vec<Channel>,
}

/// Changes a move; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMove {
    /// Which.
    pub move_id: String,
    /// As in [`OpenMove`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// As in [`OpenMove`]; source only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u16>,
    /// How the guest is: what freezes it while it is paused costs only time while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestState>,
}

/// What the daemon knows of a guest that leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestState {
    /// It runs, and will for a while.
    #[default]
    Runs,
    /// It runs, as far as is known, and may be paused for its switchover any moment.
    MayPause,
    /// It stands still.
    Paused,
}

/// What a link may carry from this host, until when.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetShare {
    /// Which.
    pub link: String,
    /// Bytes per second on the wire, TLS and frame headers included, TCP and IP headers not.
    pub rate_bytes_per_sec: u64,
    /// When the right ends, on this host's [`crate::now_ns`].
    pub valid_until_ns: u64,
}

/// What the daemon can ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    OpenMove(OpenMove),
    AcceptMove(AcceptMove),
    SetMove(SetMove),
    CloseMove { move_id: String },
    SetShare(SetShare),
    SetUpstream { address: Option<SocketAddr> },
    Status,
    Subscribe,
}

/// A request on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) request: Request,
}

/// A reply on the wire; without an id if the request's could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: Option<u64>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ok(()),
    Status(Box<Status>),
    Error(String),
}

/// What happened in the carrier, to those who subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A move is in another state; not sent for the end, which is [`Event::MoveClosed`].
    MoveState {
        /// Which.
        move_id: String,
        /// From now on.
        state: MoveState,
    },
    /// All substreams of a move have ended in both directions.
    Drained {
        /// Which.
        move_id: String,
    },
    /// A move has ended, and its sockets are closed.
    MoveClosed {
        /// Which.
        move_id: String,
        /// Why.
        reason: CloseReason,
    },
    /// Somebody without an accepted move was refused.
    Stranger {
        /// Who.
        peer_id: String,
        /// From where.
        address: SocketAddr,
    },
    /// The subscriber was too slow, and so many events are lost: ask for the status.
    Missed {
        /// How many.
        events: u64,
    },
}

/// What a move is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveState {
    /// At the destination: the source has not come yet.
    Waiting,
    /// At the source: no control stream and data stream yet.
    Connecting,
    /// The peer is there.
    Flowing,
    /// The peer is silent, or no data stream is up; the move waits for it.
    Held,
    /// Over.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a move has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The daemon closed it here.
    Requested,
    /// The daemon closed it at the other end.
    RequestedByPeer,
    /// The peer was silent while the guest was paused.
    SilentWhilePaused,
    /// The peer was silent while no daemon could say whether the guest was paused.
    SilentUnattended,
    /// Nothing might be sent, while the guest was paused or may have been.
    NoShareWhilePaused,
    /// The peer was silent for longer than a move is held.
    SilentTooLong,
    /// All streams were closed from the far side, and the source did not come back.
    PeerGone,
    /// The other carrier has restarted and knows nothing of the move.
    PeerLostState,
    /// The destination does not expect this move from this peer.
    Refused,
    /// Nothing was connected for too long.
    Idle,
    /// The peer broke the protocol.
    Protocol,
}

/// Everything the carrier knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// This host's.
    pub peer_id: String,
    /// On the clock of [`crate::now_ns`], when this was true.
    pub at_ns: u64,
    /// What it was started with, by name; empty if it does not tell.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Open moves, and those that closed in the last ten minutes.
    pub moves: Vec<MoveStatus>,
    /// Links that had a share or a move.
    pub links: Vec<LinkStatus>,
    /// Sources that sent something.
    pub received: Vec<PeerStatus>,
}

/// One move. Bytes are counted from its beginning at this end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MoveStatus {
    /// As given.
    pub move_id: String,
    /// The other carrier.
    pub peer_id: String,
    /// At the source, as given.
    pub link: Option<String>,
    /// What it is doing.
    pub state: MoveState,
    /// Whether all its substreams (at least one) have ended.
    pub drained: bool,
    /// As last said by the daemon.
    pub guest: GuestState,
    /// Bytes read from local sockets.
    pub local_in_bytes: u64,
    /// Bytes written to local sockets.
    pub local_out_bytes: u64,
    /// Bytes sent on all streams, with frame headers and TLS records.
    pub wire_sent_bytes: u64,
    /// Bytes that arrived on all streams, with frame headers and TLS records.
    pub wire_received_bytes: u64,
    /// Of `local_in_bytes`, what the other carrier has in order.
    pub acked_bytes: u64,
    /// Bytes that were tried to compress.
    pub compress_in_bytes: u64,
    /// What became of them.
    pub compress_out_bytes: u64,
    /// Data streams that are up.
    pub streams_up: u16,
    /// Substreams that have not ended.
    pub substreams: u32,
    /// Smoothed round trip of pings; source only.
    pub rtt_us: Option<u64>,
    /// Since the last byte of the peer; `None` before the first.
    pub silent_ms: Option<u64>,
}

/// One link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkStatus {
    /// As given.
    pub link: String,
    /// As given.
    pub rate_bytes_per_sec: u64,
    /// As given.
    pub valid_until_ns: u64,
    /// Handed to streams since the carrier started.
    pub wire_sent_bytes: u64,
    /// What held the link back in the last second.
    pub limited_by: LimitedBy,
}

/// Milliseconds of the last second (0.9 s to 1 s of it).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedBy {
    /// Data waited, and the share was used up or had run out.
    pub tokens_ms: u64,
    /// Data and share waited, and no stream took more.
    pub link_ms: u64,
    /// Nothing waited: the hypervisor here gave no more, or the one there took no more.
    pub source_ms: u64,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    pub from_peer: String,
    /// Bytes that arrived since the carrier started, with frame headers and TLS records.
    pub wire_received_bytes: u64,
}
