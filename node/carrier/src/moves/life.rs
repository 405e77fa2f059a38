//! Whether the peer is alive, and how long its silence may last.

use std::time::Duration;

use crate::{Patience, control::CloseReason};

/// What is known of the guest, for the question how long silence is bearable. Sent in every ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// It runs at the source: silence costs only time.
    Running = 0,
    /// It stands still: silence freezes it.
    Paused = 1,
    /// No daemon says which.
    Unattended = 2,
}

impl Guest {
    /// From a ping; what is unknown counts as the state in between.
    pub(super) fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Running,
            1 => Self::Paused,
            _ => Self::Unattended,
        }
    }

    /// How long the peer may be silent, and what the end is called then.
    pub(super) fn patience(self, patience: &Patience) -> (Duration, CloseReason) {
        match self {
            Self::Running => (patience.hold, CloseReason::SilentTooLong),
            Self::Paused => (patience.paused, CloseReason::SilentWhilePaused),
            Self::Unattended => (patience.unattended, CloseReason::SilentUnattended),
        }
    }
}

/// Adds up silence in steps that are bounded: time in which this process itself stood still (a stopped
/// process, a starved machine) is not the peer's silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard_at_ns: u64,
    lasted: Duration,
}

impl Silence {
    /// Notes the time of the last byte heard, `elapsed` after the last call; returns the silence so far.
    pub(super) fn note(&mut self, heard_at_ns: u64, elapsed: Duration, most: Duration) -> Duration {
        if heard_at_ns == self.heard_at_ns {
            self.lasted += elapsed.min(most);
        } else {
            self.heard_at_ns = heard_at_ns;
            self.lasted = Duration::ZERO;
        }
        self.lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_still_is_not_the_peers_silence() {
        let (step, most) = (Duration::from_millis(50), Duration::from_millis(100));
        let mut silence = Silence::default();
        assert_eq!(silence.note(1, step, most), Duration::ZERO);
        assert_eq!(silence.note(1, step, most), step);
        assert_eq!(silence.note(1, Duration::from_secs(60), most), step + most);
        assert_eq!(silence.note(2, step, most), Duration::ZERO);
    }
}
