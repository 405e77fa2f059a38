//! A node is lost at 10, 50 and 90 % of the way: the one where everything was asked for, each
//! source, each destination; with its power, or its daemon alone, which is back after five seconds.
//! Beside it the seed's central controller, which loses the host that it runs on.

use super::{
    Figure, Goal, Options, Outcome, Table,
    course::Course,
    kang,
    numbers::{largest, shown},
    over::over,
    plain::seconds,
};
use crate::r#virtual::{
    report::Report,
    rivals::{Feedback, Kind, Order, Policy, Rival},
    scenario::{Fault, FaultKind, Host, Scenario},
};

/// Parts of the undisturbed total after which the node is lost.
const WHEN: [f64; 3] = [0.1, 0.5, 0.9];
/// Where the evacuation is asked for: a host without a VM.
const CONSOLE: &str = "console";
/// Time after which a lost daemon is back, seconds.
const BACK_S: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Console,
    Source,
    Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Power,
    Daemon,
}

#[derive(Debug, Clone)]
struct Case {
    policy: Policy,
    role: Role,
    host: String,
    loss: Loss,
    when: f64,
}

fn undisturbed() -> Scenario {
    let mut scenario = kang::on_streams(20);
    scenario.hosts.push(Host::named(CONSOLE, "here"));
    scenario.evacuations[0].initiator = CONSOLE.into();
    scenario.limit = seconds(1800.0);
    scenario
}

impl Case {
    fn scenario(&self, undisturbed_s: f64) -> Scenario {
        let mut scenario = undisturbed();
        let start = scenario.evacuations[0].at.0.as_secs_f64();
        let at = start + undisturbed_s * self.when;
        let fault = |at, kind| Fault { at: seconds(at), kind };
        let host = self.host.clone();
        scenario.faults = match self.loss {
            Loss::Power => vec![fault(at, FaultKind::PowerOff { host })],
            Loss::Daemon => vec![
                fault(at, FaultKind::Crash { host: host.clone() }),
                fault(at + BACK_S, FaultKind::Start { host }),
            ],
        };
        scenario
    }
}

fn central() -> Policy {
    let kind = Kind::Central(Feedback::Aggregate);
    Policy::Rival(Rival { kind, streams: 16, order: Order::SmallestFirst })
}

/// Of sources and destinations as many as there are seeds, up to all eight.
fn cases(hosts: u64) -> Vec<Case> {
    let each =
        |site: &str| (1..=hosts.min(8)).map(|number| format!("{site}{number}")).collect::<Vec<_>>();
    let roles = [
        (Role::Console, vec![CONSOLE.to_owned()]),
        (Role::Source, each("here")),
        (Role::Destination, each("there")),
    ];
    let mut cases = Vec::new();
    for policy in [Policy::Lifeboat, central()] {
        for (role, hosts) in &roles {
            for loss in [Loss::Power, Loss::Daemon] {
                // A daemon at a destination is nothing that a rival needs.
                if policy != Policy::Lifeboat && loss == Loss::Daemon && *role != Role::Console {
                    continue;
                }
                for when in WHEN {
                    let case = |host: &String| Case {
                        policy,
                        role: *role,
                        host: host.clone(),
                        loss,
                        when,
                    };
                    cases.extend(hosts.iter().map(case));
                }
            }
        }
    }
    cases
}

/// VMs that are neither out nor dead with their host.
fn left_behind(report: &Report) -> usize {
    report.vms.iter().filter(|vm| matches!(vm.end, "stayed" | "open")).count()
}

/// Longest time in which nothing flowed although VMs were left, seconds: for ever, if some still are.
fn idle_s(course: &Course) -> f64 {
    if left_behind(&course.report) > 0 { f64::INFINITY } else { course.longest_idle_s() }
}

