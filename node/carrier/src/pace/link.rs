//! One link of this host: its share, and the pacer that hands frames to streams within it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    Share,
    bucket::Bucket,
    meter::{Limit, Meter},
    turns::Turns,
};
use crate::{clock::now_ns, control::LimitedBy};

/// What the pacer sees at the head of a move's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Nothing waits.
    Empty,
    /// Something waits, and no stream takes it.
    Blocked,
    /// A frame of so many bytes on the wire can go.
    Ready(usize),
}

/// What sends over a link: a move. Must not call back into its link while it holds its own locks, except
/// [`Link::wake`].
pub(crate) trait Queue: Send + Sync {
    /// What waits.
    fn head(&self) -> Head;
    /// Hands the frame at the head to a stream; returns its bytes on the wire, 0 if it is gone meanwhile.
    fn dispatch(&self) -> usize;
}

struct State {
    bucket: Bucket,
    meter: Meter,
    turns: Turns,
    queues: Vec<Arc<dyn Queue>>,
}

enum Step {
    /// Nothing can be done until something changes.
    Idle,
    /// The grant has run out.
    Lapsed,
    /// The bucket is empty for so long.
    Wait(Duration),
}

/// A link, as far as this host uses it.
pub(crate) struct Link {
    share: watch::Sender<Share>,
    work: Notify,
    state: Mutex<State>,
    wire_sent: AtomicU64,
}

impl Link {
    pub(crate) fn new(share: Share) -> Arc<Self> {
        let now_ns = now_ns();
        let mut bucket = Bucket::new(now_ns);
        bucket.set_rate(share.rate_bytes_per_sec, now_ns);
        let state = State {
            bucket,
            meter: Meter::new(now_ns),
            turns: Turns::default(),
            queues: Vec::new(),
        };
        Arc::new(Self {
            share: watch::Sender::new(share),
            work: Notify::new(),
            state: Mutex::new(state),
            wire_sent: AtomicU64::new(0),
        })
    }

    /// Replaces the share; acts at once, on frames that are being written too.
    pub(crate) fn set_share(&self, share: Share) {
        self.state().bucket.set_rate(share.rate_bytes_per_sec, now_ns());
        self.share.send_replace(share);
    }

    pub(crate) fn share(&self) -> Share {
        *self.share.borrow()
    }

    /// Follows the share.
    pub(crate) fn watch_share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    /// Bytes handed to streams since the start, frame headers and TLS records included.
    pub(crate) fn wire_sent(&self) -> u64 {
        self.wire_sent.load(Relaxed)
    }

    pub(crate) fn limited_by(&self) -> LimitedBy {
        self.state().meter.last_second(now_ns())
    }

    /// Lets `queue` send over this link.
    pub(crate) fn join(&self, queue: Arc<dyn Queue>, weight: u32) {
        let mut state = self.state();
        state.turns.join(weight);
        state.queues.push(queue);
    }

    /// Forgets `queue`, if it is here.
    pub(crate) fn leave(&self, queue: &Arc<dyn Queue>) {
        let mut state = self.state();
        if let Some(index) = state.index_of(queue) {
            state.turns.leave(index);
            state.queues.remove(index);
        }
    }

    pub(crate) fn set_weight(&self, queue: &Arc<dyn Queue>, weight: u32) {
        let mut state = self.state();
        if let Some(index) = state.index_of(queue) {
            state.turns.set_weight(index, weight);
        }
    }

    /// Something waits that did not wait before, or a stream takes more.
    pub(crate) fn wake(&self) {
        self.work.notify_one();
    }

    /// Hands out frames for ever.
    pub(crate) async fn pace(self: Arc<Self>) {
        let mut share = self.watch_share();
        loop {
            match self.step() {
                Step::Idle => self.work.notified().await,
                Step::Lapsed => {
                    tokio::select! {
                        () = self.work.notified() => {}
                        _ = share.changed() => {}
                    }
                }
                Step::Wait(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = share.changed() => {}
                    }
                }
            }
        }
    }

    /// Hands out all frames that can go now.
    fn step(&self) -> Step {
        let state = &mut *self.state();
        loop {
            let now_ns = now_ns();
            let heads: Vec<Head> = state.queues.iter().map(|queue| queue.head()).collect();
            if !heads.iter().any(|head| matches!(head, Head::Ready(_))) {
                let blocked = heads.contains(&Head::Blocked);
                state.meter.enter(if blocked { Limit::Link } else { Limit::Source }, now_ns);
                return Step::Idle;
            }
            state.meter.enter(Limit::Tokens, now_ns);
            if self.share().lapses_in(now_ns).is_none() {
                return Step::Lapsed;
            }
            match state.bucket.wait_ns(now_ns) {
                None => return Step::Lapsed,
                Some(0) => {}
                Some(wait_ns) => return Step::Wait(Duration::from_nanos(wait_ns)),
            }
            let lengths: Vec<Option<usize>> = heads.into_iter().map(Head::length).collect();
            if let Some(index) = state.turns.pick(&lengths) {
                let sent = state.queues[index].dispatch();
                state.bucket.spend(sent);
                self.wire_sent.fetch_add(sent as u64, Relaxed);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn index_of(&self, queue: &Arc<dyn Queue>) -> Option<usize> {
        self.queues.iter().position(|known| Arc::ptr_eq(known, queue))
    }
}

impl Head {
    fn length(self) -> Option<usize> {
        match self {
            Self::Ready(length) => Some(length),
            Self::Empty | Self::Blocked => None,
        }
    }
}
