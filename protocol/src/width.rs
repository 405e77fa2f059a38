//! How many VMs at a time: whether one more is worth it on a link that is full for those under way.
//!
//! Where streams share a link badly (long round trips, windows that are too small), more of them
//! carry more, but ever less each. More at a time shortens the whole and lengthens each VM's own
//! time. With goodput G(k) of k VMs at a time the total is as 1/G and each VM's own time as k/G, so
//! that the score, the root of their product, is as sqrt(k)/G: a VM more is worth it if the goodput
//! grows by more than the root of (k + 1)/k. That is tried, judged by what arrives, and taken back
//! if it is not so; after a failure ever more seldom.

use core::time::Duration;

use crate::{
    time::Instant,
    tuning::{Constant, Name, Tuning},
    units::{BytesPerSec, scaled},
};

/// Pause after the first trial that failed; doubles with each further one. Ten times what a trial takes on a
/// short path: the VM that was begun for it is under way for longer than the trial. Less begins more VMs
/// for nothing; with more a link that shares better than it did is found out later.
/// Measured (sensitivity): with half as much one world of long round trips stays oversubscribed for too long.
pub(crate) const PAUSE: Constant<Duration> = Name::TrialPause.of(Duration::from_secs(30));
/// Longest pause between two trials: four doublings. With less a long evacuation tries in vain more often;
/// with more it may never try again.
pub(crate) const PAUSE_MOST: Constant<Duration> = Name::TrialPauseMost.of(Duration::from_secs(480));
/// Time that a trial takes besides round trips: the new VM's start, and two rounds of measuring. With less
/// it is judged before anything can be seen of it, and taken back; more leaves a VM under way for nothing.
pub(crate) const TRIAL: Constant<Duration> = Name::Trial.of(Duration::from_millis(2700));
/// Round trips of a trial: reservation, streams and their slow start, and twice three to measure. Less and
/// more do what they do for [`TRIAL`].
pub(crate) const TRIAL_ROUND_TRIPS: Constant<u32> = Name::TrialRoundTrips.of(23);

/// How long it takes until a further VM shows what it carries.
pub(crate) fn trial(tuning: Tuning, round_trip: Duration) -> Duration {
    tuning.of(TRIAL) + round_trip * tuning.of(TRIAL_ROUND_TRIPS)
}

/// A trial under way.
#[derive(Debug, Clone, Copy, Hash)]
struct Trial {
    /// The estimate before.
    estimate: BytesPerSec,
    /// What arrived before, bytes per second.
    arrived: u64,
    /// VMs at a time before.
    vms_before: u16,
    ends: Instant,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It carries enough more.
    Wider,
    /// It does not: back to this estimate.
    Back(BytesPerSec),
}

/// The number of VMs among which a link is divided at least.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Width {
    vms: u16,
    trial: Option<Trial>,
    not_before: Instant,
    pause: Duration,
    tuning: Tuning,
}

impl Width {
    pub(crate) fn new(tuning: Tuning) -> Self {
        let pause = tuning.of(PAUSE);
        Self { vms: 1, trial: None, not_before: Instant::default(), pause, tuning }
    }

    /// VMs among which the link is divided at least, as long as so many want it.
    pub(crate) fn vms(&self) -> u16 {
        self.vms
    }

    /// Goes by another's word.
    pub(crate) fn adopt(&mut self, vms: u16) {
        self.vms = vms.max(1);
        self.trial = None;
    }

    /// Whether a failure is long enough ago for another trial. After a failure it also waits until one
    /// of those under way will end soon, for as long again at most: should the trial bring nothing,
    /// the VM that is begun for it is under way alone all the sooner.
    pub(crate) fn may_try(&self, now: Instant, one_ends: bool) -> bool {
        let failed = self.pause > self.tuning.of(PAUSE);
        now >= self.not_before && (one_ends || !failed || now >= self.not_before + self.pause)
    }

    /// Whether a trial is under way.
    pub(crate) fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// More VMs at a time did not carry more.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(self.tuning.of(PAUSE_MOST));
    }

    /// More VMs at a time carried more.
    pub(crate) fn succeeded(&mut self) {
        self.pause = self.tuning.of(PAUSE);
    }

    /// The link became another one: what was learnt of it is void.
    pub(crate) fn forget(&mut self) {
        (self.vms, self.trial) = (1, None);
    }

    /// Begins a trial with `vms` at a time. Returns the estimate for it.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        round_trip: Duration,
        estimate: BytesPerSec,
        arrived: u64,
        vms: u16,
    ) -> BytesPerSec {
        let ends = now + trial(self.tuning, round_trip);
        self.trial = Some(Trial { estimate, arrived, vms_before: self.vms, ends });
        self.vms = vms;
        BytesPerSec(scaled(estimate.0, vms.into(), u64::from(vms - 1).max(1)))
    }

    /// Ends a trial whose time has come, by what arrived lately, bytes per second.
    pub(crate) fn judge(&mut self, now: Instant, arrived: u64) -> Option<Verdict> {
        let trial = self.trial.filter(|trial| now >= trial.ends)?;
        self.trial = None;
        let vms = u64::from(self.vms);
        // sqrt(k / (k - 1)) is a little less than 1 + 1 / (2 (k - 1)), and more than 1 + 1 / (2 k).
        let worth = trial.arrived.saturating_add(scaled(trial.arrived, 1, 2 * vms));
        if arrived > worth {
            self.succeeded();
            return Some(Verdict::Wider);
        }
        self.vms = trial.vms_before;
        self.failed(now);
        Some(Verdict::Back(trial.estimate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = super::PAUSE.value;
    const TRIAL: Duration = super::TRIAL.value;

    fn tried(arrived: u64) -> (Width, Option<Verdict>) {
        let mut width = Width::new(Tuning::default());
        let estimate = BytesPerSec(36_000_000);
        let raised = width.begin(Instant(0), Duration::ZERO, estimate, 30_000_000, 4);
        assert_eq!(raised, BytesPerSec(48_000_000));
        assert_eq!(width.judge(Instant(0) + TRIAL / 2, 48_000_000), None);
        let verdict = width.judge(Instant(0) + TRIAL, arrived);
        (width, verdict)
    }

    #[test]
    fn one_more_stays_if_it_is_worth_it() {
        let (width, verdict) = tried(36_000_000);
        assert_eq!((verdict, width.vms()), (Some(Verdict::Wider), 4));
        assert!(width.may_try(Instant(0) + TRIAL, false));
    }

    #[test]
    fn one_more_that_brings_little_is_taken_back() {
        let (width, verdict) = tried(33_000_000);
        assert_eq!(verdict, Some(Verdict::Back(BytesPerSec(36_000_000))));
        assert_eq!(width.vms(), 1);
        assert!(!width.may_try(Instant(0) + TRIAL + PAUSE / 2, true));
        assert!(width.may_try(Instant(0) + TRIAL + PAUSE, true));
        assert!(!width.may_try(Instant(0) + TRIAL + PAUSE, false), "it waits for one to end");
        assert!(width.may_try(Instant(0) + TRIAL + PAUSE * 3, false), "but not for ever");
    }
}
