//! How a queue report travels: what heads next to each other have in common is told once, and what
//! only a VM has that is under way is left out of the others.
//!
//! Invariants: what is told comes back as it was, heads in their order; whatever can be decoded is a
//! report.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    groups::Grouped,
    ids::{EvacuationId, LinkId, NodeId, VmId},
    message::{HeadVm, QueueReport, Stage},
    tuning::Tuning,
    units::BytesPerSec,
    vm::converging_rate,
};

/// A [`QueueReport`] on its way.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    vms: u32,
    stuck: u32,
    bytes: u64,
    unknown: u32,
    groups: Vec<Group>,
}

/// Heads next to each other that have the same of these.
#[derive(Serialize, Deserialize)]
struct Group {
    common: Common,
    heads: Vec<Head>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Common {
    evacuation: EvacuationId,
    link: LinkId,
    most: BytesPerSec,
    reach: BytesPerSec,
    setup_ms: u32,
}

/// What each head has of its own.
#[derive(Serialize, Deserialize)]
struct Head {
    vm: VmId,
    priority: u8,
    bytes: u64,
    dirty_rate: u64,
    /// `None` where it is what its dirtying asks for.
    floor: Option<BytesPerSec>,
    group: Option<Grouped>,
    advanced: Option<Advanced>,
}

/// How far a VM is that does more than wait.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Advanced {
    stage: Stage,
    to: Option<NodeId>,
    rate: BytesPerSec,
    yields: bool,
}

/// The floor that needs no saying.
fn asked_for(dirty_rate: u64) -> BytesPerSec {
    converging_rate(Tuning::default(), dirty_rate)
}

const WAITS: Advanced =
    Advanced { stage: Stage::Queued, to: None, rate: BytesPerSec(0), yields: false };

impl From<QueueReport> for Told {
    fn from(report: QueueReport) -> Self {
        let QueueReport { vms, stuck, bytes, unknown, head } = report;
        let mut groups: Vec<Group> = Vec::new();
        for one in head {
            let HeadVm { evacuation, link, most, reach, setup_ms, .. } = one;
            let common = Common { evacuation, link, most, reach, setup_ms };
            let HeadVm { vm, priority, bytes, dirty_rate, floor, group, .. } = one;
            let HeadVm { stage, to, rate, yields, .. } = one;
            let advanced = Some(Advanced { stage, to, rate, yields }).filter(|one| *one != WAITS);
            let floor = Some(floor).filter(|floor| *floor != asked_for(dirty_rate));
            let head = Head { vm, priority, bytes, dirty_rate, floor, group, advanced };
            match groups.last_mut().filter(|group| group.common == common) {
                Some(group) => group.heads.push(head),
                None => groups.push(Group { common, heads: alloc::vec![head] }),
            }
        }
        Self { vms, stuck, bytes, unknown, groups }
    }
}

impl From<Told> for QueueReport {
    fn from(told: Told) -> Self {
        let Told { vms, stuck, bytes, unknown, groups } = told;
        let mut all = Vec::new();
        for Group { common, heads } in groups {
            let Common { evacuation, link, most, reach, setup_ms } = common;
            all.extend(heads.into_iter().map(|head| {
                let Head { vm, priority, bytes, dirty_rate, floor, group, advanced } = head;
                let Advanced { stage, to, rate, yields } = advanced.unwrap_or(WAITS);
                let floor = floor.unwrap_or_else(|| asked_for(dirty_rate));
                HeadVm {
                    vm,
                    evacuation,
                    link,
                    stage,
                    priority,
                    bytes,
                    dirty_rate,
                    floor,
                    most,
                    reach,
                    to,
                    rate,
                    setup_ms,
                    yields,
                    group,
                }
            }));
        }
        Self { vms, stuck, bytes, unknown, head: all }
    }
}
