//! From one report to the next: what changed, and whether it is over.
//!
//! Knows no clock and no terminal. Never takes silence for success: an evacuation has ended well
//! only when every VM that was ever seen to have to leave is known to have arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::words::{self, runs_twice, size, time, uncertain, vms};
use crate::api::{Arrived, EndedInfo, EvacuationInfo, Report, VmInfo};

/// For how long nothing may be left but what cannot go, or nobody may be heard who knows, before
/// that counts as the end. A host that is not heard has been silent for `dead_after` already.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long a VM must be seen to run elsewhere before that is told: that it has arrived is known a
/// moment later, as a rule, and says more.
const TOLD_TO_RUN_AFTER: Duration = Duration::from_secs(3);
/// For how long a VM must not be expected to leave in time before that is told.
const FORESEEN_FOR: Duration = Duration::from_secs(5);
/// A VM that has failed so often is not expected to arrive, unless an attempt is just under way.
const FAILS_AGAIN: u32 = 3;
/// After so many failures not even then.
const FAILS_ALWAYS: u32 = 6;
/// The state of a VM of which it is not certain where it runs.
const UNCERTAIN: &str = "unknown";

/// Something that a person wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The VM concerned.
    pub(super) vm: Option<String>,
    /// Its new state.
    pub(super) state: Option<String>,
    /// All of it in words.
    pub(super) text: String,
}

/// How the evacuation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    GoesOn,
    /// Everything has arrived.
    Done,
    /// Everything that there still is has arrived; somebody ended or removed these VMs.
    DoneWithout(Vec<String>),
    /// Nothing moves any more, and these things are not done.
    NotAll(Vec<String>),
    /// Somebody ended it: `cancelled` or `aborted`.
    Ended(String),
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// VMs that had to leave, as last listed, by id.
    seen: BTreeMap<String, VmInfo>,
    /// What was listed of each VM by each host; a host may list one twice, once as uncertain.
    listed: BTreeMap<(String, String, bool), VmInfo>,
    arrived: BTreeSet<String>,
    /// VMs that this evacuation did not move and that run outside the hosts that it empties.
    elsewhere: BTreeSet<String>,
    /// Since when VMs were seen to run there that are not known to have arrived.
    runs_since: BTreeMap<String, Instant>,
    /// VMs of which nothing is anywhere, as their hosts say, which are heard.
    vanished: BTreeSet<String>,
    /// Whether it was said that the deadline is past.
    told_late: bool,
    /// Since when VMs are not expected to leave in time.
    late_since: BTreeMap<String, Instant>,
    /// Those of them that were named.
    named_late: BTreeSet<String>,
    /// How often each VM was seen to fail, and why it did last.
    failed: BTreeMap<String, (u32, String)>,
    silent: BTreeSet<String>,
    /// Hosts of which nothing was heard since this began.
    never_heard: BTreeSet<String>,
    /// Whether all was done when anybody was heard last.
    was_done: bool,
    at_rest_since: Option<Instant>,
    /// VMs that were under way when it was seen to be ended, and still are.
    finishing: Option<BTreeSet<String>>,
    begun: bool,
}

impl Tracker {
    /// Takes in a report.
    pub(super) fn take(&mut self, now: Instant, report: &Report) -> (Vec<Change>, Verdict) {
        let mut changes = Vec::new();
        if !self.begun {
            self.begin(report, &mut changes);
        }
        self.hosts(report, &mut changes);
        self.deadline(&report.evacuation, &mut changes);
        self.foresee(now, report, &mut changes);
        for vm in &report.waiting {
            self.seen.insert(vm.id.clone(), vm.clone());
            self.elsewhere.remove(&vm.id);
            let before = self.list(vm);
            self.count_failure(before.as_ref(), vm);
            changes.extend(changed(before.as_ref(), vm, self.failures(vm)));
        }
        for vm in uncertain_elsewhere(report) {
            let before = self.list(vm);
            changes.extend(changed(before.as_ref(), vm, 0));
        }
        self.arrivals(report, &mut changes);
        changes.extend(self.finish(report));
        (changes, self.verdict(now, report))
    }

    fn list(&mut self, vm: &VmInfo) -> Option<VmInfo> {
        let key = (vm.id.clone(), vm.host.clone(), vm.state == UNCERTAIN);
        self.listed.insert(key, vm.clone())
    }

    /// Whether a VM has left its host in a way that this report does not tell.
    pub(super) fn has_lost(&self, report: &Report) -> bool {
        self.seen.keys().any(|id| {
            !self.is_out(id)
                && report.waiting.iter().all(|vm| vm.id != *id)
                && report.arrived.iter().all(|one| one.id != *id)
        })
    }

