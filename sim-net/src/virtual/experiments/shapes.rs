//! What else the seed asked: live against offline, memory spread even or skewed over hosts, and from
//! 2 to 1,000 hosts.

use lifeboat_units::{ByteSize, Rate};

use super::{
    Figure, Options, Outcome, Table,
    course::Course,
    families::{Family, draw},
    numbers::{median, shown},
    over::over,
    plain::seconds,
};
use crate::r#virtual::{
    report::Report,
    rivals::{Feedback, Kind, Order, Policy, Rival},
    scenario::{Evacuation, Host, Link, Scenario, Vm, VmState},
};

const GIB: u64 = 1 << 30;
/// Bytes per second of 1 Gbit/s.
const GIGABIT: u64 = 125_000_000;
/// Numbers of hosts, source and destination together.
const HOSTS: [u64; 10] = [2, 4, 8, 16, 32, 64, 128, 256, 500, 1000];

fn rival(kind: Kind) -> Policy {
    Policy::Rival(Rival { kind, streams: 16, order: Order::SmallestFirst })
}

fn policies() -> [Policy; 5] {
    [
        Policy::Lifeboat,
        rival(Kind::AtATime(1)),
        rival(Kind::PerHost),
        rival(Kind::Kubevirt),
        rival(Kind::Central(Feedback::Aggregate)),
    ]
}

/// Worlds of one kind under one policy.
struct Cell {
    kind: String,
    policy: Policy,
    reports: Vec<Report>,
}

/// Runs every kind of world under every policy.
fn cells(
    options: &Options,
    kinds: &[(String, Vec<Scenario>)],
    policies: &[Policy],
) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    for (kind, worlds) in kinds {
        for policy in policies {
            let report = |world: &Scenario| Ok(Course::of(world, *policy)?.report);
            let reports = over(worlds, options.threads, report)?;
            cells.push(Cell { kind: kind.clone(), policy: *policy, reports });
        }
    }
    Ok(cells)
}

/// A table of medians, the data, and the score by kind as a drawing.
fn outcome(title: &str, first: &'static str, cells: &[Cell]) -> Outcome {
    let heading = [
        first,
        "policy",
        "total / bound",
        "mean individual / bound",
        "mean completion / bound",
        "score",
        "longest pause, ms",
        "gossip per node, kB/s",
        "left behind",
    ];
    let mut table = Table::new(title, &heading);
    let heading = [
        first,
        "policy",
        "world",
        "total, s",
        "bound of the total, s",
        "mean individual, s",
        "mean completion, s",
        "score",
        "longest pause, ms",
        "bytes sent",
        "arrived",
    ];
    let mut runs = Table::new("", &heading);
    let mut figure = Figure::new(title, "number of the row's kind", "score (1 is physics)");
    for cell in cells {
        let middle =
            |of: fn(&Report) -> f64| median(&cell.reports.iter().map(of).collect::<Vec<_>>());
        let left = |report: &Report| report.vms.len() - report.arrived;
        table.row([
            cell.kind.clone(),
            cell.policy.to_string(),
            shown(middle(|report| report.total_s / report.bound_total_s), 3),
            shown(middle(|report| report.mean_individual_s / report.bound_individual_s), 2),
            shown(middle(|report| report.mean_completion_s / report.bound_completion_s), 3),
            shown(middle(|report| report.score), 2),
            shown(middle(|report| report.max_downtime_ms as f64), 0),
            shown(middle(|report| report.gossip_bytes_per_s / 1000.0), 1),
            cell.reports.iter().map(left).max().unwrap_or(0).to_string(),
        ]);
        for (report, number) in cell.reports.iter().zip(1..) {
            runs.row([
                cell.kind.clone(),
                cell.policy.to_string(),
                number.to_string(),
                shown(report.total_s, 2),
                shown(report.bound_total_s, 2),
                shown(report.mean_individual_s, 2),
                shown(report.mean_completion_s, 2),
                shown(report.score, 4),
                report.max_downtime_ms.to_string(),
                shown(report.bytes_sent, 0),
                report.arrived.to_string(),
            ]);
        }
    }
    let mut kinds: Vec<&String> = cells.iter().map(|cell| &cell.kind).collect();
    kinds.dedup();
    let mut policies: Vec<Policy> = Vec::new();
    for cell in cells {
        if !policies.contains(&cell.policy) {
            policies.push(cell.policy);
        }
    }
    for policy in policies {
        let of =
            |kind: &&String| cells.iter().find(|cell| cell.kind == **kind && cell.policy == policy);
        let score =
            |cell: &Cell| median(&cell.reports.iter().map(|one| one.score).collect::<Vec<_>>());
        let points =
            kinds.iter().zip(1..).filter_map(|(kind, at)| Some((f64::from(at), score(of(kind)?))));
        figure.line(policy, points.collect());
    }
    Outcome { tables: vec![table], runs, figures: vec![figure], ..Outcome::default() }
}

