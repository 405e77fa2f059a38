//! Oversubscribed: the rates that all rights together allow on a link stay within a quarter above
//! what it carries, once nothing has changed for long and it is in full use. A probe may go beyond for
//! some rounds.

use super::{Check, World};
use crate::r#virtual::SECOND;

/// How long a link must have been in full use, and nothing have changed.
const SETTLED: u64 = 20 * SECOND;
/// How long a probe may go beyond, where round trips are short.
const LONGEST: u64 = 5 * SECOND;
/// Round trips that a VM that a probe lets in takes to show what it carries: room, streams, their slow
/// start, and twice a round of measuring.
const LONGEST_ROUND_TRIPS: u64 = 27;
/// Time besides those.
const LONGEST_BESIDES: u64 = 3 * SECOND;
/// What may be allowed, as a multiple of what the link carries.
const MOST: f64 = 1.25;
/// Part of what the link has left for us above which it is in full use.
const FULL: f64 = 0.9;

/// How a link was used when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Memory {
    looked_at: u64,
    carried: f64,
    full_since: Option<u64>,
    within_at: u64,
}

impl World {
    pub(super) fn check_oversubscribed(&mut self) {
        for index in 0..self.links.len() {
            let link = &self.links[index];
            let rights = self.hosts.iter().filter(|host| host.powered);
            let rights =
                rights.filter_map(|host| host.carrier.right(link.id, host.local(self.now)));
            let allowed: f64 = rights.map(|right| right.rate).sum();
            let memory = self.checks.oversubscribed.entry(index).or_default();
            let seconds = (self.now - memory.looked_at) as f64 / SECOND as f64;
            let left = link.left_by_production(link.reach(link.capacity));
            let full = link.carried - memory.carried >= left * FULL * seconds;
            (memory.looked_at, memory.carried) = (self.now, link.carried);
            memory.full_since = memory.full_since.or(Some(self.now)).filter(|_| full);
            let settled = memory.full_since.is_some_and(|since| self.now >= since + SETTLED);
            if allowed <= link.capacity * MOST || !settled {
                memory.within_at = self.now;
            }
            let longest = LONGEST.max(LONGEST_BESIDES + link.rtt * LONGEST_ROUND_TRIPS);
            let late = self.now > memory.within_at + longest;
            let capacity = link.capacity;
            if late && self.undisturbed_for(SETTLED) && self.calm_or_faultless() {
                let what = format!("{allowed:.0} of {capacity:.0} bytes a second are allowed");
                self.checks.object(Check::Oversubscribed, self.now, what);
            }
        }
    }
}
