//! Which tables this node confirms that it goes by.
//!
//! An issuer needs that word only of a sender that may use tokens of its: what was granted to others
//! has run out. So a node confirms while it has something to move or holds tokens, and for two leases
//! more, until nothing can be left in any book.

use alloc::vec::Vec;

use super::Node;
use crate::{time::Instant, tokens::Acceptance};

impl Node {
    pub(super) fn acceptances(&mut self, now: Instant) -> Vec<Acceptance> {
        let takes_part = self.is_emptied()
            || self.departures.all().next().is_some()
            || self.holders.values().any(|holder| holder.holds(now));
        if takes_part {
            self.confirms_until = now + self.config.lease * 2;
        }
        if now > self.confirms_until {
            return Vec::new();
        }
        self.holders.values_mut().flat_map(|holder| holder.acceptances(now)).collect()
    }
}
