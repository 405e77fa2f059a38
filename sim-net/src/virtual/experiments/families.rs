//! Four families of drawn worlds, each with another bottleneck, and the best that a fixed number at
//! a time could do in each of them, chosen afterwards.

use std::time::Duration;

use lifeboat_units::{ByteSize, Rate, Span};

use super::{
    Figure, Goal, Options, Outcome, Table,
    course::Course,
    numbers::{largest, median, quantile, shown},
    over::over,
};
use crate::{
    random::SplitMix,
    r#virtual::{
        report::Report,
        rivals::{Feedback, Kind, Order, Policy, Rival},
        scenario::{Evacuation, Host, Link, Scenario, Vm},
    },
};

const MIB: u64 = 1 << 20;
/// Streams that one move may have: the default, and what rivals with several use.
const STREAMS: u32 = 16;
/// Numbers at a time of which the best is chosen afterwards for each world.
const AT_A_TIME: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// What is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// The link, which one VM with its streams can fill.
    Link,
    /// The interface of the source host that holds most of the memory.
    Source,
    /// The streams of one VM: several VMs are needed to fill the link.
    RoundTrip,
    /// The room above what the guests rewrite.
    Dirty,
}

/// The world of a seed. No reserve: nothing else wants the link.
pub(crate) fn draw(family: Family, seed: u64) -> Scenario {
    let mut random = SplitMix::named(seed, &format!("family {family:?}"));
    let gigabit: u64 = 125_000_000;
    let (sources, destinations) = (random.between(3, 6), random.between(2, 5));
    let (capacity, nic, rtt_ms) = match family {
        Family::Link => (gigabit * random.between(2, 16) / 8, 10 * gigabit, random.between(2, 60)),
        Family::Source => (gigabit * random.between(3, 6), gigabit, random.between(2, 60)),
        Family::RoundTrip => {
            (gigabit * random.between(4, 10), 10 * gigabit, random.between(200, 400))
        }
        Family::Dirty => (gigabit * random.between(2, 16) / 8, 10 * gigabit, random.between(2, 60)),
    };
    let host = |site: &str, number: u64| Host {
        memory: ByteSize(1 << 40),
        nic: Rate::from_bytes_per_sec(nic),
        ..Host::named(&format!("{site}{number}"), site)
    };
    let here = (1..=sources).map(|number| host("here", number));
    let there = (1..=destinations).map(|number| host("there", number));
    let believed = capacity * random.between(250, 1500) / 1000;
    let link = Link {
        rtt: Span(Duration::from_millis(rtt_ms)),
        streams: STREAMS,
        initial: Rate::from_bytes_per_sec(believed),
        reserve_permille: 0,
        ..Link::between("here", "there", Rate::from_bytes_per_sec(capacity))
    };
    Scenario {
        seed,
        hosts: here.chain(there).collect(),
        links: vec![link],
        vms: draw_vms(&mut random, family, capacity, sources),
        evacuations: vec![Evacuation::of("here", "there", "here1")],
        ..Scenario::default()
    }
}

/// Together they take the bottleneck 60 to 150 s.
fn draw_vms(random: &mut SplitMix, family: Family, capacity: u64, sources: u64) -> Vec<Vm> {
    let count = random.between(10, 30);
    let seconds = random.between(60, 150);
    let mean = capacity * seconds / count;
    (1..=count)
        .map(|number| {
            let memory = (mean * random.between(200, 1800) / 1000).max(16 * MIB);
            let dirty = match family {
                Family::Dirty => capacity * random.between(300, 850) / 1000,
                _ if random.permille(500) => capacity * random.below(100) / 1000,
                _ => 0,
            };
            let set = match family {
                Family::Dirty => random.between(100, 500),
                _ => random.between(20, 300),
            };
            // Two thirds of them on the first host, where its interface shall be the bottleneck.
            let crowded = family == Family::Source && random.permille(500);
            let source = if crowded { 1 } else { random.between(1, sources) };
            Vm {
                dirty_rate: Rate::from_bytes_per_sec(dirty),
                working_set: Some(ByteSize(memory * set / 1000)),
                ..Vm::sized(&format!("vm{number}"), &format!("here{source}"), ByteSize(memory))
            }
        })
        .collect()
}

/// One world under every policy.
struct World {
    seed: u64,
    /// The protocol's first.
    runs: Vec<(Policy, Report)>,
}

impl World {
    fn of(family: Family, seed: u64) -> Result<Self, String> {
        let scenario = draw(family, seed);
        let run = |policy: &Policy| Ok((*policy, Course::of(&scenario, *policy)?.report));
        Ok(Self { seed, runs: policies().iter().map(run).collect::<Result<_, String>>()? })
    }