    /// Looks for such VMs among all, and says which of them run outside the hosts to be emptied: moved
    /// by somebody else, or started there. `heard`: the hosts whose word on what they have is not old.
    pub(super) fn find(
        &mut self,
        now: Instant,
        report: &Report,
        all: &[VmInfo],
        heard: &[&str],
    ) -> Vec<Change> {
        self.vanished = self.find_vanished(report, all, heard);
        let sources = &report.evacuation.sources;
        let mut changes = Vec::new();
        for vm in all.iter().filter(|vm| !sources.contains(&vm.host)) {
            let here = report.waiting.iter().any(|one| one.id == vm.id);
            let runs = vm.run_state == "running" && vm.state != UNCERTAIN;
            let lost = self.seen.contains_key(&vm.id) && !self.arrived.contains(&vm.id);
            if !(runs && lost && !here) {
                continue;
            }
            let since = *self.runs_since.entry(vm.id.clone()).or_insert(now);
            let is_sure = now.saturating_duration_since(since) >= TOLD_TO_RUN_AFTER;
            if is_sure && self.elsewhere.insert(vm.id.clone()) {
                changes.push(Change {
                    vm: Some(vm.name.clone()),
                    state: Some(vm.state.clone()),
                    text: format!("{} runs on {}", vm.name, vm.host),
                });
            }
        }
        changes
    }

    /// VMs that had to leave and that nobody has, as the hosts say where they were last. These know what
    /// they have given away.
    fn find_vanished(&self, report: &Report, all: &[VmInfo], heard: &[&str]) -> BTreeSet<String> {
        let is_anywhere = |id: &String| {
            let listed = all.iter().chain(&report.waiting).any(|vm| vm.id == *id);
            listed || report.arrived.iter().any(|one| one.id == *id)
        };
        let lost = self.seen.values().filter(|vm| !self.is_out(&vm.id) && !is_anywhere(&vm.id));
        lost.filter(|vm| heard.contains(&vm.host.as_str())).map(|vm| vm.id.clone()).collect()
    }

    /// Whether a VM needs no move any more.
    fn is_out(&self, id: &str) -> bool {
        let left_over = self.seen.get(id).is_some_and(is_left_over);
        self.arrived.contains(id) || self.elsewhere.contains(id) || left_over
    }

    /// The daemon was lost from sight: what it says first may be half of what there is.
    pub(super) fn lost_sight(&mut self) {
        self.at_rest_since = None;
    }

    fn begin(&mut self, report: &Report, changes: &mut Vec<Change>) {
        self.begun = true;
        self.never_heard = report.evacuation.silent.iter().cloned().collect();
        self.arrived = report.arrived.iter().map(|one| one.id.clone()).collect();
        if let Some(id) = &report.evacuation.merged_into {
            changes.push(said(format!(
                "evacuation {id} with the same terms is under way already and moves these VMs"
            )));
        }
        if !self.arrived.is_empty() {
            changes.push(said(format!("arrived before: {}", vms(self.arrived.len()))));
        }
    }

    fn hosts(&mut self, report: &Report, changes: &mut Vec<Change>) {
        let silent: BTreeSet<String> = report.evacuation.silent.iter().cloned().collect();
        for host in silent.difference(&self.silent) {
            changes.push(said(format!("{host} is not heard")));
        }
        for host in self.silent.difference(&silent) {
            changes.push(said(format!("{host} is heard again")));
        }
        self.never_heard.retain(|host| silent.contains(host));
        self.silent = silent;
    }

    fn deadline(&mut self, one: &EvacuationInfo, changes: &mut Vec<Change>) {
        let is_late = one.state == "active" && one.deadline_left_ms == Some(0);
        if is_late && !std::mem::replace(&mut self.told_late, true) {
            let left = one.vms_left.saturating_add(one.vms_stuck) as usize;
            changes
                .push(said(format!("the deadline is past, and {} had still to leave", vms(left))));
        }
    }

    /// Names what is not expected to leave in time once that is not said for a moment only.
    fn foresee(&mut self, now: Instant, report: &Report, changes: &mut Vec<Change>) {
        let late = |id: &String| report.late.iter().any(|one| one.id == *id);
        self.late_since.retain(|id, _| late(id));
        let mut named = Vec::new();
        for one in &report.late {
            let since = *self.late_since.entry(one.id.clone()).or_insert(now);
            let is_sure = now.saturating_duration_since(since) >= FORESEEN_FOR;
            if is_sure && self.named_late.insert(one.id.clone()) {
                named.push(one);
            }
        }
        if !named.is_empty() {
            changes.push(said(words::not_in_time(named.into_iter())));
        }
    }

    /// What is under way goes on, or is taken back, once an evacuation was ended: how is known only when it
    /// is over.
    fn finish(&mut self, report: &Report) -> Option<Change> {
        let state = &report.evacuation.state;
        if matches!(state.as_str(), "active" | "done") {
            return None;
        }
        let is_heard = |vm: &&VmInfo| !report.evacuation.silent.contains(&vm.host);
        let under_way = report.waiting.iter().filter(|vm| is_under_way(vm)).filter(is_heard);
        let under_way: BTreeSet<String> = under_way.map(|vm| vm.id.clone()).collect();
        if let Some(finishing) = &mut self.finishing {
            finishing.retain(|id| under_way.contains(id));
            return None;
        }
        let many = under_way.len();
        self.finishing = Some(under_way);
        (many > 0).then(|| said(format!("it was {state}; still on their way: {}", vms(many))))
    }

