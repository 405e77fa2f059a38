//! What the protocol shows of hosts, links, VMs and plans, as the command line reads it.

use std::time::Duration;

use lifeboat_protocol::{
    evacuation::State,
    membership::Liveness,
    message::{HeldBack, VmState},
    node::foresight::Late,
    plan::{self, Limit},
    view::{LinkView, NodeView, VmView},
    vm::{Outcome, RunState},
};

use crate::api::{
    Arrived, EndedInfo, GuessInfo, HostInfo, IssuerInfo, LateInfo, LinkInfo, PlanInfo,
    PlannedVmInfo, SenderInfo, VmInfo,
};
use crate::legible;

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn host_info(view: NodeView) -> HostInfo {
    let state = match view.liveness {
        _ if view.distant => "distant",
        Liveness::Alive => "alive",
        Liveness::Suspected => "suspected",
        Liveness::Dead => "dead",
        Liveness::Left => "left",
        Liveness::Unseen => "unseen",
    };
    let host = view.host.unwrap_or_default();
    HostInfo {
        name: view.name,
        site: view.site,
        state: state.to_owned(),
        steward: view.steward,
        vms_told: view.vms_told,
        memory_total_bytes: host.memory_total,
        memory_free_bytes: host.memory_free,
        cpu_free_permille: host.cpu_free_permille,
        runtime_left_ms: host.runtime_left_ms,
        nic_sent_bytes_per_sec: host.nic_sent.0,
        nic_received_bytes_per_sec: host.nic_received.0,
        hypervisor_up: host.hypervisor_up,
        takes_arrivals: host.takes_arrivals,
        journal_fails: host.journal_fails,
        vms_left: view.queue.vms,
        vms_stuck: view.queue.stuck,
        round_trip_us: view.round_trip.map(microseconds),
    }
}

pub(super) fn link_info(view: LinkView) -> LinkInfo {
    let senders = view.senders.into_iter().map(|(host, tokens, sent, held_back)| SenderInfo {
        host,
        tokens,
        sent_bytes_per_sec: sent.0,
        held_back: match held_back {
            HeldBack::Idle => "idle",
            HeldBack::Tokens => "tokens",
            HeldBack::Link => "link",
            HeldBack::Source => "source",
        }
        .to_owned(),
    });
    LinkInfo {
        name: view.name,
        capacity_bytes_per_sec: view.capacity.0,
        usable_bytes_per_sec: view.usable.0,
        arrived_bytes_per_sec: view.arrived.0,
        senders: senders.collect(),
        issuers: view
            .issuers
            .into_iter()
            .map(|(host, tokens)| IssuerInfo { host, tokens })
            .collect(),
        contested_slices: view.contested,
        round_trip_us: microseconds(view.round_trip),
    }
}

pub(super) fn state_name(state: State, done: bool) -> &'static str {
    match state {
        State::Active if done => "done",
        State::Active => "active",
        State::Cancelled => "cancelled",
        State::Aborted => "aborted",
    }
}

/// Whether a guest executes where it is listed, as far as that is known.
fn guest(view: &VmView) -> &'static str {
    let state = match view.vm.vm.state {
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::ShutOff => "shut_off",
    };
    match view.vm.state {
        _ if view.vm.vm.state == RunState::ShutOff => state,
        VmState::Arriving => "incoming",
        VmState::Unknown => "unknown",
        _ if !view.heard => "unknown",
        VmState::Switching | VmState::Committing => "paused",
        _ => state,
    }
}

pub(super) fn vm_info(view: VmView) -> VmInfo {
    let run_state = guest(&view).to_owned();
    let state = match view.vm.state {
        VmState::Resting => "resting",
        VmState::Queued => "queued",
        VmState::Reserved => "reserved",
        VmState::Moving => "moving",
        VmState::Switching => "switching",
        VmState::Committing => "committing",
        VmState::Failed => "failed",
        VmState::Unknown => "unknown",
        VmState::Arriving => "arriving",
    };
    let vm = view.vm.vm;
    VmInfo {
        id: vm.id.to_string(),
        name: legible::name(&vm.name),
        host: view.host,
        run_state,
        state: state.to_owned(),
        priority: vm.policy.priority,
        group: vm.policy.group.as_deref().map(legible::name),
        memory_bytes: vm.memory,
        remaining_bytes: view.vm.remaining,
        reasons: view.vm.reasons.iter().map(|text| legible::text(text)).collect(),
    }
}