    fn ours(&self) -> &Report {
        &self.runs[0].1
    }

    /// The best score of a fixed number at a time, whatever its streams.
    fn best_fixed(&self) -> (Policy, f64) {
        let fixed = self.runs.iter().filter(|(policy, _)| {
            matches!(policy, Policy::Rival(Rival { kind: Kind::AtATime(_) | Kind::AtOnce, .. }))
        });
        let scores = fixed.map(|(policy, report)| (*policy, report.score));
        scores.min_by(|left, right| left.1.total_cmp(&right.1)).expect("there are some")
    }
}

/// Rivals take the smallest first, which is what completes most VMs early.
fn policies() -> Vec<Policy> {
    let rival = |kind, streams| Policy::Rival(Rival { kind, streams, order: Order::SmallestFirst });
    let several = AT_A_TIME.iter().map(|number| rival(Kind::AtATime(*number), STREAMS));
    let others = [
        rival(Kind::AtATime(1), 1),
        rival(Kind::AtATime(4), 1),
        rival(Kind::AtATime(16), 1),
        rival(Kind::AtOnce, STREAMS),
        rival(Kind::PerHost, STREAMS),
        rival(Kind::Kubevirt, STREAMS),
        rival(Kind::Central(Feedback::Individual), STREAMS),
        rival(Kind::Central(Feedback::Aggregate), STREAMS),
    ];
    std::iter::once(Policy::Lifeboat).chain(several).chain(others).collect()
}

pub(super) fn link(options: &Options) -> Result<Outcome, String> {
    run(Family::Link, options)
}

pub(super) fn source(options: &Options) -> Result<Outcome, String> {
    run(Family::Source, options)
}

pub(super) fn round_trip(options: &Options) -> Result<Outcome, String> {
    run(Family::RoundTrip, options)
}

pub(super) fn dirty(options: &Options) -> Result<Outcome, String> {
    run(Family::Dirty, options)
}

fn run(family: Family, options: &Options) -> Result<Outcome, String> {
    let seeds: Vec<u64> = (1..=options.seeds).collect();
    let worlds = over(&seeds, options.threads, |seed| World::of(family, *seed))?;
    Ok(Outcome {
        tables: vec![table(&worlds), worst(&worlds)],
        goals: goals(&worlds),
        runs: data(&worlds),
        figures: vec![figure(family, &worlds)],
        ..Outcome::default()
    })
}

fn data(worlds: &[World]) -> Table {
    let heading = [
        "seed",
        "policy",
        "arrived",
        "VMs",
        "total, s",
        "bound of the total, s",
        "mean individual, s",
        "bound of it, s",
        "mean completion, s",
        "bound of that, s",
        "score",
        "longest downtime, ms",
        "bytes sent",
        "link use",
        "ended",
    ];
    let mut table = Table::new("", &heading);
    for world in worlds {
        for (policy, report) in &world.runs {
            table.row([
                world.seed.to_string(),
                policy.to_string(),
                report.arrived.to_string(),
                report.vms.len().to_string(),
                shown(report.total_s, 2),
                shown(report.bound_total_s, 2),
                shown(report.mean_individual_s, 2),
                shown(report.bound_individual_s, 2),
                shown(report.mean_completion_s, 2),
                shown(report.bound_completion_s, 2),
                shown(report.score, 4),
                report.max_downtime_ms.to_string(),
                shown(report.bytes_sent, 0),
                shown(report.link_use, 4),
                report.ended.clone(),
            ]);
        }
    }
    table
}

fn of_policy(worlds: &[World], number: usize, figure: impl Fn(&Report) -> f64) -> Vec<f64> {
    worlds.iter().map(|world| figure(&world.runs[number].1)).collect()
}

fn table(worlds: &[World]) -> Table {
    let title = format!("{} worlds, each under every policy: medians", worlds.len());
    let heading = [
        "policy",
        "total / bound",
        "mean completion / bound",
        "mean individual / bound",
        "score",
        "worst score",
    ];
    let mut table = Table::new(&title, &heading);
    let Some(first) = worlds.first() else { return table };
    for (number, (policy, _)) in first.runs.iter().enumerate() {
        let scores = of_policy(worlds, number, |report| report.score);
        table.row([
            policy.to_string(),
            shown(median(&of_policy(worlds, number, total)), 3),
            shown(median(&of_policy(worlds, number, completion)), 3),
            shown(median(&of_policy(worlds, number, individual)), 2),
            shown(median(&scores), 2),
            shown(largest(&scores), 2),
        ]);
    }
    table
}

