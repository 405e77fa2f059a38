//! A link that steps to a tenth and back, sags and recovers, drops for seconds, oscillates; and one
//! on which production traffic comes and goes.

use lifeboat_units::Rate;

use super::{
    Figure, Goal, Options, Outcome, Table,
    course::Course,
    numbers::{largest, shown},
    over::over,
    plain::{CAPACITY, carries, plain},
    settling::{SOON_S, WITHIN, stretches},
};
use crate::r#virtual::{
    rivals::{Feedback, Kind, Policy, Rival},
    scenario::Change,
};

/// VMs of 1 GiB.
const VMS: usize = 16;
const STREAMS: u32 = 16;
/// Number of the shape that steps to a tenth and back.
const STEP: usize = 1;

/// How a link changes: a name, and what happens when, in seconds after the start.
struct Shape {
    name: &'static str,
    changes: Vec<(f64, Change)>,
}

fn shapes() -> Vec<Shape> {
    let levels =
        |levels: &[(f64, u64)]| levels.iter().map(|(at, level)| (*at, carries(*level))).collect();
    let down =
        (1..=5).map(|step| (f64::from(step) * 8.0 + 12.0, 1000 - 100 * u64::from(step as u32)));
    let up = (1..=5).map(|step| (f64::from(step) * 8.0 + 52.0, 500 + 100 * u64::from(step as u32)));
    let sag: Vec<(f64, u64)> = down.chain(up).collect();
    let swing: Vec<(f64, u64)> = (1..=10)
        .map(|turn| (f64::from(turn) * 12.0, if turn % 2 == 1 { 500 } else { 1000 }))
        .collect();
    vec![
        Shape { name: "steady", changes: Vec::new() },
        Shape { name: "step to a tenth and back", changes: levels(&[(30.0, 100), (70.0, 1000)]) },
        Shape { name: "sags to half and recovers", changes: levels(&sag) },
        Shape {
            name: "drops for 3 s and for 8 s",
            changes: levels(&[(30.0, 0), (33.0, 1000), (60.0, 0), (68.0, 1000)]),
        },
        Shape { name: "oscillates between all and half", changes: levels(&swing) },
    ]
}

/// The world whose link steps to a tenth and back.
#[cfg(feature = "tuning")]
pub(super) fn step() -> crate::r#virtual::scenario::Scenario {
    plain(VMS, shapes()[STEP].changes.clone())
}

/// 40 % of the link for others, three times.
fn traffic() -> Vec<Shape> {
    let busy = |at: f64, permille: u64| {
        let production = Some(Rate::from_bytes_per_sec(CAPACITY * permille / 1000));
        (at, Change { production, ..Change::default() })
    };
    let in_turns = |length: f64| {
        (1..=6)
            .map(|turn| busy(f64::from(turn) * length, if turn % 2 == 1 { 400 } else { 0 }))
            .collect()
    };
    vec![
        Shape { name: "none", changes: Vec::new() },
        Shape { name: "40 % for 20 s at a time", changes: in_turns(20.0) },
        Shape { name: "40 % for 10 s at a time", changes: in_turns(10.0) },
    ]
}

fn policies() -> [Policy; 4] {
    let rival = |kind| Policy::Rival(Rival { streams: STREAMS, ..Rival::plain(kind) });
    [
        Policy::Lifeboat,
        rival(Kind::AtATime(1)),
        rival(Kind::AtATime(4)),
        rival(Kind::Central(Feedback::Aggregate)),
    ]
}

pub(super) fn changes(options: &Options) -> Result<Outcome, String> {
    run(options, &shapes(), "1 Gbit/s that changes", STEP)
}

pub(super) fn production(options: &Options) -> Result<Outcome, String> {
    run(options, &traffic(), "Production traffic", 1)
}

/// The goal is judged on the shape number `judged`.
fn run(options: &Options, shapes: &[Shape], title: &str, judged: usize) -> Result<Outcome, String> {
    let heading = [
        "change",
        "policy",
        "total / bound",
        "settled after, s",
        "idle then, worst second, %",
        "idle then, worst 5 s, %",
        "allowed beyond then, %",
        "production held up, %",
    ];
    let mut table = Table::new(title, &heading);
    let heading =
        ["change", "policy", "at, s", "carried, bytes/s", "allowed, bytes/s", "capacity, bytes/s"];
    let mut outcome = Outcome { runs: Table::new("", &heading), ..Outcome::default() };
    for (number, shape) in shapes.iter().enumerate() {
        let scenario = plain(VMS, shape.changes.clone());
        let courses = over(&policies(), options.threads, |policy| Course::of(&scenario, *policy))?;
        let mut figure = Figure::new(&format!("{title}: {}", shape.name), "time, s", "MB/s");
        for (policy, course) in policies().into_iter().zip(&courses) {
            let report = &course.report;
            let mut at = vec![0.0];
            at.extend(shape.changes.iter().map(|(at, _)| *at));
            // While the last VM switches over there is nothing else to fill the link with.
            let all = stretches(&course.samples, &at, report.total_s - 2.0);
            let most = |of: fn(&super::settling::Stretch) -> f64| {
                largest(&all.iter().map(of).collect::<Vec<_>>())
            };
            let (settled, idle) = (most(|one| one.settled_s), most(|one| one.idle));
            let beyond = most(|one| one.beyond);
            table.row([
                shape.name.to_owned(),
                policy.to_string(),
                shown(report.total_s / report.bound_total_s, 3),
                shown(settled, 1),
                shown(idle * 100.0, 1),
                shown(most(|one| one.idle_long) * 100.0, 1),
                if policy == Policy::Lifeboat { shown(beyond * 100.0, 1) } else { "-".into() },
                shown(course.production_held_up * 100.0, 1),
            ]);
            for sample in &course.samples {
                let figures = [sample.carried, sample.allowed, sample.capacity];
                let cells = [shape.name.to_owned(), policy.to_string(), shown(sample.at_s, 2)];
                outcome.runs.row(cells.into_iter().chain(figures.map(|figure| shown(figure, 0))));
            }
            if policy == Policy::Lifeboat {
                let line = |of: fn(&super::course::Sample) -> f64| {
                    course.samples.iter().map(|sample| (sample.at_s, of(sample) / 1e6)).collect()
                };
                figure.line("what the link carries", line(|sample| sample.capacity));
                figure.line("allowed by rights", line(|sample| sample.allowed.min(4e8)));
                figure.line("carried", line(|sample| sample.carried));
                if number == judged {
                    let name = |what: &str| format!("{}: {what}", shape.name);
                    outcome.goals.push(Goal::at_most(&name("settled after, s"), settled, SOON_S));
                    outcome.goals.push(Goal::at_most(
                        &name("idle then, worst second"),
                        idle,
                        WITHIN,
                    ));
                    outcome.goals.push(Goal::at_most(
                        &name("allowed beyond then, worst second"),
                        beyond,
                        WITHIN,
                    ));
                }
            }
        }
        outcome.figures.push(figure);
    }
    outcome.tables.push(table);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    #[test]
    fn every_shape_is_run_under_every_policy() {
        let options = Options { seeds: 1, threads: NonZero::<usize>::MIN };
        for (outcome, shapes) in [
            (changes(&options).unwrap(), shapes().len()),
            (production(&options).unwrap(), traffic().len()),
        ] {
            assert_eq!(outcome.tables[0].rows.len(), shapes * policies().len());
            assert_eq!(outcome.goals.len(), 3);
            assert_eq!(outcome.figures.len(), shapes);
        }
    }
}
