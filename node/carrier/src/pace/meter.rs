//! What held a link back, over the last second.

use crate::control::LimitedBy;

/// What keeps a link from sending more right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Data waits, and the bucket is empty or the grant has run out.
    Tokens,
    /// Data and tokens wait, and no stream takes more.
    Link,
    /// Nothing waits: the hypervisors give no more, or the far one takes no more.
    Source,
}

const SLOT_NS: u64 = 100_000_000;
const SLOTS: u64 = 10;

/// Adds up the time spent in each [`Limit`], in slots of 100 ms.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Limit,
    since_ns: u64,
    /// For each slot: its number since boot, and nanoseconds per limit.
    slots: [(u64, [u64; 3]); SLOTS as usize],
}

impl Meter {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { limit: Limit::Source, since_ns: now_ns, slots: [(0, [0; 3]); SLOTS as usize] }
    }

    /// The limit is `limit` from now on.
    pub(crate) fn enter(&mut self, limit: Limit, now_ns: u64) {
        self.settle(now_ns);
        self.limit = limit;
    }

    /// Milliseconds in each limit over the last second (0.9 s to 1 s of it).
    pub(crate) fn last_second(&mut self, now_ns: u64) -> LimitedBy {
        self.settle(now_ns);
        let oldest = (now_ns / SLOT_NS).saturating_sub(SLOTS - 1);
        let sum_ms = |limit: Limit| {
            let slots = self.slots.iter().filter(|slot| slot.0 >= oldest);
            slots.map(|slot| slot.1[limit as usize]).sum::<u64>() / 1_000_000
        };
        LimitedBy {
            tokens_ms: sum_ms(Limit::Tokens),
            link_ms: sum_ms(Limit::Link),
            source_ms: sum_ms(Limit::Source),
        }
    }

    fn settle(&mut self, now_ns: u64) {
        let mut from_ns = self.since_ns.max(now_ns.saturating_sub(SLOTS * SLOT_NS));
        while from_ns < now_ns {
            let number = from_ns / SLOT_NS;
            let to_ns = now_ns.min((number + 1) * SLOT_NS);
            let slot = &mut self.slots[(number % SLOTS) as usize];
            if slot.0 != number {
                *slot = (number, [0; 3]);
            }
            slot.1[self.limit as usize] += to_ns - from_ns;
            from_ns = to_ns;
        }
        self.since_ns = self.since_ns.max(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_last_second_only() {
        let mut meter = Meter::new(0);
        meter.enter(Limit::Link, 5_000_000_000);
        meter.enter(Limit::Tokens, 5_300_000_000);
        let limited = meter.last_second(5_900_000_000);
        assert_eq!((limited.tokens_ms, limited.link_ms, limited.source_ms), (600, 300, 0));
        let later = meter.last_second(60_000_000_000);
        assert_eq!((later.link_ms, later.source_ms), (0, 0));
        assert!(later.tokens_ms >= 900);
    }
}