fn total(report: &Report) -> f64 {
    report.total_s / report.bound_total_s
}

fn completion(report: &Report) -> f64 {
    report.mean_completion_s / report.bound_completion_s
}

fn individual(report: &Report) -> f64 {
    report.mean_individual_s / report.bound_individual_s
}

/// The protocol's score over that of the best fixed number, for each world.
fn against_fixed(worlds: &[World]) -> Vec<f64> {
    worlds.iter().map(|world| world.ours().score / world.best_fixed().1).collect()
}

/// The seeds in which the protocol is farthest behind the best fixed number.
fn worst(worlds: &[World]) -> Table {
    let heading = ["seed", "lifeboat's score", "best fixed number", "its score", "total / bound"];
    let behind = against_fixed(worlds);
    let parts = [0.1, 0.5, 0.9].map(|part| shown(quantile(&behind, part), 3)).join(", ");
    let title = format!(
        "Lifeboat's score over the best fixed number's: 10th, 50th and 90th percentile {parts}. \
         Where it is farthest behind:"
    );
    let mut table = Table::new(&title, &heading);
    let mut order: Vec<(&World, f64)> = worlds.iter().zip(behind).collect();
    order.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (world, _) in order.into_iter().take(5) {
        let (policy, score) = world.best_fixed();
        table.row([
            world.seed.to_string(),
            shown(world.ours().score, 3),
            policy.to_string(),
            shown(score, 3),
            shown(total(world.ours()), 3),
        ]);
    }
    table
}

fn figure(family: Family, worlds: &[World]) -> Figure {
    let title = format!("{family:?}-bound worlds: how the scores are distributed");
    let mut figure = Figure::new(&title, "score (1 is physics)", "worlds at most there, %");
    figure.distribution("lifeboat", worlds.iter().map(|world| world.ours().score).collect());
    let best = worlds.iter().map(|world| world.best_fixed().1).collect();
    figure.distribution("best fixed number, chosen afterwards", best);
    let Some(first) = worlds.first() else { return figure };
    for (number, (policy, _)) in first.runs.iter().enumerate() {
        if let Policy::Rival(Rival {
            kind: Kind::Kubevirt | Kind::Central(_) | Kind::PerHost,
            ..
        }) = policy
        {
            figure.distribution(policy, of_policy(worlds, number, |report| report.score));
        }
    }
    figure
}

fn goals(worlds: &[World]) -> Vec<Goal> {
    let ours = |figure: fn(&Report) -> f64| of_policy(worlds, 0, figure);
    let left: Vec<f64> = ours(|report| (report.vms.len() - report.arrived) as f64);
    let behind = against_fixed(worlds);
    vec![
        Goal::at_most("median total / bound", median(&ours(total)), 1.05),
        Goal::at_most("median mean completion / bound", median(&ours(completion)), 1.10),
        Goal::at_most("score / best fixed number's, worst seed", largest(&behind), 1.02),
        Goal::at_most("VMs left behind, worst seed", largest(&left), 0.0),
    ]
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::r#virtual::scenario::parse;

    const FAMILIES: [Family; 4] = [Family::Link, Family::Source, Family::RoundTrip, Family::Dirty];

    #[test]
    fn each_family_is_scarce_of_what_it_says() {
        for family in FAMILIES {
            for seed in 1..30 {
                let scenario = draw(family, seed);
                assert_eq!(parse(&toml::to_string(&scenario).unwrap()).unwrap(), scenario);
                let line = scenario.links[0].capacity.bytes_per_sec() as f64;
                let stream = (4 << 20) as f64 / scenario.links[0].rtt.0.as_secs_f64();
                let fills = stream * f64::from(STREAMS) >= line;
                assert_eq!(fills, family != Family::RoundTrip, "{family:?} {seed}");
            }
        }
    }

    #[test]
    fn two_worlds_of_each_make_a_table() {
        for family in FAMILIES {
            let options = Options { seeds: 2, threads: NonZero::<usize>::MIN };
            let outcome = run(family, &options).unwrap();
            assert_eq!(outcome.runs.rows.len(), 2 * policies().len());
            assert_eq!(outcome.tables[0].rows.len(), policies().len());
            let arrived = outcome.goals.iter().find(|goal| goal.what.starts_with("VMs left"));
            assert!(arrived.unwrap().met, "{}", outcome.markdown());
            assert!(outcome.figures[0].svg().unwrap().contains("lifeboat"));
        }
    }
}
