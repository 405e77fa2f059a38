//! A guest that stands still for its switchover for longer than anybody foresaw: the link has become thin
//! meanwhile, or a process at its destination hangs.
//!
//! Invariants:
//! - a guest that its policy does not let be paused until all is sent runs on at its source in the end, unless
//!   its copy is complete; one that may be paused runs on if nothing flows of it;
//! - a move that is given up is closed: the hypervisor finds its connections broken and cannot wait for what does
//!   not come.

use core::time::Duration;

use super::{Departure, GivingUp};
use crate::{
    effects::Effects,
    output::Output,
    time::{Instant, milliseconds},
};

/// How often the longest pause of its policy a guest may stand still while bytes flow: what was foreseen is an
/// estimate, and giving up costs all that was sent.
const TIMES: u64 = 2;
/// It is never given up sooner: to end and to hand over takes its time on a busy host.
const AT_LEAST: Duration = Duration::from_secs(3);
/// Nothing flows of a paused guest once its hypervisor has told of none for so long.
const NOTHING_FLOWS_AFTER: Duration = Duration::from_secs(3);
/// The same of one that may be paused until all is sent.
const NOTHING_FLOWS_OF_MANY: Duration = Duration::from_secs(15);
/// How long a hypervisor may take to give up a move whose guest is paused, before the connections are closed.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(2);

impl Departure {
    /// Gives a move up whose guest has been paused for too long, and closes one that was given up and still
    /// keeps its guest paused.
    pub(super) fn give_up_on_long_pause(&mut self, now: Instant, fx: &mut Effects) {
        let Some(paused_at) = self.paused_at.filter(|_| self.guest_is_paused()) else { return };
        if self.giving_up.is_none() {
            if self.is_unbearable(now, now.since(paused_at)) {
                self.close(now, fx);
                self.abort(GivingUp::PausedTooLong, fx);
            }
            return;
        }
        let since = *self.let_go_at.get_or_insert(now);
        if now.since(since) >= GIVES_UP_WITHIN {
            self.close(now, fx);
        }
    }

    fn close(&mut self, now: Instant, fx: &mut Effects) {
        self.let_go_at = Some(now);
        fx.out(Output::CloseMove { id: self.id });
    }

    fn is_unbearable(&self, now: Instant, paused: Duration) -> bool {
        let policy = &self.vm.policy;
        let still = now.since(self.flowed_at);
        if policy.stop_and_copy {
            return paused.min(still) > NOTHING_FLOWS_OF_MANY;
        }
        let allowed = policy.max_downtime_escalated_ms.max(policy.max_downtime_ms);
        let flows = still < NOTHING_FLOWS_AFTER;
        let bearable = allowed.saturating_mul(if flows { TIMES } else { 1 });
        milliseconds(paused) > bearable.max(milliseconds(AT_LEAST))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::departures::{Phase, step::tests::restored_move};

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds).as_nanos() as u64)
    }

    /// One whose guest has been paused since the first second.
    fn paused(policy: impl Fn(&mut crate::vm::Policy)) -> Departure {
        let mut departure = restored_move();
        departure.phase = Phase::Switching;
        departure.paused_at = Some(at(1));
        policy(&mut departure.vm.policy);
        departure
    }

    fn outputs(departure: &mut Departure, seconds: u64) -> Vec<Output> {
        let mut fx = Effects::default();
        departure.give_up_on_long_pause(at(seconds), &mut fx);
        fx.now
    }

    /// After how many seconds of pause it is given up.
    fn given_up_after(flows: bool, policy: impl Fn(&mut crate::vm::Policy)) -> Option<u64> {
        let mut departure = paused(policy);
        (1..600).find(|seconds| {
            if flows {
                departure.flowed_at = at(1 + seconds);
            }
            let outputs = outputs(&mut departure, 1 + seconds);
            let closes = outputs.iter().any(|one| matches!(one, Output::CloseMove { .. }));
            closes && outputs.iter().any(|one| matches!(one, Output::AbortMove { .. }))
        })
    }

    #[test]
    fn a_guest_stands_still_twice_as_long_as_allowed_and_no_longer() {
        let five_seconds = |policy: &mut crate::vm::Policy| policy.max_downtime_escalated_ms = 5000;
        assert_eq!(given_up_after(true, five_seconds), Some(11));
        assert_eq!(given_up_after(false, five_seconds), Some(6));
        let short = |policy: &mut crate::vm::Policy| policy.max_downtime_escalated_ms = 0;
        assert_eq!(given_up_after(true, short), Some(4));
    }

    #[test]
    fn one_that_may_be_paused_is_given_up_if_nothing_flows() {
        let may = |policy: &mut crate::vm::Policy| policy.stop_and_copy = true;
        assert_eq!(given_up_after(true, may), None);
        assert_eq!(given_up_after(false, may), Some(16));
    }

    #[test]
    fn one_that_an_operator_gave_up_is_closed_if_its_guest_stays_paused() {
        let mut departure = paused(|_| ());
        departure.giving_up = Some(GivingUp::Asked);
        assert!(outputs(&mut departure, 2).is_empty());
        assert!(outputs(&mut departure, 3).is_empty());
        assert!(matches!(outputs(&mut departure, 4)[..], [Output::CloseMove { .. }]));
        assert!(outputs(&mut departure, 5).is_empty(), "not again at once");
        departure.ran_on = true;
        assert!(outputs(&mut departure, 60).is_empty());
    }
}
