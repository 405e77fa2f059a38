//! How good an evacuation was, against physics.
//!
//! Bounds as in `docs/how-it-works.md`: the total time is at least the bytes of all VMs over the
//! capacity of the link, or the largest VM alone; the individual time is each VM alone on the whole
//! link. A VM's time alone is `bytes / (capacity - dirty rate)`, the limit of pre-copy.

use lifeboat_protocol::vm::precopy_time;

use crate::api::{Arrived, Measures};

/// How long a VM of so many bytes takes alone on a link, in milliseconds: no VM takes less.
pub(crate) fn alone_ms(bytes: u64, capacity: u64, dirty_bytes_per_sec: u64) -> u64 {
    let time = precopy_time(bytes, capacity, dirty_bytes_per_sec);
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Bytes that a link carries in a time, at least one.
pub(crate) fn could(capacity: u64, total_ms: u64) -> u128 {
    (u128::from(capacity) * u128::from(total_ms) / 1000).max(1)
}

/// Measures `arrived` against a link of `capacity` bytes per second. `None` without arrivals.
pub fn measures(arrived: &[Arrived], capacity: u64, capacity_from: &str) -> Option<Measures> {
    let count = u64::try_from(arrived.len()).ok().filter(|count| *count > 0)?;
    let mean = |of: &dyn Fn(&Arrived) -> u64| arrived.iter().map(of).sum::<u64>() / count;
    let alone = |one: &Arrived| alone_ms(one.bytes_needed, capacity, one.dirty_bytes_per_sec);
    let total_ms = arrived.iter().map(|one| one.end_ms).max().unwrap_or(0).max(1);
    let individual = |one: &Arrived| one.end_ms.saturating_sub(one.start_ms);
    let bound_total_ms = arrived.iter().map(alone).sum::<u64>();
    let bound_individual_ms = mean(&alone);
    let mean_individual_ms = mean(&individual);
    let pauses: Vec<u64> = arrived.iter().filter_map(|one| one.downtime_ms).collect();
    let counted: Vec<(u64, u64)> =
        arrived.iter().filter_map(|one| Some((one.bytes_needed, one.bytes_sent?))).collect();
    let bytes_sent = counted.iter().map(|(_, sent)| sent).sum::<u64>();
    let link_use = u64::try_from(u128::from(bytes_sent) * 1000 / could(capacity, total_ms));
    let vms_not_counted = count - counted.len() as u64;
    let ratio = |value: u64, bound: u64| value as f64 / bound.max(1) as f64;
    Some(Measures {
        total_ms,
        mean_individual_ms,
        mean_completion_ms: mean(&|one| one.end_ms),
        max_downtime_ms: pauses.iter().copied().max(),
        mean_downtime_ms: pauses.iter().sum::<u64>().checked_div(pauses.len() as u64),
        bytes_needed: counted.iter().map(|(needed, _)| needed).sum(),
        bytes_sent: (!counted.is_empty()).then_some(bytes_sent),
        vms_not_counted,
        capacity_bytes_per_sec: capacity,
        capacity_from: capacity_from.to_owned(),
        link_use_permille: link_use.ok().filter(|_| vms_not_counted == 0),
        bound_total_ms,
        bound_individual_ms,
        score: (ratio(total_ms, bound_total_ms) * ratio(mean_individual_ms, bound_individual_ms))
            .sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let arrived = |downtime_ms, bytes_sent| Arrived {
            id: String::new(),
            name: String::new(),
            from: String::new(),
            to: String::new(),
            start_ms: 0,
            end_ms: 2000,
            ran: true,
            downtime_ms,
            bytes_needed: 100,
            bytes_sent,
            attempts: 1,
            dirty_bytes_per_sec: 0,
        };
        let both = [arrived(Some(80), Some(110)), arrived(None, None)];
        let found = measures(&both, 100, "configured").unwrap();
        assert_eq!((found.mean_downtime_ms, found.max_downtime_ms), (Some(80), Some(80)));
        let bytes = (found.bytes_needed, found.bytes_sent, found.vms_not_counted);
        assert_eq!(bytes, (100, Some(110), 1));
        assert_eq!(found.link_use_permille, None, "what the other one used is not known");
        assert_eq!((found.bound_total_ms, found.bound_individual_ms), (2000, 1000));
        assert_eq!(measures(&[], 100, "configured"), None);
        let none = measures(&both[1..], 100, "configured").unwrap();
        assert_eq!((none.mean_downtime_ms, none.max_downtime_ms), (None, None));
        assert_eq!((none.bytes_sent, none.link_use_permille), (None, None));
        let all = measures(&both[..1], 100, "configured").unwrap();
        assert_eq!(all.link_use_permille, Some(550));
    }
}