pub(super) fn plan_info(plan: plan::Plan) -> PlanInfo {
    let vms = plan.vms.into_iter().map(|one| (one.late_by_ms().is_some(), one));
    let vms = vms.map(|(late, one)| PlannedVmInfo {
        name: legible::name(&one.vm.name),
        id: one.vm.id.to_string(),
        priority: one.vm.policy.priority,
        group: one.vm.policy.group.as_deref().map(legible::name),
        memory_bytes: one.vm.memory,
        from: one.from,
        to: one.to,
        start_ms: one.start_ms,
        finish_ms: one.finish_ms,
        downtime_ms: one.downtime_ms,
        late,
        limit: one.limit.map(|limit| limit_info(limit).to_owned()),
        reasons: one.reasons.iter().map(|text| legible::text(text)).collect(),
    });
    PlanInfo {
        vms: vms.collect(),
        silent: plan.silent,
        hypervisor_down: plan.hypervisor_down,
        untold: plan.untold,
        not_told_yet: plan.not_told_yet,
        guessed: plan
            .guessed
            .into_iter()
            .map(|(link, rate)| GuessInfo { link, bytes_per_sec: rate.0 })
            .collect(),
        total_ms: plan.total_ms,
        bytes: plan.bytes,
    }
}

fn limit_info(limit: Limit) -> &'static str {
    if limit.is_power { "power" } else { "deadline" }
}

pub(super) fn late_info(late: Late) -> LateInfo {
    LateInfo {
        id: late.vm.to_string(),
        name: legible::name(&late.name),
        host: late.from,
        by_ms: late.by_ms,
        limit: limit_info(late.limit).to_owned(),
    }
}

pub(super) fn ended_info(outcome: Outcome) -> EndedInfo {
    EndedInfo {
        id: outcome.vm.to_string(),
        name: legible::name(&outcome.name),
        from: outcome.from,
        to: outcome.to,
    }
}

pub(super) fn arrived(outcome: Outcome) -> Arrived {
    // A daemon that was started anew in the middle of a move has lost it.
    let counted = outcome.bytes_sent > 0 || outcome.bytes_needed == 0;
    Arrived {
        id: outcome.vm.to_string(),
        name: legible::name(&outcome.name),
        from: outcome.from,
        to: outcome.to,
        start_ms: outcome.start_ms,
        end_ms: outcome.end_ms,
        ran: outcome.ran,
        downtime_ms: outcome.downtime_ms,
        bytes_needed: outcome.bytes_needed,
        bytes_sent: counted.then_some(outcome.bytes_sent),
        attempts: outcome.attempts,
        dirty_bytes_per_sec: outcome.dirty_rate,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use lifeboat_protocol::{
        VmId,
        message::InventoryVm,
        vm::{Policy, Vm},
    };

    /// A VM as host a1 shows it.
    pub(in crate::daemon) fn sample(run_state: RunState, state: VmState, heard: bool) -> VmView {
        let vm = Vm {
            id: VmId([1; 16]),
            name: "web".to_owned(),
            state: run_state,
            memory: 1,
            processors: 1,
            disk: 0,
            dirty_rate: 0,
            working_set: 0,
            policy: Policy::default(),
            obstacles: Vec::new(),
        };
        let vm = InventoryVm { vm, state, remaining: 0, reasons: Vec::new() };
        VmView { host: "a1".to_owned(), heard, vm }
    }

    #[test]
    fn a_guest_that_stands_still_is_not_said_to_run() {
        let check = |state: VmState, heard: bool, expect: &str| {
            let found = vm_info(sample(RunState::Running, state, heard)).run_state;
            assert_eq!(found, expect, "{state:?}");
        };
        check(VmState::Moving, true, "running");
        check(VmState::Moving, false, "unknown");
        check(VmState::Switching, true, "paused");
        check(VmState::Committing, true, "paused");
        check(VmState::Unknown, true, "unknown");
        check(VmState::Arriving, false, "incoming");
    }
}
