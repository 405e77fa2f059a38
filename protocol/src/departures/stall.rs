//! Moves that do not use what they are given: a hypervisor that hangs, or that is slower than its share.
//!
//! Invariants:
//! - what a move cannot use is the others': from a while on it asks for little more than flows of it, and
//!   for enough to show when it flows again;
//! - one of which nothing flows is given up when that can help, and people are told of it.

use core::time::Duration;

use super::{Departure, GivingUp, Phase};
use crate::{effects::Effects, time::Instant, units::BytesPerSec};

/// How long nothing of a move may flow, although it may, before it counts as standing still: longer than
/// a hypervisor looks through memory for what was rewritten, and half of the ten seconds for which a link
/// may be idle while VMs wait.
pub(super) const STANDS_STILL_AFTER: Duration = Duration::from_secs(5);
/// How long it stands still before people are told: most hiccups are over by then.
const TOLD_AFTER: Duration = Duration::from_secs(10);
/// How long it stands still before it is given up where another destination takes it. What has flowed
/// is lost by that.
const ELSEWHERE_AFTER: Duration = Duration::from_secs(15);
/// The same where there is none: a new attempt at the same one may do better.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What a move that stands still asks for: enough to be seen to flow again within a second, whatever
/// blocks a hypervisor writes in.
const SHOWS_LIFE: BytesPerSec = BytesPerSec(64 * 1024);
/// How long a host must say that it has tokens to spare before a slow move is given fewer.
const SLOW_FOR: Duration = Duration::from_secs(5);

/// Whether a grant is so large that what does not flow under it stands still.
pub(crate) fn may_flow(granted: BytesPerSec) -> bool {
    granted >= SHOWS_LIFE
}

impl Departure {
    /// Whether its memory is being copied, as far as is known: its hypervisor may have fallen silent.
    pub(crate) fn is_copying(&self) -> bool {
        let silent = matches!(self.phase, Phase::Deciding { .. }) && self.may_flow;
        self.paused_at.is_none() && (self.phase == Phase::Moving || silent)
    }

    /// Time passes under a grant; `spares_since`: since when its host says that it has more tokens than
    /// its moves can use.
    pub(crate) fn watch_flow(
        &mut self,
        now: Instant,
        granted: BytesPerSec,
        spares_since: Option<Instant>,
    ) {
        if !self.is_copying() || self.held || self.limit.is_none() && !may_flow(granted) {
            (self.limit, self.told_still) = (None, false);
            // How long nothing has flowed of a paused guest counts on.
            if self.paused_at.is_none() {
                self.flowed_at = now;
            }
            return;
        }
        // What its host had to spare before it flowed says nothing of it.
        let since = self.flows_since.zip(spares_since).map(|(flows, spares)| flows.max(spares));
        let slow = since.is_some_and(|since| now.since(since) >= SLOW_FOR)
            && (self.limit.is_some() || self.rate.0.saturating_mul(2) < granted.0);
        self.limit = match () {
            () if self.stands_still(now) => Some(SHOWS_LIFE),
            () if slow => Some(BytesPerSec(self.rate.0.saturating_mul(2)).max(SHOWS_LIFE)),
            () => None,
        };
    }

    /// Whether nothing of it flows although it may.
    pub(crate) fn stands_still(&self, now: Instant) -> bool {
        self.is_copying() && now.since(self.flowed_at) >= STANDS_STILL_AFTER
    }

    /// The same for so long that people are told.
    pub(crate) fn stands_still_long(&self, now: Instant) -> bool {
        self.is_copying() && now.since(self.flowed_at) >= TOLD_AFTER
    }

    /// Gives it up once it has stood still for so long that another attempt may do better. `elsewhere`:
    /// another destination takes it.
    pub(crate) fn give_up_standing(&mut self, now: Instant, elsewhere: bool, fx: &mut Effects) {
        let after = if elsewhere { ELSEWHERE_AFTER } else { AGAIN_AFTER };
        let stands = self.is_copying() && now.since(self.flowed_at) >= after;
        if stands && self.giving_up.is_none() {
            self.abort(GivingUp::StandsStill, fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{departures::step::tests::restored_move, vm::Progress};

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds).as_nanos() as u64)
    }

    fn moving() -> Departure {
        let mut departure = restored_move();
        departure.phase = Phase::Moving;
        departure
    }

    fn progress(sent: u64) -> Progress {
        Progress { sent, remaining: 1000 * MIB, ..Progress::default() }
    }

    #[test]
    fn what_stands_still_asks_for_little_until_it_flows() {
        let mut departure = moving();
        let granted = BytesPerSec(10 * MIB);
        departure.progressed(at(1), progress(MIB));
        departure.watch_flow(at(3), granted, None);
        assert_eq!(departure.limit, None);
        departure.progressed(at(6), progress(MIB));
        departure.watch_flow(at(6), granted, None);
        assert_eq!(departure.limit, Some(SHOWS_LIFE));
        // The little that it is given then does not make it flow.
        departure.watch_flow(at(7), BytesPerSec(0), None);
        assert_eq!(departure.limit, Some(SHOWS_LIFE));
        departure.progressed(at(8), progress(2 * MIB));
        departure.watch_flow(at(8), SHOWS_LIFE, None);
        assert_eq!(departure.limit, None);
    }

    #[test]
    fn what_may_not_flow_does_not_stand_still() {
        let mut departure = moving();
        for second in 1..30 {
            departure.watch_flow(at(second), BytesPerSec(0), None);
        }
        departure.watch_flow(at(31), BytesPerSec(10 * MIB), None);
        assert!(!departure.stands_still(at(31)));
    }

    #[test]
    fn what_begins_on_a_host_that_had_tokens_to_spare_is_not_slow() {
        let mut departure = moving();
        departure.began_at = at(100);
        departure.flowed_at = at(100);
        departure.watch_flow(at(101), BytesPerSec(10 * MIB), Some(at(1)));
        assert_eq!(departure.limit, None);
        departure.progressed(at(101), progress(MIB));
        departure.progressed(at(102), progress(2 * MIB));
        departure.watch_flow(at(102), BytesPerSec(10 * MIB), Some(at(1)));
        assert_eq!(departure.limit, None);
    }

    #[test]
    fn what_is_slow_asks_for_twice_what_flows_while_its_host_has_tokens_to_spare() {
        let mut departure = moving();
        let granted = BytesPerSec(10 * MIB);
        for second in 1..10 {
            departure.progressed(at(second), progress(second * MIB));
            departure.watch_flow(at(second), granted, Some(at(1)));
        }
        assert_eq!(departure.limit, Some(BytesPerSec(2 * MIB)));
        // With twice as much it still has some to spare: that does not lift it.
        departure.progressed(at(10), progress(10 * MIB));
        departure.watch_flow(at(10), BytesPerSec(2 * MIB), Some(at(1)));
        assert_eq!(departure.limit, Some(BytesPerSec(2 * MIB)));
        departure.watch_flow(at(11), BytesPerSec(2 * MIB), None);
        assert_eq!(departure.limit, None, "its tokens are used up");
    }
}
