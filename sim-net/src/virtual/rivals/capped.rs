//! Fixed caps: so many at a time in all, and so many that leave one host. A cap of one in all is
//! strictly sequential; five in all and two of a host are KubeVirt's defaults.

use super::rule::{Rule, Seat, UnderWay};

#[derive(Debug)]
pub(crate) struct Capped {
    /// At a time in all.
    pub(crate) in_all: usize,
    /// At a time from one host.
    pub(crate) of_host: usize,
}

impl Capped {
    /// KubeVirt's `parallelMigrationsPerCluster` and `parallelOutboundMigrationsPerNode` unless set.
    pub(crate) const KUBEVIRT: Self = Self { in_all: 5, of_host: 2 };

    /// So many at a time, whatever host they leave.
    pub(crate) fn at_a_time(in_all: usize) -> Self {
        Self { in_all, of_host: usize::MAX }
    }
}

impl Rule for Capped {
    fn seat(&self) -> Seat {
        Seat::Central
    }

    fn may_begin(&self, from: usize, under_way: &[UnderWay]) -> bool {
        let of_host = under_way.iter().filter(|one| one.from == from).count();
        under_way.len() < self.in_all && of_host < self.of_host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_in_all_holds() {
        let rule = Capped::at_a_time(3);
        assert!(rule.may_begin(0, &[UnderWay { from: 0 }; 2]));
        assert!(!rule.may_begin(1, &[UnderWay { from: 0 }; 3]));
    }

    #[test]
    fn so_does_the_cap_of_a_host() {
        let under_way = [UnderWay { from: 0 }, UnderWay { from: 0 }, UnderWay { from: 1 }];
        assert!(!Capped::KUBEVIRT.may_begin(0, &under_way));
        assert!(Capped::KUBEVIRT.may_begin(1, &under_way));
        assert!(!Capped::KUBEVIRT.may_begin(7, &[UnderWay { from: 9 }; 5]));
    }
}
