//! The tokens of the dead are in use again within ten seconds: while VMs wait for a link whose
//! both ends live, most of it is granted to somebody.

use lifeboat_protocol::units::LINK_TOKENS;

use super::{Check, World};
use crate::r#virtual::SECOND;

/// The design's promise, and a second for looking.
const WITHIN: u64 = 11 * SECOND;
/// What must be granted at least: senders may be unable to use all of a link.
const MOST_OF_IT: u32 = LINK_TOKENS as u32 / 2;

impl World {
    pub(super) fn check_tokens_again(&mut self) {
        for index in 0..self.links.len() {
            let link = self.links[index].id;
            let held = self.hosts.iter().map(|host| u32::from(host.tokens(self.now, link)));
            let sum: u32 = held.sum();
            // A move that cannot use more leaves the rest to those that it would suffice.
            let moving = sum > 0 && self.moves.iter().any(|one| one.link == index);
            let unused = moving || self.is_unanswered(index);
            if unused || sum >= MOST_OF_IT || !self.is_waited_for(index) {
                self.checks.tokens_again.remove(&index);
                continue;
            }
            let since = *self.checks.tokens_again.entry(index).or_insert(self.now);
            let late = self.now > since + WITHIN && self.undisturbed_for(WITHIN);
            if late && self.calm_or_faultless() {
                let what = format!("only {sum} tokens have been granted for 11 s");
                self.checks.object(Check::TokensAgain, self.now, what);
            }
        }
    }
}
