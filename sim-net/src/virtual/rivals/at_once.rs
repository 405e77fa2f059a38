//! All at once: one command starts everything, and TCP shares the link.

use super::rule::{Rule, Seat, UnderWay};

#[derive(Debug)]
pub(crate) struct AtOnce;

impl Rule for AtOnce {
    fn seat(&self) -> Seat {
        Seat::Central
    }

    fn may_begin(&self, _from: usize, _under_way: &[UnderWay]) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits() {
        assert!(AtOnce.may_begin(0, &[UnderWay { from: 0 }; 500]));
    }
}
