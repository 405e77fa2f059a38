//! Conservation: the usable tokens of a link are never more than the link, while the receiving
//! nodes have been connected among themselves for long enough.

use lifeboat_protocol::units::LINK_TOKENS;

use super::{Check, World};

impl World {
    pub(super) fn check_conservation(&mut self) {
        for index in 0..self.links.len() {
            let link = self.links[index].id;
            let whole = self.whole_since[index].is_some_and(|since| self.now >= since);
            if !whole {
                self.note_claims(index);
            }
            let held = self.hosts.iter().map(|host| u32::from(host.tokens(self.now, link)));
            let sum: u32 = held.sum();
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
