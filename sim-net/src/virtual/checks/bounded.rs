//! Messages, and what is kept of each VM and node, are bounded in size.

use lifeboat_protocol::{Output, wire};

use super::{Check, Checks, World};
use crate::r#virtual::host::Host;

/// Most journal entries per VM of the world, and besides.
const ENTRIES_PER_VM: usize = 4;
const ENTRIES_BESIDES: usize = 80;

impl Checks {
    pub(super) fn bounded_output(&mut self, host: &Host, output: &Output, now: u64) {
        let (Output::Broadcast(bytes) | Output::Send { bytes, .. }) = output else { return };
        if bytes.len() > wire::LIMIT {
            let what = format!("{} sends a message of {} bytes", host.name, bytes.len());
            self.object(Check::Bounded, now, what);
        }
    }
}

impl World {
    pub(super) fn check_bounded_state(&mut self) {
        let most = ENTRIES_BESIDES + ENTRIES_PER_VM * self.vms.len();
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let open = host
                .daemon
                .as_ref()
                .map_or(0, |node| node.departures().all().count() + node.arrivals().all().count());
            if host.journal.len() > most || open > 2 * self.vms.len() {
                let entries = host.journal.len();
                let what = format!("{}: {entries} journal entries, {open} open moves", host.name);
                self.checks.object(Check::Bounded, self.now, what);
            }
        }
    }
}
