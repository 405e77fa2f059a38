//! How well a link is used while what it carries changes: seconds by seconds, against what it
//! carried then.

use super::course::Sample;

/// What a link may be idle or oversubscribed, as a part of what it carries.
pub(crate) const WITHIN: f64 = 0.10;
/// How soon after a change that must hold, seconds.
pub(crate) const SOON_S: f64 = 5.0;
/// Samples in a second.
const IN_A_SECOND: usize = 4;
/// Part of its best below which a link counts as gone: nothing can be in proportion to that.
const GONE: f64 = 0.01;

/// How it went between two changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// From when on it was always within bounds, seconds after the change; more than its length if
    /// it never was.
    pub(crate) settled_s: f64,
    /// The most that was idle in a second, from [`SOON_S`] on, as a part of what the link carries.
    pub(crate) idle: f64,
    /// The most that rights allowed beyond it in a second, from [`SOON_S`] on, likewise.
    pub(crate) beyond: f64,
    /// The most that was idle in [`SOON_S`] on end: what one VM's handover costs is small in that.
    pub(crate) idle_long: f64,
}

/// What happened between each of `changes` (seconds after the start) and the next, up to `end`.
pub(crate) fn stretches(samples: &[Sample], changes: &[f64], end: f64) -> Vec<Stretch> {
    let ends = changes.iter().copied().skip(1).chain([f64::INFINITY]);
    let spans = changes.iter().zip(ends).map(|(from, to)| (*from, to.min(end)));
    spans.filter(|(from, to)| to - from > SOON_S + 1.0).map(|span| stretch(samples, span)).collect()
}

fn stretch(samples: &[Sample], (from, to): (f64, f64)) -> Stretch {
    let best = samples.iter().map(|sample| sample.capacity).fold(0.0, f64::max);
    let inside: Vec<&Sample> = samples
        .iter()
        // A sample that ends with a change shows what the link carries after it.
        .filter(|sample| sample.at_s > from && sample.at_s < to)
        .filter(|sample| sample.capacity > best * GONE)
        .collect();
    let mut out = Stretch { settled_s: 0.0, idle: 0.0, beyond: 0.0, idle_long: 0.0 };
    let sum =
        |some: &[&Sample], of: fn(&Sample) -> f64| -> f64 { some.iter().map(|one| of(one)).sum() };
    let idle =
        |some: &[&Sample]| 1.0 - sum(some, |one| one.carried) / sum(some, |one| one.capacity);
    for long in inside.windows(IN_A_SECOND * SOON_S as usize) {
        if long[0].at_s - from >= SOON_S {
            out.idle_long = out.idle_long.max(idle(long));
        }
    }
    for second in inside.windows(IN_A_SECOND) {
        let idle = idle(second);
        let beyond = sum(second, |one| one.allowed) / sum(second, |one| one.capacity) - 1.0;
        let since = second[0].at_s - from;
        if idle > WITHIN || beyond > WITHIN {
            out.settled_s = since + 1.0 / IN_A_SECOND as f64;
        }
        if since >= SOON_S {
            out.idle = out.idle.max(idle);
            out.beyond = out.beyond.max(beyond);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(carried: impl Fn(f64) -> f64, allowed: f64) -> Vec<Sample> {
        let at = (1..=80).map(|number| f64::from(number) / 4.0);
        at.map(|at_s| Sample { at_s, carried: carried(at_s), allowed, capacity: 100.0 }).collect()
    }

    #[test]
    fn it_is_settled_when_it_stays_so() {
        let late = samples(|at| if at < 7.0 { 50.0 } else { 97.0 }, 100.0);
        let [one] = stretches(&late, &[0.0], 20.0)[..] else { panic!() };
        assert!((6.0..7.5).contains(&one.settled_s), "{one:?}");
        assert!((0.49..0.51).contains(&one.idle), "{one:?}");
        assert!((0.1..0.3).contains(&one.idle_long), "{one:?}");
        let well = samples(|_| 97.0, 104.0);
        let [one] = stretches(&well, &[0.0], 20.0)[..] else { panic!() };
        assert_eq!(one.settled_s, 0.0);
        assert!((0.029..0.031).contains(&one.idle) && (0.039..0.041).contains(&one.beyond));
    }

    #[test]
    fn what_cannot_be_used_is_not_idle() {
        let mut gone = samples(|_| 97.0, 100.0);
        for sample in &mut gone[30..50] {
            (sample.capacity, sample.carried) = (0.001, 0.0);
        }
        let [one] = stretches(&gone, &[0.0], 20.0)[..] else { panic!() };
        assert!(one.idle < 0.04 && one.beyond <= 0.0, "{one:?}");
    }

    #[test]
    fn each_change_begins_another_stretch() {
        let all = stretches(&samples(|_| 97.0, 150.0), &[0.0, 8.0, 10.0], 20.0);
        assert_eq!(all.len(), 2, "one is too short to settle in");
        assert!(all.iter().all(|one| one.settled_s > 7.0 && one.beyond > 0.49));
    }
}
