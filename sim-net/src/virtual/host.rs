//! A host: its daemon, and what outlives the daemon.

use std::collections::VecDeque;

use lifeboat_protocol::{Input, Instant, LinkId, Node, NodeId, output::Notice};

use super::{
    carrier::Carrier, clock::Clock, hypervisor::Hypervisor, journal::Journal, world::Load,
};

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) site: usize,
    /// False once the whole host is dead.
    pub(crate) powered: bool,
    /// When its power ends, and whether it knows.
    pub(crate) power_ends: Option<(u64, bool)>,
    /// Bytes per second, each way.
    pub(crate) nic: f64,
    pub(crate) daemon: Option<Node>,
    pub(crate) life: u64,
    pub(crate) clock: Clock,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) carrier: Carrier,
    pub(crate) journal: Journal,
    /// Until when the daemon stands still, and what waits for it.
    pub(crate) frozen_until: u64,
    pub(crate) waiting: VecDeque<Input>,
    /// Until when everything reaches the daemon late, and by how much.
    pub(crate) slow: (u64, u64),
    pub(crate) wake_at: u64,
    pub(crate) change_told: bool,
    /// The newest things that it told people.
    pub(crate) notices: VecDeque<(u64, Notice)>,
    /// Since when it has been running undisturbed and heard by all.
    pub(crate) sound_since: u64,
    pub(crate) handled_at: u64,
    pub(crate) handled_here: u32,
    /// What its daemon cost so far.
    pub(crate) load: Load,
}

impl Host {
    pub(crate) fn local(&self, now: u64) -> Instant {
        self.clock.shows(now)
    }

    /// The daemon, if it runs and does not stand still.
    pub(crate) fn awake(&self, now: u64) -> Option<&Node> {
        self.daemon.as_ref().filter(|_| now >= self.frozen_until)
    }

    /// Notes for how many tokens each right of the carrier stands: the rate alone does not tell,
    /// since the estimate of the capacity changes with them.
    pub(crate) fn count_tokens(&mut self, now: u64) {
        let local = self.local(now);
        let Some(node) = &self.daemon else { return };
        // What a former life granted stands for what it had then.
        let own = self.carrier.rights.iter_mut().filter(|(_, right)| right.life == self.life);
        for (link, right) in own {
            right.tokens = node.usable_tokens(local, *link);
        }
    }

    /// Whether its daemon or its carrier has tokens of a link, or may have without another event.
    pub(crate) fn may_hold(&self, now: u64, link: LinkId) -> bool {
        let local = self.local(now);
        let daemon = self.daemon.as_ref().is_some_and(|node| node.may_hold(local, link));
        daemon || self.carrier.right(link, local).is_some()
    }

    /// The world's time, or a little earlier, when its tokens of a link may become others although
    /// nothing happens to it.
    pub(crate) fn tokens_change_at(&self, now: u64, link: LinkId) -> u64 {
        let local = self.local(now);
        let daemon = self.daemon.as_ref().and_then(|node| node.tokens_change_at(local, link));
        let carrier = self.carrier.right(link, local).map(|right| right.until);
        let awakes = Some(self.frozen_until).filter(|until| *until > now);
        let ends = daemon.into_iter().chain(carrier).map(|at| self.clock.when(at));
        // A clock's inverse may be some nanoseconds late.
        ends.chain(awakes).min().map_or(u64::MAX, |at| at.saturating_sub(4))
    }

    /// Tokens that this host may be using: its daemon's, or those that a dead daemon left with the
    /// carrier.
    pub(crate) fn tokens(&self, now: u64, link: LinkId) -> u16 {
        if !self.powered {
            return 0;
        }
        let local = self.local(now);
        let left = self.carrier.right(link, local).map_or(0, |right| right.tokens);
        match self.awake(now) {
            Some(node) => node.usable_tokens(local, link).max(left),
            None => left,
        }
    }
}
