//! The protocol's own monotonic time.

use core::{ops::Add, time::Duration};
use serde::{Deserialize, Serialize};

/// A point on this node's monotonic clock, in nanoseconds since an arbitrary start.
///
/// Never compared between nodes. Wall-clock time is no input to any decision.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Instant(pub u64);

impl Instant {
    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanoseconds(duration)))
    }
}

/// A duration in nanoseconds, saturated at `u64::MAX` (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in milliseconds, saturated.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `duration` stretched by `permille` thousandths: how a clock that may run `permille` slow waits.
pub fn stretched(duration: Duration, permille: u32) -> Duration {
    duration + duration * permille / 1000
}
