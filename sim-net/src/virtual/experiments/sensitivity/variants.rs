//! Runs every world in every variant: as it is, with other luck, and with each constant at half and double.

use std::time::Duration;

use lifeboat_protocol::tuning::{Name, Times, Tuning};
use lifeboat_units::Span;

use super::{
    super::{Options, over::over},
    worlds::Tried,
};
use crate::r#virtual::World;

/// How often each world is run with other luck.
const LUCKS: u64 = 4;
/// What other luck delays a message by, at most.
const DELAY: Duration = Duration::from_millis(5);

/// What is another than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// Nothing.
    AsItIs,
    /// What is left to chance: clocks, and messages that take a little longer now and then.
    Luck(u64),
    /// A constant.
    Constant(Name, Times),
}

impl Variant {
    /// All of them, as it is first.
    pub(super) fn all() -> Vec<Self> {
        let constants = Name::ALL
            .iter()
            .flat_map(|name| [Times::Half, Times::Two].map(|times| Self::Constant(*name, times)));
        let lucks = (1..=LUCKS).map(Self::Luck);
        std::iter::once(Self::AsItIs).chain(lucks).chain(constants).collect()
    }

    /// One run.
    pub(super) fn run(self, world: &Tried) -> Result<Run, String> {
        let mut scenario = world.scenario.clone();
        let mut tuning = Tuning::default();
        match self {
            Self::AsItIs => {}
            Self::Luck(number) => {
                scenario.seed += number * 1_000_000;
                scenario.network.jitter = Span(DELAY);
            }
            Self::Constant(name, times) => tuning = Tuning::one(name, times),
        }
        let mut world = World::tuned(&scenario, tuning)?;
        let ended = world.run();
        let report = world.report(&ended);
        // A run ends when a check objects, so that VMs are left behind then, too.
        let left = report.vms.len() - report.arrived;
        let or_worse = |figure: f64| if left > 0 { f64::INFINITY } else { figure };
        Ok(Run {
            figures: [
                or_worse(report.total_s / report.bound_total_s),
                or_worse(report.mean_completion_s / report.bound_completion_s),
                or_worse(report.score),
                report.max_downtime_ms as f64,
            ],
            left,
            ended: report.ended,
            hash: report.hash,
        })
    }
}

/// What is measured of a run.
pub(super) const FIGURES: [&str; 4] =
    ["total / bound", "mean completion / bound", "score", "longest pause, ms"];

/// What came of a run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// As [`FIGURES`] says; less is better in all.
    pub(super) figures: [f64; FIGURES.len()],
    /// VMs that were left behind when it ended.
    pub(super) left: usize,
    /// Why it ended.
    pub(super) ended: String,
    pub(super) hash: String,
}

impl Run {
    pub(super) fn fails(&self) -> bool {
        self.left > 0
    }
}

/// Every variant with its runs, one for each world.
pub(super) type Runs = Vec<(Variant, Vec<Run>)>;

/// Runs all.
pub(super) fn run(worlds: &[Tried], options: &Options) -> Result<Runs, String> {
    let variants = Variant::all();
    let pairs: Vec<(Variant, &Tried)> = variants
        .iter()
        .flat_map(|variant| worlds.iter().map(move |world| (*variant, world)))
        .collect();
    let runs = over(&pairs, options.threads, |(variant, world)| variant.run(world))?;
    let mut runs = runs.into_iter();
    let of_each = variants.into_iter();
    Ok(of_each.map(|variant| (variant, runs.by_ref().take(worlds.len()).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::experiments::sensitivity::worlds;

    /// Constants on which nothing hangs in these worlds: they are for what goes wrong, for more hosts, or for
    /// guests that these worlds do not have.
    const WITHOUT_EFFECT: &[Name] = &[
        Name::Least,
        Name::WideStep,
        Name::Brought,
        Name::Same,
        Name::Arrived,
        Name::Hardly,
        Name::ChangingHands,
        Name::NearlyAll,
        Name::Sunken,
        Name::DoubtedAfter,
        Name::DoubtedTo,
        Name::TrialPause,
        Name::TrialPauseMost,
        Name::EndsWithinTrials,
        Name::FirstRoundTrip,
        Name::BelievedFor,
        Name::Enough,
        Name::FirstSetup,
        Name::FirstSetupRoundTrips,
    ];

    #[test]
    fn every_constant_changes_something() {
        let worlds = worlds::all(1);
        let hash = |variant: Variant, world: &Tried| variant.run(world).unwrap().hash;
        let as_it_is: Vec<String> =
            worlds.iter().map(|world| hash(Variant::AsItIs, world)).collect();
        let changes = |name: &Name| {
            [Times::Half, Times::Two].into_iter().any(|times| {
                let mut pairs = worlds.iter().zip(&as_it_is);
                pairs.any(|(world, before)| hash(Variant::Constant(*name, times), world) != *before)
            })
        };
        let without: Vec<Name> = Name::ALL.iter().copied().filter(|name| !changes(name)).collect();
        assert_eq!(without, WITHOUT_EFFECT);
    }
}
