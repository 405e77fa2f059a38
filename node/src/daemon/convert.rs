//! Between the hypervisors' words and the protocol's.

use lifeboat_hypervisor as hypervisor;
use lifeboat_protocol::{self as protocol, vm};

use crate::legible;

pub(super) fn vm_id(id: hypervisor::VmId) -> protocol::VmId {
    protocol::VmId(id.0)
}

pub(super) fn hypervisor_id(id: protocol::VmId) -> hypervisor::VmId {
    hypervisor::VmId(id.0)
}

pub(super) fn copy(copy: hypervisor::Copy) -> vm::Copy {
    match copy {
        hypervisor::Copy::Absent => vm::Copy::Absent,
        hypervisor::Copy::Running => vm::Copy::Running,
        hypervisor::Copy::Paused => vm::Copy::Paused,
        hypervisor::Copy::Incoming => vm::Copy::Incoming,
        hypervisor::Copy::Switching => vm::Copy::Switching,
        hypervisor::Copy::MovedAway => vm::Copy::MovedAway,
        hypervisor::Copy::ShutOff => vm::Copy::ShutOff,
    }
}

/// `copy_storage`: whether local disks travel with their VM.
pub(crate) fn vm(one: hypervisor::Vm, copy_storage: bool) -> vm::Vm {
    vm::Vm {
        id: vm_id(one.id),
        name: legible::name(&one.name),
        state: match one.state {
            hypervisor::RunState::Running => vm::RunState::Running,
            hypervisor::RunState::Paused => vm::RunState::Paused,
            hypervisor::RunState::ShutOff => vm::RunState::ShutOff,
        },
        memory: one.memory,
        processors: one.processors,
        disk: if copy_storage { one.local_disk } else { 0 },
        dirty_rate: one.dirty_rate.unwrap_or(0),
        working_set: one.working_set.unwrap_or(0),
        policy: vm::Policy {
            priority: one.policy.priority.min(100),
            group: one.policy.group,
            max_downtime_ms: one.policy.max_downtime_ms,
            max_downtime_escalated_ms: one.policy.max_downtime_escalated_ms,
            auto_converge: one.policy.auto_converge,
            // No driver can do it: libvirt refuses it together with paused arrival.
            post_copy: false,
            stop_and_copy: one.policy.stop_and_copy,
        },
        obstacles: one.obstacles.iter().map(|text| legible::text(text)).collect(),
    }
}
