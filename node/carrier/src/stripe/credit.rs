//! How much a peer may send on a substream before the local socket has taken it.
//!
//! A substream begins with little credit and earns more by draining, like a TCP window; all substreams of a
//! move draw on one pool, and each always keeps a floor: so memory is bounded, and one that is never drained
//! does not stop the others.

/// What every substream begins with, in raw bytes.
pub(crate) const INITIAL_CREDIT: u64 = 256 * 1024;
/// What every substream may always have outstanding.
const FLOOR: u64 = 64 * 1024;
/// The most that one substream may have outstanding: 200 ms at 480 Mbit/s.
const CEILING: u64 = 12 * 1024 * 1024;
/// The most that all substreams of a move together may have outstanding beyond their floors.
const POOL: u64 = 24 * 1024 * 1024;

/// What all substreams of a move have outstanding.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    outstanding: u64,
}

/// The receiving side's account of one substream, in raw bytes since it began.
#[derive(Debug)]
pub(crate) struct Credit {
    limit: u64,
    received: u64,
    consumed: u64,
}

impl Credit {
    /// The account of a new substream.
    pub(crate) fn open(pool: &mut Pool) -> Self {
        pool.outstanding += INITIAL_CREDIT;
        Self { limit: INITIAL_CREDIT, received: 0, consumed: 0 }
    }

    /// Notes bytes that arrived; says whether the peer was allowed to send them (state is unchanged if not).
    pub(crate) fn receive(&mut self, bytes: u64) -> bool {
        let allowed = self.received + bytes <= self.limit;
        if allowed {
            self.received += bytes;
        }
        allowed
    }

    /// Notes bytes that were received and that the local socket took; returns a new limit if there is one to tell the peer.
    pub(crate) fn consume(&mut self, bytes: u64, pool: &mut Pool) -> Option<u64> {
        self.consumed += bytes;
        pool.outstanding -= bytes;
        let window = (2 * self.consumed).clamp(INITIAL_CREDIT, CEILING);
        let wanted = (self.consumed + window).saturating_sub(self.limit);
        let floor = (self.consumed + FLOOR).saturating_sub(self.limit);
        let grant = wanted.min(POOL.saturating_sub(pool.outstanding)).max(floor);
        self.limit += grant;
        pool.outstanding += grant;
        (grant > 0).then_some(self.limit)
    }

    /// The limit that the peer should know.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Gives what is outstanding back to the pool.
    pub(crate) fn close(self, pool: &mut Pool) {
        pool.outstanding -= self.limit - self.consumed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_earns_credit_up_to_the_ceiling() {
        let mut pool = Pool::default();
        let mut credit = Credit::open(&mut pool);
        for _ in 0..1_000 {
            assert!(credit.receive(65_536));
            credit.consume(65_536, &mut pool);
        }
        assert_eq!(credit.limit() - credit.consumed, CEILING);
        credit.close(&mut pool);
        assert_eq!(pool.outstanding, 0);
    }

    #[test]
    fn stuck_substreams_are_bounded_and_leave_the_others_their_floor() {
        let mut pool = Pool::default();
        let mut stuck: Vec<Credit> = (0..4).map(|_| Credit::open(&mut pool)).collect();
        for credit in &mut stuck {
            credit.consume(CEILING.min(credit.limit), &mut pool);
            for _ in 0..1_000 {
                let step = (credit.limit - credit.consumed).min(65_536);
                credit.consume(step, &mut pool);
            }
        }
        assert!(pool.outstanding <= POOL + 5 * INITIAL_CREDIT);
        let mut flowing = Credit::open(&mut pool);
        for _ in 0..100 {
            let room = flowing.limit - flowing.consumed;
            assert!(room >= FLOOR);
            flowing.consume(room, &mut pool);
        }
    }

    #[test]
    fn more_than_the_limit_is_noticed() {
        let mut credit = Credit::open(&mut Pool::default());
        assert!(!credit.receive(INITIAL_CREDIT + 1));
    }
}
