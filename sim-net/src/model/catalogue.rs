//! The worlds that are searched, by name, in three sizes.

use super::{handover, report::Report, search::search, tokens};
use std::fmt;

/// How much is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All models within half a minute: for the tests. Some have too few ticks to reach everything.
    Small,
    /// All models within three minutes on two cores, and 4 GiB at most.
    Ci,
    /// By hand, one model at a time: up to hours, and tens of GiB.
    Large,
}

impl Size {
    /// One of three values.
    fn of<T>(self, small: T, ci: T, large: T) -> T {
        match self {
            Size::Small => small,
            Size::Ci => ci,
            Size::Large => large,
        }
    }
}

/// A model that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchModel;

impl fmt::Display for NoSuchModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no such model; there are: {}", names().collect::<Vec<_>>().join(", "))
    }
}

impl std::error::Error for NoSuchModel {}

/// A name, and the bounds that go with it.
type Named<B> = (&'static str, fn(Size) -> B);

/// Token worlds: name, and what is searched in it.
const TOKENS: [Named<tokens::Bounds>; 11] = [
    // One sender, one issuer, both restart, clocks of any speed within the drift.
    ("tokens-1x1", |size| {
        let mut bounds = tokens::Bounds::new(1, 1);
        bounds.fast = (0..4).collect();
        bounds.sender_crashes = size.of(0, 1, 1);
        bounds.issuer_crashes = 1;
        bounds.clock_steps = size.of(0, 0, 1);
        bounds
    }),
    // Heartbeats overtaken by newer ones.
    ("tokens-1x1-late", |size| {
        let mut bounds = tokens::Bounds::new(1, 1);
        bounds.kept = size.of(2, 2, 3);
        bounds.sender_crashes = size.of(0, 1, 1);
        bounds.issuer_crashes = size.of(0, 0, 1);
        bounds
    }),
    // Grants are lowered and given on.
    ("tokens-2x1", |size| {
        let mut bounds = tokens::Bounds::new(2, 1);
        bounds.ticks = size.of(Some(4), None, None);
        bounds.wants = size.of(1, 1, 2);
        bounds.sender_crashes = size.of(0, 0, 1);
        bounds
    }),
    // The issuer restarts, while its former life's leases run.
    ("tokens-2x1-restarted", |size| {
        let mut bounds = tokens::Bounds::new(2, 1);
        bounds.issuer_crashes = 1;
        bounds.clocks = tokens::Clocks::Steady;
        bounds.ticks = size.of(Some(3), Some(5), None);
        bounds
    }),
    // Every mixture of fast and slow clocks.
    ("tokens-2x1-drift", |size| {
        let mut bounds = tokens::Bounds::new(2, 1);
        bounds.fast = (1..8).collect();
        bounds.ticks = size.of(Some(2), Some(3), None);
        bounds
    }),
    // A lease is handed on.
    ("tokens-2x1-handed-on", |size| {
        let mut bounds = tokens::Bounds::new(2, 1);
        bounds.hand_ons = 1;
        bounds.wants = size.of(0, 0, 1);
        bounds.ticks = size.of(Some(2), Some(3), Some(6));
        bounds
    }),
    // Three senders.
    ("tokens-3x1", |size| {
        let mut bounds = tokens::Bounds::new(3, 1);
        bounds.ticks = size.of(Some(1), Some(3), Some(5));
        bounds
    }),
    // Two issuers: one dies, the other takes over, the first comes back.
    ("tokens-1x2-taken-over", |size| {
        let mut bounds = tokens::Bounds::new(1, 2);
        bounds.issuer_crashes = 1;
        bounds.wants = 0;
        bounds.losses = size.of(Some(0), Some(4), Some(8));
        bounds
    }),
    // Two issuers that hear each other in one direction only.
    ("tokens-1x2-one-way", |size| {
        let mut bounds = tokens::Bounds::new(1, 2);
        bounds.wants = 0;
        bounds.cuts = size.of(1, 2, 2);
        bounds.mutual_silence = 2;
        bounds.losses = size.of(Some(2), Some(4), None);
        bounds
    }),
    // The same, and one of them restarts.
    ("tokens-1x2-restarted-one-way", |size| {
        let mut bounds = tokens::Bounds::new(1, 2);
        (bounds.wants, bounds.issuer_crashes) = (0, 1);
        bounds.cuts = size.of(1, 3, 3);
        bounds.mutual_silence = 2;
        bounds.losses = size.of(Some(0), Some(0), Some(2));
        bounds
    }),
    // Two of each.
    ("tokens-2x2", |size| {
        let mut bounds = tokens::Bounds::new(2, 2);
        bounds.losses = size.of(Some(0), Some(0), Some(1));
        bounds.issuer_crashes = size.of(0, 1, 1);
        bounds.sender_crashes = size.of(0, 0, 1);
        bounds.cuts = size.of(0, 0, 3);
        bounds.mutual_silence = 2;
        bounds
    }),
];

/// Nothing goes wrong but that messages are late, lost and repeated.
const CALM: handover::Bounds = handover::Bounds {
    pauses: 1,
    long_pauses: 0,
    crashes: 0,
    deaths: 0,
    breaks: 0,
    lost_jobs: 0,
    cuts: 0,
    cold_starts: 0,
    arrivals: 2,
    stale_looks: false,
};

/// Handovers: name, and what is searched in it.
const HANDOVERS: [Named<handover::Bounds>; 6] = [
    ("handover", |size| handover::Bounds {
        pauses: size.of(1, 2, 3),
        cuts: size.of(0, 0, 1),
        ..CALM
    }),
    // The carriers give up at any moment.
    ("handover-broken", |size| handover::Bounds {
        pauses: size.of(1, 1, 2),
        breaks: size.of(1, 2, 2),
        cuts: size.of(0, 0, 1),
        stale_looks: true,
        ..CALM
    }),
    // The source's hypervisor forgets the migration at any moment.
    ("handover-forgotten", |size| handover::Bounds {
        pauses: size.of(1, 1, 2),
        lost_jobs: 1,
        ..CALM
    }),
    // Daemons die at any moment, with and without what they wrote.
    ("handover-restarted", |size| handover::Bounds {
        pauses: size.of(0, 0, 1),
        long_pauses: size.of(0, 1, 1),
        crashes: size.of(1, 1, 2),
        ..CALM
    }),
    // A host loses power at any moment.
    ("handover-died", |size| handover::Bounds {
        pauses: size.of(0, 0, 1),
        long_pauses: 1,
        deaths: 1,
        ..CALM
    }),
    // The destination's daemon dies, a person takes the host for dead and starts the VM cold elsewhere,
    // and the daemon comes back.
    ("handover-declared", |size| handover::Bounds {
        pauses: size.of(0, 0, 1),
        long_pauses: 1,
        crashes: 1,
        cold_starts: 1,
        arrivals: 1,
        ..CALM
    }),
];

/// All models.
pub fn names() -> impl Iterator<Item = &'static str> {
    TOKENS.iter().map(|(name, _)| *name).chain(HANDOVERS.iter().map(|(name, _)| *name))
}

/// Searches a model with so many threads; with one, the steps told of a broken property are the
/// shortest.
///
/// # Errors
/// [`NoSuchModel`], with the names that there are.
pub fn run(name: &str, size: Size, threads: usize) -> Result<Report, NoSuchModel> {
    if let Some((_, bounds)) = TOKENS.iter().find(|(known, _)| *known == name) {
        let model = tokens::Tokens::new(bounds(size), tokens::Planted::Nothing);
        return Ok(search(name, model, threads));
    }
    if let Some((_, bounds)) = HANDOVERS.iter().find(|(known, _)| *known == name) {
        let model = handover::Handover::new(bounds(size), handover::Planted::Nothing);
        return Ok(search(name, model, threads));
    }
    Err(NoSuchModel)
}
