//! VMs that have arrived: what is left to do until their sources know.
//!
//! A VM that runs here (or rests here as it should) is a VM of this host like any other: it may leave
//! again at once, whether or not its former host is ever heard again. What stays is the answer to a
//! source that asks, and the memory that was set aside, until the host's own figures hold it.
//!
//! Invariants:
//! - *for good*: that an attempt has settled is in the journal, so a restarted daemon neither resumes
//!   the VM again nor misses it when it is not here any more;
//! - *no obstacle*: nothing here keeps a VM from leaving, nor, once it has left, from coming back.

use alloc::{collections::BTreeMap, format};
use core::time::Duration;

use crate::{
    arrivals::memory_needed,
    effects::Effects,
    ids::{EvacuationId, MoveId, VmId},
    journal::{ArrivalRecord, Key, Stood},
    message::Direct,
    output::NoticeKind,
    time::Instant,
    vm::Vm,
};

/// Time between two words to a source that has not said that it knows.
const TELL_EVERY: Duration = Duration::from_millis(2800);
/// Time after which the host's figures hold the memory of whatever is still here: they come several
/// times in it.
const COUNTED_AFTER: Duration = Duration::from_secs(10);

/// A VM that has arrived.
#[derive(Debug, Clone, Hash)]
pub struct Settled {
    /// The attempt.
    pub id: MoveId,
    /// The evacuation that moved it.
    pub evacuation: EvacuationId,
    /// The VM.
    pub vm: Vm,
    downtime_ms: Option<u64>,
    /// Whether the host's figures hold its memory.
    counted: bool,
    since: Instant,
    told_at: Instant,
}

impl Settled {
    pub(crate) fn new(
        now: Instant,
        id: MoveId,
        evacuation: EvacuationId,
        vm: Vm,
        downtime_ms: Option<u64>,
    ) -> Self {
        Self { id, evacuation, vm, downtime_ms, counted: false, since: now, told_at: now }
    }

    /// One found in the journal when the daemon starts.
    pub(crate) fn restored(now: Instant, id: MoveId, record: ArrivalRecord, stood: Stood) -> Self {
        let settled = Self::new(now, id, record.evacuation, record.vm, stood.downtime_ms);
        // The hypervisor has had it since a former life of this daemon.
        Self { counted: true, ..settled }
    }

    /// Whether the hypervisor has not listed it yet.
    pub(crate) fn is_new(&self) -> bool {
        !self.counted
    }

    fn tell(&self, fx: &mut Effects) {
        let (id, downtime_ms) = (self.id, self.downtime_ms);
        fx.send(id.source, Direct::Settled { id, downtime_ms });
    }
}

/// All VMs that have arrived and of which their sources may not know it.
#[derive(Debug, Clone, Default, Hash)]
pub struct AllSettled {
    all: BTreeMap<VmId, Settled>,
}

impl AllSettled {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Settled> {
        self.all.values()
    }

    /// Adds one; what an earlier move of the same VM left is over with that.
    pub(crate) fn insert(&mut self, settled: Settled, fx: &mut Effects) {
        let id = settled.id;
        if let Some(former) = self.all.insert(id.vm, settled).filter(|former| former.id != id) {
            fx.erase(&Key::Arrival(former.id));
        }
    }

    pub(crate) fn has(&self, id: MoveId) -> bool {
        self.all.get(&id.vm).is_some_and(|settled| settled.id == id)
    }

    /// Whether a VM has arrived a moment ago and is not listed yet.
    pub(crate) fn is_new(&self, vm: VmId) -> bool {
        self.all.get(&vm).is_some_and(Settled::is_new)
    }

    /// Memory of VMs that the host's figures do not hold yet, bytes.
    pub(crate) fn reserved(&self) -> u64 {
        let new = self.all.values().filter(|settled| settled.is_new());
        new.map(|settled| memory_needed(&settled.vm)).fold(0, u64::saturating_add)
    }

    /// The host's figures are new.
    pub(crate) fn count(&mut self, now: Instant, listed: &BTreeMap<VmId, Vm>) {
        for settled in self.all.values_mut() {
            if settled.counted {
                continue;
            }
            settled.counted =
                listed.contains_key(&settled.id.vm) || now.since(settled.since) >= COUNTED_AFTER;
            if settled.counted {
                // Its source can close only now.
                settled.told_at = Instant::default();
            }
        }
    }

    /// The source of a move that has settled speaks of it. Returns whether there is such a move.
    pub(crate) fn said_by_source(&mut self, id: MoveId, direct: &Direct, fx: &mut Effects) -> bool {
        let Some(settled) = self.all.get(&id.vm).filter(|settled| settled.id == id) else {
            return false;
        };
        match direct {
            Direct::SourceGone { .. } | Direct::Ask { .. } => settled.tell(fx),
            // Its memory stays set aside until the host's figures hold it; until then the source is
            // told again that it settled, and closes again.
            Direct::Closed { .. } if settled.counted || memory_needed(&settled.vm) == 0 => {
                fx.erase(&Key::Arrival(id));
                self.all.remove(&id.vm);
            }
            Direct::SourceKept { .. } => {
                let text = format!(
                    "the source says that it keeps {}, which it had given away: check both hosts \
                     by hand",
                    settled.vm.name
                );
                fx.vm_notice(NoticeKind::Alarm, id.vm, settled.evacuation, text);
            }
            _ => {}
        }
        true
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant, fx: &mut Effects) {
        for settled in self.all.values_mut() {
            if now.since(settled.told_at) >= TELL_EVERY {
                settled.told_at = now;
                settled.tell(fx);
            }
        }
    }
}
