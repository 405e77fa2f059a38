//! How good an evacuation was, against physics.
//!
//! Bounds as in `docs/how-it-works.md`: the total time is at least the bytes of all VMs over the
//! capacity of the link, or the largest VM alone; the individual time is each VM alone on the whole
//! link. A VM's time alone is `bytes / (capacity - dirty rate)`, the limit of pre-copy.

use lifeboat_protocol::vm::precopy_time;

use crate::api::{Arrived, Measures};

/// Measures `arrived` against a link of `capacity` bytes per second. `None` without arrivals.
pub(crate) fn measures(
    arrived: &[Arrived],
    capacity: u64,
    capacity_from: &str,
) -> Option<Measures> {
    let count = u64::try_from(arrived.len()).ok().filter(|count| *count > 0)?;
    let mean = |of: &dyn Fn(&Arrived) -> u64| arrived.iter().map(of).sum::<u64>() / count;
    let alone = |one: &Arrived| -> u64 {
        let dirty = one.dirty_bytes_per_sec;
        let time = precopy_time(one.bytes_needed, capacity, dirty);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
    };
    let total_ms = arrived.iter().map(|one| one.end_ms).max().unwrap_or(0).max(1);
    let individual = |one: &Arrived| one.end_ms.saturating_sub(one.start_ms);
    let bound_total_ms = arrived.iter().map(alone).sum::<u64>();
    let bound_individual_ms = mean(&alone);
    let mean_individual_ms = mean(&individual);
    let bytes_sent = arrived.iter().map(|one| one.bytes_sent).sum::<u64>();
    let could = u128::from(capacity) * u128::from(total_ms) / 1000;
    let ratio = |value: u64, bound: u64| value as f64 / bound.max(1) as f64;
    Some(Measures {
        total_ms,
        mean_individual_ms,
        mean_completion_ms: mean(&|one| one.end_ms),
        max_downtime_ms: arrived.iter().map(|one| one.downtime_ms).max().unwrap_or(0),
        mean_downtime_ms: mean(&|one| one.downtime_ms),
        bytes_needed: arrived.iter().map(|one| one.bytes_needed).sum(),
        bytes_sent,
        capacity_bytes_per_sec: capacity,
        capacity_from: capacity_from.to_owned(),
        link_use_permille: u64::try_from(u128::from(bytes_sent) * 1000 / could.max(1)).unwrap_or(0),
        bound_total_ms,
        bound_individual_ms,
        score: (ratio(total_ms, bound_total_ms) * ratio(mean_individual_ms, bound_individual_ms))
            .sqrt(),
    })
}
