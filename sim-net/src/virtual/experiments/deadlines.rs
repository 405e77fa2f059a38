//! Deadlines at 25, 50 and 75 % of what the link needs for everything: how much gets out in time, of
//! what a clairvoyant could have got out.
//!
//! The clairvoyant sends each VM's bytes at the line rate without any gap, and chooses the best set
//! afterwards: an upper limit that nothing real reaches. Once every VM weighs the same; once there
//! are three priority classes, each of which weighs ten times the one below.

use lifeboat_units::Span;

use super::{
    Figure, Goal, Options, Outcome, Table,
    course::Course,
    families::{Family, draw},
    numbers::{median, quantile, shown},
    over::over,
    plain::seconds,
};
use crate::r#virtual::{
    bounds::heaviest_that_fits,
    report::{Report, alone},
    rivals::{Feedback, Kind, Order, Policy, Rival},
    scenario::{Scenario, Vm},
};

/// Parts of the bound after which it is over.
const PARTS: [f64; 3] = [0.25, 0.5, 0.75];
/// Priority classes and what a VM of each weighs.
const CLASSES: [(u8, u64); 3] = [(90, 100), (50, 10), (10, 1)];
/// Pause that a VM alone may have, seconds: the default.
const PAUSE_S: f64 = 0.3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    Equal,
    Classes,
}

fn weight(weights: Weights, vm: &Vm) -> u64 {
    let class = CLASSES.iter().find(|(priority, _)| *priority == vm.priority);
    match weights {
        Weights::Equal => 1,
        Weights::Classes => class.map_or(0, |(_, weight)| *weight),
    }
}

/// A world, what the link needs for it in seconds, and for each VM its seconds and its weight.
struct World {
    scenario: Scenario,
    bound_s: f64,
    items: Vec<(f64, u64)>,
}

fn world(weights: Weights, seed: u64) -> World {
    let mut scenario = draw(Family::Link, seed);
    if weights == Weights::Classes {
        let classes = CLASSES.iter().cycle().skip(seed as usize % CLASSES.len());
        for (vm, (priority, _)) in scenario.vms.iter_mut().zip(classes) {
            vm.priority = *priority;
        }
    }
    let line = scenario.links[0].capacity.bytes_per_sec() as f64;
    let cost = |vm: &Vm| {
        let set = vm.working_set.map_or(0.0, |set| set.0 as f64);
        let dirty = vm.dirty_rate.bytes_per_sec() as f64;
        alone(vm.memory.0 as f64, vm.disk.0 as f64, dirty, set, PAUSE_S, line).1
    };
    let items: Vec<(f64, u64)> =
        scenario.vms.iter().map(|vm| (cost(vm), weight(weights, vm))).collect();
    World { bound_s: items.iter().map(|(time, _)| time).sum(), scenario, items }
}

fn policies() -> [Policy; 4] {
    let rival = |kind| Policy::Rival(Rival { kind, streams: 16, order: Order::SmallestFirst });
    [
        Policy::Lifeboat,
        rival(Kind::AtATime(1)),
        rival(Kind::Kubevirt),
        rival(Kind::Central(Feedback::Aggregate)),
    ]
}

fn saved(weights: Weights, scenario: &Scenario, report: &Report, deadline_s: f64) -> u64 {
    let in_time = scenario.vms.iter().filter(|vm| {
        let its = report.vms.iter().find(|one| one.name == vm.name);
        its.and_then(|one| one.finish_s).is_some_and(|at| at <= deadline_s)
    });
    in_time.map(|vm| weight(weights, vm)).sum()
}

/// One seed under all policies, with one deadline: parts of the clairvoyant's weight.
fn fractions(weights: Weights, seed: u64, part: f64) -> Result<Vec<f64>, String> {
    let World { mut scenario, bound_s, items } = world(weights, seed);
    let deadline: Span = seconds(bound_s * part);
    scenario.evacuations[0].deadline = Some(deadline);
    // Nothing that comes later counts.
    scenario.limit = Span(scenario.evacuations[0].at.0 + deadline.0 + seconds(5.0).0);
    let deadline_s = deadline.0.as_secs_f64();
    let best = heaviest_that_fits(&items, deadline_s).max(1);
    let each = policies().map(|policy| {
        let report = Course::of(&scenario, policy)?.report;
        Ok(saved(weights, &scenario, &report, deadline_s) as f64 / best as f64)
    });
    each.into_iter().collect()
}

pub(super) fn run(options: &Options) -> Result<Outcome, String> {
    let heading =
        ["weights", "deadline / bound", "seed", "policy", "weight in time / clairvoyant's"];
    let mut outcome = Outcome { runs: Table::new("", &heading), ..Outcome::default() };
    let heading = ["weights", "deadline / bound", "policy", "median", "worst seed"];
    let title = format!("Weight in time over a clairvoyant's, {} link-bound worlds", options.seeds);
    let mut table = Table::new(&title, &heading);
    let mut figure =
        Figure::new(&title, "weight in time / clairvoyant's", "worlds at most there, %");
    let seeds: Vec<u64> = (1..=options.seeds).collect();
    for weights in [Weights::Equal, Weights::Classes] {
        let name = format!("{weights:?}").to_lowercase();
        for part in PARTS {
            let all = over(&seeds, options.threads, |seed| fractions(weights, *seed, part))?;
            for (number, policy) in policies().iter().enumerate() {
                let here: Vec<f64> = all.iter().map(|one| one[number]).collect();
                for (seed, fraction) in seeds.iter().zip(&here) {
                    let cells =
                        [shown(part, 2), seed.to_string(), policy.to_string(), shown(*fraction, 4)];
                    outcome.runs.row(std::iter::once(name.clone()).chain(cells));
                }
                let (middle, worst) = (median(&here), quantile(&here, 0.0));
                let cells = [shown(part, 2), policy.to_string(), shown(middle, 3), shown(worst, 3)];
                table.row(std::iter::once(name.clone()).chain(cells));
                if *policy == Policy::Lifeboat {
                    let what = |which: &str| format!("{name} weights, deadline at {part}: {which}");
                    outcome.goals.push(Goal::at_least(&what("median"), middle, 0.97));
                    outcome.goals.push(Goal::at_least(&what("worst seed"), worst, 0.90));
                }
                if weights == Weights::Equal && part == 0.5 {
                    figure.distribution(policy, here);
                }
            }
        }
    }
    outcome.tables.push(table);
    outcome.figures.push(figure);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    #[test]
    fn nobody_beats_the_clairvoyant() {
        let outcome = run(&Options { seeds: 2, threads: NonZero::<usize>::MIN }).unwrap();
        assert_eq!(outcome.runs.rows.len(), 2 * 3 * 2 * policies().len());
        for row in &outcome.runs.rows {
            let fraction: f64 = row[4].parse().unwrap();
            assert!((0.0..=1.0).contains(&fraction), "{row:?}");
        }
        assert_eq!(outcome.goals.len(), 12);
    }
}
