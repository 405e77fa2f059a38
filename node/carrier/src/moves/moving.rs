//! A move and its tasks.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use libp2p_identity::PeerId;
use tokio::{
    net::UnixListener,
    sync::{Notify, broadcast, watch},
};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use super::{core::Core, dial, life::Guest, local, watch::keep_watch};
use crate::{
    Patience,
    clock::now_ns,
    control::{CloseReason, Compress, Event, GuestState, MoveState},
    pace::{Head, Link, Queue, Share},
    socket::remove_socket,
    stripe::{MAX_FRAMES, MAX_WINDOW},
    wire::{LaneKey, MAX_BLOCK, wire_length},
};

/// The round trip that windows are sized for when the link's is shorter or not known.
const LEAST_RTT: Duration = Duration::from_millis(50);
/// The window holds so many round trips of the share: one on its way, one for the acknowledgement's delay, one
/// for a stream that lost a packet.
const WINDOW_RTTS: u128 = 3;
const LEAST_WINDOW: usize = 1024 * 1024;
/// How much may be read from the hypervisor ahead of the budget: 20 ms of the share, within these bounds.
const AHEAD_NS: u64 = 20_000_000;
const LEAST_AHEAD: usize = 16 * 1024;
const MOST_AHEAD: usize = 1024 * 1024;
/// The size of a block: 5 ms of the share, or more where compression will shrink it, within these bounds.
const BLOCK_NS: u64 = 5_000_000;
const SQUEEZED_BLOCK_NS: u64 = 20_000_000;
const LEAST_BLOCK: usize = 4 * 1024;
/// A daemon that has asked for nothing for so long stands still.
const STANDS_STILL: Duration = Duration::from_secs(3);

/// What a move has from its carrier.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) patience: Patience,
    pub(crate) events: broadcast::Sender<Event>,
    /// Control connections that are open.
    pub(crate) attended: Arc<AtomicUsize>,
    /// When a daemon last asked for anything; 0 before the first.
    pub(crate) asked_ns: Arc<AtomicU64>,
}

/// What only one end of a move has.
pub(crate) enum Side {
    /// The guest runs here, and this end dials.
    Source {
        link_name: String,
        addresses: Vec<SocketAddr>,
        connector: TlsConnector,
        compress: Compress,
        sockets: Vec<PathBuf>,
    },
    /// The guest comes here.
    Destination {
        /// By name.
        channels: BTreeMap<String, PathBuf>,
        /// Bytes from this peer, over all its moves.
        received: Arc<AtomicU64>,
    },
}

/// What a move begins with.
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) peer: PeerId,
    pub(crate) link: Arc<Link>,
    pub(crate) weight: u32,
    pub(crate) side: Side,
}

/// How a move ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) reason: CloseReason,
    /// The peer does not know yet.
    pub(super) tell_peer: bool,
    pub(super) at_ns: u64,
}

/// Counters of one move, in bytes; see [`crate::control::MoveStatus`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) local_in: AtomicU64,
    pub(super) local_out: AtomicU64,
    pub(super) wire_sent: AtomicU64,
    pub(super) wire_received: AtomicU64,
    pub(super) compress_in: AtomicU64,
    pub(super) compress_out: AtomicU64,
}

/// What was heard, and when, on the clock of [`now_ns`].
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The last byte; 0 before the first.
    pub(super) any_ns: AtomicU64,
    /// The last byte on the control lane.
    pub(super) control_ns: AtomicU64,
    /// Smoothed; 0 before the first pong.
    pub(super) rtt_ns: AtomicU64,
    /// As in the last ping.
    pub(super) guest: AtomicU32,
}

/// One move at one end. It lives until [`Move::end`]; its tasks end then.
pub(crate) struct Move {
    pub(crate) id: String,
    pub(crate) peer: PeerId,
    pub(super) link: Arc<Link>,
    pub(super) side: Side,
    /// When the move began on this host's clock: no other carrier process has the same.
    pub(super) session: u64,
    pub(super) peer_session: OnceLock<u64>,
    core: Mutex<Core>,
    pub(super) ended: watch::Sender<Option<Ended>>,
    /// The control lane has something to send.
    pub(super) control: Notify,
    /// Grows when a lane may have to be dialled.
    pub(super) lanes_changed: watch::Sender<u64>,
    /// While the move is open.
    pub(super) open_state: Mutex<MoveState>,
    pub(super) drained: AtomicBool,
    pub(super) streams_wanted: AtomicU16,
    /// Lanes below this index have a task that dials them.
    streams_kept: AtomicU16,
    guest: Mutex<GuestState>,
    pub(super) heard: Heard,
    pub(super) counters: Counters,
    pub(super) around: Surroundings,
}

