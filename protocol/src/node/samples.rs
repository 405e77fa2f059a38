//! What the carrier last said of each link, as long as it can still be true.
//!
//! A carrier speaks four times a second as long as anything flows. One that stands still says nothing,
//! and what it said last must not be told for ever: others would take it for what the link carries.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::{
    ids::LinkId,
    input::LinkSample,
    message::HeldBack,
    time::Instant,
    tuning::{Constant, Name, Tuning},
    units::BytesPerSec,
};

/// How long a sample is believed: four are missing then. With less one that is late is taken for silence;
/// with more a carrier that stands still is taken for a slow link.
pub(crate) const BELIEVED_FOR: Constant<Duration> = Name::BelievedFor.of(Duration::from_secs(1));

/// The last sample of each link.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Samples {
    all: BTreeMap<LinkId, (Instant, LinkSample)>,
    /// Since when this host has had more tokens of a link than it can use.
    spares_since: BTreeMap<LinkId, Instant>,
    believed_for: Duration,
}

impl Samples {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self {
            all: BTreeMap::new(),
            spares_since: BTreeMap::new(),
            believed_for: tuning.of(BELIEVED_FOR),
        }
    }

    pub(crate) fn take_in(&mut self, now: Instant, sample: LinkSample) {
        self.all.insert(sample.link, (now, sample));
        if sample.held_back == HeldBack::Source {
            self.spares_since.entry(sample.link).or_insert(now);
        } else {
            self.spares_since.remove(&sample.link);
        }
    }

    /// Since when this host has had more tokens of a link than it can use, if it has.
    pub(crate) fn spares_since(&self, link: LinkId) -> Option<Instant> {
        self.spares_since.get(&link).copied()
    }

    /// What is known of a link now.
    pub(crate) fn get(&self, now: Instant, link: LinkId) -> Option<LinkSample> {
        self.all.get(&link).map(|(at, sample)| self.believed(now, *at, sample))
    }

    /// What is known of all links.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = LinkSample> {
        self.all.values().map(move |(at, sample)| self.believed(now, *at, sample))
    }

    /// From a carrier that has fallen silent nothing flows, and it is not the link that holds it back.
    fn believed(&self, now: Instant, at: Instant, sample: &LinkSample) -> LinkSample {
        let flowed = sample.sent.0 > 0 || sample.arrived.0 > 0;
        if !flowed || now.since(at) <= self.believed_for {
            return *sample;
        }
        let nothing = BytesPerSec(0);
        LinkSample { sent: nothing, arrived: nothing, held_back: HeldBack::Source, ..*sample }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BELIEVED_FOR: Duration = super::BELIEVED_FOR.value;

    #[test]
    fn what_a_silent_carrier_said_is_not_told_for_ever() {
        let link = LinkId(1);
        let mut samples = Samples::new(Tuning::default());
        samples.take_in(
            Instant(0),
            LinkSample {
                link,
                sent: BytesPerSec(12_000_000),
                arrived: BytesPerSec(0),
                held_back: HeldBack::Tokens,
                round_trip: Some(Duration::from_millis(20)),
            },
        );
        let sent =
            |after| samples.get(Instant(0) + after, link).map(|one| (one.sent.0, one.held_back));
        assert_eq!(sent(BELIEVED_FOR), Some((12_000_000, HeldBack::Tokens)));
        assert_eq!(sent(BELIEVED_FOR * 2), Some((0, HeldBack::Source)));
        let later = samples.get(Instant(0) + BELIEVED_FOR * 9, link).unwrap();
        assert!(later.round_trip.is_some(), "the way is as long as it was");
    }
}
