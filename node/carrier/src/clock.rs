//! The clock that grants are measured with.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of this host's `CLOCK_BOOTTIME`: monotonic, and it goes on while the host sleeps, so that a
/// grant cannot outlive a suspend.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