    fn count_failure(&mut self, before: Option<&VmInfo>, vm: &VmInfo) {
        if vm.state != "failed" || vm.reasons.is_empty() {
            return;
        }
        let (count, why) = self.failed.entry(vm.id.clone()).or_default();
        if before.is_none_or(|before| before.state != "failed" || before.reasons.is_empty()) {
            *count += 1;
        }
        *why = vm.reasons.join("; ");
    }

    fn failures(&self, vm: &VmInfo) -> u32 {
        self.failed.get(&vm.id).map_or(0, |(count, _)| *count)
    }

    /// Whether every VM that is left cannot go, or has failed again and again.
    fn only_fails(&self, report: &Report) -> bool {
        let cannot_go = |vm: &VmInfo| !vm.reasons.is_empty() && !is_under_way(vm);
        !report.waiting.is_empty()
            && report.evacuation.vms_left as usize <= report.waiting.len()
            && report.waiting.iter().all(|vm| self.failures(vm) >= FAILS_AGAIN || cannot_go(vm))
    }

    /// Whether a VM is on its way that may arrive after all.
    fn one_may_arrive(&self, report: &Report) -> bool {
        report.waiting.iter().any(|vm| is_under_way(vm) && self.failures(vm) < FAILS_ALWAYS)
    }

    fn arrivals(&mut self, report: &Report, changes: &mut Vec<Change>) {
        for one in &report.arrived {
            if !self.arrived.insert(one.id.clone()) {
                continue;
            }
            let waits = |id: &&String| !self.is_out(id) && !self.vanished.contains(*id);
            let all = self.arrived.len() + self.seen.keys().filter(waits).count();
            let not_well = |ended: &&EndedInfo| self.arrived.contains(&ended.id);
            let well = self.arrived.len() - report.evacuation.ended.iter().filter(not_well).count();
            let (state, how) = match report.evacuation.ended.iter().find(|ended| ended.id == one.id)
            {
                Some(ended) => ("ended", words::ended(ended)),
                None => ("arrived", has_arrived(one)),
            };
            changes.push(Change {
                vm: Some(one.name.clone()),
                state: Some(state.to_owned()),
                text: format!("{how}; {well} of {} done", vms(all)),
            });
        }
    }

    fn verdict(&mut self, now: Instant, report: &Report) -> Verdict {
        let one = &report.evacuation;
        if !matches!(one.state.as_str(), "active" | "done") {
            if self.finishing.as_ref().is_some_and(|finishing| !finishing.is_empty()) {
                return Verdict::GoesOn;
            }
            // One that was done is cancelled so that its hosts take arrivals again.
            let unseen = [&one.hypervisor_down, &one.silent, &one.distant];
            let all_left = one.vms_arrived > 0
                && one.vms_unknown == 0
                && report.waiting.is_empty()
                && unseen.iter().all(|hosts| hosts.is_empty());
            return match self.was_done || all_left {
                true => Verdict::Done,
                false => Verdict::Ended(one.state.clone()),
            };
        }
        // When all hosts to be emptied fall silent, what they said last counts.
        let nobody_knows = nobody_knows(one);
        self.was_done = one.state == "done" || (self.was_done && nobody_knows);
        let done = self.was_done;
        let mut missing = self.missing(report);
        let vanished = self.what_vanished();
        if done
            && missing.is_empty()
            && vanished.is_empty()
            && one.silent.is_empty()
            && one.distant.is_empty()
        {
            return Verdict::Done;
        }
        let unseen = [&one.hypervisor_down, &one.silent, &one.distant];
        let kept = one.vms_stuck > 0 || unseen.iter().any(|hosts| !hosts.is_empty());
        let uncertain = one.vms_unknown > 0;
        let at_rest = done || nobody_knows || (one.vms_left == 0 && (kept || uncertain));
        if !at_rest && !self.only_fails(report) {
            self.at_rest_since = None;
            return Verdict::GoesOn;
        }
        let since = *self.at_rest_since.get_or_insert(now);
        let too_early = now.saturating_duration_since(since) < PATIENCE;
        if too_early || (!at_rest && self.one_may_arrive(report)) {
            return Verdict::GoesOn;
        }
        // A host that was emptied may go dark: that is what all this is for.
        match (done && missing.is_empty(), vanished.is_empty()) {
            (true, true) => Verdict::Done,
            (true, false) => Verdict::DoneWithout(vanished),
            (false, _) => {
                missing.extend(vanished);
                Verdict::NotAll(missing)
            }
        }
    }

    fn what_vanished(&self) -> Vec<String> {
        let vanished = self.seen.values().filter(|vm| self.has_vanished(&vm.id));
        vanished
            .map(|vm| {
                format!(
                    "{} was on {}, has not arrived, and is nowhere any more: somebody has ended or \
                     removed it, or it has ended by itself",
                    vm.name, vm.host
                )
            })
            .collect()
    }

    fn has_vanished(&self, id: &str) -> bool {
        self.vanished.contains(id) && !self.is_out(id)
    }

