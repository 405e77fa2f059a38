//! The daemon's clock: the one that the carrier measures grants with, so that a grant means the
//! same instant to both.

use lifeboat_protocol::Instant;

/// Now, in nanoseconds of this host's boot-time clock.
pub(super) fn now() -> Instant {
    Instant(lifeboat_carrier::now_ns())
}

/// The tokio instant at which this clock will say `at`.
pub(super) fn wake_at(at: Instant) -> tokio::time::Instant {
    tokio::time::Instant::now() + at.since(now())
}
