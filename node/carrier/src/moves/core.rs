//! What the tasks of a move share under one lock: the order, the substreams, the lanes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::life::Guest;
use crate::{
    stripe::{Credit, INITIAL_CREDIT, Inbound, Outbound, Pool, ReadyFrame},
    wire::{Frame, Kind, LaneKey, blank_frame, sequenced_frame},
};

/// The most substreams of a move at a time.
pub(super) const MAX_SUBSTREAMS: usize = 64;
/// Frames that a lane has at most: one that is being written, one that waits.
const LANE_FRAMES: usize = 2;

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection to the peer; dropping it closes it.
#[derive(Debug)]
pub(super) struct Lane {
    /// Unique in this move at this end.
    pub(super) id: u64,
    pub(super) queue: VecDeque<ReadyFrame>,
    pub(super) writing: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) _tasks: [Task; 2],
}

/// How the peer's direction of a substream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// After all its bytes.
    Fin,
    /// It broke.
    Reset,
}

/// One local connection.
#[derive(Debug)]
pub(super) struct Substream {
    /// Blocks that wait for the local socket.
    pub(super) inbox: VecDeque<Frame>,
    pub(super) end: Option<End>,
    pub(super) credit: Credit,
    /// Raw bytes that may have been sent, and that have been.
    pub(super) send_limit: u64,
    pub(super) sent: u64,
    /// Nothing more comes from the local socket.
    pub(super) read_done: bool,
    pub(super) reader: Arc<Notify>,
    pub(super) writer: Arc<Notify>,
}

/// What waits for the control lane. Each is replaced by its successor, so that nothing piles up.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) ack: bool,
    pub(super) credits: BTreeMap<u32, u64>,
    pub(super) ping: Option<Guest>,
    pub(super) pong: Option<u64>,
}

/// The state of a move's data path.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) substreams: BTreeMap<u32, Substream>,
    pub(super) pool: Pool,
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// The last generation of each lane.
    pub(super) generations: BTreeMap<LaneKey, u64>,
    /// Lanes that should be replaced; they get nothing new.
    pub(super) suspects: BTreeSet<LaneKey>,
    pub(super) due: Due,
    pub(super) lanes_made: u64,
    pub(super) substreams_made: u32,
}

impl Core {
    /// Makes a substream and returns its number; `number` if the peer has chosen one.
    pub(super) fn add_substream(&mut self, number: Option<u32>) -> u32 {
        let number = number.unwrap_or(self.substreams_made);
        self.substreams_made = self.substreams_made.max(number.wrapping_add(1));
        let substream = Substream {
            inbox: VecDeque::new(),
            end: None,
            credit: Credit::open(&mut self.pool),
            send_limit: INITIAL_CREDIT,
            sent: 0,
            read_done: false,
            reader: Arc::new(Notify::new()),
            writer: Arc::new(Notify::new()),
        };
        self.substreams.insert(number, substream);
        number
    }

    /// Forgets a substream; what still comes for it is dropped.
    pub(super) fn remove_substream(&mut self, number: u32) {
        if let Some(substream) = self.substreams.remove(&number) {
            substream.credit.close(&mut self.pool);
            self.due.credits.remove(&number);
        }
    }

    /// Queues a frame without bytes of a substream.
    pub(super) fn push_signal(&mut self, kind: Kind, substream: u32, name: &str) {
        let mut frame = blank_frame(0);
        frame.extend_from_slice(name.as_bytes());
        self.outbound.push(sequenced_frame(kind, substream, 0, false, frame), 0, true);
    }

    /// Wakes all who read from local sockets.
    pub(super) fn wake_readers(&self) {
        for substream in self.substreams.values() {
            substream.reader.notify_one();
        }
    }

    /// The data lane with the most room, if any has some.
    pub(super) fn free_lane(&mut self) -> Option<&mut Lane> {
        let suspects = &self.suspects;
        self.lanes
            .iter_mut()
            .filter(|(key, _)| **key != LaneKey::Control && !suspects.contains(key))
            .map(|(_, lane)| lane)
            .filter(|lane| lane.load() < LANE_FRAMES)
            .min_by_key(|lane| lane.load())
    }

    /// Whether [`Core::free_lane`] would find one.
    pub(super) fn has_free_lane(&self) -> bool {
        self.lanes.iter().any(|(key, lane)| {
            *key != LaneKey::Control && !self.suspects.contains(key) && lane.load() < LANE_FRAMES
        })
    }

    /// Data lanes that are up.
    pub(super) fn data_lanes(&self) -> usize {
        self.lanes.keys().filter(|key| **key != LaneKey::Control).count()
    }

    /// Everything that is known to the far side only if the control lane's last writes arrived.
    pub(super) fn repeat_on_control(&mut self) {
        self.due.ack = true;
        for (&number, substream) in &self.substreams {
            self.due.credits.insert(number, substream.credit.limit());
        }
    }
}

impl Lane {
    fn load(&self) -> usize {
        self.queue.len() + usize::from(self.writing)
    }
}
