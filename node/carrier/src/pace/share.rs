//! A share of a link: a rate, and how long it may be used.

use std::time::Duration;

/// Sending stops so much before the grant ends, because timers fire late by up to this.
const TIMER_SLACK_NS: u64 = 2_000_000;

/// The rate that this host may use on a link, until the grant runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) rate_bytes_per_sec: u64,
    /// On the clock of [`crate::now_ns`].
    pub(crate) valid_until_ns: u64,
}

impl Share {
    /// Nothing may be sent: what a link starts with.
    pub(crate) const NONE: Self = Self { rate_bytes_per_sec: 0, valid_until_ns: 0 };

    /// For the replies of a destination, which are small and exempt. 1 TiB/s.
    pub(crate) const EXEMPT: Self = Self { rate_bytes_per_sec: 1 << 40, valid_until_ns: u64::MAX };

    /// How long may still be sent; `None` if nothing may be sent now.
    pub(crate) fn lapses_in(&self, now_ns: u64) -> Option<Duration> {
        let left_ns = self.valid_until_ns.saturating_sub(now_ns).saturating_sub(TIMER_SLACK_NS);
        (self.rate_bytes_per_sec > 0 && left_ns > 0).then(|| Duration::from_nanos(left_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_nothing_without_a_rate_or_after_its_end() {
        let share = Share { rate_bytes_per_sec: 1, valid_until_ns: 10_000_000 };
        assert_eq!(share.lapses_in(3_000_000), Some(Duration::from_millis(5)));
        assert_eq!(share.lapses_in(8_000_000), None);
        assert_eq!(share.lapses_in(u64::MAX), None);
        assert_eq!(Share { rate_bytes_per_sec: 0, ..share }.lapses_in(0), None);
    }
}
