//! What one demo saw: what the summary, the timeline and the JSON file are made of.
//!
//! All times are milliseconds after the command to evacuate.

use serde::Serialize;

use super::verdict::Verdict;
use crate::api::{Arrived, Measures};

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    /// What was played.
    pub(super) setting: Setting,
    /// Each VM.
    pub(super) vms: Vec<VmRecord>,
    /// What flowed from site a to site b, about every 100 ms.
    pub(super) link: Vec<LinkSample>,
    /// Who might send how much, about every 250 ms.
    pub(super) shares: Vec<ShareSample>,
    /// What happened, in words.
    pub(super) events: Vec<Happening>,
    /// Whose daemon was killed, if it came to that.
    pub(super) kill: Option<KillRecord>,
    /// Bytes that left on the WAN from site a to site b, gossip and all.
    pub(super) wan_sent_bytes: u64,
    /// The same in the other direction.
    pub(super) wan_returned_bytes: u64,
    /// How good it was, held against the true capacity of the WAN.
    pub(super) measures: Option<Measures>,
    /// What became of each VM.
    pub(super) verdict: Verdict,
}

/// What was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    /// Hosts of site a, then those of site b.
    pub(super) hosts: Vec<String>,
    /// How many of them are at site a.
    pub(super) hosts_per_site: usize,
    /// What the WAN carries.
    pub(super) capacity_bytes_per_sec: u64,
    /// Its round-trip time.
    pub(super) rtt_ms: u64,
    /// The seed of the guests.
    pub(super) seed: u64,
    /// As of `--kill`.
    pub(super) kill: String,
}

impl Setting {
    /// The hosts that are emptied.
    pub(super) fn sources(&self) -> &[String] {
        &self.hosts[..self.hosts_per_site]
    }
}

/// One VM and its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct VmRecord {
    /// Its UUID.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// Priority class, 100 first.
    pub(super) priority: u8,
    /// Its memory.
    pub(super) memory_bytes: u64,
    /// What its guest was told to write.
    pub(super) dirty_bytes_per_sec: u64,
    /// The host that it left.
    pub(super) from: String,
    /// The host that it was seen to run on in the end.
    pub(super) to: Option<String>,
    /// When its hypervisor was seen to send it.
    pub(super) attempts: Vec<Attempt>,
    /// When the guest was paused for its last switchover.
    pub(super) paused_at_ms: Option<u64>,
    /// When it ran at the other site.
    pub(super) arrived_at_ms: Option<u64>,
    /// How long the guest really stood still, as both ends' clock says.
    pub(super) downtime_ms: Option<f64>,
    /// What the daemons say of the move.
    pub(super) reported: Option<Arrived>,
}

/// One migration of a VM, as its hypervisors show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    /// Its start.
    pub(super) start_ms: u64,
    /// Its end; unknown while it lasts.
    pub(super) end_ms: Option<u64>,
}

/// What flowed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct LinkSample {
    /// The end of the time looked at.
    pub(super) at_ms: u64,
    /// The mean since the sample before.
    pub(super) bytes_per_sec: u64,
}

/// Who might send how much at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShareSample {
    /// When.
    pub(super) at_ms: u64,
    /// For each host of site a, in their order.
    pub(super) hosts: Vec<Share>,
}

/// One host's share of the link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    /// Whether its daemon answers.
    pub(super) alive: bool,
    /// Thousandths of the link that it holds, as it says itself; as others heard it last once it is
    /// dead.
    pub(super) tokens: u16,
    /// The rate that these are worth.
    pub(super) bytes_per_sec: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Happening {
    /// When.
    pub(super) at_ms: u64,
    /// What.
    pub(super) text: String,
}

/// A daemon that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct KillRecord {
    /// Its host.
    pub(super) host: String,
    /// When.
    pub(super) killed_at_ms: u64,
    /// When it was started again, if that was before the end.
    pub(super) restarted_at_ms: Option<u64>,
    /// VMs that were on their way from or to this host at that moment, by name.
    pub(super) under_way: Vec<String>,
}

impl VmRecord {
    /// What the daemons say of the move, at the time at which it was seen to end, and never shorter
    /// than it was seen to last: a daemon that was started anew counts from then on.
    pub(super) fn timed(&self) -> Option<Arrived> {
        let (told, end_ms) = (self.reported.as_ref()?, self.arrived_at_ms?);
        let told_start_ms = end_ms.saturating_sub(told.end_ms.saturating_sub(told.start_ms));
        let seen_start_ms = self.attempts.last().map_or(end_ms, |attempt| attempt.start_ms);
        Some(Arrived { start_ms: told_start_ms.min(seen_start_ms), end_ms, ..told.clone() })
    }
}

