//! How long a guest is given to converge, before more is done to it.
//!
//! Invariants:
//! - only time counts in which bytes flow;
//! - after an outage it begins anew: what the guest rewrote meanwhile says nothing of how it converges.

use core::time::Duration;

use crate::tuning::{Constant, Name, Tuning};

/// Time in which bytes flow, without convergence, before each step of escalation: some passes over what is
/// left show whether the last step was enough. Less allows pauses that are not needed; more sends the same
/// pages again meanwhile.
pub(crate) const ESCALATE_EVERY: Constant<Duration> =
    Name::EscalateEvery.of(Duration::from_secs(8));
/// Passes after which a guest counts as one that does not converge by itself: at half its rate a sixteenth
/// would be left. With less guests that converge are escalated; with more each pass is sent in vain.
/// Measured (sensitivity): with half guests that rewrite much are out 10 % sooner, and the longest pause is
/// nearly four times as long; with twice as many it is two fifths shorter for them and where round trips are
/// long, and nothing else changes by more than luck.
pub(crate) const PATIENT_PASSES: Constant<u32> = Name::PatientPasses.of(4);
/// The most that one word of progress counts for: a hypervisor that is silent for longer may stand still.
const LONGEST_WORD: Duration = Duration::from_secs(2);

/// How long one move has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Patience {
    flowed: Duration,
    since_pass: u32,
}

impl Patience {
    /// Bytes have flowed between two words of progress.
    pub(crate) fn flowed(&mut self, time: Duration) {
        self.flowed = self.flowed.saturating_add(time.min(LONGEST_WORD));
    }

    /// It is held, or stood still, in this pass.
    pub(crate) fn begin_anew(&mut self, pass: u32) {
        *self = Self { flowed: Duration::ZERO, since_pass: pass };
    }

    /// More is done to it, which is given time, too.
    pub(crate) fn next_step(&mut self) {
        self.flowed = Duration::ZERO;
    }

    /// Whether it should have converged by now, in its present pass.
    pub(crate) fn is_over(&self, tuning: Tuning, pass: u32) -> bool {
        pass.saturating_sub(self.since_pass) >= tuning.of(PATIENT_PASSES)
            && self.flowed >= tuning.of(ESCALATE_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        departures::{Departure, Phase, step::tests::restored_move},
        effects::Effects,
        input::DepartureEvent,
        output::Output,
        time::Instant,
        vm::Progress,
    };

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds).as_nanos() as u64)
    }

    /// Whether more was done to a guest, of which so much is sent by then.
    fn escalates(departure: &mut Departure, seconds: u64, pass: u32, sent: u64) -> bool {
        let mut fx = Effects::default();
        let progress = Progress { sent, pass, remaining: 1 << 30, ..Progress::default() };
        departure.happened(
            at(seconds),
            Tuning::default(),
            DepartureEvent::Progress(progress),
            &mut fx,
        );
        fx.now.iter().any(|output| matches!(output, Output::Escalate { .. }))
    }

    fn moving() -> Departure {
        let mut departure = restored_move();
        departure.phase = Phase::Moving;
        departure
    }

    #[test]
    fn a_guest_that_does_not_converge_is_given_time_for_each_step() {
        let mut departure = moving();
        let told: alloc::vec::Vec<u64> =
            (1..30).filter(|second| escalates(&mut departure, *second, 4, *second)).collect();
        assert_eq!(told.first(), Some(&8));
        assert!(told.get(1).is_none_or(|next| *next >= 16), "{told:?}");
    }

    #[test]
    fn an_outage_is_no_lack_of_convergence() {
        let mut departure = moving();
        for second in 1..7 {
            assert!(!escalates(&mut departure, second, 3, second));
        }
        departure.hold(at(7), false);
        for second in 7..60 {
            assert!(!escalates(&mut departure, second, 3, 7), "nothing flows");
        }
        departure.hold(at(60), true);
        for second in 60..80 {
            assert!(!escalates(&mut departure, second, 5, second), "it has had two passes since");
        }
        assert!(escalates(&mut departure, 80, 9, 80));
    }

    #[test]
    fn what_stood_still_begins_anew() {
        let mut departure = moving();
        for second in 1..7 {
            assert!(!escalates(&mut departure, second, 4, second));
        }
        assert!(!escalates(&mut departure, 20, 4, 20), "it stood still for 14 seconds");
        for second in 21..28 {
            assert!(!escalates(&mut departure, second, 8, second));
        }
        assert!(escalates(&mut departure, 28, 8, 28));
    }
}
