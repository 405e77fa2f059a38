//! Excess: while the receiving site is split, what is granted too much is at most the slices that
//! two issuers claim, or have claimed within the time that a lease can last.

use std::collections::BTreeMap;

use lifeboat_protocol::{NodeId, units::LINK_TOKENS};

use super::{Check, World};
use crate::r#virtual::SECOND;

/// How long a claim that was given up can still be worth something: a lease with its drift.
const LINGERS: u64 = 5 * SECOND;

/// When each node was last seen to claim slices of a link, and how many tokens.
pub(super) type Memory = BTreeMap<(usize, NodeId), (u16, u64)>;

impl World {
    /// Remembers what every node claims now.
    pub(super) fn note_claims(&mut self, index: usize) {
        let link = self.links[index].id;
        for host in self.receivers[index].clone() {
            let one = &self.hosts[host];
            let claimed = one.daemon.as_ref().map_or(0, |node| node.issued(link));
            let entry = self.checks.excess.entry((index, one.id)).or_default();
            if claimed >= entry.0 || self.now > entry.1 + LINGERS {
                *entry = (claimed, self.now);
            }
        }
    }

    pub(super) fn check_excess(&mut self, index: usize, excess: u32, what: String) {
        let claimed = self.checks.excess.iter().filter(|((link, _), _)| *link == index);
        let claims: u32 = claimed.map(|(_, (tokens, _))| u32::from(*tokens)).sum();
        *self.stats.marks.entry("a split site granted too much").or_default() += 1;
        let bound = claims.saturating_sub(u32::from(LINK_TOKENS));
        if excess > bound {
            let what = format!("{what}, {bound} more than the link are claimed");
            self.checks.object(Check::Excess, self.now, what);
        }
    }
}
