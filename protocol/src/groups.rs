//! VMs that belong together, and so leave one after the other.
//!
//! Invariants:
//! - the waiting VMs of a group that the order is made of stand next to each other in it, but for those
//!   that cannot make their deadline;
//! - a group of which one has begun comes before all others of its class that wait, and keeps the class
//!   that it began with, though its most urgent VM has left;
//! - VMs of no group are ordered as if there were none.

use alloc::collections::BTreeMap;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::GroupId,
    message::{HeadVm, Stage},
    order::Contender,
};

/// What is said of the group of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grouped {
    /// The group.
    pub id: GroupId,
    /// The highest class of those of the group that have begun to leave, as far as the speaker knows; `None`
    /// if none has.
    pub begun: Option<u8>,
}

impl HeadVm {
    /// The group of which this shows that one of it has begun to leave, and the highest class of those.
    pub(crate) fn begun_group(&self) -> Option<(GroupId, u8)> {
        let group = self.group?;
        let moves = matches!(self.stage, Stage::Moving | Stage::Switching);
        let class = group.begun.max(moves.then_some(self.priority))?;
        Some((group.id, class))
    }
}

/// All that wait of a group, or one VM of none, as the order sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unit {
    /// The highest class in it, of those that have begun, too.
    pub(crate) priority: u8,
    /// Whether one of it has begun.
    pub(crate) begun: bool,
    /// How long the longest takes of those that must not wait any longer.
    pub(crate) critical: Option<Duration>,
    time: Duration,
    vms: u32,
}

impl Unit {
    /// Counts one in.
    pub(crate) fn add(&mut self, priority: u8, critical: Option<Duration>, time: Duration) {
        self.priority = self.priority.max(priority);
        self.critical = self.critical.max(critical);
        self.time = self.time.saturating_add(time);
        self.vms += 1;
    }

    /// One of it has begun to leave, and this is the highest class of those.
    pub(crate) fn begins(&mut self, class: u8) {
        self.begun = true;
        self.priority = self.priority.max(class);
    }

    /// Its time for each of its VMs. With equal weights the mean completion is least when units go in
    /// the order of this (Smith 1956, for jobs that are done in a block).
    pub(crate) fn mean(&self) -> Duration {
        self.time.checked_div(self.vms).unwrap_or_default()
    }
}

/// The groups among those that want a link.
#[derive(Debug, Default)]
pub(crate) struct Units(BTreeMap<GroupId, Unit>);

impl Units {
    /// `figures`: when a VM is critical how long it takes alone, and how long it takes on the whole link.
    pub(crate) fn of(
        all: &[Contender],
        figures: impl Fn(&Contender) -> (Option<Duration>, Duration),
    ) -> Self {
        let mut units: BTreeMap<GroupId, Unit> = BTreeMap::new();
        for one in all {
            let Some(group) = one.vm.group else { continue };
            let unit = units.entry(group.id).or_default();
            if let Some((_, class)) = one.vm.begun_group() {
                unit.begins(class);
            }
            if one.waits() {
                let (critical, time) = figures(one);
                unit.add(one.vm.priority, critical, time);
            }
        }
        Self(units)
    }

    /// The unit of one that waits.
    pub(crate) fn get(&self, vm: &HeadVm) -> Option<&Unit> {
        self.0.get(&vm.group?.id)
    }
}