impl Record {
    /// When the last VM ran at the other site.
    pub(super) fn last_arrival_ms(&self) -> u64 {
        self.vms.iter().filter_map(|vm| vm.arrived_at_ms).max().unwrap_or(0)
    }

    /// The longest time within `from_ms` and the last switchover in which less than so many per cent
    /// of the link were used. Zero if there is none.
    pub(super) fn longest_below_ms(&self, percent: u64, from_ms: u64) -> u64 {
        let waited_until = self.vms.iter().filter_map(|vm| vm.paused_at_ms).max().unwrap_or(0);
        let idle_below = self.setting.capacity_bytes_per_sec * percent / 100;
        let (mut longest, mut idle, mut before) = (0, 0, from_ms);
        for sample in &self.link {
            if sample.at_ms <= from_ms || sample.at_ms > waited_until {
                continue;
            }
            idle = if sample.bytes_per_sec < idle_below { idle + sample.at_ms - before } else { 0 };
            before = sample.at_ms;
            longest = longest.max(idle);
        }
        longest
    }

    /// How long after a kill the hosts that live held nine tenths of the link again; `None` if that
    /// was not seen.
    pub(super) fn regained_after_ms(&self, kill: &KillRecord) -> Option<u64> {
        let held = |sample: &ShareSample| -> u16 {
            sample.hosts.iter().filter(|share| share.alive).map(|share| share.tokens).sum()
        };
        self.shares
            .iter()
            .find(|sample| sample.at_ms > kill.killed_at_ms && held(sample) >= 900)
            .map(|sample| sample.at_ms - kill.killed_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::samples::record;

    fn link(rates: &[u64]) -> Vec<LinkSample> {
        (1..)
            .zip(rates)
            .map(|(n, rate)| LinkSample { at_ms: n * 100, bytes_per_sec: *rate })
            .collect()
    }

    #[test]
    fn idle_is_what_hardly_flows_while_vms_wait() {
        let mut record = record();
        record.setting.capacity_bytes_per_sec = 1000;
        record.vms.iter_mut().for_each(|vm| vm.paused_at_ms = Some(500));
        record.link = link(&[0, 900, 50, 0, 900, 0, 0, 0, 0]);
        assert_eq!(record.longest_below_ms(10, 0), 200);
        assert_eq!(record.longest_below_ms(10, 350), 50);
        record.link = link(&[900; 9]);
        assert_eq!(record.longest_below_ms(50, 0), 0);
    }

    #[test]
    fn the_end_of_a_move_is_the_one_that_was_seen() {
        let mut vm = record().vms.remove(2);
        let mut check = |arrived_at_ms, seen_start_ms, start_ms| {
            vm.arrived_at_ms = Some(arrived_at_ms);
            vm.attempts = vec![Attempt { start_ms: seen_start_ms, end_ms: Some(arrived_at_ms) }];
            let timed = vm.timed().unwrap();
            assert_eq!((timed.start_ms, timed.end_ms), (start_ms, arrived_at_ms));
        };
        check(30_000, 28_300, 28_100);
        check(30_000, 12_000, 12_000);
        vm.arrived_at_ms = None;
        assert_eq!(vm.timed(), None);
    }

    #[test]
    fn a_share_is_regained_by_those_who_live() {
        let mut record = record();
        let sample = |at_ms, tokens: [u16; 2], alive: [bool; 2]| ShareSample {
            at_ms,
            hosts: (0..2)
                .map(|n| Share { alive: alive[n], tokens: tokens[n], bytes_per_sec: 0 })
                .collect(),
        };
        let kill = KillRecord {
            host: "a1".to_owned(),
            killed_at_ms: 500,
            restarted_at_ms: None,
            under_way: Vec::new(),
        };
        record.shares = vec![
            sample(250, [500, 500], [true, true]),
            sample(750, [500, 500], [false, true]),
            sample(4750, [0, 1000], [false, true]),
        ];
        assert_eq!(record.regained_after_ms(&kill), Some(4250));
        record.shares.pop();
        assert_eq!(record.regained_after_ms(&kill), None);
    }
}
