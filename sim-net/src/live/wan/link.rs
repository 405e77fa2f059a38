//! One link: its rate, its delay, and its time, which stands still while it is cut.
//!
//! Invariants:
//! - *One at a time*: a turn is taken under one fair lock, so connections alternate.
//! - *Link time* never goes back, and does not pass during a cut: whatever is due then is due
//!   later by the length of the cut.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::protocol::{LinkConfig, LinkStats, Shape};
use crate::live::control::Refusal;

/// Payload of one packet, in bytes.
pub(crate) const PACKET: u64 = 1448;
/// Most lateness that is made up for, and so the longest burst.
const BURST: Duration = Duration::from_millis(20);
/// A turn takes about this long, so that turns are fair and timers few.
const TURN: Duration = Duration::from_millis(1);
/// Most bytes of a turn.
pub(crate) const MAX_TURN: usize = 32 << 10;

/// Time that has passed on a link while it was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkTime(Duration);

#[derive(Debug, Clone, Copy)]
struct Condition {
    shape: Shape,
    cut_since: Option<Instant>,
    cut_total: Duration,
}

/// A directed path between two sites.
pub(crate) struct Link {
    from: String,
    to: String,
    start: Instant,
    condition: watch::Sender<Condition>,
    /// When the bytes of the last turn have left.
    free_at: Mutex<LinkTime>,
    forwarded: AtomicU64,
}

impl Link {
    /// A link that is whole and idle.
    ///
    /// # Errors
    /// If its shape makes no sense.
    pub(crate) fn new(config: LinkConfig) -> Result<Self, Refusal> {
        check(&config.shape)?;
        let condition =
            Condition { shape: config.shape, cut_since: None, cut_total: Duration::ZERO };
        Ok(Self {
            from: config.from,
            to: config.to,
            start: Instant::now(),
            condition: watch::Sender::new(condition),
            free_at: Mutex::new(LinkTime(Duration::ZERO)),
            forwarded: AtomicU64::new(0),
        })
    }

    /// Whether it goes from one site to another; `None` is any site.
    pub(crate) fn connects(&self, from: Option<&str>, to: Option<&str>) -> bool {
        from.is_none_or(|site| site == self.from) && to.is_none_or(|site| site == self.to)
    }

    /// Its present properties.
    pub(crate) fn shape(&self) -> Shape {
        self.condition.borrow().shape
    }

    /// Changes its properties from the next turn on.
    ///
    /// # Errors
    /// If they make no sense; nothing has changed then.
    pub(crate) fn set_shape(&self, shape: Shape) -> Result<(), Refusal> {
        check(&shape)?;
        self.condition.send_modify(|condition| condition.shape = shape);
        Ok(())
    }

    /// Stops its time.
    pub(crate) fn cut(&self) {
        self.condition.send_modify(|condition| {
            condition.cut_since.get_or_insert_with(Instant::now);
        });
    }

    /// Lets its time pass again.
    pub(crate) fn heal(&self) {
        self.condition.send_modify(|condition| {
            if let Some(since) = condition.cut_since.take() {
                condition.cut_total += since.elapsed();
            }
        });
    }

    /// Counters.
    pub(crate) fn stats(&self) -> LinkStats {
        let Condition { shape, cut_since, .. } = *self.condition.borrow();
        LinkStats {
            link: LinkConfig { from: self.from.clone(), to: self.to.clone(), shape },
            cut: cut_since.is_some(),
            forwarded_bytes: self.forwarded.load(Ordering::Relaxed),
        }
    }

    fn now(&self) -> LinkTime {
        let condition = *self.condition.borrow();
        let real = condition.cut_since.unwrap_or_else(Instant::now);
        LinkTime(real.duration_since(self.start).saturating_sub(condition.cut_total))
    }

    /// When something that leaves now arrives.
    pub(crate) fn arrival(&self) -> LinkTime {
        LinkTime(self.now().0 + Duration::from_secs_f64(self.shape().rtt_ms / 2000.0))
    }

    /// Waits until the link's time has come to `due`.
    pub(crate) async fn wait(&self, due: LinkTime) {
        if self.now() >= due && self.condition.borrow().cut_since.is_none() {
            return;
        }
        let mut changes = self.condition.subscribe();
        loop {
            let condition = *changes.borrow_and_update();
            let change = async {
                // The sender lives as long as `self`.
                let _ = changes.changed().await;
            };
            if condition.cut_since.is_some() {
                change.await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(self.start + condition.cut_total + due.0) => return,
                () = change => {}
            }
        }
    }

    /// Takes a turn: once the link is free, `take` may move as many bytes as it is told, and says
    /// how many it did.
    pub(crate) async fn turn<E>(
        &self,
        take: impl FnOnce(usize) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut free_at = self.free_at.lock().await;
        self.wait(*free_at).await;
        let capacity = self.shape().capacity_bits;
        let bytes = take(turn_bytes(capacity))?;
        let took = Duration::from_secs_f64(bytes as f64 * 8.0 / capacity as f64);
        let not_before = self.now().0.saturating_sub(BURST);
        free_at.0 = free_at.0.max(not_before) + took;
        self.forwarded.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Bytes that may wait in a socket's own buffer: about capacity x 20 ms.
    pub(crate) fn socket_buffer(&self) -> u32 {
        let bytes = self.shape().capacity_bits / 8 / 50;
        bytes.clamp(32 << 10, 512 << 10) as u32
    }
}

/// Bytes of one turn at a capacity.
pub(crate) fn turn_bytes(capacity_bits: u64) -> usize {
    let bytes = u128::from(capacity_bits) / 8 * TURN.as_micros() / 1_000_000;
    bytes.clamp(u128::from(PACKET), MAX_TURN as u128) as usize
}

fn check(shape: &Shape) -> Result<(), Refusal> {
    let wrong = if shape.capacity_bits < 1000 {
        "capacity_bits must be at least 1000 (use cut to stop a link)"
    } else if !(0.0..=60_000.0).contains(&shape.rtt_ms) {
        "rtt_ms must be from 0 to 60000"
    } else if shape.window_bytes < PACKET {
        "window_bytes must be at least 1448"
    } else if !(0.0..=1.0).contains(&shape.loss) {
        "loss must be from 0 to 1"
    } else {
        return Ok(());
    };
    Err(Refusal::refused(wrong))
}
