//! The one order of all VMs that want the link, computed identically everywhere from gossip.
//!
//! What is under way comes first (nothing is paused half way), nearest to its end first; then
//! priority class; then weight over predicted time, largest first (Smith's rule), which with equal
//! weights is the shortest first; ties by VM id.

use alloc::vec::Vec;
use core::{cmp::Reverse, time::Duration};

use crate::{
    ids::{LinkId, NodeId, VmId},
    message::{HeadVm, Stage},
    units::BytesPerSec,
    vm::precopy_time,
};

/// A VM and the host that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// The host.
    pub source: NodeId,
    /// The VM.
    pub vm: HeadVm,
}

/// Sorts the VMs that want `link` into the common order.
pub fn common_order(
    link: LinkId,
    capacity: BytesPerSec,
    all: impl Iterator<Item = Contender>,
) -> Vec<Contender> {
    let mut order: Vec<Contender> = all.filter(|contender| contender.vm.link == link).collect();
    order.sort_by_cached_key(|contender| key(capacity, &contender.vm));
    order
}

type Key = (u8, Reverse<u8>, Duration, VmId);

fn key(capacity: BytesPerSec, vm: &HeadVm) -> Key {
    let rank = match vm.stage {
        Stage::Switching => 0,
        Stage::Moving => 1,
        Stage::Reserved | Stage::Queued => 2,
    };
    (rank, Reverse(vm.priority), precopy_time(vm.bytes, capacity.0, vm.dirty_rate), vm.vm)
}
