//! What one demo saw: what the summary, the timeline and the JSON file are made of.
//!
//! All times are milliseconds after the command to evacuate.

use serde::Serialize;

use super::verdict::Verdict;
use crate::{
    api::{Arrived, Measures},
    daemon::measure::{could, measures},
};

/// No switchover takes so long unless something holds it up, milliseconds.
const LONG_PAUSE_MS: f64 = 1500.0;

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
    /// How good it was, as it was seen from outside, held against the true capacity of the WAN and
    /// against what the guests were told to write; `link_use_permille` is of all that the WAN
    /// carried.
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
    /// Its move as it was seen. What was sent only its daemon knows, unless that has died. It began
    /// when its daemon says so or when that was seen, whichever is earlier: a daemon that was
    /// started anew counts from then on.
    pub(super) fn seen(&self) -> Option<Arrived> {
        let (to, end_ms) = (self.to.clone()?, self.arrived_at_ms?);
        let told = self.reported.as_ref();
        let told_start_ms = told.map_or(end_ms, |told| {
            end_ms.saturating_sub(told.end_ms.saturating_sub(told.start_ms))
        });
        let seen_start_ms = self.attempts.last().map_or(end_ms, |attempt| attempt.start_ms);
        let tries = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        Some(Arrived {
            id: self.id.clone(),
            name: self.name.clone(),
            from: self.from.clone(),
            to,
            start_ms: told_start_ms.min(seen_start_ms),
            end_ms,
            ran: true,
            downtime_ms: self.downtime_ms.map(|pause| pause.round() as u64),
            bytes_needed: self.memory_bytes,
            bytes_sent: told.and_then(|told| told.bytes_sent),
            attempts: told.map_or(tries, |told| told.attempts.max(tries)),
            dirty_bytes_per_sec: self.dirty_bytes_per_sec,
        })
    }
}

/// How good it was. `wan_sent_bytes`: all that the WAN carried.
pub(super) fn measured(
    vms: &[VmRecord],
    capacity_bytes_per_sec: u64,
    wan_sent_bytes: u64,
) -> Option<Measures> {
    let arrived: Vec<Arrived> = vms.iter().filter_map(VmRecord::seen).collect();
    let measures = measures(&arrived, capacity_bytes_per_sec, "configured")?;
    let used = u128::from(wan_sent_bytes) * 1000 / could(capacity_bytes_per_sec, measures.total_ms);
    Some(Measures { link_use_permille: u64::try_from(used).ok(), ..measures })
}

/// A time in which the link was hardly used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Its beginning.
    pub(super) from_ms: u64,
    /// Its end.
    pub(super) to_ms: u64,
}

impl Gap {
    /// Its length.
    pub(super) fn lasted_ms(self) -> u64 {
        self.to_ms - self.from_ms
    }
}

impl Record {
    /// When the last VM ran at the other site.
    pub(super) fn last_arrival_ms(&self) -> u64 {
        self.vms.iter().filter_map(|vm| vm.arrived_at_ms).max().unwrap_or(0)
    }

    /// When the last switchover began: until then VMs waited.
    fn waited_until_ms(&self) -> u64 {
        self.vms.iter().filter_map(|vm| vm.paused_at_ms).max().unwrap_or(0)
    }

    /// The longest time within `from_ms` and the last switchover in which less than half of the link
    /// was used. Empty if there is none.
    pub(super) fn longest_half_empty(&self, from_ms: u64) -> Gap {
        self.longest_below(self.setting.capacity_bytes_per_sec / 2, from_ms)
    }

    /// The longest time within `from_ms` and the last switchover in which the link idled: in which
    /// less flowed than a tenth of what it carries, and of what flowed on average while VMs waited. A
    /// link that these hosts cannot fill does not idle while they send all that they can.
    pub(super) fn longest_idle(&self, from_ms: u64) -> Gap {
        let until = self.waited_until_ms();
        let while_they_waited = self.link.iter().filter(|sample| sample.at_ms <= until);
        let count = while_they_waited.clone().count().max(1) as u64;
        let mean = while_they_waited.map(|sample| sample.bytes_per_sec).sum::<u64>() / count;
        self.longest_below(self.setting.capacity_bytes_per_sec.min(mean) / 10, from_ms)
    }

