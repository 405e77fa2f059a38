//! VMs that are not expected to leave in time, named as soon as that is foreseen: there is time then to shut
//! them down in order, or to save others.
//!
//! Invariants:
//! - a VM is named only if two forecasts in a row say that it would be late by more than a forecast errs,
//!   and once, unless one says the contrary meanwhile;
//! - each host names its own VMs.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::time::Duration;

use super::Node;
use crate::{
    effects::Effects,
    evacuation::State,
    ids::{EvacuationId, VmId},
    output::{Notice, NoticeKind, Output},
    plan::{Limit, PlannedVm, Terms},
    time::{Instant, milliseconds},
};

/// How often it is looked whether all will leave in time. With less the estimate of a link that nobody
/// configured has had no time to settle between two forecasts; with more it is said later.
const EVERY: Duration = Duration::from_secs(5);
/// Part of the time to its predicted finish by which a VM must be late to be named, thousandths: what a
/// forecast errs, see `docs/measurements.md`. With less VMs are named that make it.
const ERRS_PERMILLE: u64 = 100;
/// Most VMs that one notice names.
const NAMED: usize = 10;

/// What was foreseen of this host's VMs, and said.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Foresight {
    looked_at: Instant,
    /// Those that would have been late at the last look.
    doubted: BTreeSet<VmId>,
    /// Those that were named.
    named: BTreeSet<VmId>,
}

/// A VM that is not expected to leave in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The VM.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// The host that it leaves.
    pub from: String,
    /// By how many milliseconds it would be late.
    pub by_ms: u64,
    /// By when it would have to have left, from now.
    pub limit: Limit,
}

impl Late {
    /// One that is planned, if it would be late by more than a forecast errs.
    fn of(planned: PlannedVm) -> Option<Self> {
        let by_ms = planned.late_by_ms()?;
        (by_ms > planned.finish_ms / 1000 * ERRS_PERMILLE).then_some(())?;
        let limit = planned.limit?;
        Some(Self { vm: planned.vm.id, name: planned.vm.name, from: planned.from, by_ms, limit })
    }
}

/// That VMs are not expected to leave in time: the name of each, by how many milliseconds it is late, and
/// whether for the power of its host.
pub fn not_in_time<'a>(late: impl Iterator<Item = (&'a str, u64, bool)>) -> String {
    let late = late.map(|(name, by_ms, is_power)| {
        let what = if is_power { "the end of its host's power" } else { "the deadline" };
        format!("{name} ({}s after {what})", by_ms.div_ceil(1000))
    });
    format!("not expected to leave in time: {}", listed(late.collect()))
}

/// As many names as a person reads.
fn listed(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

impl Node {
    /// VMs of an active evacuation that are not expected to leave before its deadline, or before the power
    /// of their hosts ends, in the order in which they would leave.
    pub fn late_view(&self, now: Instant, id: EvacuationId) -> Vec<Late> {
        self.forecast(now, id).into_iter().filter_map(Late::of).collect()
    }

    /// What is expected of the VMs of an active evacuation that has a limit to keep.
    fn forecast(&self, now: Instant, id: EvacuationId) -> Vec<PlannedVm> {
        let active = |known: &&crate::evacuation::Known| known.record.state == State::Active;
        let Some(known) = self.evacuations.get(id).filter(active) else { return Vec::new() };
        let deadline = known.time_left(now).filter(|left| !left.is_zero());
        let peers = self.membership.up(now).map(|(_, peer)| peer.heartbeat.host.runtime_left_ms);
        let mut powers = peers.chain([self.host.runtime_left_ms]);
        if deadline.is_none() && !powers.any(|left| left.is_some()) {
            return Vec::new();
        }
        let terms = Terms {
            from_sites: known.record.from_sites.clone(),
            from_hosts: known.record.from_hosts.clone(),
            to: known.record.to.clone(),
            deadline_ms: deadline.map(milliseconds),
        };
        self.plan(now, &terms).vms
    }

    /// Names this host's VMs that are not expected to leave in time.
    pub(super) fn tell_late(&mut self, now: Instant, fx: &mut Effects) {
        let evacuation = self.evacuations.covering(self.me, self.site).next();
        let Some(id) = evacuation.filter(|one| one.age(now) >= EVERY).map(|one| one.record.id)
        else {
            self.foresight = Foresight::default();
            return;
        };
        if self.is_large() || now.since(self.foresight.looked_at) < EVERY {
            return;
        }
        let me = self.directory.name(self.me);
        let planned = self.forecast(now, id).into_iter().filter(|planned| planned.from == me);
        let (mut in_time, mut late) = (BTreeMap::new(), Vec::new());
        for one in planned {
            if one.late_by_ms().is_none() && one.reasons.is_empty() {
                in_time.insert(one.vm.id, one.vm.name);
            } else if let Some(one) = Late::of(one) {
                late.push(one);
            }
        }
        let foresight = &mut self.foresight;
        let doubted = core::mem::take(&mut foresight.doubted);
        foresight.looked_at = now;
        foresight.doubted = late.iter().map(|one| one.vm).collect();
        late.retain(|one| doubted.contains(&one.vm) && foresight.named.insert(one.vm));
        let named = &mut foresight.named;
        let after_all: Vec<String> =
            in_time.into_iter().filter(|(vm, _)| named.remove(vm)).map(|(_, name)| name).collect();
        let mut say = |text: String| {
            let (kind, evacuation) = (NoticeKind::Evacuation, Some(id));
            fx.out(Output::Notice(Notice { kind, vm: None, evacuation, text }));
        };
        if !late.is_empty() {
            let late = late.iter().map(|one| (&one.name[..], one.by_ms, one.limit.is_power));
            say(not_in_time(late));
        }
        if !after_all.is_empty() {
            say(format!("expected to leave in time after all: {}", listed(after_all)));
        }
    }
}