/// The same drawn worlds with guests that run, that are paused, and that are paused and bring disks.
pub(super) fn live_offline(options: &Options) -> Result<Outcome, String> {
    let worlds = |change: fn(&mut Vm)| -> Vec<Scenario> {
        let seeds = 1..=options.seeds;
        seeds
            .map(|seed| {
                let mut scenario = draw(Family::Link, seed);
                scenario.vms.iter_mut().for_each(change);
                scenario
            })
            .collect()
    };
    let kinds = [
        ("live".to_owned(), worlds(|_| {})),
        ("offline, memory".to_owned(), worlds(|vm| vm.state = VmState::Paused)),
        (
            "offline, memory and a disk of the same size".to_owned(),
            worlds(|vm| {
                vm.state = VmState::Paused;
                vm.disk = vm.memory;
            }),
        ),
    ];
    let title = format!("Live against offline, {} link-bound worlds, medians", options.seeds);
    Ok(outcome(&title, "guests", &cells(options, &kinds, &policies())?))
}

/// 32 VMs of 1 GiB on eight hosts with interfaces of 1 Gbit/s, over links of 1 and of 4 Gbit/s.
pub(super) fn memory(options: &Options) -> Result<Outcome, String> {
    let spreads: [(&str, [usize; 8]); 3] = [
        ("even", [4; 8]),
        ("skewed", [12, 8, 4, 4, 1, 1, 1, 1]),
        ("half on one host", [16, 3, 3, 2, 2, 2, 2, 2]),
    ];
    let mut kinds = Vec::new();
    for gigabits in [1, 4] {
        for (name, spread) in &spreads {
            let kind = format!("{name}, {gigabits} Gbit/s link");
            kinds.push((kind, vec![spread_world(spread, gigabits)]));
        }
    }
    let title = "Memory spread over eight hosts with 1 Gbit/s each, 32 GiB";
    Ok(outcome(title, "spread", &cells(options, &kinds, &policies())?))
}

fn spread_world(spread: &[usize; 8], gigabits: u64) -> Scenario {
    let host = |site: &str, number: usize| Host {
        nic: Rate::from_bytes_per_sec(GIGABIT),
        ..Host::named(&format!("{site}{number}"), site)
    };
    let hosts = ["here", "there"]
        .into_iter()
        .flat_map(|site| (1..=8).map(move |number| host(site, number)));
    let each = spread.iter().zip(1..).flat_map(|(count, host)| std::iter::repeat_n(host, *count));
    let vms = each.zip(1..).map(|(host, number): (usize, usize)| {
        Vm::sized(&format!("vm{number}"), &format!("here{host}"), ByteSize(GIB))
    });
    Scenario {
        hosts: hosts.collect(),
        links: vec![link(gigabits * GIGABIT)],
        vms: vms.collect(),
        evacuations: vec![Evacuation::of("here", "there", "here1")],
        ..Scenario::default()
    }
}

fn link(capacity: u64) -> Link {
    Link {
        initial: Rate::from_bytes_per_sec(capacity),
        reserve_permille: 0,
        ..Link::between("here", "there", Rate::from_bytes_per_sec(capacity))
    }
}

/// From 2 to 1,000 hosts, half of them sources with two VMs each, over a link that needs a minute
/// for all of them. As many sizes as there are seeds, the smallest first.
pub(super) fn scale(options: &Options) -> Result<Outcome, String> {
    let sizes = HOSTS.iter().take(options.seeds as usize);
    let kinds: Vec<(String, Vec<Scenario>)> =
        sizes.map(|hosts| (format!("{hosts} hosts"), vec![scale_world(*hosts)])).collect();
    let policies = [
        Policy::Lifeboat,
        rival(Kind::PerHost),
        rival(Kind::Kubevirt),
        rival(Kind::Central(Feedback::Aggregate)),
    ];
    Ok(outcome(
        "From 2 hosts on, two VMs of 1 to 2 GiB on each source",
        "hosts",
        &cells(options, &kinds, &policies)?,
    ))
}

fn scale_world(hosts: u64) -> Scenario {
    let sources = (hosts / 2).max(1);
    let named = |site: &'static str| {
        (1..=sources).map(move |number| Host::named(&format!("{site}{number}"), site))
    };
    let vms: Vec<Vm> = (0..2 * sources)
        .map(|number| {
            let memory = ByteSize(GIB + number * 7 % 11 * GIB / 10);
            Vm::sized(&format!("vm{number}"), &format!("here{}", number / 2 + 1), memory)
        })
        .collect();
    let bytes: u64 = vms.iter().map(|vm| vm.memory.0).sum();
    Scenario {
        limit: seconds(1200.0),
        hosts: named("here").chain(named("there")).collect(),
        links: vec![link(bytes / 60)],
        vms,
        evacuations: vec![Evacuation::of("here", "there", "here1")],
        ..Scenario::default()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    const SMALL: Options = Options { seeds: 2, threads: NonZero::<usize>::MIN };

    #[test]
    fn each_kind_of_world_is_run_under_each_policy() {
        let rows = |outcome: Result<Outcome, String>| outcome.unwrap().tables[0].rows.len();
        assert_eq!(rows(live_offline(&SMALL)), 3 * 5);
        assert_eq!(rows(memory(&SMALL)), 6 * 5);
        assert_eq!(rows(scale(&SMALL)), 2 * 4);
    }

    #[test]
    fn an_offline_guest_brings_its_disk() {
        let outcome = live_offline(&SMALL).unwrap();
        let total = |row: usize| outcome.runs.rows[row][9].parse::<f64>().unwrap();
        let (memory, both) = (10, 20);
        assert!(total(both) > 1.9 * total(memory), "{}", outcome.runs.csv());
    }
}