    /// What would have to be otherwise for the evacuation to have ended well.
    fn missing(&self, report: &Report) -> Vec<String> {
        let waiting: BTreeSet<&str> = report.waiting.iter().map(|vm| vm.id.as_str()).collect();
        let mut missing: Vec<String> = self
            .seen
            .values()
            .filter(|vm| !self.is_out(&vm.id) && !self.has_vanished(&vm.id))
            .map(|vm| {
                let (name, host) = (&vm.name, &vm.host);
                if !waiting.contains(vm.id.as_str()) {
                    format!(
                        "{name} was on {host}, is not there any more and has not arrived; see \
                         `lifeboat vms`, and whether somebody has removed it"
                    )
                } else if self.silent.contains(host) {
                    format!("{name} is on {host}, which is not heard")
                } else if vm.state == UNCERTAIN {
                    uncertain(vm)
                } else if !vm.reasons.is_empty() {
                    format!("{name} cannot leave {host}: {}", vm.reasons.join("; "))
                } else if let Some((_, why)) = self.failed.get(&vm.id) {
                    format!("{name} cannot leave {host}: {why}")
                } else {
                    format!("{name} is still on {host}, {}", vm.state)
                }
            })
            .collect();
        missing.extend(uncertain_elsewhere(report).map(uncertain));
        let is_named = |name: &str| report.waiting.iter().any(|vm| vm.name == name);
        missing.extend(report.doubles.iter().filter(|one| !is_named(&one.name)).map(runs_twice));
        missing.extend(
            self.never_heard
                .iter()
                .map(|host| format!("{host} is not heard: it is not known what it runs")),
        );
        missing.extend(report.evacuation.hypervisor_down.iter().map(|host| {
            format!("the hypervisor of {host} does not answer: it is not known what it runs")
        }));
        if !report.evacuation.distant.is_empty() {
            missing.push(format!(
                "it is not known here what is left on {}, which do not speak to this host; the \
                 stewards of their site, which `lifeboat status` names, know: \
                 `lifeboat report --follow` there",
                report.evacuation.distant.join(", ")
            ));
        }
        if !self.was_done {
            let is_named = |host: &String| {
                self.never_heard.contains(host)
                    || self
                        .seen
                        .values()
                        .any(|vm| vm.host == *host && !self.arrived.contains(&vm.id))
            };
            missing.extend(self.silent.iter().filter(|host| !is_named(host)).map(|host| {
                format!("{host} is not heard any more: it is not known what is left there")
            }));
        }
        if !self.was_done && missing.is_empty() {
            let one = &report.evacuation;
            let left = one.vms_left.saturating_add(one.vms_stuck) as usize;
            missing.push(match (left, one.vms_unknown as usize) {
                (0, unknown) => {
                    format!("not certain where they run: {}; see `lifeboat status`", vms(unknown))
                }
                (left, _) => format!("still to leave: {}; see `lifeboat vms`", vms(left)),
            });
        }
        missing
    }
}

fn has_arrived(one: &Arrived) -> String {
    let pause = one.downtime_ms.map(|pause| format!(", paused for {}", time(pause)));
    let sent = one.bytes_sent.map(|sent| format!(", {} sent", size(sent)));
    format!(
        "{} arrived on {} after {}{}{}",
        one.name,
        one.to,
        time(one.end_ms.saturating_sub(one.start_ms)),
        pause.unwrap_or_default(),
        sent.unwrap_or_default()
    )
}

/// Whether no host that is to be emptied is heard: nobody can say then what is left.
fn nobody_knows(one: &EvacuationInfo) -> bool {
    let is_dark = |host| one.silent.contains(host) || one.distant.contains(host);
    !one.sources.is_empty() && one.sources.iter().all(is_dark)
}

/// VMs of which it is not certain where they run, and that are not among those to leave: copies that
/// wait at a destination.
fn uncertain_elsewhere(report: &Report) -> impl Iterator<Item = &VmInfo> {
    let listed = |vm: &VmInfo| report.waiting.iter().any(|one| one.id == vm.id);
    let all = report.uncertain.iter().filter(|_| report.evacuation.vms_unknown > 0);
    all.filter(move |vm| !listed(vm))
}

/// Whether it is a definition of a VM that runs elsewhere: nothing of it has to leave.
fn is_left_over(vm: &VmInfo) -> bool {
    vm.state == "resting" && vm.run_state == "shut_off" && !vm.reasons.is_empty()
}

fn said(text: String) -> Change {
    Change { vm: None, state: None, text }
}

fn is_under_way(vm: &VmInfo) -> bool {
    matches!(vm.state.as_str(), "moving" | "switching" | "committing")
}