impl Move {
    /// Begins a move at the source: `streams` data streams, and what connects to `listeners` is carried.
    pub(crate) fn open(
        plan: Plan,
        around: Surroundings,
        streams: u16,
        listeners: Vec<(String, UnixListener)>,
    ) -> Arc<Self> {
        let this = Self::begin(plan, around, MoveState::Connecting);
        for (channel, listener) in listeners {
            this.spawn(local::take_connections(this.clone(), channel, listener));
        }
        this.spawn(dial::keep_lane(this.clone(), LaneKey::Control));
        this.set_streams(streams);
        this
    }

    /// Begins a move at the destination, which waits for the source.
    pub(crate) fn accept(plan: Plan, around: Surroundings) -> Arc<Self> {
        let this = Self::begin(plan, around, MoveState::Waiting);
        this.spawn(this.link.clone().pace());
        this
    }

    fn begin(plan: Plan, around: Surroundings, state: MoveState) -> Arc<Self> {
        let Plan { id, peer, link, weight, side } = plan;
        let this = Arc::new(Self {
            id,
            peer,
            link,
            side,
            session: now_ns(),
            peer_session: OnceLock::new(),
            core: Mutex::default(),
            ended: watch::Sender::new(None),
            control: Notify::new(),
            lanes_changed: watch::Sender::new(0),
            open_state: Mutex::new(state),
            drained: AtomicBool::new(false),
            streams_wanted: AtomicU16::new(0),
            streams_kept: AtomicU16::new(0),
            guest: Mutex::default(),
            heard: Heard::default(),
            counters: Counters::default(),
            around,
        });
        this.link.join(this.clone(), weight);
        this.spawn(keep_watch(this.clone()));
        this
    }

