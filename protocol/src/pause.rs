//! How long a guest stands still: its last pages, and then the handover.
//!
//! A hypervisor stops a guest as soon as what is left fits the pause that it was allowed, at the rate that it
//! measured; so the last pages take about all of it, of a guest that rewrites nothing, too. The handover
//! comes on top: what is on its way has to arrive and to be confirmed, then come the commit and the resuming.
//! For a policy to be kept, the hypervisor may use only what the handover leaves of it.

use core::time::Duration;

use crate::{
    time::milliseconds,
    tuning::{Constant, Name, Tuning},
    units::BytesPerSec,
    vm::{RunState, Vm},
};

/// Round trips of the handover: the last bytes and the word that they are there, and the commit. Less, and
/// guests stand still for longer than their policy says; more, and their last pages take more passes.
/// Measured (sensitivity): at 40 ms the longest pause is a sixth longer with half, a fifth shorter with twice
/// as much.
pub(crate) const ROUND_TRIPS: Constant<u32> = Name::PauseRoundTrips.of(2);
/// What it takes within the hosts: what waits in the carriers, two daemons, and the resuming. Less and more
/// do what they do for [`ROUND_TRIPS`].
pub(crate) const LOCAL: Constant<Duration> = Name::PauseLocal.of(Duration::from_millis(80));
/// What a guest may rewrite for the handover to be taken out of its pause, thousandths of the rate at which
/// it moves: one that rewrites more would take many passes more for it, and stands still for longer instead.
/// With less guests stand still for longer that need not; with more some take many passes.
/// Measured (sensitivity): with twice as much guests that rewrite much take 1 % longer.
pub(crate) const CONVERGES_EASILY_PERMILLE: Constant<u64> = Name::ConvergesEasily.of(500);
/// Part of a pause that is always left for the last pages: one in so many. A smaller one may be less than a
/// guest rewrites while it is being counted; a larger one makes pauses on long paths longer still.
pub(crate) const LEAST_PART: Constant<u64> = Name::LeastPart.of(3);

/// A guest's pause in its two parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pause {
    handover_ms: u64,
    /// Whether the handover is taken out of what the policy allows.
    within: bool,
    tuning: Tuning,
}

impl Pause {
    /// Of a VM that moves at `rate` over a link with this round trip.
    pub(crate) fn of(tuning: Tuning, vm: &Vm, rate: BytesPerSec, round_trip: Duration) -> Self {
        let handover = round_trip * tuning.of(ROUND_TRIPS) + tuning.of(LOCAL);
        let easily = rate.permille(tuning.of(CONVERGES_EASILY_PERMILLE));
        Self {
            handover_ms: milliseconds(handover),
            within: BytesPerSec(vm.dirty_rate) <= easily,
            tuning,
        }
    }

    /// What the hypervisor may use for the last pages, of the longest pause that is allowed, both in
    /// milliseconds.
    pub(crate) fn for_last_pages(self, longest_ms: u64) -> u64 {
        let taken = if self.within { self.handover_ms } else { 0 };
        let least = longest_ms / self.tuning.of(LEAST_PART);
        longest_ms.saturating_sub(taken).max(least).max(1)
    }

    /// How long a VM will stand still, in milliseconds, if all of it takes `copying` at its rate.
    pub(crate) fn expected_ms(self, vm: &Vm, copying: Duration) -> u64 {
        if vm.state != RunState::Running {
            return 0;
        }
        let pages = self.for_last_pages(vm.policy.max_downtime_ms).min(milliseconds(copying));
        pages.saturating_add(self.handover_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{Policy, sample};

    fn guest(dirty_rate: u64) -> Vm {
        Vm { dirty_rate, policy: Policy { max_downtime_ms: 300, ..Policy::default() }, ..sample() }
    }

    #[test]
    fn pages_and_handover_together_are_what_the_policy_allows() {
        let (rate, vm) = (BytesPerSec(50_000_000), guest(1_000_000));
        let pause = Pause::of(Tuning::default(), &vm, rate, Duration::from_millis(40));
        assert_eq!(pause.for_last_pages(300), 140);
        assert_eq!(pause.expected_ms(&vm, Duration::from_secs(20)), 300);
        assert_eq!(pause.expected_ms(&vm, Duration::from_millis(30)), 190, "it is that small");
        let far = Pause::of(Tuning::default(), &vm, rate, Duration::from_millis(400));
        assert_eq!(far.for_last_pages(300), 100, "never nothing");
        assert_eq!(far.expected_ms(&vm, Duration::from_secs(20)), 980);
    }

    #[test]
    fn a_guest_that_hardly_converges_stands_still_for_longer() {
        let vm = guest(40_000_000);
        let pause =
            Pause::of(Tuning::default(), &vm, BytesPerSec(50_000_000), Duration::from_millis(40));
        assert_eq!(pause.for_last_pages(300), 300);
        assert_eq!(pause.expected_ms(&vm, Duration::from_secs(20)), 460);
    }

    #[test]
    fn what_does_not_run_does_not_stand_still() {
        let vm = Vm { state: RunState::ShutOff, ..guest(0) };
        let pause = Pause::of(Tuning::default(), &vm, BytesPerSec(1), Duration::ZERO);
        assert_eq!(pause.expected_ms(&vm, Duration::from_secs(1)), 0);
    }
}
