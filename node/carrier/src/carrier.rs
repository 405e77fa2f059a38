//! Everything that a carrier knows, and what the daemon's orders do to it.
//!
//! Locks are taken in the order of the fields, and no move or link ever calls back.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use libp2p_identity::PeerId;
use thiserror::Error;
use tokio::{net::UnixListener, sync::broadcast};

use crate::{
    Patience,
    clock::now_ns,
    control::{
        AcceptMove, Channel, CloseReason, Event, LinkStatus, OpenMove, PeerStatus, SetMove,
        SetShare, Status,
    },
    moves::{Move, Plan, Side, Surroundings},
    pace::{Link, Share},
    socket::{listen_private, remove_socket},
    tls::Identity,
    wire::{MAX_CHANNEL_NAME, MAX_STREAMS},
};

const MAX_MOVE_ID: usize = 128;
const MAX_CHANNELS: usize = 16;
const MAX_MOVES: usize = 1024;
const EVENTS_KEPT: usize = 1024;
/// How long a closed move stays in the status: 10 min.
const KEEP_CLOSED_NS: u64 = 600_000_000_000;

/// Why an order was not carried out; nothing has changed then.
#[derive(Debug, Error)]
pub(crate) enum OrderError {
    #[error("there is a move {0} already; every attempt needs an id of its own")]
    MoveExists(String),
    #[error("there is no open move {0}; ask for the status to see what there is")]
    NoSuchMove(String),
    #[error("there are {MAX_MOVES} moves already; close some first")]
    TooManyMoves,
    #[error("a move's id has 1 to {MAX_MOVE_ID} bytes")]
    MoveId,
    #[error("{0} is not a peer id")]
    PeerId(String),
    #[error("a move needs an address of the other carrier")]
    NoAddress,
    #[error("a move has 1 to {MAX_STREAMS} streams")]
    Streams,
    #[error("only the source decides on the number of streams")]
    NotSource,
    #[error(
        "a move has 1 to {MAX_CHANNELS} channels with names of 1 to {MAX_CHANNEL_NAME} bytes, each once"
    )]
    Channels,
    #[error("cannot listen on {path}: {error}", path = path.display())]
    Listen { path: PathBuf, error: io::Error },
    #[error("cannot make a certificate: {0}")]
    Certificate(anyhow::Error),
}

/// The state of the carrier.
pub(crate) struct Carrier {
    identity: Identity,
    moves: Mutex<BTreeMap<String, Arc<Move>>>,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
    received: Mutex<BTreeMap<PeerId, Arc<AtomicU64>>>,
    upstream: Mutex<Option<SocketAddr>>,
    around: Surroundings,
    settings: BTreeMap<String, String>,
}

