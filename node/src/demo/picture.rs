//! How everything stands, put together from what was seen.
//!
//! Where a VM is, is what the hypervisors say; the daemons' word is taken only for shares, for what
//! a VM waits for, and for the report. Knows no clock: all times are given.

use std::collections::VecDeque;

use lifeboat_sim_net::live::hypervisor::protocol::{Definition, Description, Event, State};

use super::{
    record::{Attempt, LinkSample, Setting, Share, ShareSample, VmRecord},
    verdict::is_live,
    watch::News,
};
use crate::{
    api::{Report, VmInfo},
    units::ByteSize,
};

/// Samples of the link that its present rate is the mean of: a second.
const RATE_OVER: usize = 10;
/// Silence of a daemon after which that is said.
const SILENT_AFTER_MS: u64 = 3000;

/// Where a VM stands on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not left; the daemons call it so.
    Waits(String),
    /// Its memory is being sent.
    Moves,
    /// It is paused for its switchover.
    Switches,
    /// It runs at the other site.
    Arrived,
}

/// What changes of a VM from look to look.
#[derive(Debug, Clone)]
pub(super) struct Now {
    /// How far it is.
    pub(super) phase: Phase,
    /// Bytes still to be sent.
    pub(super) remaining: u64,
    /// Whether it runs at the other site and is live nowhere else.
    settled: bool,
}

/// A host as last seen.
#[derive(Debug, Default)]
struct HostNow {
    report: Option<Box<Report>>,
    heard_at_ms: u64,
    silence_told: bool,
    vms: Vec<Description>,
}

/// How everything stands.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) setting: Setting,
    pub(super) vms: Vec<VmRecord>,
    pub(super) now: Vec<Now>,
    pub(super) link: Vec<LinkSample>,
    pub(super) shares: Vec<ShareSample>,
    recent: VecDeque<LinkSample>,
    hosts: Vec<HostNow>,
    forwarded: Option<(u64, u64)>,
}

impl Picture {
    /// Before anything was seen.
    pub(super) fn new(setting: Setting, guests: &[(String, Definition)]) -> Self {
        let vms: Vec<VmRecord> = guests
            .iter()
            .map(|(host, guest)| VmRecord {
                id: guest.uuid.to_string(),
                name: guest.name.clone(),
                priority: guest.policy["priority"].as_u64().map_or(50, |class| class as u8),
                memory_bytes: guest.memory,
                dirty_bytes_per_sec: guest.dirty_rate,
                from: host.clone(),
                ..VmRecord::default()
            })
            .collect();
        let now = vms
            .iter()
            .map(|vm| Now {
                phase: Phase::Waits("queued".to_owned()),
                remaining: vm.memory_bytes,
                settled: false,
            })
            .collect();
        let hosts = setting.hosts.iter().map(|_| HostNow::default()).collect();
        Self {
            setting,
            vms,
            now,
            hosts,
            link: Vec::new(),
            shares: Vec::new(),
            recent: VecDeque::new(),
            forwarded: None,
        }
    }

    /// Takes in what was seen; tells what happened.
    pub(super) fn take(&mut self, at_ms: u64, news: News) -> Vec<String> {
        match news {
            News::Link(bytes) => {
                self.link_moved(at_ms, bytes);
                Vec::new()
            }
            News::Event(event) => {
                self.event(at_ms, &event);
                Vec::new()
            }
            News::Daemon { host, report } => self.daemon_said(at_ms, host, report),
            News::Hypervisor { host, vms, moving } => {
                for (id, progress) in moving {
                    let id = id.to_string();
                    let found = self.vms.iter().position(|vm| vm.id == id);
                    if let Some(index) = found {
                        self.now[index].remaining = progress.remaining;
                    }
                }
                self.hosts[host].vms = vms;
                (0..self.vms.len()).filter_map(|index| self.vm_seen(at_ms, index)).collect()
            }
        }
    }

    /// VMs that run at the other site.
    pub(super) fn arrived(&self) -> usize {
        self.now.iter().filter(|now| now.phase == Phase::Arrived).count()
    }

    /// Whether every VM runs at the other site and is live nowhere else.
    pub(super) fn all_settled(&self) -> bool {
        self.now.iter().all(|now| now.settled)
    }

    /// Whether the daemons have told of every move.
    pub(super) fn all_reported(&self) -> bool {
        self.vms.iter().all(|vm| vm.reported.is_some())
    }

