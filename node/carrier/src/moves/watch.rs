//! The watch over a move: signs of life, lanes that stall, the end of waiting.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::{life::Silence, moving::Move};
use crate::{
    Patience,
    clock::now_ns,
    control::{CloseReason, Event, GuestState, MoveState},
    wire::LaneKey,
};

const TICK: Duration = Duration::from_millis(50);
/// The most silence that one tick counts.
const MOST_PER_TICK: Duration = Duration::from_millis(100);
const PING_EVERY: Duration = Duration::from_millis(250);
/// Silence after which a move counts as held: one ping and one answer are missing.
const HELD_AFTER: Duration = Duration::from_millis(500);
/// Silence of the control lane after which it is dialled afresh, if the round trip is not much longer.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);
const SUSPECT_RTTS: u32 = 4;
/// A lane that holds everything up for so long, or so many round trips, is dialled afresh.
const STALLED_AFTER: Duration = Duration::from_secs(2);
const STALLED_RTTS: u32 = 8;

/// What the watch remembers from tick to tick.
struct Watch {
    any: Silence,
    control: Silence,
    since_ping: Duration,
    idle: Duration,
    orphaned: Duration,
    /// How long nothing may have been sent for want of a share.
    barred: Duration,
    stalled: Duration,
    stalled_at: u64,
    ever_up: bool,
}

/// Watches a move until it ends.
pub(super) async fn keep_watch(mv: Arc<Move>) {
    let mut watch = Watch {
        any: Silence::default(),
        control: Silence::default(),
        since_ping: PING_EVERY,
        idle: Duration::ZERO,
        orphaned: Duration::ZERO,
        barred: Duration::ZERO,
        stalled: Duration::ZERO,
        stalled_at: 0,
        ever_up: false,
    };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let elapsed = now - last;
        last = now;
        watch.tick(&mv, elapsed);
    }
}

impl Watch {
    fn tick(&mut self, mv: &Arc<Move>, elapsed: Duration) {
        let silent = self.any.note(mv.heard.any_ns.load(Relaxed), elapsed, MOST_PER_TICK);
        self.note_state(mv, silent);
        if let Some(reason) = self.has_to_end(mv, silent, elapsed) {
            return mv.end(reason, true);
        }
        if mv.is_source() {
            self.since_ping += elapsed;
            if self.since_ping >= PING_EVERY {
                self.since_ping = Duration::ZERO;
                mv.ping();
            }
            self.doubt_control(mv, elapsed);
            self.doubt_stalled(mv, silent, elapsed);
        }
    }

    fn note_state(&mut self, mv: &Move, silent: Duration) {
        let (control, data) = {
            let core = mv.core();
            (core.lanes.contains_key(&LaneKey::Control), core.data_lanes() > 0)
        };
        self.ever_up |= control && data;
        if !self.ever_up {
            return;
        }
        let here = control && data && silent < HELD_AFTER;
        let state = if here { MoveState::Flowing } else { MoveState::Held };
        if mv.state() != state && mv.ended().is_none() {
            *mv.open_state.lock().expect("nothing panics under this lock") = state;
            mv.tell(Event::MoveState { move_id: mv.id.clone(), state });
        }
    }

