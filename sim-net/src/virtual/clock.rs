//! A host's own clock: it starts anywhere and runs a little fast or slow.

use lifeboat_protocol::Instant;

/// How a host's clock follows the world's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset: u64,
    drift_ppm: i64,
}

impl Clock {
    /// A clock that shows `offset` nanoseconds at the world's beginning and runs `drift_ppm`
    /// millionths too fast.
    pub(crate) fn new(offset: u64, drift_ppm: i64) -> Self {
        Self { offset, drift_ppm }
    }

    /// What it shows at the world's time `now`.
    pub(crate) fn shows(&self, now: u64) -> Instant {
        let drift = i128::from(now) * i128::from(self.drift_ppm) / 1_000_000;
        let shown = i128::from(self.offset) + i128::from(now) + drift;
        Instant(u64::try_from(shown).expect("clocks start late enough"))
    }

    /// The world's time at which it shows `at`, or up to two nanoseconds later.
    pub(crate) fn when(&self, at: Instant) -> u64 {
        let since = i128::from(at.0.saturating_sub(self.offset));
        let when = since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        u64::try_from(when).expect("time is positive") + 2
    }
}
