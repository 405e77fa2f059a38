//! One run under one policy, watched: its report, and what the link did meanwhile.

use crate::r#virtual::{
    MILLISECOND, SECOND, World, nanoseconds, report::Report, rivals::Policy, scenario::Scenario,
    world::Ended,
};

/// Time between two samples, nanoseconds.
const EVERY: u64 = 250 * MILLISECOND;

/// What a link did in a quarter of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Its end, seconds after the first evacuation was asked for.
    pub(crate) at_s: f64,
    /// What evacuations put on the link, bytes per second.
    pub(crate) carried: f64,
    /// What all rights to send together allow at its end, bytes per second; nothing under a rival.
    pub(crate) allowed: f64,
    /// What the link carries besides production traffic, bytes per second.
    pub(crate) capacity: f64,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) report: Report,
    /// The first link, from the first evacuation on.
    pub(crate) samples: Vec<Sample>,
    /// Part of the first link's production traffic that found no room.
    pub(crate) production_held_up: f64,
}

impl Course {
    /// Runs a scenario to its end.
    ///
    /// # Errors
    /// A sentence, if the scenario describes no cluster.
    pub(crate) fn of(scenario: &Scenario, policy: Policy) -> Result<Self, String> {
        let mut world = World::under(scenario, policy)?;
        let mut offered = 0.0;
        let (ended, samples) = watched(&mut world, |world| {
            let traffic = world.links.first().map_or(0.0, |link| link.production);
            offered += traffic * (EVERY as f64 / SECOND as f64);
        });
        let held_up = world.links.first().map_or(0.0, |link| link.production_held_up);
        let production_held_up = if offered > 0.0 { held_up / offered } else { 0.0 };
        Ok(Self { report: world.report(&ended), samples, production_held_up })
    }

    /// Longest time between first and last byte in which nothing flowed, seconds.
    pub(crate) fn longest_idle_s(&self) -> f64 {
        let flows = |sample: &&Sample| sample.carried > 0.0;
        let mut times = self.samples.iter().filter(flows).map(|sample| sample.at_s);
        let Some(mut before) = times.next() else { return 0.0 };
        let step = EVERY as f64 / SECOND as f64;
        let mut longest: f64 = 0.0;
        for at in times {
            longest = longest.max(at - before - step);
            before = at;
        }
        longest
    }
}

/// Runs a world to its end, and lets somebody look at it at each sample.
pub(crate) fn watched(world: &mut World, mut look: impl FnMut(&World)) -> (Ended, Vec<Sample>) {
    let limit = nanoseconds(world.scenario.limit);
    let start = world.scenario.evacuations.iter().map(|one| nanoseconds(one.at)).min().unwrap_or(0);
    let mut samples = Vec::new();
    let mut carried = 0.0;
    let mut at = 0;
    loop {
        at = (at + EVERY).min(limit);
        let ended = world.run_until(at);
        look(world);
        if world.now >= start && !world.links.is_empty() {
            samples.push(sample(world, start, carried));
        }
        carried = world.links.first().map_or(0.0, |link| link.carried);
        if ended != Ended::Limit || at >= limit {
            return (ended, samples);
        }
    }
}

fn sample(world: &World, start: u64, carried_before: f64) -> Sample {
    let link = &world.links[0];
    let powered = world.hosts.iter().filter(|host| host.powered);
    let rights = powered.filter_map(|host| host.carrier.right(link.id, host.local(world.now)));
    Sample {
        at_s: (world.now - start) as f64 / SECOND as f64,
        carried: (link.carried - carried_before) / (EVERY as f64 / SECOND as f64),
        allowed: rights.map(|right| right.rate).sum(),
        capacity: link.left_by_production(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::experiments::kang;

    #[test]
    fn watching_changes_nothing() {
        let scenario = kang::on_streams(20);
        let course = Course::of(&scenario, Policy::Lifeboat).unwrap();
        let mut world = World::new(&scenario).unwrap();
        world.run();
        assert_eq!(course.report.hash, format!("{:016x}", world.hash()));
        let seen: f64 = course.samples.iter().map(|sample| sample.carried / 4.0).sum();
        assert!((seen - course.report.bytes_sent).abs() < 1e6, "{seen}");
        assert!(course.longest_idle_s() < 2.0);
    }
}