    /// Bytes of memory in all, and of that those that still have to be sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let all = self.vms.iter().map(|vm| vm.memory_bytes).sum();
        (all, self.now.iter().map(|now| now.remaining).sum())
    }

    /// What flowed from site a to site b in the last second, in bytes per second.
    pub(super) fn rate(&self) -> u64 {
        let count = self.recent.len().max(1) as u64;
        self.recent.iter().map(|sample| sample.bytes_per_sec).sum::<u64>() / count
    }

    /// What is left at the present rate.
    pub(super) fn time_left_ms(&self) -> Option<u64> {
        let (rate, (_, left)) = (self.rate(), self.bytes());
        // A link that has only just begun to fill tells nothing of the time that is left.
        (rate >= self.setting.capacity_bytes_per_sec / 20)
            .then(|| u64::try_from(u128::from(left) * 1000 / u128::from(rate)).unwrap_or(u64::MAX))
    }

    /// Each source's share of the link as last seen.
    pub(super) fn share(&self) -> Vec<Share> {
        let none = || vec![Share::default(); self.setting.hosts_per_site];
        self.shares.last().map_or_else(none, |sample| sample.hosts.clone())
    }

    /// The VMs that were at a host at first.
    pub(super) fn of_host(&self, host: &str) -> impl Iterator<Item = (&VmRecord, &Now)> {
        self.vms.iter().zip(&self.now).filter(move |(vm, _)| vm.from == host)
    }

    /// VMs that leave or reach a host now, by name.
    pub(super) fn under_way(&self, host: &str) -> Vec<String> {
        let index = self.setting.hosts.iter().position(|name| name == host);
        let there = |vm: &VmRecord| {
            index.is_some_and(|index| {
                let listed = &self.hosts[index].vms;
                listed.iter().any(|one| one.definition.uuid.to_string() == vm.id)
            })
        };
        let moves = |now: &Now| matches!(now.phase, Phase::Moves | Phase::Switches);
        self.vms
            .iter()
            .zip(&self.now)
            .filter(|(vm, now)| moves(now) && (vm.from == host || there(vm)))
            .map(|(vm, _)| vm.name.clone())
            .collect()
    }

    /// Takes a sample of all shares.
    pub(super) fn sample_shares(&mut self, at_ms: u64) {
        let hosts = (0..self.setting.hosts_per_site).map(|host| self.share_of(host)).collect();
        self.shares.push(ShareSample { at_ms, hosts });
    }

    fn share_of(&self, host: usize) -> Share {
        let name = &self.setting.hosts[host];
        let own = self.hosts[host].report.as_deref();
        let others = self.hosts.iter().filter_map(|other| other.report.as_deref());
        let held = own.into_iter().chain(others).find_map(|report| {
            report.links.iter().find_map(|link| {
                let sender = link.senders.iter().find(|sender| sender.host == *name)?;
                let rate = u128::from(link.usable_bytes_per_sec) * u128::from(sender.tokens) / 1000;
                Some((sender.tokens, u64::try_from(rate).unwrap_or(u64::MAX)))
            })
        });
        let (tokens, bytes_per_sec) = held.unwrap_or_default();
        Share { alive: own.is_some(), tokens, bytes_per_sec }
    }

    fn link_moved(&mut self, at_ms: u64, bytes: u64) {
        let before = self.forwarded.replace((at_ms, bytes));
        let Some((then, earlier)) = before.filter(|(then, _)| *then < at_ms) else { return };
        let bytes_per_sec = bytes.saturating_sub(earlier) * 1000 / (at_ms - then);
        let sample = LinkSample { at_ms, bytes_per_sec };
        self.link.push(sample);
        self.recent.push_back(sample);
        if self.recent.len() > RATE_OVER {
            self.recent.pop_front();
        }
    }

    fn event(&mut self, at_ms: u64, event: &Event) {
        let (id, paused_at_ms) = match event {
            Event::GuestPaused { vm } => (vm.to_string(), Some(at_ms)),
            Event::GuestResumed { vm } => (vm.to_string(), None),
            _ => return,
        };
        for vm in self.vms.iter_mut().filter(|vm| vm.id == id) {
            vm.paused_at_ms = paused_at_ms;
        }
    }

    fn daemon_said(&mut self, at_ms: u64, host: usize, report: Option<Box<Report>>) -> Vec<String> {
        let name = self.setting.hosts[host].clone();
        let now = &mut self.hosts[host];
        now.report = report;
        let Some(report) = &now.report else {
            let silent = at_ms.saturating_sub(now.heard_at_ms) >= SILENT_AFTER_MS;
            if !silent || std::mem::replace(&mut now.silence_told, true) {
                return Vec::new();
            }
            return vec![format!("{name}'s daemon gives no answer")];
        };
        now.heard_at_ms = at_ms;
        let mut happened = Vec::new();
        if std::mem::take(&mut now.silence_told) {
            happened.push(format!("{name}'s daemon answers again"));
        }
        for arrived in &report.arrived {
            let told = self.vms.iter_mut().find(|vm| vm.id == arrived.id);
            if let Some(vm) = told {
                vm.reported.get_or_insert_with(|| arrived.clone());
            }
        }
        for waiting in report.waiting.iter().filter(|waiting| waiting.host == name) {
            let found = self.vms.iter().position(|vm| vm.id == waiting.id);
            let Some(Phase::Waits(before)) = found.map(|index| self.now[index].phase.clone())
            else {
                continue;
            };
            if waiting.state == "failed" && before != "failed" {
                happened.push(again(waiting));
            }
            self.now[found.unwrap_or_default()].phase = Phase::Waits(waiting.state.clone());
        }
        happened
    }

    /// Looks where a VM is after a hypervisor has answered; tells what has changed.
    fn vm_seen(&mut self, at_ms: u64, index: usize) -> Option<String> {
        let (vm, now) = (&mut self.vms[index], &mut self.now[index]);
        let mut source = None;
        let mut arrived = None;
        let mut live = 0;
        for (name, host) in self.setting.hosts.iter().zip(&self.hosts) {
            let listed = host.vms.iter().find(|one| one.definition.uuid.to_string() == vm.id);
            let Some(one) = listed else { continue };
            live += usize::from(is_live(one.state));
            if *name == vm.from {
                source = Some(one);
            } else if one.state == State::Running {
                arrived = Some((name, one));
            }
        }
        now.settled = arrived.is_some() && live == 1;
        if let Some((host, there)) = arrived {
            if now.phase == Phase::Arrived {
                return None;
            }
            now.phase = Phase::Arrived;
            now.remaining = 0;
            return Some(arrive(vm, at_ms, host, there));
        }
        let moves = source.is_some_and(|one| one.migrating);
        let is_open = vm.attempts.last().is_some_and(|attempt| attempt.end_ms.is_none());
        match (source.map(|one| one.state), moves) {
            (Some(State::Switching), _) => now.phase = Phase::Switches,
            (Some(_), true) => now.phase = Phase::Moves,
            // Between the end here and the beginning there.
            (Some(State::MovedAway) | None, _) if is_open => now.phase = Phase::Switches,
            (Some(State::Running), false) if is_open => {
                vm.attempts.iter_mut().for_each(|attempt| {
                    attempt.end_ms.get_or_insert(at_ms);
                });
                vm.paused_at_ms = None;
                now.phase = Phase::Waits("queued".to_owned());
                now.remaining = vm.memory_bytes;
                return Some(format!("{} did not get away and runs on at {}", vm.name, vm.from));
            }
            _ => {}
        }
        if moves && !is_open {
            vm.attempts.push(Attempt { start_ms: at_ms, end_ms: None });
            let size = ByteSize(vm.memory_bytes);
            return Some(format!("{} begins to leave {}, {size}", vm.name, vm.from));
        }
        None
    }
}

