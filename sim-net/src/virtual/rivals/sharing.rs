//! How TCP shares what migrations that nobody coordinates meet: equally per stream, at each
//! interface and on the link, and what one cannot use goes to the others.

use std::collections::BTreeMap;

/// One migration's streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) streams: f64,
    /// The most that it can use, bytes per second.
    pub(crate) wants: f64,
    /// Host that it leaves, and host that it goes to.
    pub(crate) ends: (usize, usize),
}

/// Something that flows share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pipe {
    Link,
    Out(usize),
    In(usize),
}

impl Flow {
    fn pipes(&self) -> [Pipe; 3] {
        [Pipe::Link, Pipe::Out(self.ends.0), Pipe::In(self.ends.1)]
    }
}

/// The max-min fair rate of each flow per stream, in bytes per second: no stream can have more
/// without another that has no more than it having less.
pub(crate) fn shares(flows: &[Flow], link: f64, nic: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut room: BTreeMap<Pipe, (f64, f64)> = BTreeMap::new();
    for flow in flows {
        for pipe in flow.pipes() {
            let capacity = match pipe {
                Pipe::Link => link,
                Pipe::Out(host) | Pipe::In(host) => nic(host),
            };
            room.entry(pipe).or_insert((capacity, 0.0)).1 += flow.streams;
        }
    }
    let mut rates = vec![0.0; flows.len()];
    let mut open: Vec<usize> = (0..flows.len()).collect();
    while !open.is_empty() {
        let level = |pipe: &Pipe| room[pipe].0.max(0.0) / room[pipe].1;
        let fair = |flow: &Flow| flow.pipes().iter().map(level).fold(f64::INFINITY, f64::min);
        let tightest = open.iter().map(|index| fair(&flows[*index])).fold(f64::INFINITY, f64::min);
        let modest = |flow: &Flow| flow.wants <= tightest * flow.streams;
        // Those that want less than their part first: what they leave raises the part of others.
        let any_modest = open.iter().any(|index| modest(&flows[*index]));
        let (settled, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|index| {
            let flow = &flows[**index];
            if any_modest { modest(flow) } else { fair(flow) <= tightest * (1.0 + 1e-9) }
        });
        for index in settled {
            let flow = &flows[index];
            rates[index] = flow.wants.min(tightest * flow.streams);
            for pipe in flow.pipes() {
                let (left, streams) = room.get_mut(&pipe).expect("every pipe has room");
                *left -= rates[index];
                *streams -= flow.streams;
            }
        }
        open = rest;
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flows: &[(f64, f64, usize, usize)], link: f64, expect: &[f64]) {
        let flows: Vec<Flow> = flows
            .iter()
            .map(|(streams, wants, from, to)| Flow {
                streams: *streams,
                wants: *wants,
                ends: (*from, *to),
            })
            .collect();
        let got = shares(&flows, link, |_| 100.0);
        let close = got.iter().zip(expect).all(|(got, expect)| (got - expect).abs() < 1e-6);
        assert!(close && got.len() == expect.len(), "{got:?} instead of {expect:?}");
    }

    #[test]
    fn a_link_is_shared_equally_per_stream() {
        check(&[(1.0, 99.0, 0, 10), (1.0, 99.0, 1, 11)], 50.0, &[25.0, 25.0]);
        check(&[(1.0, 99.0, 0, 10), (4.0, 99.0, 1, 11)], 50.0, &[10.0, 40.0]);
    }

    #[test]
    fn what_one_leaves_goes_to_the_others() {
        check(
            &[(1.0, 10.0, 0, 10), (1.0, 99.0, 1, 11), (1.0, 99.0, 2, 12)],
            90.0,
            &[10.0, 40.0, 40.0],
        );
    }

    #[test]
    fn an_interface_holds_its_own_flows_back() {
        let four = [(1.0, 99.0, 0, 10), (1.0, 99.0, 0, 11), (1.0, 99.0, 0, 12), (1.0, 99.0, 1, 13)];
        check(&four, 170.0, &[100.0 / 3.0, 100.0 / 3.0, 100.0 / 3.0, 99.0_f64.min(70.0)]);
        check(&[(1.0, 99.0, 0, 10), (1.0, 99.0, 1, 10)], 500.0, &[50.0, 50.0]);
    }
}