    /// Why the move cannot be held any longer.
    fn has_to_end(
        &mut self,
        mv: &Move,
        silent: Duration,
        elapsed: Duration,
    ) -> Option<CloseReason> {
        let patience = &mv.around.patience;
        let (longest, reason) = mv.guest().patience(patience);
        let waits_for_source = !mv.is_source() && !self.ever_up;
        if silent >= patience.hold || (silent >= longest && !waits_for_source) {
            return Some(reason);
        }
        let (streams, substreams, ever_used) = {
            let core = mv.core();
            (core.lanes.len(), core.substreams.len(), core.substreams_made > 0)
        };
        let waits = mv.is_source() && substreams > 0 && mv.share().lapses_in(now_ns()).is_none();
        self.barred = if waits { self.barred + elapsed.min(MOST_PER_TICK) } else { Duration::ZERO };
        let bearable = bearable_without_share(patience, mv.guest_state(), mv.is_deserted());
        if bearable.is_some_and(|bearable| self.barred >= bearable) {
            return Some(CloseReason::NoShareWhilePaused);
        }
        self.idle = if substreams > 0 { Duration::ZERO } else { self.idle + elapsed };
        let drained = ever_used && substreams == 0;
        if mv.drained.swap(drained, Relaxed) != drained && drained {
            mv.tell(Event::Drained { move_id: mv.id.clone() });
        }
        let idle_for = if drained { patience.idle } else { patience.hold };
        if self.idle >= idle_for {
            return Some(CloseReason::Idle);
        }
        let orphaned = self.ever_up && streams == 0 && !mv.is_source();
        self.orphaned = if orphaned { self.orphaned + elapsed } else { Duration::ZERO };
        (self.orphaned >= patience.orphan).then_some(CloseReason::PeerGone)
    }

    /// Has the control lane dialled afresh after silence, and the data lanes when the peer is back: TCP would
    /// take long to notice.
    fn doubt_control(&mut self, mv: &Move, elapsed: Duration) {
        let heard = mv.heard.control_ns.load(Relaxed);
        let silent = self.control.note(heard, elapsed, MOST_PER_TICK);
        let patience = SUSPECT_AFTER.max(mv.rtt().unwrap_or_default() * SUSPECT_RTTS);
        let changed = {
            let mut core = mv.core();
            let up = core.lanes.contains_key(&LaneKey::Control);
            if silent >= patience {
                let data: Vec<LaneKey> = core.lanes.keys().copied().collect();
                let before = core.suspects.len();
                core.suspects.extend(data);
                core.suspects.len() != before
            } else {
                up && silent < HELD_AFTER && core.suspects.remove(&LaneKey::Control)
            }
        };
        if changed {
            debug!(move_id = %mv.id, ?silent, "streams are dialled afresh");
            mv.lanes_may_be_wanted();
            mv.link.wake();
        }
    }

    /// Has the lane dialled afresh that holds up all the others while the peer is alive.
    fn doubt_stalled(&mut self, mv: &Move, silent: Duration, elapsed: Duration) {
        let may_send = mv.share().lapses_in(now_ns()).is_some();
        let mut core = mv.core();
        let base = core.outbound.base();
        let holder = core.outbound.base_lane();
        let stuck = holder.is_some() && base == self.stalled_at && may_send && silent < HELD_AFTER;
        self.stalled_at = base;
        self.stalled =
            if stuck { self.stalled + elapsed.min(MOST_PER_TICK) } else { Duration::ZERO };
        let patience = STALLED_AFTER.max(mv.rtt().unwrap_or_default() * STALLED_RTTS);
        if self.stalled < patience {
            return;
        }
        self.stalled = Duration::ZERO;
        let stalled = core.lanes.iter().find(|(_, lane)| Some(lane.id) == holder);
        let Some(key) = stalled.map(|(key, _)| *key) else { return };
        core.suspects.insert(key);
        drop(core);
        debug!(move_id = %mv.id, ?key, "a stream holds up the others and is dialled afresh");
        mv.lanes_may_be_wanted();
    }
}

/// How long a move may go without a share; `None` while that costs only time. A guest that is paused then
/// stands still on both hosts, and only a daemon gets it a new share.
fn bearable_without_share(
    patience: &Patience,
    guest: GuestState,
    deserted: bool,
) -> Option<Duration> {
    match (guest, deserted) {
        (GuestState::Paused, _) | (GuestState::MayPause, true) => Some(patience.paused),
        (GuestState::Runs, true) => Some(patience.deserted),
        (GuestState::Runs | GuestState::MayPause, false) => None,
    }
}