/// A control connection, for as long as it is open.
pub(crate) struct Attended(Arc<AtomicUsize>);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Carrier {
    pub(crate) fn new(
        identity: Identity,
        upstream: Option<SocketAddr>,
        patience: Patience,
        settings: BTreeMap<String, String>,
    ) -> Arc<Self> {
        let around = Surroundings {
            patience,
            events: broadcast::Sender::new(EVENTS_KEPT),
            attended: Arc::default(),
            asked_ns: Arc::default(),
        };
        Arc::new(Self {
            identity,
            moves: Mutex::default(),
            links: Mutex::default(),
            received: Mutex::default(),
            upstream: Mutex::new(upstream),
            around,
            settings,
        })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn upstream(&self) -> Option<SocketAddr> {
        *lock(&self.upstream)
    }

    pub(crate) fn set_upstream(&self, address: Option<SocketAddr>) {
        *lock(&self.upstream) = address;
    }

    /// Notes a control connection.
    pub(crate) fn attend(&self) -> Attended {
        self.around.attended.fetch_add(1, Relaxed);
        Attended(self.around.attended.clone())
    }

    /// Notes that a daemon has asked for something.
    pub(crate) fn asked(&self) {
        self.around.asked_ns.store(now_ns(), Relaxed);
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.around.events.subscribe()
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.around.events.send(event);
    }

    /// A move, closed ones included.
    pub(crate) fn find(&self, move_id: &str) -> Option<Arc<Move>> {
        lock(&self.moves).get(move_id).cloned()
    }

    /// Whether there is, or just was, an accepted move from `peer`.
    pub(crate) fn expects(&self, peer: &PeerId) -> bool {
        lock(&self.moves).values().any(|mv| mv.comes_from(peer))
    }

    pub(crate) fn open_move(&self, request: OpenMove) -> Result<(), OrderError> {
        let OpenMove { move_id, link, peer_id, addresses, streams, channels, weight, compress } =
            request;
        check_channels(&channels)?;
        check_streams(streams)?;
        if addresses.is_empty() {
            return Err(OrderError::NoAddress);
        }
        let peer = parse_peer(&peer_id)?;
        let connector = self.identity.connector(peer).map_err(OrderError::Certificate)?;
        let mut moves = self.moves_with_room(&move_id)?;
        let sockets = channels.iter().map(|channel| channel.path.clone()).collect();
        let listeners = listen_all(channels)?;
        let side =
            Side::Source { link_name: link.clone(), addresses, connector, compress, sockets };
        let plan = Plan { id: move_id.clone(), peer, link: self.link(&link), weight, side };
        let mv = Move::open(plan, self.around.clone(), streams, listeners);
        moves.insert(move_id, mv);
        Ok(())
    }

    pub(crate) fn accept_move(&self, request: AcceptMove) -> Result<(), OrderError> {
        let AcceptMove { move_id, from_peer, channels } = request;
        check_channels(&channels)?;
        let peer = parse_peer(&from_peer)?;
        let mut moves = self.moves_with_room(&move_id)?;
        let channels = channels.into_iter().map(|channel| (channel.name, channel.path)).collect();
        let received = lock(&self.received).entry(peer).or_default().clone();
        let side = Side::Destination { channels, received };
        let link = Link::new(Share::EXEMPT);
        let plan = Plan { id: move_id.clone(), peer, link, weight: 1, side };
        moves.insert(move_id, Move::accept(plan, self.around.clone()));
        Ok(())
    }

    pub(crate) fn set_move(&self, request: &SetMove) -> Result<(), OrderError> {
        let open = self.find(&request.move_id).filter(|mv| mv.ended().is_none());
        let mv = open.ok_or_else(|| OrderError::NoSuchMove(request.move_id.clone()))?;
        if let Some(streams) = request.streams {
            check_streams(streams)?;
            if !mv.is_source() {
                return Err(OrderError::NotSource);
            }
            mv.set_streams(streams);
        }
        if let Some(weight) = request.weight {
            mv.set_weight(weight);
        }
        if let Some(guest) = request.guest {
            mv.set_guest(guest);
        }
        Ok(())
    }

    pub(crate) fn close_move(&self, move_id: &str) -> Result<(), OrderError> {
        let found = self.find(move_id);
        let mv = found.ok_or_else(|| OrderError::NoSuchMove(move_id.to_owned()))?;
        mv.end(CloseReason::Requested, true);
        Ok(())
    }

    pub(crate) fn set_share(&self, request: SetShare) {
        let SetShare { link, rate_bytes_per_sec, valid_until_ns } = request;
        self.link(&link).set_share(Share { rate_bytes_per_sec, valid_until_ns });
    }

    pub(crate) fn status(&self) -> Status {
        let link_status = |(name, link): (&String, &Arc<Link>)| {
            let Share { rate_bytes_per_sec, valid_until_ns } = link.share();
            LinkStatus {
                link: name.clone(),
                rate_bytes_per_sec,
                valid_until_ns,
                wire_sent_bytes: link.wire_sent(),
                limited_by: link.limited_by(),
            }
        };
        let links = lock(&self.links).iter().map(link_status).collect();
        let peer_status = |(peer, bytes): (&PeerId, &Arc<AtomicU64>)| PeerStatus {
            from_peer: peer.to_string(),
            wire_received_bytes: bytes.load(Relaxed),
        };
        let received = lock(&self.received).iter().map(peer_status).collect();
        let moves = self.remembered_moves().values().map(|mv| mv.status()).collect();
        let peer_id = self.identity.peer_id().to_string();
        let settings = self.settings.clone();
        Status { peer_id, at_ns: now_ns(), settings, moves, links, received }
    }

    /// The link of this name; a new one has no share yet.
    fn link(&self, name: &str) -> Arc<Link> {
        let mut links = lock(&self.links);
        let link = links.entry(name.to_owned()).or_insert_with(|| {
            let link = Link::new(Share::NONE);
            tokio::spawn(link.clone().pace());
            link
        });
        link.clone()
    }

    /// The moves, without those that closed too long ago.
    fn remembered_moves(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Move>>> {
        let forget_before_ns = now_ns().saturating_sub(KEEP_CLOSED_NS);
        let mut moves = lock(&self.moves);
        moves.retain(|_, mv| mv.ended().is_none_or(|(_, at_ns)| at_ns > forget_before_ns));
        moves
    }

    /// The moves, if a new one of this id may join them.
    fn moves_with_room(
        &self,
        move_id: &str,
    ) -> Result<MutexGuard<'_, BTreeMap<String, Arc<Move>>>, OrderError> {
        if move_id.is_empty() || move_id.len() > MAX_MOVE_ID {
            return Err(OrderError::MoveId);
        }
        let moves = self.remembered_moves();
        if moves.contains_key(move_id) {
            return Err(OrderError::MoveExists(move_id.to_owned()));
        }
        if moves.values().filter(|mv| mv.ended().is_none()).count() >= MAX_MOVES {
            return Err(OrderError::TooManyMoves);
        }
        Ok(moves)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

fn parse_peer(text: &str) -> Result<PeerId, OrderError> {
    text.parse().map_err(|_| OrderError::PeerId(text.to_owned()))
}

fn check_streams(streams: u16) -> Result<(), OrderError> {
    if (1..=MAX_STREAMS).contains(&streams) { Ok(()) } else { Err(OrderError::Streams) }
}

fn check_channels(channels: &[Channel]) -> Result<(), OrderError> {
    let names: BTreeSet<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    let named = names.iter().all(|name| (1..=MAX_CHANNEL_NAME).contains(&name.len()));
    let count = (1..=MAX_CHANNELS).contains(&channels.len()) && names.len() == channels.len();
    if named && count { Ok(()) } else { Err(OrderError::Channels) }
}

/// Listens on the sockets of all channels, or of none.
fn listen_all(channels: Vec<Channel>) -> Result<Vec<(String, UnixListener)>, OrderError> {
    let mut listeners = Vec::new();
    let mut made: Vec<PathBuf> = Vec::new();
    for Channel { name, path } in channels {
        match listen_private(&path) {
            Ok(listener) => {
                listeners.push((name, listener));
                made.push(path);
            }
            Err(error) => {
                for path in made {
                    // What cannot be removed is replaced by the next move that wants the path.
                    let _ = remove_socket(&path);
                }
                return Err(OrderError::Listen { path, error });
            }
        }
    }
    Ok(listeners)
}