/// What is worth a line about a VM that still has to leave and has failed so often.
fn changed(before: Option<&VmInfo>, vm: &VmInfo, failures: u32) -> Option<Change> {
    let (name, host) = (&vm.name, &vm.host);
    let reasons = vm.reasons.join("; ");
    let was_kept = before.is_some_and(|before| !before.reasons.is_empty());
    let same_state = before.is_some_and(|before| before.state == vm.state);
    if failures > FAILS_AGAIN || (failures == FAILS_AGAIN && vm.state != "failed") {
        return None;
    }
    let again = match failures {
        FAILS_AGAIN => "; further attempts are not listed",
        _ => "",
    };
    let text = match vm.state.as_str() {
        // Reasons are long and their figures change all the time: said when they begin.
        "resting" if is_left_over(vm) => {
            before.is_none().then(|| format!("{name} stays on {host}: {reasons}"))
        }
        "failed" | "queued" | "resting" if !reasons.is_empty() => (!was_kept
            || (vm.state == "failed" && !same_state))
            .then(|| format!("{name} cannot leave {host} now: {reasons}{again}")),
        UNCERTAIN if before.is_none_or(|before| before.reasons != vm.reasons) => {
            Some(uncertain(vm))
        }
        _ if same_state => None,
        "moving" => Some(format!("{name} leaves {host}, {}", size(vm.memory_bytes))),
        "switching" => Some(format!("{name} switches over")),
        _ => None,
    }?;
    Some(Change { vm: Some(name.clone()), state: Some(vm.state.clone()), text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::{arrived, ended, evacuation, late, report, vm};

    /// Reports that come a second apart.
    struct Play {
        tracker: Tracker,
        now: Instant,
    }

    impl Play {
        fn new() -> Self {
            Self { tracker: Tracker::default(), now: Instant::now() }
        }

        fn take(&mut self, report: &Report) -> (Vec<String>, Verdict) {
            self.now += Duration::from_secs(1);
            let (changes, verdict) = self.tracker.take(self.now, report);
            (changes.into_iter().map(|change| change.text).collect(), verdict)
        }

        /// What is found where all hosts are heard.
        fn find(&mut self, report: &Report, all: &[VmInfo]) -> Vec<String> {
            let found = self.tracker.find(self.now, report, all, &["a1", "a2", "b1", "b2"]);
            found.into_iter().map(|change| change.text).collect()
        }

        /// The verdict once the same was heard for longer than anybody has patience.
        fn insist(&mut self, report: &Report) -> Verdict {
            self.insist_on(report, 10)
        }

        fn insist_on(&mut self, report: &Report, times: u32) -> Verdict {
            for _ in 0..times {
                assert_eq!(self.take(report).1, Verdict::GoesOn);
            }
            self.take(report).1
        }
    }

    fn active(waiting: Vec<VmInfo>) -> Report {
        let vms_left = u32::try_from(waiting.len()).unwrap();
        Report { evacuation: EvacuationInfo { vms_left, ..evacuation() }, waiting, ..report() }
    }

    fn done(arrived: Vec<crate::api::Arrived>) -> Report {
        let evacuation = EvacuationInfo { state: "done".to_owned(), ..evacuation() };
        Report { evacuation, arrived, ..report() }
    }

    #[test]
    fn each_step_is_said_once() {
        let mut play = Play::new();
        let mut check = |report: &Report, expect: &[&str], verdict: Verdict| {
            let found = play.take(report);
            assert_eq!(found, (expect.iter().map(|text| (*text).to_owned()).collect(), verdict));
        };
        check(&active(vec![vm("web", "a1", "queued")]), &[], Verdict::GoesOn);
        let moving = active(vec![vm("web", "a1", "moving")]);
        check(&moving, &["web leaves a1, 1 GiB"], Verdict::GoesOn);
        check(&moving, &[], Verdict::GoesOn);
        let switching = active(vec![vm("web", "a1", "switching")]);
        check(&switching, &["web switches over"], Verdict::GoesOn);
        check(
            &done(vec![arrived("web")]),
            &["web arrived on b1 after 25s, paused for 80ms, 1.1 GiB sent; 1 of 1 VM done"],
            Verdict::Done,
        );
    }

    #[test]
    fn what_ended_on_its_way_is_not_counted_with_what_arrived_well() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving"), vm("db", "a1", "queued")]));
        let mut report = done(vec![arrived("web"), arrived("db")]);
        report.evacuation.ended = vec![ended("web")];
        let (said, verdict) = play.take(&report);
        let expect = [
            "web ran when its move began, ended at a1 while it moved, and is at b1, shut off: start it \
             there; 0 of 2 VMs done",
            "db arrived on b1 after 25s, paused for 80ms, 1.1 GiB sent; 1 of 2 VMs done",
        ];
        assert_eq!((said, verdict), (expect.map(str::to_owned).to_vec(), Verdict::Done));
    }

    #[test]
    fn what_runs_outside_the_emptied_hosts_is_out() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let report = done(Vec::new());
        assert!(play.tracker.has_lost(&report));
        let waits = vm("web", "b1", "unknown");
        let incoming = VmInfo { run_state: "incoming".to_owned(), ..vm("web", "b1", "arriving") };
        assert!(play.find(&report, &[waits, incoming]).is_empty());
        assert_eq!(play.take(&report).1, Verdict::GoesOn);
        // That it has arrived is known a moment later, as a rule.
        assert!(play.find(&report, &[vm("web", "b2", "resting")]).is_empty());
        assert_eq!(play.take(&report).1, Verdict::GoesOn);
        play.now += TOLD_TO_RUN_AFTER;
        assert_eq!(play.find(&report, &[vm("web", "b2", "resting")]), ["web runs on b2"]);
        assert!(!play.tracker.has_lost(&report));
        assert_eq!(play.take(&report).1, Verdict::Done);
    }

    #[test]
    fn what_runs_where_it_has_arrived_a_moment_later_is_told_once() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        assert!(play.find(&done(Vec::new()), &[vm("web", "b1", "resting")]).is_empty());
        let (said, verdict) = play.take(&done(vec![arrived("web")]));
        assert_eq!((said.len(), verdict), (1, Verdict::Done), "{said:?}");
    }

    #[test]
    fn a_vm_that_somebody_ended_is_named_and_keeps_nothing() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving"), vm("db", "a2", "queued")]));
        let report = done(vec![arrived("web")]);
        let mut last = Verdict::GoesOn;
        for _ in 0..11 {
            assert_eq!(last, Verdict::GoesOn);
            assert!(play.find(&report, &[vm("web", "b1", "resting")]).is_empty());
            let (said, verdict) = play.take(&report);
            assert!(said.iter().all(|text| text.ends_with("1 of 1 VM done")), "{said:?}");
            last = verdict;
        }
        let Verdict::DoneWithout(named) = last else { panic!("{last:?}") };
        assert!(named.len() == 1 && named[0].starts_with("db was on a2, has not"), "{named:?}");

        // A host that is not heard cannot say that it has nothing of it.
        play.tracker.find(play.now, &report, &[vm("web", "b1", "resting")], &["a1", "b1"]);
        let Verdict::NotAll(missing) = play.take(&report).1 else { panic!("it may be on a2") };
        assert!(missing[0].starts_with("db was on a2, is not there any more"), "{missing:?}");
    }

    #[test]
    fn a_missed_deadline_is_told_once() {
        let mut play = Play::new();
        let mut report = active(vec![vm("web", "a1", "moving")]);
        report.evacuation.deadline_left_ms = Some(1);
        assert_eq!(play.take(&report).0, ["web leaves a1, 1 GiB"]);
        report.evacuation.deadline_left_ms = Some(0);
        assert_eq!(play.take(&report).0, ["the deadline is past, and 1 VM had still to leave"]);
        assert!(play.take(&report).0.is_empty());
    }

    fn left_over(name: &str, host: &str) -> VmInfo {
        VmInfo {
            run_state: "shut_off".to_owned(),
            reasons: vec!["it runs at b2, as said there: what is here is left over".to_owned()],
            ..vm(name, host, "resting")
        }
    }

    #[test]
    fn what_is_left_over_of_a_vm_keeps_nothing() {
        let mut play = Play::new();
        let mut report = done(Vec::new());
        report.waiting = vec![left_over("web", "a1")];
        let (said, verdict) = play.take(&report);
        assert_eq!(verdict, Verdict::Done);
        let expect = "web stays on a1: it runs at b2, as said there: what is here is left over";
        assert_eq!(said, [expect]);
    }

    #[test]
    fn a_copy_that_waits_at_a_destination_is_named_at_once_and_ends_it_after_a_while() {
        let mut play = Play::new();
        let copy = |host: &str| VmInfo {
            reasons: vec!["end the copy here by hand".to_owned()],
            ..vm("web", host, "unknown")
        };
        let mut report = active(Vec::new());
        report.evacuation.vms_unknown = 1;
        report.uncertain = vec![copy("b1")];
        let expect = "web on b1: it is not certain where it runs: end the copy here by hand";
        assert_eq!(play.take(&report).0, [expect]);
        assert!(play.take(&report).0.is_empty());
        assert_eq!(play.insist_on(&report, 8), Verdict::NotAll(vec![expect.to_owned()]));
        // It was ended meanwhile.
        report.evacuation.vms_unknown = 0;
        report.evacuation.state = "done".to_owned();
        assert_eq!(play.take(&report).1, Verdict::Done);
    }

    #[test]
    fn a_vm_that_is_listed_twice_is_not_told_of_again_and_again() {
        let mut play = Play::new();
        let waits = VmInfo { reasons: vec!["b1 waits".to_owned()], ..vm("web", "a1", "unknown") };
        let listed = [vm("web", "a1", "moving"), waits, vm("web", "a2", "moving")];
        assert_eq!(play.take(&active(listed.to_vec())).0.len(), 3);
        for _ in 0..3 {
            assert!(play.take(&active(listed.to_vec())).0.is_empty());
        }
    }

    #[test]
    fn no_reason_is_empty() {
        let mut play = Play::new();
        let mut report = active(Vec::new());
        report.arrived = vec![arrived("web")];
        report.evacuation.vms_stuck = 1;
        let told = Verdict::NotAll(vec!["still to leave: 1 VM; see `lifeboat vms`".to_owned()]);
        assert_eq!(play.insist(&report), told);

        let mut play = Play::new();
        report.doubles = vec![crate::api::DoubleInfo {
            name: "web".to_owned(),
            hosts: vec!["a1".to_owned(), "b1".to_owned()],
        }];
        let Verdict::NotAll(missing) = play.insist(&report) else { panic!("it is not done") };
        assert!(missing.len() == 1 && missing[0].starts_with("web runs twice"), "{missing:?}");
    }

    #[test]
    fn what_cannot_go_ends_it_after_a_while() {
        let mut play = Play::new();
        let stuck = VmInfo { reasons: vec!["b1: no room".to_owned()], ..vm("web", "a1", "queued") };
        let evacuation = EvacuationInfo { vms_stuck: 1, ..evacuation() };
        let report = Report { evacuation, waiting: vec![stuck], ..report() };
        assert_eq!(play.take(&report).0, ["web cannot leave a1 now: b1: no room"]);
        play.take(&active(vec![vm("web", "a1", "queued")]));
        let all = Verdict::NotAll(vec!["web cannot leave a1: b1: no room".to_owned()]);
        assert_eq!(play.insist(&report), all);
    }

    #[test]
    fn an_emptied_host_may_go_dark() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let mut report = done(vec![arrived("web")]);
        report.evacuation.silent = vec!["a1".to_owned()];
        assert_eq!(play.insist(&report), Verdict::Done);
    }

    #[test]
    fn silence_is_not_success() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let mut report = done(Vec::new());
        report.waiting = vec![vm("web", "a1", "moving")];
        report.evacuation.silent = vec!["a1".to_owned()];
        let lost = Verdict::NotAll(vec!["web is on a1, which is not heard".to_owned()]);
        assert_eq!(play.insist(&report), lost);

        let mut play = Play::new();
        let mut report = done(Vec::new());
        report.evacuation.silent = vec!["a1".to_owned()];
        let Verdict::NotAll(missing) = play.insist(&report) else { panic!("it is not done") };
        assert_eq!(missing, ["a1 is not heard: it is not known what it runs"]);
    }

    #[test]
    fn hosts_that_are_all_silent_end_it_with_the_reason() {
        let silent = |hosts: &[&str], waiting| {
            let mut report = active(waiting);
            report.evacuation.vms_left = 0;
            report.evacuation.silent = hosts.iter().map(|host| (*host).to_owned()).collect();
            report
        };
        // One of two is heard, and has not said yet that it knows of the evacuation.
        let mut play = Play::new();
        let mut one = silent(&["a1"], Vec::new());
        one.evacuation.vms_left = 1;
        for _ in 0..30 {
            assert_eq!(play.take(&one).1, Verdict::GoesOn);
        }
        let all = silent(&["a1", "a2"], Vec::new());
        let Verdict::NotAll(missing) = play.insist(&all) else { panic!("it is not done") };
        let expect = [
            "a1 is not heard: it is not known what it runs",
            "a2 is not heard any more: it is not known what is left there",
        ];
        assert_eq!(missing, expect);

        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let all = silent(&["a1", "a2"], vec![vm("web", "a1", "moving")]);
        let lost = vec![
            "web is on a1, which is not heard".to_owned(),
            "a2 is not heard any more: it is not known what is left there".to_owned(),
        ];
        assert_eq!(play.insist(&all), Verdict::NotAll(lost));
        // It is heard again after all, and goes on.
        assert_eq!(play.take(&active(vec![vm("web", "a1", "moving")])).1, Verdict::GoesOn);
    }

    #[test]
    fn a_site_that_goes_dark_when_it_is_empty_has_been_emptied() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let mut report = done(vec![arrived("web")]);
        report.evacuation.silent = vec!["a1".to_owned()];
        play.take(&report);
        report.evacuation.state = "active".to_owned();
        report.evacuation.silent = vec!["a1".to_owned(), "a2".to_owned()];
        for _ in 0..9 {
            assert_eq!(play.take(&report).1, Verdict::GoesOn);
        }
        assert_eq!(play.take(&report).1, Verdict::Done);
    }

    #[test]
    fn what_only_others_know_is_not_called_done() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        let mut report = done(vec![arrived("web")]);
        report.evacuation.distant = vec!["a2".to_owned()];
        let Verdict::NotAll(missing) = play.insist(&report) else { panic!("it is not done") };
        assert!(missing.len() == 1 && missing[0].contains("not known here what is left on a2"));
        report.evacuation.distant.clear();
        assert_eq!(play.take(&report).1, Verdict::Done);
    }

    #[test]
    fn a_hypervisor_that_does_not_answer_keeps_it_from_being_done() {
        let mut report = active(Vec::new());
        report.evacuation.hypervisor_down = vec!["a1".to_owned()];
        let Verdict::NotAll(missing) = Play::new().insist(&report) else { panic!("not done") };
        let expect = "the hypervisor of a1 does not answer: it is not known what it runs";
        assert_eq!(missing, [expect]);
    }

    #[test]
    fn a_daemon_that_has_just_started_is_not_believed_too_soon() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving")]));
        play.tracker.lost_sight();
        assert_eq!(play.take(&done(Vec::new())).1, Verdict::GoesOn);
        assert_eq!(play.take(&done(vec![arrived("web")])).1, Verdict::Done);
    }

    #[test]
    fn hosts_that_fall_silent_and_return_are_named() {
        let mut play = Play::new();
        let mut report = active(vec![vm("web", "a1", "moving")]);
        play.take(&report);
        report.evacuation.silent = vec!["a2".to_owned()];
        assert_eq!(play.take(&report).0, ["a2 is not heard"]);
        report.evacuation.silent.clear();
        assert_eq!(play.take(&report).0, ["a2 is heard again"]);
    }

    /// A second of failing and one of trying again, so many times.
    fn fails(play: &mut Play, times: u32, others: &[VmInfo]) -> (Vec<String>, Verdict) {
        let mut said = Vec::new();
        let mut last = Verdict::GoesOn;
        for attempt in 1..=times {
            assert_eq!(last, Verdict::GoesOn);
            let moving = [&[vm("web", "a1", "moving")], others].concat();
            let (changes, verdict) = play.take(&active(moving));
            assert_eq!(verdict, Verdict::GoesOn);
            said.extend(changes);
            let why = format!("attempt {attempt} failed: no storage pool");
            let failed = VmInfo { reasons: vec![why], ..vm("web", "a1", "failed") };
            let mut report = active([&[failed], others].concat());
            report.evacuation.vms_left -= 1;
            report.evacuation.vms_stuck = 1;
            let (changes, verdict) = play.take(&report);
            said.extend(changes);
            last = verdict;
        }
        (said, last)
    }

    #[test]
    fn what_fails_every_time_ends_it_with_its_reason() {
        let mut play = Play::new();
        // The third failure comes after six seconds, and patience lasts for ten more.
        let (said, verdict) = fails(&mut play, 8, &[]);
        let why = "web cannot leave a1: attempt 8 failed: no storage pool";
        assert_eq!(verdict, Verdict::NotAll(vec![why.to_owned()]));
        assert_eq!(
            said.iter().filter(|text| *text == "web leaves a1, 1 GiB").count(),
            3,
            "{said:?}"
        );
        assert!(said.last().unwrap().ends_with("; further attempts are not listed"), "{said:?}");
    }

    #[test]
    fn while_others_go_nothing_ends() {
        let mut play = Play::new();
        let (_, verdict) = fails(&mut play, 20, &[vm("db", "a1", "moving")]);
        assert_eq!(verdict, Verdict::GoesOn);
    }

    #[test]
    fn an_attempt_that_may_succeed_is_waited_for() {
        let mut play = Play::new();
        fails(&mut play, 4, &[]);
        for _ in 0..60 {
            assert_eq!(play.take(&active(vec![vm("web", "a1", "moving")])).1, Verdict::GoesOn);
        }
        assert_eq!(play.take(&done(vec![arrived("web")])).1, Verdict::Done);
    }

    #[test]
    fn a_silent_host_that_was_not_empty_ends_it_once_the_others_are() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "moving"), vm("db", "a2", "queued")]));
        let mut report = active(vec![vm("db", "a2", "queued")]);
        report.evacuation.vms_left = 0;
        report.evacuation.vms_not_heard = 1;
        report.evacuation.silent = vec!["a2".to_owned()];
        report.arrived = vec![arrived("web")];
        let lost = Verdict::NotAll(vec!["db is on a2, which is not heard".to_owned()]);
        assert_eq!(play.insist(&report), lost);
    }

    #[test]
    fn one_that_was_done_and_is_cancelled_is_done() {
        let mut report = done(vec![arrived("web")]);
        report.evacuation.state = "cancelled".to_owned();
        report.evacuation.vms_arrived = 1;
        assert_eq!(Play::new().take(&report).1, Verdict::Done);
        report.waiting = vec![vm("db", "a1", "resting")];
        assert_eq!(Play::new().take(&report).1, Verdict::Ended("cancelled".to_owned()));
    }

    #[test]
    fn what_would_be_late_is_named_once_it_is_sure() {
        let mut play = Play::new();
        let mut report = active(vec![vm("web", "a1", "moving"), vm("db", "a1", "queued")]);
        report.late = vec![late("db", 40_500, "deadline")];
        play.take(&report);
        for _ in 0..4 {
            assert_eq!(play.take(&report).0, Vec::<String>::new());
        }
        report.late.push(late("web", 3_000, "power"));
        let said = play.take(&report).0;
        assert_eq!(said, ["not expected to leave in time: db (41s after the deadline)"]);
        let said: Vec<String> = (0..9).flat_map(|_| play.take(&report).0).collect();
        let web = "not expected to leave in time: web (3s after the end of its host's power)";
        assert_eq!(said, [web]);
    }

    #[test]
    fn what_is_under_way_is_waited_for_when_it_is_cancelled() {
        let mut play = Play::new();
        play.take(&active(vec![vm("web", "a1", "switching"), vm("db", "a1", "queued")]));
        let mut cancelled = active(vec![vm("web", "a1", "switching"), vm("db", "a1", "resting")]);
        cancelled.evacuation.state = "cancelled".to_owned();
        let (said, verdict) = play.take(&cancelled);
        assert_eq!(said, ["it was cancelled; still on their way: 1 VM"]);
        assert_eq!((verdict, play.take(&cancelled).1), (Verdict::GoesOn, Verdict::GoesOn));
        // Another evacuation moves the other one on: that is not waited for.
        cancelled.waiting = vec![vm("db", "a1", "moving")];
        cancelled.arrived = vec![arrived("web")];
        assert_eq!(play.take(&cancelled).1, Verdict::Ended("cancelled".to_owned()));
    }

    #[test]
    fn a_cancelled_one_has_ended() {
        let mut report = active(vec![vm("web", "a1", "queued")]);
        report.evacuation.state = "cancelled".to_owned();
        assert_eq!(Play::new().take(&report).1, Verdict::Ended("cancelled".to_owned()));
    }
}