    /// VMs whose guest was paused for long because a daemon at one end of the move was dead.
    pub(super) fn stood_still(&self, kill: &KillRecord) -> Vec<&VmRecord> {
        let back_at_ms = kill.restarted_at_ms.unwrap_or(u64::MAX);
        let has_end_there =
            |vm: &VmRecord| vm.from == kill.host || vm.to.as_ref() == Some(&kill.host);
        let overlaps = |vm: &VmRecord| {
            vm.paused_at_ms.is_some_and(|at| at < back_at_ms)
                && vm.arrived_at_ms.is_some_and(|at| at > kill.killed_at_ms)
        };
        let long = |vm: &VmRecord| vm.downtime_ms.is_some_and(|pause| pause >= LONG_PAUSE_MS);
        self.vms.iter().filter(|vm| has_end_there(vm) && overlaps(vm) && long(vm)).collect()
    }

    fn longest_below(&self, idle_below: u64, from_ms: u64) -> Gap {
        let waited_until = self.waited_until_ms();
        let (mut longest, mut began) = (Gap::default(), from_ms);
        for sample in &self.link {
            if sample.at_ms <= from_ms || sample.at_ms > waited_until {
                continue;
            }
            let gap = Gap { from_ms: began, to_ms: sample.at_ms };
            if sample.bytes_per_sec >= idle_below {
                began = sample.at_ms;
            } else if gap.lasted_ms() > longest.lasted_ms() {
                longest = gap;
            }
        }
        longest
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
        assert_eq!(record.longest_idle(0), Gap { from_ms: 0, to_ms: 100 });
        assert_eq!(record.longest_idle(350), Gap { from_ms: 350, to_ms: 400 });
        assert_eq!(record.longest_half_empty(0), Gap { from_ms: 200, to_ms: 400 });
        record.link = link(&[900; 9]);
        assert_eq!(record.longest_half_empty(0).lasted_ms(), 0);
    }

    #[test]
    fn a_link_that_cannot_be_filled_does_not_idle_while_all_is_sent_that_can_be() {
        let mut record = record();
        record.setting.capacity_bytes_per_sec = 1_250_000_000;
        record.vms.iter_mut().for_each(|vm| vm.paused_at_ms = Some(500));
        record.link = link(&[9_000_000, 108_000_000, 30_000_000, 90_000_000, 0]);
        assert_eq!(record.longest_idle(0), Gap { from_ms: 400, to_ms: 500 });
        assert_eq!(record.longest_half_empty(0), Gap { from_ms: 0, to_ms: 500 });
    }

    #[test]
    fn the_end_of_a_move_is_the_one_that_was_seen() {
        let mut vm = record().vms.remove(2);
        let mut check = |arrived_at_ms, seen_start_ms, start_ms| {
            vm.arrived_at_ms = Some(arrived_at_ms);
            vm.attempts = vec![Attempt { start_ms: seen_start_ms, end_ms: Some(arrived_at_ms) }];
            let seen = vm.seen().unwrap();
            assert_eq!((seen.start_ms, seen.end_ms), (start_ms, arrived_at_ms));
        };
        check(30_000, 28_300, 28_100);
        check(30_000, 12_000, 12_000);
        vm.arrived_at_ms = None;
        assert_eq!(vm.seen(), None);
    }

    #[test]
    fn what_a_dead_daemon_has_forgotten_is_not_known() {
        let mut vms = record().vms;
        let forgotten = vms[1].reported.as_mut().unwrap();
        (forgotten.downtime_ms, forgotten.bytes_sent) = (None, None);
        vms[2].reported = None;
        for vm in &vms[1..] {
            let seen = vm.seen().unwrap();
            assert_eq!((seen.downtime_ms, seen.bytes_sent), (Some(80), None));
        }
        let measures = measured(&vms, 50_000_000, 200_000_000).unwrap();
        assert_eq!(measures.vms_not_counted, 2);
        assert_eq!((measures.bytes_sent, measures.bytes_needed), (Some(84_000_000), 80_000_000));
        assert_eq!((measures.max_downtime_ms, measures.mean_downtime_ms), (Some(80), Some(80)));
        // 200 MB in 5.9 s, of 50 MB/s.
        assert_eq!(measures.link_use_permille, Some(677));
        // What the guests were told to write counts, although no daemon has measured it.
        assert_eq!(measures.bound_total_ms, 3 * 1632);
    }
}
