//! When a node of a small cluster divides its links anew: at once after what changes who wants, has or
//! issues something, and within a spacing after what changes mere figures.
//!
//! Busy nodes speak four times a second, mostly to say how many bytes fewer are left. The order of all
//! VMs is the dearest thing that a node computes, and such figures hardly change it: they wait for
//! the next division.

use super::Node;
use crate::{input::Input, message::Heartbeat, time::Instant};

/// Whether a heartbeat says anything that the division of a link must not wait for, after what its
/// speaker said before.
pub(super) fn is_news(before: &Heartbeat, now: &Heartbeat) -> bool {
    let host = |one: &Heartbeat| {
        let known = one.host.runtime_left_ms.is_some();
        (one.incarnation, one.leaving, one.host.takes_arrivals, one.host.hypervisor_up, known)
    };
    let heads = |one: &Heartbeat| {
        let heads = one.queue.head.iter();
        heads.map(|head| (head.vm, head.stage, head.link, head.to)).collect::<alloc::vec::Vec<_>>()
    };
    let tokens = |one: &Heartbeat| {
        let links = one.links.iter();
        links.map(|link| (link.link, link.tokens)).collect::<alloc::vec::Vec<_>>()
    };
    host(before) != host(now) || heads(before) != heads(now) || tokens(before) != tokens(now)
}

impl Node {
    /// Notes that something has happened for which the links are divided anew at once. What a message
    /// says is looked at when it is read.
    pub(super) fn note_news(&mut self, input: &Input) {
        self.news |= !matches!(input, Input::Wake | Input::Received { .. });
    }

    /// Whether this node divides its links in this step.
    pub(super) fn divides(&mut self, now: Instant, urgent: bool) -> bool {
        let divides = match self.is_large() {
            true => !self.issuers.is_empty() && self.is_due(now),
            false => core::mem::take(&mut self.news) || urgent || self.is_due(now),
        };
        // A large cluster's links wait, in a small one the next step is never far.
        self.divided = if divides { (now, false) } else { (self.divided.0, true) };
        divides
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.divided.0 + self.config.division_spacing
    }
}