    /// Ends the move: closes its local sockets at once, and tells the peer if `tell_peer`. Only the first end
    /// counts.
    pub(crate) fn end(self: &Arc<Self>, reason: CloseReason, tell_peer: bool) {
        let ended = Ended { reason, tell_peer, at_ns: now_ns() };
        let first = self.ended.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(ended);
            first
        });
        if !first {
            return;
        }
        info!(move_id = %self.id, ?reason, "the move has ended");
        {
            let mut core = self.core();
            core.substreams.clear();
            core.lanes.retain(|key, _| *key == LaneKey::Control);
        }
        let queue: Arc<dyn Queue> = self.clone();
        self.link.leave(&queue);
        self.link.wake();
        if let Side::Source { sockets, .. } = &self.side {
            for socket in sockets {
                if let Err(error) = remove_socket(socket) {
                    warn!(path = %socket.display(), %error, "cannot remove the socket of a move");
                }
            }
        }
        self.tell(Event::MoveClosed { move_id: self.id.clone(), reason });
    }

    /// Why and when the move ended.
    pub(crate) fn ended(&self) -> Option<(CloseReason, u64)> {
        self.ended.borrow().map(|ended| (ended.reason, ended.at_ns))
    }

    pub(super) fn state(&self) -> MoveState {
        match self.ended() {
            Some((reason, _)) => MoveState::Closed { reason },
            None => *self.open_state.lock().expect("nothing panics under this lock"),
        }
    }

    /// Whether this end is the destination of a move from `peer`.
    pub(crate) fn comes_from(&self, peer: &PeerId) -> bool {
        matches!(self.side, Side::Destination { .. }) && self.peer == *peer
    }

    pub(crate) fn is_source(&self) -> bool {
        matches!(self.side, Side::Source { .. })
    }

    pub(crate) fn set_weight(self: &Arc<Self>, weight: u32) {
        let queue: Arc<dyn Queue> = self.clone();
        self.link.set_weight(&queue, weight);
    }

    /// Opens or closes data streams until there are `streams`. At the source only.
    pub(crate) fn set_streams(self: &Arc<Self>, streams: u16) {
        self.streams_wanted.store(streams, Relaxed);
        let kept = self.streams_kept.fetch_max(streams, Relaxed);
        for index in kept..streams {
            self.spawn(dial::keep_lane(self.clone(), LaneKey::Data(index)));
        }
        let surplus: Vec<LaneKey> =
            self.core().lanes.range(LaneKey::Data(streams)..).map(|(key, _)| *key).collect();
        for key in surplus {
            self.drop_lane(key, None);
        }
        self.lanes_may_be_wanted();
    }

    /// The daemon says how the guest is; the peer learns it at once.
    pub(crate) fn set_guest(&self, guest: GuestState) {
        *self.guest.lock().expect("nothing panics under this lock") = guest;
        self.ping();
    }

    /// As last said by the daemon.
    pub(super) fn guest_state(&self) -> GuestState {
        *self.guest.lock().expect("nothing panics under this lock")
    }

    /// Whether no daemon is here, or one that stands still: it asks several times a second.
    pub(super) fn is_deserted(&self) -> bool {
        let silent_ns = now_ns().saturating_sub(self.around.asked_ns.load(Relaxed));
        self.around.attended.load(Relaxed) == 0 || Duration::from_nanos(silent_ns) > STANDS_STILL
    }

    /// What this end knows of the guest.
    pub(super) fn guest(&self) -> Guest {
        let word_of_source = match self.side {
            Side::Source { .. } if self.around.attended.load(Relaxed) == 0 => Guest::Unattended,
            Side::Source { .. } => Guest::Running,
            Side::Destination { .. } => Guest::from_number(self.heard.guest.load(Relaxed)),
        };
        if self.guest_state() == GuestState::Paused { Guest::Paused } else { word_of_source }
    }

    /// Has the source ask for a sign of life.
    pub(super) fn ping(&self) {
        if self.is_source() {
            let guest = self.guest();
            self.core().due.ping = Some(guest);
            self.control.notify_one();
        }
    }

    pub(super) fn lanes_may_be_wanted(&self) {
        self.lanes_changed.send_modify(|version| *version += 1);
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.around.events.send(event);
    }

    /// The state under the lock. Who holds it never waits and never calls the link, but to wake it.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("nothing panics under this lock")
    }

    /// Runs a task until the move ends.
    pub(super) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        let mut ended = self.ended.subscribe();
        let run = async move {
            tokio::select! {
                _ = ended.wait_for(Option::is_some) => {}
                () = task => {}
            }
        };
        tokio::spawn(run).abort_handle()
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        let rtt_ns = self.heard.rtt_ns.load(Relaxed);
        (rtt_ns > 0).then(|| Duration::from_nanos(rtt_ns))
    }

    pub(super) fn share(&self) -> Share {
        self.link.share()
    }

    /// How much may be unacknowledged, in bytes.
    fn window(&self) -> usize {
        let rtt = self.rtt().unwrap_or(LEAST_RTT).max(LEAST_RTT);
        let share = u128::from(self.share().rate_bytes_per_sec);
        let bytes = WINDOW_RTTS * share * rtt.as_nanos() / 1_000_000_000;
        usize::try_from(bytes).unwrap_or(MAX_WINDOW).clamp(LEAST_WINDOW, MAX_WINDOW)
    }

    fn window_full(&self, core: &Core) -> bool {
        core.outbound.held_bytes() >= self.window() || core.outbound.held_frames() >= MAX_FRAMES
    }

    /// How many bytes may now be read from the local socket of a substream: `None` if it is gone, 0 if its
    /// reader has to wait to be woken.
    pub(super) fn may_read(&self, substream: u32) -> Option<usize> {
        let rate = self.share().rate_bytes_per_sec;
        let core = self.core();
        let found = core.substreams.get(&substream)?;
        let ahead = part_of(rate, AHEAD_NS).clamp(LEAST_AHEAD, MOST_AHEAD);
        if core.outbound.ready_bytes() >= ahead || self.window_full(&core) {
            return Some(0);
        }
        let block_ns = match self.compress() {
            Compress::Never => BLOCK_NS,
            Compress::Always | Compress::Auto => SQUEEZED_BLOCK_NS,
        };
        let block = part_of(rate, block_ns).clamp(LEAST_BLOCK, MAX_BLOCK);
        let credit = found.send_limit.saturating_sub(found.sent);
        Some(block.min(usize::try_from(credit).unwrap_or(block)))
    }

    /// The replies of a destination are small, and go as they are.
    pub(super) fn compress(&self) -> Compress {
        match self.side {
            Side::Source { compress, .. } => compress,
            Side::Destination { .. } => Compress::Never,
        }
    }
}

/// How much a rate carries in `ns`, saturating.
fn part_of(rate_bytes_per_sec: u64, ns: u64) -> usize {
    let bytes = u128::from(rate_bytes_per_sec) * u128::from(ns) / 1_000_000_000;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Queue for Move {
    fn head(&self) -> Head {
        let core = self.core();
        match core.outbound.head_len() {
            None if self.window_full(&core) => Head::Blocked,
            None => Head::Empty,
            Some(length) if core.has_free_lane() => Head::Ready(wire_length(length)),
            Some(_) => Head::Blocked,
        }
    }

    fn dispatch(&self) -> usize {
        let mut core = self.core();
        let Some(id) = core.free_lane().map(|lane| lane.id) else { return 0 };
        let Some(frame) = core.outbound.take(id) else { return 0 };
        let length = wire_length(frame.len());
        let lane = core.free_lane().expect("the lock was not released");
        lane.queue.push_back(frame);
        lane.wake.notify_one();
        core.wake_readers();
        length
    }
}
