//! What a rival decides, and what it may know when it does.

use std::fmt::Debug;

/// Where a rival's program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// On the host where the evacuation was asked for. Dead with it, for good: it keeps no journal.
    Central,
    /// On each host, for that host's VMs alone. It works again once it is started again.
    EachHost,
}

/// A migration that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// The host that the VM leaves.
    pub(crate) from: usize,
}

/// One way to decide which VM may begin when.
///
/// A rule sees no more than its real model would: what is under way, and its own measurements.
pub(crate) trait Rule: Debug {
    /// Where it runs.
    fn seat(&self) -> Seat;

    /// Whether a VM may begin to leave the host `from` beside all that is under way.
    fn may_begin(&self, from: usize, under_way: &[UnderWay]) -> bool;

    /// How many of those under way may send; those that began last stand still.
    fn may_send(&self) -> usize {
        usize::MAX
    }

    /// It measured the hosts' interfaces: bytes per second in total, and migrations under way.
    fn measured(&mut self, _goodput: f64, _under_way: usize) {}
}
