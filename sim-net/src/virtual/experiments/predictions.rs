//! What a node says beforehand about when each VM will be out, against when it was: when the
//! evacuation is asked for, and half way. Once where nodes know the link's capacity at the start, and
//! once where they believe the default.

use std::collections::BTreeMap;

use lifeboat_protocol::{SiteId, plan::Terms};
use lifeboat_units::Rate;

use super::{
    Figure, Goal, Options, Outcome, Table,
    course::watched,
    families::{Family, draw},
    numbers::{median, quantile, shown},
    over::over,
};
use crate::r#virtual::{SECOND, World, nanoseconds};

/// Time between two forecasts that are kept, nanoseconds.
const EVERY: u64 = 2 * SECOND;

/// A forecast: when it was made, and when each VM will be out, seconds after the start.
#[derive(Debug, Clone, Default)]
struct Forecast {
    at_s: f64,
    finish_s: BTreeMap<String, f64>,
}

/// How far forecasts were off in one world, as parts of the real finish times.
#[derive(Debug, Clone, Default)]
struct Errors {
    at_start: Vec<f64>,
    half_way: Vec<f64>,
}

/// What the node where the evacuation was asked for foretells now.
fn forecast(world: &World, start: u64) -> Option<Forecast> {
    let spec = &world.scenario.evacuations[0];
    let host = world.hosts.iter().find(|host| host.name == spec.initiator)?;
    let terms = Terms {
        from_sites: spec.from.iter().map(|site| SiteId::of(site)).collect(),
        to: spec.to.iter().map(|site| SiteId::of(site)).collect(),
        ..Terms::default()
    };
    let plan = host.awake(world.now)?.plan(host.local(world.now), &terms);
    let at_s = (world.now - start) as f64 / SECOND as f64;
    let planned = plan.vms.into_iter().filter(|planned| planned.to.is_some());
    let finish_s = planned.map(|one| (one.vm.name, at_s + one.finish_ms as f64 / 1000.0)).collect();
    Some(Forecast { at_s, finish_s })
}

fn errors(seed: u64, capacity_known: bool) -> Result<Errors, String> {
    let mut scenario = draw(Family::Link, seed);
    let link = &mut scenario.links[0];
    link.initial = match capacity_known {
        true => link.capacity,
        false => Rate::from_bytes_per_sec(lifeboat_protocol::directory::DEFAULT_INITIAL.0),
    };
    let start = nanoseconds(scenario.evacuations[0].at);
    let mut world = World::new(&scenario)?;
    let mut forecasts: Vec<Forecast> = Vec::new();
    let (ended, _) = watched(&mut world, |world| {
        if world.now >= start && (world.now - start).is_multiple_of(EVERY) {
            forecasts.extend(forecast(world, start));
        }
    });
    let report = world.report(&ended);
    let real: BTreeMap<&str, f64> =
        report.vms.iter().filter_map(|vm| Some((vm.name.as_str(), vm.finish_s?))).collect();
    let off = |forecast: Option<&Forecast>| {
        let Some(forecast) = forecast else { return Vec::new() };
        let known = forecast.finish_s.iter().filter_map(|(name, told)| {
            let real = real.get(name.as_str()).filter(|real| **real > forecast.at_s)?;
            Some((told / real - 1.0).abs())
        });
        known.collect()
    };
    let half_way = forecasts.iter().find(|forecast| forecast.at_s >= report.total_s / 2.0);
    Ok(Errors { at_start: off(forecasts.first()), half_way: off(half_way) })
}

pub(super) fn run(options: &Options) -> Result<Outcome, String> {
    let heading = ["capacity", "when", "seed", "VMs", "median error", "largest error"];
    let mut outcome = Outcome { runs: Table::new("", &heading), ..Outcome::default() };
    let title = format!(
        "Error of finish times (told / real - 1, both counted from the start), {} link-bound worlds",
        options.seeds
    );
    let heading = ["capacity at the start", "told", "median", "90th percentile", "largest"];
    let mut table = Table::new(&title, &heading);
    let mut figure =
        Figure::new("Error of predicted finish times", "error, %", "VMs at most there, %");
    let seeds: Vec<u64> = (1..=options.seeds).collect();
    for known in [true, false] {
        let whether = if known { "known" } else { "default belief" };
        let worlds = over(&seeds, options.threads, |seed| errors(*seed, known))?;
        let of = |half: bool| {
            move |one: &Errors| if half { one.half_way.clone() } else { one.at_start.clone() }
        };
        for (when, half, most) in [("at the start", false, 0.10), ("half way", true, 0.05)] {
            for (seed, one) in seeds.iter().zip(&worlds) {
                let errors = of(half)(one);
                let figures =
                    [median(&errors), quantile(&errors, 1.0)].map(|error| shown(error, 4));
                let cells = [
                    whether.to_owned(),
                    when.to_owned(),
                    seed.to_string(),
                    errors.len().to_string(),
                ];
                outcome.runs.row(cells.into_iter().chain(figures));
            }
            let all: Vec<f64> = worlds.iter().flat_map(of(half)).collect();
            let percent = |part| format!("{} %", shown(quantile(&all, part) * 100.0, 1));
            table.row([whether.into(), when.to_owned(), percent(0.5), percent(0.9), percent(1.0)]);
            let what = format!("capacity {whether}, {when}: median error");
            outcome.goals.push(Goal::at_most(&what, median(&all), most));
            let in_percent = all.iter().map(|error| error * 100.0).collect();
            figure.distribution(format!("{whether}, {when}"), in_percent);
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
    fn both_moments_are_judged_in_both_beliefs() {
        let outcome = run(&Options { seeds: 2, threads: NonZero::<usize>::MIN }).unwrap();
        assert_eq!((outcome.goals.len(), outcome.runs.rows.len()), (4, 8));
        for row in &outcome.runs.rows {
            assert_ne!(row[3], "0", "nothing was foretold: {row:?}");
        }
    }
}
