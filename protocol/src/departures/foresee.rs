//! What the carrier is told of a guest, so that it knows what to do when this daemon is dead: a grant runs
//! out then, and a guest that is paused with bytes to send stands still on both hosts.
//!
//! Invariant: a guest that is paused before what is granted now runs out was said to be one that may be, unless it
//! sends much faster than it did.

use core::time::Duration;

use super::{Departure, Phase};
use crate::{
    effects::Effects,
    output::{Guest, Output},
    units::BytesPerSec,
};

/// How far ahead a pause is foreseen: the four seconds of a lease, the time between two words of progress,
/// and some more, since what remains may pass faster than what went before. With less a daemon's death may
/// freeze its guest; with more what was sent is thrown away although the guest still ran.
const PAUSE_FORESEEN: Duration = Duration::from_secs(6);

impl Departure {
    /// Says whether the guest may be paused soon, after a word of progress that came `since` after the one
    /// before, when so many bytes remained.
    pub(super) fn foresee_pause(&mut self, before: u64, since: Duration, fx: &mut Effects) {
        if self.phase != Phase::Moving {
            return;
        }
        // What is empty is not sent, and passes all the faster.
        let fell = before.saturating_sub(self.progress.remaining);
        let falls = BytesPerSec::measured(fell, since).max(self.rate);
        let soon = self.progress.remaining <= falls.bytes_in(PAUSE_FORESEEN);
        self.tell_guest(if soon { Guest::MayPause } else { Guest::Runs }, fx);
    }

    /// Tells the carrier, if that is news.
    pub(super) fn tell_guest(&mut self, guest: Guest, fx: &mut Effects) {
        if self.guest.replace(guest) != Some(guest) {
            fx.out(Output::SetGuest { id: self.id, guest });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        departures::step::tests::restored_move, input::DepartureEvent, time::Instant,
        tuning::Tuning, vm::Progress,
    };

    const MIB: u64 = 1 << 20;

    /// What the carrier is told when so much is sent and so much remains after so many seconds.
    fn told(departure: &mut Departure, seconds: u64, sent: u64, remaining: u64) -> Option<Guest> {
        let mut fx = Effects::default();
        let progress = Progress { sent, remaining, pass: 1, ..Progress::default() };
        let at = Instant(Duration::from_secs(seconds).as_nanos() as u64);
        departure.happened(at, Tuning::default(), DepartureEvent::Progress(progress), &mut fx);
        fx.now.iter().find_map(|output| match output {
            Output::SetGuest { guest, .. } => Some(*guest),
            _ => None,
        })
    }

    #[test]
    fn a_pause_is_foreseen_and_what_is_far_from_it_runs() {
        let mut departure = restored_move();
        departure.phase = Phase::Moving;
        told(&mut departure, 1, 10 * MIB, 990 * MIB);
        assert_eq!(departure.guest, Some(Guest::Runs));
        assert_eq!(told(&mut departure, 2, 20 * MIB, 980 * MIB), None, "that is no news");
        assert_eq!(told(&mut departure, 90, 940 * MIB, 60 * MIB), Some(Guest::MayPause));
        // The guest has rewritten much: another pass begins.
        assert_eq!(told(&mut departure, 91, 950 * MIB, 500 * MIB), Some(Guest::Runs));
    }

    #[test]
    fn what_is_empty_passes_faster() {
        let mut departure = restored_move();
        departure.phase = Phase::Moving;
        told(&mut departure, 1, 10 * MIB, 990 * MIB);
        assert_eq!(told(&mut departure, 2, 11 * MIB, 790 * MIB), Some(Guest::MayPause));
    }
}
