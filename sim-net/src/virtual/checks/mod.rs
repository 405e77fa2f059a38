//! What must hold, one file each, checked after every event.
//!
//! Safety: [`conservation`], [`excess`], [`runs_twice`], [`lost`], [`intact`], [`reservation`],
//! [`evacuated`], [`cancelled`], [`replay`], [`bounded`]. Liveness, once the story is calm:
//! [`leaves`], [`idle`], [`tokens_again`], [`starves`], [`oversubscribed`].
//!
//! A check only looks: it changes nothing of the world, and draws nothing.

mod bounded;
mod cancelled;
pub(crate) mod conservation;
mod evacuated;
mod excess;
mod idle;
mod intact;
mod leaves;
mod lost;
mod oversubscribed;
mod replay;
mod reservation;
mod runs_twice;
mod starves;
mod tokens_again;

use std::collections::BTreeMap;

use lifeboat_protocol::{EvacuationId, Output};

use super::{MILLISECOND, World, host::Host};

/// A named claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The usable tokens of a link are never more than the link.
    Conservation,
    /// What a split receiving site grants too much is bounded by the slices with two issuers.
    Excess,
    /// No VM runs in two places.
    RunsTwice,
    /// No VM is without a whole copy, unless it died with its host.
    Lost,
    /// A VM runs on with the memory that it had when it was paused.
    Intact,
    /// What is reserved and used never exceeds a host's memory.
    Reservation,
    /// Nothing is taken in by a host that knows that it is being evacuated.
    Evacuated,
    /// A cancelled evacuation starts nothing, and stays cancelled.
    Cancelled,
    /// A journal leads to the same state in whatever order it is read.
    Replay,
    /// Messages, and what is kept of each VM and node, are bounded in size.
    Bounded,
    /// Every VM that can leave leaves.
    Leaves,
    /// The link is not idle while VMs wait for it.
    Idle,
    /// The tokens of the dead are in use again within ten seconds.
    TokensAgain,
    /// The VM at the head of the order gets its turn.
    Starves,
    /// What is allowed on a link settles near what it carries.
    Oversubscribed,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Conservation,
        Self::Excess,
        Self::RunsTwice,
        Self::Lost,
        Self::Intact,
        Self::Reservation,
        Self::Evacuated,
        Self::Cancelled,
        Self::Replay,
        Self::Bounded,
        Self::Leaves,
        Self::Idle,
        Self::TokensAgain,
        Self::Starves,
        Self::Oversubscribed,
    ];

    /// Its name in reports and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conservation => "conservation",
            Self::Excess => "excess",
            Self::RunsTwice => "runs-twice",
            Self::Lost => "lost",
            Self::Intact => "intact",
            Self::Reservation => "reservation",
            Self::Evacuated => "evacuated",
            Self::Cancelled => "cancelled",
            Self::Replay => "replay",
            Self::Bounded => "bounded",
            Self::Leaves => "leaves",
            Self::Idle => "idle",
            Self::TokensAgain => "tokens-again",
            Self::Starves => "starves",
            Self::Oversubscribed => "oversubscribed",
        }
    }

    /// Whether it says that something good happens in time, rather than that nothing bad happens.
    pub fn is_liveness(self) -> bool {
        matches!(
            self,
            Self::Leaves | Self::Idle | Self::TokensAgain | Self::Starves | Self::Oversubscribed
        )
    }
}

/// A claim that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// When, milliseconds of the world's time.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

/// What the checks remember between events.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    found: Option<Violation>,
    cancelled: cancelled::Memory,
    excess: excess::Memory,
    tokens_again: BTreeMap<usize, u64>,
    starves: starves::Memory,
    oversubscribed: BTreeMap<usize, oversubscribed::Memory>,
    /// Longest time that a link was idle while VMs waited for it, nanoseconds.
    pub(crate) longest_idle: u64,
}

impl Checks {
    /// The first claim that did not hold.
    pub(crate) fn found(&self) -> Option<Violation> {
        self.found.clone()
    }

    fn object(&mut self, check: Check, now: u64, what: String) {
        let at_ms = now / MILLISECOND;
        self.found.get_or_insert(Violation { check, at_ms, what });
    }

    /// A daemon wants something done.
    pub(crate) fn before(&mut self, host: &Host, output: &Output, now: u64) {
        self.bounded_output(host, output, now);
        self.evacuated(host, output, now);
        self.starts_nothing(host, output, now);
    }

    /// An operator cancelled an evacuation.
    pub(crate) fn cancelled(&mut self, id: EvacuationId, now: u64) {
        self.cancelled.note(id, now);
    }
}

impl World {
    /// Everything that must hold after an event.
    pub(crate) fn check(&mut self) {
        self.check_conservation();
        let touched = std::mem::take(&mut self.touched);
        for vm in touched {
            self.check_runs_twice(vm);
            self.check_lost(vm);
            self.check_reservations_for(vm);
            self.note_safe(vm);
        }
    }

    /// Looked at once a second.
    pub(crate) fn watch_liveness(&mut self) {
        self.check_bounded_state();
        self.check_stays_cancelled();
        self.check_idle();
        self.check_tokens_again();
        self.check_starves();
        self.check_oversubscribed();
    }

    /// What must hold when the time is over.
    pub(crate) fn check_at_the_end(&mut self) {
        self.check_leaves();
    }

    /// Whether nothing has gone wrong for so long (nanoseconds).
    fn undisturbed_for(&self, length: u64) -> bool {
        self.now >= self.disturbed_at.max(self.disturbed_until) + length
    }
}
