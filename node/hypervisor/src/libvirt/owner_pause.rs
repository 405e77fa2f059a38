//! A guest that its owner pauses while it is on its way.
//!
//! libvirt tells such a pause in the same words as the one for the switchover, and runs the guest
//! wherever it ends. So the move is given up, the guest is paused again, and the next attempt takes
//! it as what it is by then: a paused VM, which arrives paused.
//!
//! What tells the two apart: QEMU stops a guest for the switchover only when no more is left than
//! its own measure of the rate carries within the allowed pause. A pause shortly before that is
//! taken for the switchover, and such a guest runs where it arrives.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Inner,
    calls::{QUICK, SLOW},
    moves::Attempt,
    raw::{self, Job},
};
use crate::VmId;

/// Most switchovers are over by then, and none is held up by being asked about.
const ASK_AFTER: Duration = Duration::from_millis(700);
/// What a guest may still have written between QEMU's decision and its pause.
const SLACK: u64 = 4 << 20;

/// Why the move ended.
pub(super) const REASON: &str =
    "it was paused by hand while it moved: it is paused here, and leaves so at the next attempt";

/// The guest stands still, and not at lifeboat's own word: gives the move up if that is the owner's
/// doing.
pub(super) async fn look_into(inner: Arc<Inner>, vm: VmId, attempt: Attempt) {
    sleep(ASK_AFTER).await;
    if !inner.moves.is_paused(vm, attempt) || !inner.moves.is_under_way(vm) {
        return;
    }
    let asked = inner.ask_qemu(vm, "tell why a VM stands still", QUICK, |domain| {
        Ok(is_owners(&raw::job(domain)?, raw::max_downtime(domain)?))
    });
    // Where nobody can tell, a switchover is not disturbed.
    if let Ok(true) = asked.await
        && inner.moves.hold(vm, attempt)
    {
        tracing::warn!(%vm, "{REASON}");
        let abort = |domain: &_| Ok(raw::abort_job(domain)?);
        if let Err(error) = inner.ask_qemu(vm, "give a migration up", SLOW, abort).await {
            tracing::warn!(%vm, %error, "it runs on where its move ends, although it was paused");
        }
    }
}

/// Pauses the guest again, since libvirt runs it where a move fails.
pub(super) async fn restore(inner: &Inner, vm: VmId) {
    let suspend = |domain: &virt::domain::Domain| Ok(domain.suspend().map(drop)?);
    if let Err(error) = inner.ask_qemu(vm, "pause a VM again", SLOW, suspend).await {
        tracing::warn!(%vm, %error, "it runs, although it was paused by hand: pause it again");
    }
}

fn is_owners(job: &Job, max_downtime_ms: u64) -> bool {
    let switches_at = job.memory_rate.saturating_mul(max_downtime_ms) / 1000;
    // While disks are copied, memory has not begun.
    job.memory_total == 0 || job.memory_remaining > switches_at.saturating_mul(2) + SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switchover_comes_only_when_little_is_left() {
        let left = |memory_remaining| Job {
            memory_total: 1 << 30,
            memory_remaining,
            memory_rate: 25_000_000,
            ..Job::default()
        };
        assert!(!is_owners(&left(7_000_000), 300));
        assert!(is_owners(&left(60_000_000), 300));
        assert!(!is_owners(&left(60_000_000), 5000), "a longer pause was allowed");
        assert!(is_owners(&Job::default(), 300), "only disks were copied so far");
    }
}
