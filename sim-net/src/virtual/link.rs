//! A **model** of a link: a fluid with a capacity, through streams that take a round trip per
//! window.

use lifeboat_protocol::LinkId;

use super::{SECOND, nanoseconds, scenario};

/// Largest segment of a stream, bytes: an Ethernet frame without headers.
const SEGMENT: f64 = 1448.0;
/// First congestion window, segments (RFC 6928).
const FIRST_WINDOW: f64 = 10.0;
/// How sharply many streams run into the line: fitted to both rows of the published goodput.
const SHARPNESS: i32 = 3;
/// Round-trip time at which many streams reach half the line, seconds: fitted likewise.
const HALF_AT: f64 = 0.105;
/// How the round-trip time tells: fitted likewise.
const STEEPNESS: f64 = 0.7;

/// One link as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// Line rate, bytes per second.
    pub(crate) capacity: f64,
    /// Round-trip time, nanoseconds.
    pub(crate) rtt: u64,
    /// Traffic of others, bytes per second.
    pub(crate) production: f64,
    /// Traffic of others that found no room, bytes.
    pub(crate) production_held_up: f64,
    /// Bytes that evacuations put on it.
    pub(crate) carried: f64,
    /// Moves that have begun over it.
    pub(crate) begun: u64,
    /// Since when nothing flows although VMs wait for it.
    pub(crate) idle_since: Option<u64>,
    window: f64,
    stream_ceiling: f64,
    loss: f64,
    saturates: bool,
    max_streams: u32,
    changes: Vec<scenario::Change>,
}

impl Link {
    pub(crate) fn new(id: LinkId, spec: &scenario::Link) -> Self {
        Self {
            id,
            capacity: spec.capacity.bytes_per_sec() as f64,
            rtt: nanoseconds(spec.rtt),
            production: spec.production.bytes_per_sec() as f64,
            production_held_up: 0.0,
            carried: 0.0,
            begun: 0,
            idle_since: None,
            window: spec.window.0 as f64,
            stream_ceiling: spec
                .stream_ceiling
                .map_or(f64::INFINITY, |rate| rate.bytes_per_sec() as f64),
            loss: spec.loss_ppm as f64 / 1e6,
            saturates: spec.saturates,
            max_streams: spec.streams,
            changes: spec.changes.clone(),
        }
    }

    /// Becomes another, as the scenario says.
    pub(crate) fn change(&mut self, number: usize) {
        let change = self.changes[number];
        let bytes = |rate: lifeboat_units::Rate| rate.bytes_per_sec() as f64;
        self.capacity = change.capacity.map_or(self.capacity, bytes);
        self.rtt = change.rtt.map_or(self.rtt, nanoseconds);
        self.loss = change.loss_ppm.map_or(self.loss, |ppm| ppm as f64 / 1e6);
        self.production = change.production.map_or(self.production, bytes);
    }

    fn rtt_seconds(&self) -> f64 {
        (self.rtt as f64 / SECOND as f64).max(1e-5)
    }

    /// What one stream reaches alone when it has long been open, bytes per second: a window per
    /// round trip, less where packets are lost (Mathis et al., CCR 1997).
    pub(crate) fn stream_rate(&self) -> f64 {
        let by_window = self.window / self.rtt_seconds();
        let by_loss = if self.loss > 0.0 {
            1.22 * SEGMENT / (self.rtt_seconds() * self.loss.sqrt())
        } else {
            f64::INFINITY
        };
        by_window.min(by_loss).min(self.stream_ceiling)
    }

    /// Streams that a move opens for a share, as the carrier reckons.
    pub(crate) fn streams_for(&self, share: f64) -> u32 {
        ((share / self.stream_rate()).ceil() as u32).clamp(1, self.max_streams)
    }

    /// The most that one move can reach with all the streams that it may have, bytes per second.
    /// Where many streams saturate, nothing is counted: the published score has the line's rate.
    pub(crate) fn most_of_one_move(&self) -> f64 {
        match self.saturates {
            true => f64::INFINITY,
            false => f64::from(self.max_streams) * self.stream_rate(),
        }
    }

    /// What all streams that one move may have keep on their way, bytes.
    pub(crate) fn window_of_one_move(&self) -> u64 {
        (f64::from(self.max_streams) * self.stream_rate() * self.rtt_seconds()) as u64
    }

    /// What production leaves of the line when `ours` want through, bytes per second: it backs off as
    /// other streams do, down to half of the line.
    pub(crate) fn left_by_production(&self, ours: f64) -> f64 {
        ours.min((self.capacity - self.production).max(self.capacity / 2.0))
    }

    /// What all streams that together could reach `wanted` get, bytes per second, production aside.
    pub(crate) fn reach(&self, wanted: f64) -> f64 {
        if !self.saturates {
            return wanted.min(self.capacity);
        }
        let most = self.capacity / (1.0 + (self.rtt_seconds() / HALF_AT).powf(STEEPNESS));
        let power = -SHARPNESS;
        (wanted.max(1.0).powi(power) + most.powi(power)).powf(1.0 / f64::from(power))
    }

    /// The congestion window with which a stream begins, bytes.
    pub(crate) fn first_window(&self) -> f64 {
        FIRST_WINDOW * SEGMENT
    }

    /// The congestion window after `seconds` of slow start, bytes: it doubles every round trip.
    pub(crate) fn grown(&self, window: f64, seconds: f64) -> f64 {
        let most = self.stream_rate() * self.rtt_seconds();
        (window * (seconds / self.rtt_seconds()).min(20.0).exp2()).min(most)
    }

    /// What a stream with this congestion window reaches, bytes per second.
    pub(crate) fn ramped(&self, window: f64) -> f64 {
        window / self.rtt_seconds()
    }
}
