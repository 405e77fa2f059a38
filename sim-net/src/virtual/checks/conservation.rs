//! Conservation: the usable tokens of a link are never more than the link, while the receiving
//! nodes have been connected among themselves for long enough.

use std::collections::BTreeMap;

use lifeboat_protocol::units::LINK_TOKENS;

use super::{Check, World};

/// Who has tokens of a link, and how many.
#[derive(Debug)]
pub(crate) struct Holders {
    tokens: BTreeMap<usize, u32>,
    /// When some of them may become others without an event of their host, in the world's time.
    next_change: u64,
}

impl Default for Holders {
    fn default() -> Self {
        Self { tokens: BTreeMap::new(), next_change: u64::MAX }
    }
}

impl World {
    /// Counts the tokens of a host after something has happened to it. They stay what they are until
    /// something else does, or a grant ends: so after every event the sum is known, and only those
    /// who may have changed are asked.
    pub(crate) fn note_holder(&mut self, host: usize) {
        for link in 0..self.links.len() {
            self.count_tokens(link, host);
        }
    }

    fn count_tokens(&mut self, link: usize, host: usize) {
        let one = &self.hosts[host];
        let id = self.links[link].id;
        let holders = &mut self.holders[link];
        if one.may_hold(self.now, id) {
            let tokens = u32::from(one.tokens(self.now, id));
            let changes_at = one.tokens_change_at(self.now, id);
            holders.next_change = holders.next_change.min(changes_at);
            holders.tokens.insert(host, tokens);
        } else {
            holders.tokens.remove(&host);
        }
    }

    /// Everybody's tokens of a link.
    fn tokens_held(&mut self, link: usize) -> u32 {
        if self.now >= self.holders[link].next_change {
            self.holders[link].next_change = u64::MAX;
            let hosts: Vec<usize> = self.holders[link].tokens.keys().copied().collect();
            for host in hosts {
                self.count_tokens(link, host);
            }
        }
        self.holders[link].tokens.values().sum()
    }

    pub(super) fn check_conservation(&mut self) {
        for index in 0..self.links.len() {
            let link = self.links[index].id;
            let whole = self.whole_since[index].is_some_and(|since| self.now >= since);
            if !whole {
                self.note_claims(index);
            }
            let sum = self.tokens_held(index);
            if sum <= u32::from(LINK_TOKENS) {
                continue;
            }
            let held: Vec<u16> =
                self.hosts.iter().map(|host| host.tokens(self.now, link)).collect();
            let what = format!("{sum} tokens of {LINK_TOKENS} are usable: {held:?}");
            if whole {
                self.checks.object(Check::Conservation, self.now, what);
            } else {
                self.check_excess(index, sum - u32::from(LINK_TOKENS), what);
            }
        }
    }
}
