//! A token bucket in integers.
//!
//! It may go into debt by one frame and pays that back before the next: so a frame larger than the burst can
//! be sent at any rate, and the long-run rate is exact.

/// How much unused right is kept: 10 ms of the rate, enough to bridge a late timer.
const BURST_NS: i128 = 10_000_000;
const NS_PER_SEC: i128 = 1_000_000_000;

/// Tokens of one link.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate_bytes_per_sec: i128,
    /// In byte-nanoseconds (bytes x 10^9), so that nothing is lost to rounding.
    credit: i128,
    filled_at_ns: u64,
}

impl Bucket {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { rate_bytes_per_sec: 0, credit: 0, filled_at_ns: now_ns }
    }

    /// Changes the rate from now on; a debt stays.
    pub(crate) fn set_rate(&mut self, rate_bytes_per_sec: u64, now_ns: u64) {
        self.fill(now_ns);
        self.rate_bytes_per_sec = i128::from(rate_bytes_per_sec);
        self.credit = self.credit.min(self.burst());
    }

    /// Nanoseconds until the next frame may go: 0 is now, `None` is never at this rate.
    pub(crate) fn wait_ns(&mut self, now_ns: u64) -> Option<u64> {
        self.fill(now_ns);
        if self.credit > 0 {
            Some(0)
        } else if self.rate_bytes_per_sec == 0 {
            None
        } else {
            Some(u64::try_from(-self.credit / self.rate_bytes_per_sec + 1).unwrap_or(u64::MAX))
        }
    }

    /// Takes the tokens of a frame.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.credit -= bytes as i128 * NS_PER_SEC;
    }

    fn fill(&mut self, now_ns: u64) {
        let elapsed_ns = i128::from(now_ns.saturating_sub(self.filled_at_ns));
        self.filled_at_ns = self.filled_at_ns.max(now_ns);
        self.credit = (self.credit + self.rate_bytes_per_sec * elapsed_ns).min(self.burst());
    }

    fn burst(&self) -> i128 {
        self.rate_bytes_per_sec * BURST_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate_whatever_the_frames() {
        for (rate, frame) in [(1_000_000, 65_536), (50_000_000, 65_536), (10_000, 4_096)] {
            let mut bucket = Bucket::new(0);
            bucket.set_rate(rate, 0);
            let (mut now_ns, mut sent) = (1, 0u64);
            while now_ns < 100_000_000_000 {
                match bucket.wait_ns(now_ns) {
                    Some(0) => {
                        bucket.spend(frame);
                        sent += frame as u64;
                    }
                    Some(wait) => now_ns += wait,
                    None => unreachable!("the rate is not zero"),
                }
            }
            let allowed = rate * 100 + rate / 100 + frame as u64;
            assert!(sent <= allowed && sent + frame as u64 >= rate * 100, "{rate}: {sent}");
        }
    }

    #[test]
    fn an_idle_bucket_keeps_only_the_burst() {
        let mut bucket = Bucket::new(0);
        bucket.set_rate(1_000_000, 0);
        assert_eq!(bucket.wait_ns(60_000_000_000), Some(0));
        bucket.spend(10_000);
        assert_ne!(bucket.wait_ns(60_000_000_000), Some(0));
    }

    #[test]
    fn no_rate_never_sends() {
        assert_eq!(Bucket::new(0).wait_ns(u64::MAX), None);
    }
}
