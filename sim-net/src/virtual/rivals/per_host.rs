//! One per host: each host empties itself one VM after the other, and knows of no other host.

use super::rule::{Rule, Seat, UnderWay};

#[derive(Debug)]
pub(crate) struct PerHost;

impl Rule for PerHost {
    fn seat(&self) -> Seat {
        Seat::EachHost
    }

    fn may_begin(&self, from: usize, under_way: &[UnderWay]) -> bool {
        under_way.iter().all(|one| one.from != from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_waits_for_itself_alone() {
        let under_way = [UnderWay { from: 0 }, UnderWay { from: 1 }];
        assert!(!PerHost.may_begin(1, &under_way));
        assert!(PerHost.may_begin(2, &under_way));
    }
}
