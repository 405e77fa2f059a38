//! From a failing scenario to a small one that fails in the same way.
//!
//! Parts are left out greedily, larger ones first, and a change stays if the same check still
//! objects. What one message meets does not depend on what happens elsewhere, so that most of what
//! matters stays as it was.

use lifeboat_units::Span;

use super::{Scenario, run};

/// Leaves out whatever the failure does not need, within so many runs.
pub fn shrink(scenario: &Scenario, runs: usize) -> Scenario {
    let Some(name) = failure(scenario) else { return scenario.clone() };
    let mut best = scenario.clone();
    let mut left = runs;
    loop {
        let before = best.clone();
        thin(&mut best, name, &mut left, |one| &mut one.faults);
        thin(&mut best, name, &mut left, |one| &mut one.vms);
        thin(&mut best, name, &mut left, |one| &mut one.evacuations);
        thin(&mut best, name, &mut left, |one| &mut one.hosts);
        for simpler in SIMPLER {
            let mut candidate = best.clone();
            simpler(&mut candidate);
            keep_if_it_fails(&mut best, candidate, name, &mut left);
        }
        if best == before || left == 0 {
            return best;
        }
    }
}

/// One thing made plain.
type Simpler = fn(&mut Scenario);

const SIMPLER: [Simpler; 8] = [
    |one| one.network.loss_permille = 0,
    |one| one.network.duplicate_permille = 0,
    |one| one.network.jitter = Span::default(),
    |one| one.hosts.iter_mut().for_each(|host| host.clock_ppm = 0),
    |one| one.hosts.iter_mut().for_each(|host| host.start = Span::default()),
    |one| one.links.iter_mut().for_each(|link| link.changes.clear()),
    |one| one.vms.iter_mut().for_each(|vm| vm.state = Default::default()),
    |one| one.evacuations.iter_mut().for_each(|evacuation| evacuation.deadline = None),
];

fn failure(scenario: &Scenario) -> Option<&'static str> {
    run(scenario).ok()?.failure.map(|failure| failure.name())
}

fn keep_if_it_fails(
    best: &mut Scenario,
    candidate: Scenario,
    name: &'static str,
    left: &mut usize,
) -> bool {
    if *left == 0 || candidate == *best || !makes_sense(&candidate) {
        return false;
    }
    *left -= 1;
    let fails = failure(&candidate) == Some(name);
    if fails {
        *best = candidate;
    }
    fails
}

/// Leaves out halves, quarters, and so on, down to single items of a list.
fn thin<T: Clone>(
    best: &mut Scenario,
    name: &'static str,
    left: &mut usize,
    list: fn(&mut Scenario) -> &mut Vec<T>,
) {
    let mut size = list(best).len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < list(best).len() {
            let mut candidate = best.clone();
            let items = list(&mut candidate);
            let end = (at + size).min(items.len());
            items.drain(at..end);
            if !keep_if_it_fails(best, candidate, name, left) {
                at += size;
            }
        }
        if size == 1 || *left == 0 {
            return;
        }
        size = size.div_ceil(2);
    }
}

/// Whether every name still means something.
fn makes_sense(scenario: &Scenario) -> bool {
    toml::to_string(scenario).is_ok_and(|text| crate::r#virtual::scenario::parse(&text).is_ok())
}
