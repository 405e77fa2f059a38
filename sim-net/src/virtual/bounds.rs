//! What a clairvoyant could not beat, beside the bounds of [`report`](super::report): the mean
//! completion time, and the weight that a deadline lets through.

use std::collections::BTreeMap;

use super::{World, world::Tracked};

impl World {
    /// Lower bound of the mean completion time of these VMs, seconds: the largest of what each
    /// shared thing alone would need if it took the shortest first, and the mean of each VM alone.
    ///
    /// Taking the shortest first is optimal on one machine (Smith, 1956), and every interface and
    /// link is one that carries at most its rate.
    pub(super) fn bound_completion(&self, moved: &[&Tracked], start: u64) -> f64 {
        let mut by_link: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut by_source: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut by_destination: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut alone = 0.0;
        for vm in moved {
            let Some((from, to, link)) = self.way(vm) else { continue };
            let (bytes, time) = self.cost(vm);
            by_link.entry(link).or_default().push(bytes);
            by_source.entry(from).or_default().push(bytes);
            by_destination.entry(to).or_default().push(bytes);
            alone += time;
        }
        let links = by_link
            .into_iter()
            .map(|(link, bytes)| completions(bytes, |sent| self.time_to_carry(link, start, sent)));
        let nics = |sent: BTreeMap<usize, Vec<f64>>| -> f64 {
            let each = sent
                .into_iter()
                .map(|(host, bytes)| completions(bytes, |sent| sent / self.hosts[host].nic));
            each.sum()
        };
        let most = links.sum::<f64>().max(nics(by_source)).max(nics(by_destination)).max(alone);
        most / moved.len().max(1) as f64
    }
}

/// The sum of all completion times, the shortest first, where `time` tells when so many bytes have
/// been carried.
fn completions(mut bytes: Vec<f64>, time: impl Fn(f64) -> f64) -> f64 {
    bytes.sort_by(f64::total_cmp);
    let mut sent = 0.0;
    bytes
        .into_iter()
        .map(|bytes| {
            sent += bytes;
            time(sent)
        })
        .sum()
}

/// The largest weight of items of which the sizes fit into `room` together: each is a size and a
/// weight. Exact, by the least size for each weight.
pub(crate) fn heaviest_that_fits(items: &[(f64, u64)], room: f64) -> u64 {
    let all: u64 = items.iter().map(|(_, weight)| weight).sum();
    let mut least = vec![f64::INFINITY; all as usize + 1];
    least[0] = 0.0;
    for (size, weight) in items {
        for total in (*weight as usize..least.len()).rev() {
            least[total] = least[total].min(least[total - *weight as usize] + size);
        }
    }
    least.iter().rposition(|size| *size <= room).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_first_is_the_least_sum() {
        assert_eq!(completions(vec![30.0, 10.0, 20.0], |sent| sent / 10.0), 1.0 + 3.0 + 6.0);
    }

    #[test]
    fn the_heaviest_set_is_not_always_the_greedy_one() {
        let items = [(6.0, 60), (5.0, 50), (5.0, 50)];
        assert_eq!(heaviest_that_fits(&items, 10.0), 100);
        assert_eq!(heaviest_that_fits(&items, 9.0), 60);
        assert_eq!(heaviest_that_fits(&items, 4.0), 0);
        assert_eq!(heaviest_that_fits(&[], 4.0), 0);
    }
}
