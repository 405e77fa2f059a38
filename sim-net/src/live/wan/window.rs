//! The window of one stream: how many bytes may be on their way at once.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::link::PACKET;
use crate::live::locked;

#[derive(Debug)]
struct State {
    in_flight: u64,
    /// What losses have left of the window; unlimited before the first.
    after_loss: f64,
}

/// Bytes on their way, and how many may be.
#[derive(Debug)]
pub(crate) struct Window {
    state: Mutex<State>,
    released: Notify,
}

impl Window {
    /// Nothing is on its way.
    pub(crate) fn new() -> Self {
        let state = State { in_flight: 0, after_loss: f64::INFINITY };
        Self { state: Mutex::new(state), released: Notify::new() }
    }

    /// Waits until a good part of the window, or `turn` bytes, may leave; answers how many may.
    /// `limit` tells the link's window as of now.
    pub(crate) async fn room(&self, limit: impl Fn() -> u64, turn: usize) -> usize {
        loop {
            let room = {
                let state = locked(&self.state);
                let size = (limit() as f64).min(state.after_loss) as u64;
                // Neither many tiny turns, nor a wait for more than the window has.
                let worthwhile = (size / 4).min(turn as u64).max(1);
                Some(size.saturating_sub(state.in_flight)).filter(|room| *room >= worthwhile)
            };
            match room {
                Some(room) => return usize::try_from(room).unwrap_or(usize::MAX),
                None => self.released.notified().await,
            }
        }
    }

    /// So many bytes have left.
    pub(crate) fn spend(&self, bytes: usize) {
        locked(&self.state).in_flight += bytes as u64;
    }

    /// So many bytes are acknowledged.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = locked(&self.state);
        state.in_flight -= bytes as u64;
        state.after_loss += PACKET as f64 * bytes as f64 / state.after_loss;
        self.released.notify_one();
    }

    /// Something was lost: the window, `limit` at most, is halved.
    pub(crate) fn halve(&self, limit: u64) {
        let mut state = locked(&self.state);
        let size = state.after_loss.min(limit as f64);
        state.after_loss = (size / 2.0).max(2.0 * PACKET as f64);
    }
}
