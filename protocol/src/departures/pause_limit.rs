//! A guest that stands still for its switchover for longer than anybody foresaw: the link has become thin
//! meanwhile, or what is left was more than it seemed.
//!
//! Invariant: a guest that its policy does not let be paused until all is sent runs on at its source in the end,
//! unless its copy is complete.

use core::time::Duration;

use super::{Departure, GivingUp, Phase};
use crate::{effects::Effects, time::Instant};

/// How often the longest pause of its policy a guest may stand still before its move is given up: what was
/// foreseen is an estimate, and giving up costs all that was sent.
const TIMES: u32 = 2;
/// It is never given up sooner: to end and to hand over takes its time on a busy host.
const AT_LEAST: Duration = Duration::from_secs(3);

impl Departure {
    /// Gives a move up whose guest has been paused for too long.
    pub(super) fn give_up_on_long_pause(&mut self, now: Instant, fx: &mut Effects) {
        let policy = &self.vm.policy;
        if self.phase != Phase::Switching || self.giving_up.is_some() || policy.stop_and_copy {
            return;
        }
        let allowed = policy.max_downtime_escalated_ms.max(policy.max_downtime_ms);
        let bearable = (Duration::from_millis(allowed) * TIMES).max(AT_LEAST);
        if self.paused_at.is_some_and(|at| now.since(at) > bearable) {
            self.abort(GivingUp::PausedTooLong, fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{departures::step::tests::restored_move, output::Output};

    fn gives_up(seconds: u64, policy: impl Fn(&mut crate::vm::Policy)) -> bool {
        let mut departure = restored_move();
        departure.phase = Phase::Switching;
        let at = |seconds: u64| Instant(Duration::from_secs(seconds).as_nanos() as u64);
        departure.paused_at = Some(at(1));
        policy(&mut departure.vm.policy);
        let mut fx = Effects::default();
        departure.give_up_on_long_pause(at(1 + seconds), &mut fx);
        fx.now.iter().any(|output| matches!(output, Output::AbortMove { .. }))
    }

    #[test]
    fn a_guest_stands_still_twice_as_long_as_allowed_and_no_longer() {
        let five_seconds = |policy: &mut crate::vm::Policy| policy.max_downtime_escalated_ms = 5000;
        assert!(!gives_up(10, five_seconds));
        assert!(gives_up(11, five_seconds));
        let short = |policy: &mut crate::vm::Policy| policy.max_downtime_escalated_ms = 0;
        assert!(!gives_up(3, short));
        assert!(gives_up(4, short));
        assert!(!gives_up(600, |policy| policy.stop_and_copy = true));
    }
}