pub(super) fn run(options: &Options) -> Result<Outcome, String> {
    let policies = [Policy::Lifeboat, central()];
    let before = over(&policies, options.threads, |policy| Course::of(&undisturbed(), *policy))?;
    let total = |policy: Policy| before[usize::from(policy != Policy::Lifeboat)].report.total_s;
    let cases = cases(options.seeds);
    let courses = over(&cases, options.threads, |case| {
        Course::of(&case.scenario(total(case.policy)), case.policy)
    })?;
    let done: Vec<(Case, Course)> = cases.into_iter().zip(courses).collect();
    let ratio = |case: &Case, course: &Course| course.report.total_s / total(case.policy);

    let heading = [
        "policy",
        "lost",
        "host",
        "at",
        "total, s",
        "total / undisturbed",
        "longest idle, s",
        "arrived",
        "left behind",
        "died",
    ];
    let mut outcome = Outcome { runs: Table::new("", &heading), ..Outcome::default() };
    for (case, course) in &done {
        let report = &course.report;
        outcome.runs.row([
            case.policy.to_string(),
            format!("{:?}", case.loss).to_lowercase(),
            case.host.clone(),
            shown(case.when, 1),
            shown(report.total_s, 2),
            shown(ratio(case, course), 4),
            shown(idle_s(course), 2),
            report.arrived.to_string(),
            left_behind(report).to_string(),
            report.vms.iter().filter(|vm| vm.end == "died").count().to_string(),
        ]);
    }

    let heading = ["policy", "lost", "of", "at 10 %", "at 50 %", "at 90 %", "longest idle"];
    let title = "Total over the undisturbed one, worst host (VMs left behind, where any are)";
    let mut table = Table::new(title, &heading);
    for policy in policies {
        for role in [Role::Console, Role::Source, Role::Destination] {
            for loss in [Loss::Power, Loss::Daemon] {
                let here: Vec<&(Case, Course)> = done
                    .iter()
                    .filter(|(case, _)| (case.policy, case.role, case.loss) == (policy, role, loss))
                    .collect();
                if here.is_empty() {
                    continue;
                }
                let mut row = vec![
                    policy.to_string(),
                    format!("{loss:?}").to_lowercase(),
                    format!("{role:?}").to_lowercase(),
                ];
                for when in WHEN {
                    let then = here.iter().filter(|(case, _)| case.when == when);
                    let worst: Vec<f64> =
                        then.clone().map(|(case, course)| ratio(case, course)).collect();
                    let left =
                        then.map(|(_, course)| left_behind(&course.report)).max().unwrap_or(0);
                    let left =
                        if left > 0 { format!(" ({left} left behind)") } else { String::new() };
                    row.push(format!("{:.3}{left}", largest(&worst)));
                }
                let idle: Vec<f64> = here.iter().map(|(_, course)| idle_s(course)).collect();
                let idle = largest(&idle);
                row.push(if idle.is_finite() { format!("{idle:.1} s") } else { "for ever".into() });
                table.row(row);
            }
        }
    }
    outcome.tables.push(table);

    let ours: Vec<&(Case, Course)> =
        done.iter().filter(|(case, _)| case.policy == Policy::Lifeboat).collect();
    let all = |of: &dyn Fn(&(Case, Course)) -> f64| {
        largest(&ours.iter().map(|one| of(one)).collect::<Vec<_>>())
    };
    outcome.goals = vec![
        Goal::at_most(
            "any node lost at any time: total / undisturbed",
            all(&|(case, course)| ratio(case, course)),
            1.05,
        ),
        Goal::at_most("longest idle, s", all(&|(_, course)| idle_s(course)), 10.0),
        Goal::at_most(
            "VMs left behind",
            all(&|(_, course)| left_behind(&course.report) as f64),
            0.0,
        ),
    ];
    outcome.figures.push(figure(&done, &before, &policies));
    Ok(outcome)
}

/// VMs out by time, undisturbed and with the console's power lost half way.
fn figure(done: &[(Case, Course)], before: &[Course], policies: &[Policy]) -> Figure {
    let mut figure =
        Figure::new("kang-30: the console loses its power half way", "time, s", "VMs out");
    let line = |report: &Report| {
        let mut at: Vec<f64> = report.vms.iter().filter_map(|vm| vm.finish_s).collect();
        at.sort_by(f64::total_cmp);
        at.into_iter().zip(1..).map(|(at, out)| (at, f64::from(out))).collect::<Vec<_>>()
    };
    for (policy, course) in policies.iter().zip(before) {
        figure.line(format!("{policy}, undisturbed"), line(&course.report));
        let half = done.iter().find(|(case, _)| {
            (case.policy, case.role, case.loss) == (*policy, Role::Console, Loss::Power)
                && case.when == 0.5
        });
        if let Some((_, course)) = half {
            figure.line(format!("{policy}, console lost"), line(&course.report));
        }
    }
    figure
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    #[test]
    fn the_central_controller_dies_with_its_host() {
        let options = Options { seeds: 0, threads: NonZero::<usize>::MIN };
        let outcome = run(&options).unwrap();
        let row = |policy: &str, host: &str| {
            let found = outcome.runs.rows.iter().find(|row| {
                row[0] == policy && row[1] == "power" && row[2] == host && row[3] == "0.5"
            });
            found.unwrap_or_else(|| panic!("{}", outcome.runs.csv())).clone()
        };
        assert_ne!(row("central-ac x16", CONSOLE)[8], "0");
        assert_eq!(row("lifeboat", CONSOLE)[8], "0");
        assert_eq!(outcome.tables[0].rows.len(), 2 + 2);
        assert!(outcome.goals.iter().any(|goal| goal.what == "VMs left behind <= 0" && goal.met));
    }
}
