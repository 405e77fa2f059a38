//! The seed's central controller: it measures every host's interface for ten seconds, sums that up,
//! and sets how many VMs may be in flight by additive increase and multiplicative decrease.
//!
//! More than 5 % up since the last measurement: one more. More than 5 % down: three quarters.
//! Otherwise as before. Never less than one. VMs in flight beyond that stand still (their speed is
//! set to 0) and go on before any other begins. AC looks at the aggregate, IC at the aggregate per
//! VM in flight.
//!
//! Source: Kang et al., UCC 2014, and the lead author's published experiments.

use super::rule::{Rule, Seat, UnderWay};

/// Change that counts as one.
const CHANGE: f64 = 0.05;
/// What is left of the limit after a decrease, to the nearest whole number.
const DECREASE: f64 = 0.75;
/// How many may be in flight before the first measurement. Fitted, with the noise of measurements in
/// `engine`, to the published AC and IC figures: nothing is published of it.
const AT_FIRST: usize = 3;

/// What the controller looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feedback {
    /// The bytes per second of all hosts (AC).
    Aggregate,
    /// The same, for each VM in flight (IC).
    Individual,
}

#[derive(Debug)]
pub(crate) struct Central {
    feedback: Feedback,
    in_flight: usize,
    before: f64,
}

impl Central {
    pub(crate) fn new(feedback: Feedback) -> Self {
        Self { feedback, in_flight: AT_FIRST, before: 0.0 }
    }
}

impl Rule for Central {
    fn seat(&self) -> Seat {
        Seat::Central
    }

    fn may_begin(&self, _from: usize, under_way: &[UnderWay]) -> bool {
        under_way.len() < self.in_flight
    }

    fn may_send(&self) -> usize {
        self.in_flight
    }

    fn measured(&mut self, goodput: f64, under_way: usize) {
        let seen = match self.feedback {
            Feedback::Aggregate => goodput,
            Feedback::Individual => goodput / under_way.min(self.in_flight).max(1) as f64,
        };
        if seen > self.before * (1.0 + CHANGE) {
            self.in_flight += 1;
        } else if seen < self.before * (1.0 - CHANGE) {
            self.in_flight = ((self.in_flight as f64 * DECREASE).round() as usize).max(1);
        }
        self.before = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits after each of these measurements.
    fn limits(feedback: Feedback, measured: &[(f64, usize)]) -> Vec<usize> {
        let mut rule = Central::new(feedback);
        let after = |(goodput, under_way): &(f64, usize)| {
            rule.measured(*goodput, *under_way);
            rule.may_send()
        };
        measured.iter().map(after).collect()
    }

    #[test]
    fn more_is_one_more_and_less_is_three_quarters() {
        let seen = [(100.0, 1), (104.0, 2), (110.0, 2), (200.0, 3), (300.0, 4), (280.0, 5)];
        assert_eq!(limits(Feedback::Aggregate, &seen), [4, 4, 5, 6, 7, 5]);
        assert_eq!(limits(Feedback::Aggregate, &[(100.0, 1), (10.0, 2), (1.0, 1)]), [4, 3, 2]);
    }

    #[test]
    fn individual_feedback_is_per_vm_in_flight() {
        assert_eq!(limits(Feedback::Individual, &[(100.0, 1), (160.0, 2)]), [4, 3]);
        assert_eq!(limits(Feedback::Aggregate, &[(100.0, 1), (160.0, 2)]), [4, 5]);
    }
}
