//! What third hosts say of VMs whose handover is open here.
//!
//! A VM that a person starts on a third host while a complete copy of it waits is *claimed* by that host. As
//! long as it is, the source does not give the VM away and the destination does not resume it.
//!
//! Invariants:
//! - a claim is made by an inventory that was told after the move began here: what a host said before may be
//!   out of date;
//! - a claim outlasts the silence of its host, and a restart of the source's daemon. It ends when that host
//!   says for a while that it has nothing of the VM, or when a person declares the host dead.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use super::{KnownInventory, Node};
use crate::{
    effects::Effects,
    ids::{EvacuationId, NodeId, VmId},
    time::Instant,
};

/// For how long a host must say that it has nothing of a VM any more: where that moved on, its next host has
/// said so by then.
const GONE_FOR: Duration = Duration::from_secs(6);

/// Hosts that claim a VM, each with since when it says that it has nothing of it.
pub(crate) type Claims = BTreeMap<NodeId, Option<Instant>>;

impl Node {
    /// VMs of this host that are held back because a node has said that it runs them, by name.
    pub fn held_by(&self, node: NodeId) -> Vec<String> {
        let twice = self.doubles.iter().filter(|(_, double)| double.hosts.contains(&node));
        let claimed = self.claims.iter().filter(|(_, claims)| claims.contains_key(&node));
        let held: BTreeSet<&VmId> =
            twice.map(|(vm, _)| vm).chain(claimed.map(|(vm, _)| vm)).collect();
        held.into_iter().filter_map(|vm| Some(self.vms.get(vm)?.name.clone())).collect()
    }

    /// A host other than `end` that claims a VM whose handover between this host and `end` is open.
    pub(super) fn third_running(&self, vm: VmId, end: NodeId) -> Option<NodeId> {
        self.claims.get(&vm)?.keys().copied().find(|node| *node != end)
    }

    /// Whether a VM that was given away is known to have left its destination since: then it had settled
    /// there, and who runs it now runs the only one.
    pub(super) fn went_on(&self, now: Instant, vm: VmId) -> bool {
        let Some(departure) = self.departures.get(vm).filter(|one| one.is_gone()) else {
            return false;
        };
        let to = self.directory.name(departure.to);
        let ago = |evacuation: EvacuationId, ms: u64| {
            let age = self.evacuations.get(evacuation).map(|known| known.age(now))?;
            Some(age.saturating_sub(Duration::from_millis(ms)))
        };
        let Some(began) = ago(departure.evacuation, departure.start_ms) else { return false };
        self.outcomes.iter().any(|((evacuation, moved), outcome)| {
            let later = ago(*evacuation, outcome.end_ms).is_some_and(|ended| ended < began);
            *moved == vm && outcome.from == to && later
        })
    }

    /// Takes in what has been told since.
    pub(super) fn note_claims(&mut self, now: Instant, fx: &mut Effects) {
        let leave = self.departures.all().filter(|one| one.begun());
        let leave = leave.map(|one| (one.id.vm, one.to, one.began_at));
        let come = self.arrivals.all().map(|one| (one.id.vm, one.id.source, one.since));
        let open: Vec<(VmId, NodeId, Instant)> = leave.chain(come).collect();
        let vms: BTreeSet<VmId> = open.iter().map(|(vm, _, _)| *vm).collect();
        self.claims.retain(|vm, _| vms.contains(vm));
        for (vm, end, since) in open {
            let told = self.inventories.iter().filter(|(node, known)| {
                known.told_at >= since && **node != end && known.running.contains_key(&vm)
            });
            let claim: Vec<NodeId> = told.map(|(node, _)| *node).collect();
            for node in claim {
                if self.claims.entry(vm).or_default().insert(node, None).is_none() {
                    self.keep_claims(vm, fx);
                }
            }
        }
        self.end_claims(now, fx);
    }

    /// Ends the claims of hosts that have had nothing of the VM for long enough.
    pub(super) fn end_claims(&mut self, now: Instant, fx: &mut Effects) {
        let mut ended = Vec::new();
        for (vm, claims) in &mut self.claims {
            let before = claims.len();
            claims.retain(|node, gone_since| {
                let known = self.inventories.get(node);
                let untold = known.is_none_or(KnownInventory::is_untold);
                let has = untold || known.is_some_and(|known| known.live.contains(vm));
                if has || !self.membership.is_up(now, *node) {
                    *gone_since = None;
                    return true;
                }
                now.since(*gone_since.get_or_insert(now)) < GONE_FOR
            });
            if claims.len() < before {
                ended.push(*vm);
            }
        }
        for vm in ended {
            self.keep_claims(vm, fx);
        }
    }

    /// Claims of a host that a person has declared dead are void.
    pub(super) fn void_claims(&mut self, node: NodeId, fx: &mut Effects) {
        if let Some(known) = self.inventories.get_mut(&node) {
            known.running.clear();
            known.live.clear();
        }
        self.inventories_changed = true;
        self.doubles.retain(|_, double| !double.hosts.contains(&node));
        let vms: Vec<VmId> = self.claims.keys().copied().collect();
        for vm in vms {
            let claims = self.claims.entry(vm).or_default();
            if claims.remove(&node).is_some() {
                self.keep_claims(vm, fx);
            }
        }
    }

    /// A source's claims are in the journal with its departure.
    fn keep_claims(&mut self, vm: VmId, fx: &mut Effects) {
        let claims = self.claims.get(&vm);
        let nodes = claims.map(|claims| claims.keys().copied().collect()).unwrap_or_default();
        if let Some(departure) = self.departures.get_mut(vm) {
            departure.claimed_by = nodes;
            departure.persist(fx);
        }
    }
}