fn again(vm: &VmInfo) -> String {
    match vm.reasons.join("; ").as_str() {
        "" => format!("{} has to try again", vm.name),
        reasons => format!("{} has to try again: {reasons}", vm.name),
    }
}

/// Notes an arrival.
fn arrive(vm: &mut VmRecord, at_ms: u64, host: &str, there: &Description) -> String {
    vm.to = Some(host.to_owned());
    vm.downtime_ms = there.last_downtime_ms;
    // The pause and its length tell the moment better than when it was seen.
    let resumed = vm.paused_at_ms.zip(vm.downtime_ms).map(|(at, pause)| at + pause as u64);
    let arrived_at = resumed.unwrap_or(at_ms).min(at_ms);
    vm.arrived_at_ms = Some(arrived_at);
    if vm.attempts.is_empty() {
        vm.attempts.push(Attempt { start_ms: arrived_at, end_ms: None });
    }
    let last = vm.attempts.last_mut().expect("there is one");
    last.end_ms = Some(arrived_at);
    let pause = vm.downtime_ms.map_or(String::new(), |pause| format!(", paused for {pause:.0}ms"));
    format!("{} arrived on {host}{pause}", vm.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::Report,
        demo::{
            guests,
            samples::{options, report, setting},
        },
    };

    struct Play {
        picture: Picture,
        guests: Vec<(String, Definition)>,
        at_ms: u64,
    }

    impl Play {
        fn new() -> Self {
            let guests = guests::guests(&options());
            let mut picture = Picture::new(setting(), &guests);
            for (host, name) in setting().hosts.iter().enumerate() {
                let there = guests.iter().filter(|(on, _)| on == name);
                let vms = there.map(|(_, guest)| described(guest, State::Running, false)).collect();
                picture.take(0, News::Hypervisor { host, vms, moving: Vec::new() });
            }
            Self { picture, guests, at_ms: 0 }
        }

        /// The first VM, seen like this at its source and at the first host of the other site.
        fn see(&mut self, source: Option<(State, bool)>, there: Option<State>) -> Vec<String> {
            self.at_ms += 250;
            let guest = self.guests[0].1.clone();
            let a1 = source.map(|(state, migrating)| described(&guest, state, migrating));
            let b1 = there.map(|state| described(&guest, state, false));
            let mut happened = Vec::new();
            for (host, one) in [(0, a1), (4, b1)] {
                let vms = one.into_iter().collect();
                let news = News::Hypervisor { host, vms, moving: Vec::new() };
                happened.extend(self.picture.take(self.at_ms, news));
            }
            happened
        }

        fn daemon(&mut self, host: usize, report: Option<Report>) -> Vec<String> {
            self.at_ms += 250;
            self.picture.take(self.at_ms, News::Daemon { host, report: report.map(Box::new) })
        }
    }

    fn described(guest: &Definition, state: State, migrating: bool) -> Description {
        let definition = guest.clone();
        Description { definition, state, migrating, last_downtime_ms: Some(80.0) }
    }

    #[test]
    fn a_vm_is_followed_on_its_way() {
        let mut play = Play::new();
        let happened = play.see(Some((State::Running, true)), Some(State::Incoming));
        assert!(happened[0].starts_with("web-1 begins to leave a1"), "{happened:?}");
        assert_eq!(play.picture.under_way("a1"), ["web-1"]);
        assert_eq!(play.picture.under_way("b1"), ["web-1"]);
        assert!(play.picture.under_way("b2").is_empty());
        let vm = play.guests[0].1.uuid.clone();
        play.picture.take(400, News::Event(Event::GuestPaused { vm }));
        play.see(Some((State::Switching, true)), Some(State::Incoming));
        assert_eq!(play.picture.now[0].phase, Phase::Switches);
        play.see(Some((State::MovedAway, false)), Some(State::Paused));
        assert_eq!(play.picture.now[0].phase, Phase::Switches);
        assert!(!play.picture.now[0].settled);
        let happened = play.see(None, Some(State::Running));
        assert_eq!(happened, ["web-1 arrived on b1, paused for 80ms"]);
        assert!(play.picture.now[0].settled);
        assert_eq!(play.picture.arrived(), 1);
        assert_eq!(play.picture.vms[0].arrived_at_ms, Some(480));
        assert!(play.see(None, Some(State::Running)).is_empty());
    }

    #[test]
    fn a_copy_too_many_is_not_settled() {
        let mut play = Play::new();
        play.see(Some((State::Running, true)), None);
        play.see(Some((State::Running, false)), Some(State::Running));
        assert!(!play.picture.now[0].settled);
    }

    #[test]
    fn an_attempt_that_fails_is_seen() {
        let mut play = Play::new();
        play.see(Some((State::Running, true)), None);
        let happened = play.see(Some((State::Running, false)), None);
        assert_eq!(happened, ["web-1 did not get away and runs on at a1"]);
        play.see(Some((State::Running, true)), None);
        assert_eq!(play.picture.vms[0].attempts.len(), 2);
    }

    #[test]
    fn a_dead_hosts_share_is_what_others_heard_last() {
        let mut play = Play::new();
        play.daemon(0, Some(report("a1", 400)));
        play.daemon(1, Some(report("a1", 300)));
        play.picture.sample_shares(1);
        play.daemon(0, None);
        play.picture.sample_shares(2);
        let seen = |sample: usize| play.picture.shares[sample].hosts[0];
        assert_eq!((seen(0).alive, seen(0).tokens), (true, 400));
        assert_eq!((seen(1).alive, seen(1).tokens), (false, 300));
    }

    #[test]
    fn a_daemon_that_falls_silent_is_named_once() {
        let mut play = Play::new();
        play.daemon(0, Some(report("a1", 0)));
        let said: Vec<String> = (0..30).flat_map(|_| play.daemon(0, None)).collect();
        assert_eq!(said, ["a1's daemon gives no answer"]);
        assert_eq!(play.daemon(0, Some(report("a1", 0))), ["a1's daemon answers again"]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut play = Play::new();
        for tick in 0..=20 {
            play.picture.take(tick * 100, News::Link(tick.saturating_sub(10) * 1_000_000));
        }
        assert_eq!(play.picture.rate(), 10_000_000);
        assert_eq!(play.picture.link.len(), 20);
        let (all, left) = play.picture.bytes();
        assert_eq!(all, left);
        assert_eq!(play.picture.time_left_ms(), Some(left / 10_000));
    }
}
