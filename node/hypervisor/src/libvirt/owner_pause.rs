//! A guest that its owner pauses while it is on its way.
//!
//! libvirt tells such a pause in the same words as the one for the switchover, and runs the guest
//! wherever it ends. So the move is given up, the guest is paused again, and the next attempt takes
//! it as what it is by then: a paused VM, which arrives paused.
//!
//! What tells the two apart: QEMU stops a guest for the switchover only when no more is left than
//! its own measure of the rate carries within the allowed pause. So a guest was paused by its owner
//! if more is left while it stands still, and goes on flowing.
//!
//! Invariant: *in doubt it was not its owner*: a guest that ran before its move runs after it. What
//! does not flow proves nothing: of a move that waits in its switchover libvirt tells old figures,
//! or none, and one that an outage interrupts there looks as if its memory had not begun. A pause
//! shortly before the switchover is taken for it, too, and so is one from whose beginning on nothing
//! flows; such a guest runs where it ends.

use std::{sync::Weak, time::Duration};

use tokio::time::sleep;
use virt::{domain::Domain, sys};

use super::{
    Inner,
    calls::{QUICK, SLOW},
    moves::Attempt,
    raw::{self, Job},
};
use crate::VmId;

/// Most switchovers are over by then, and none is held up by being asked about.
const ASK_EVERY: Duration = Duration::from_millis(700);
/// What a guest may still have written between QEMU's decision and its pause.
const SLACK: u64 = 4 << 20;

/// Why the move ended.
pub(super) const REASON: &str =
    "it was paused by hand while it moved: it is paused here, and leaves so at the next attempt";

/// The guest stands still, and not at lifeboat's own word: gives the move up if that is the owner's
/// doing. Asks for as long as the guest stands still.
pub(super) async fn look_into(inner: Weak<Inner>, vm: VmId, attempt: Attempt) {
    let mut before = None;
    loop {
        sleep(ASK_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if !inner.moves.stands_still(vm, attempt) {
            return;
        }
        let asked = inner.ask_qemu(vm, "tell why a VM stands still", QUICK, |domain| {
            Ok((raw::job(domain)?, raw::max_downtime(domain)?))
        });
        // Where nobody can tell, a switchover is not disturbed.
        let Ok((job, max_downtime_ms)) = asked.await else { continue };
        let proven = before.is_some_and(|before| is_owners(&before, &job, max_downtime_ms));
        before = Some(job);
        if proven && inner.moves.hold(vm, attempt) {
            return give_up(&inner, vm).await;
        }
    }
}

async fn give_up(inner: &Inner, vm: VmId) {
    tracing::warn!(%vm, "{REASON}");
    let abort = |domain: &Domain| Ok(raw::abort_job(domain)?);
    if let Err(error) = inner.ask_qemu(vm, "give a migration up", SLOW, abort).await {
        tracing::warn!(%vm, %error, "it runs on where its move ends, although it was paused");
    }
}

/// Pauses the guest again, since libvirt runs it where a move fails.
pub(super) async fn restore(inner: &Inner, vm: VmId) {
    let suspend = |domain: &Domain| Ok(domain.suspend().map(drop)?);
    if let Err(error) = inner.ask_qemu(vm, "pause a VM again", SLOW, suspend).await {
        tracing::warn!(%vm, %error, "it runs, although it was paused by hand: pause it again");
    }
}

/// Whether a guest that stood still all the time from one word of its job to the next was paused by
/// its owner.
fn is_owners(before: &Job, now: &Job, max_downtime_ms: u64) -> bool {
    let flows = sent(now) > sent(before);
    flows && is_early(before, max_downtime_ms) && is_early(now, max_downtime_ms)
}

/// Whether QEMU would not stop a guest yet for the switchover of its migration.
fn is_early(job: &Job, max_downtime_ms: u64) -> bool {
    let switches_at = job.memory_rate.saturating_mul(max_downtime_ms) / 1000;
    let only_disks = job.memory_total == 0 && job.disk_remaining > 0;
    let much_is_left = job.memory_remaining > switches_at.saturating_mul(2) + SLACK;
    job.kind == sys::VIR_DOMAIN_JOB_UNBOUNDED && (only_disks || much_is_left)
}

fn sent(job: &Job) -> u64 {
    job.memory_processed + job.disk_processed
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A migration that measures 25 MB/s, as libvirt tells of it.
    fn memory(processed: u64, left: u64) -> Job {
        Job {
            kind: sys::VIR_DOMAIN_JOB_UNBOUNDED,
            memory_total: 1024 * MIB,
            memory_processed: processed * MIB,
            memory_remaining: left * MIB,
            memory_rate: 25_000_000,
            ..Job::default()
        }
    }

    fn disks(processed: u64) -> Job {
        let kind = sys::VIR_DOMAIN_JOB_UNBOUNDED;
        let (disk_processed, disk_remaining) = (processed * MIB, (32 - processed) * MIB);
        Job { kind, disk_total: 32 * MIB, disk_processed, disk_remaining, ..Job::default() }
    }

    /// Of a move that waits in its switchover.
    fn nothing() -> Job {
        Job { kind: sys::VIR_DOMAIN_JOB_UNBOUNDED, ..Job::default() }
    }

    #[test]
    fn what_flows_long_before_the_switchover_flows_of_a_guest_that_its_owner_paused() {
        assert!(is_owners(&memory(100, 600), &memory(117, 583), 300));
        assert!(is_owners(&disks(3), &disks(9), 300), "only disks were copied so far");
    }

    #[test]
    fn a_switchover_comes_only_when_little_is_left() {
        assert!(!is_owners(&memory(990, 10), &memory(993, 7), 300));
        assert!(!is_owners(&memory(900, 60), &memory(910, 50), 5000), "a longer pause was allowed");
        assert!(!is_owners(&memory(900, 60), &memory(953, 7), 300), "it may have come meanwhile");
    }

    #[test]
    fn what_does_not_flow_proves_nothing() {
        let stopped = memory(100, 600);
        assert!(!is_owners(&stopped, &stopped, 300), "an outage, or figures from before");
        assert!(!is_owners(&disks(32), &disks(32), 300));
        assert!(!is_owners(&nothing(), &nothing(), 300));
        assert!(!is_owners(&nothing(), &memory(993, 7), 300));
    }

    #[test]
    fn a_migration_that_is_over_proves_nothing() {
        let failed = Job { kind: sys::VIR_DOMAIN_JOB_FAILED, ..memory(117, 583) };
        assert!(!is_owners(&memory(100, 600), &failed, 300));
        assert!(!is_owners(&memory(100, 600), &Job::default(), 300));
    }
}
