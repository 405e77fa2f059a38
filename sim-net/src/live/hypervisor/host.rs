//! The table of what a host has of each VM, and every change to it.
//!
//! Invariants:
//! - *One truth*: a VM has one slot, and every change of it happens under the table's lock.
//! - *Late workers change nothing*: a migration or arrival whose slot has gone to something else
//!   finds that out under the lock, and leaves it alone.
//! - *Accounting*: live and arriving memory never exceeds the host's limit.
//!
//! Lock order: table, then a guest's execution, then a slab.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::{
    Uuid,
    guest::Guest,
    incoming::Arrival,
    memory::PAGE,
    outgoing::Outgoing,
    protocol::{Capacity, Definition, Description, Event, Look, State},
};
use crate::live::{
    clock::monotonic_ns,
    control::{self, Events, Refusal},
    locked,
};

/// Longest definition in JSON, in bytes.
const MAX_DEFINITION: usize = 32 << 10;

/// What a host has of one VM.
enum Slot {
    ShutOff(Definition),
    /// What stays at the source of a completed migration: evidence, until it is forgotten.
    MovedAway(Definition),
    Arriving(Arc<Arrival>),
    Live {
        guest: Arc<Guest>,
        outgoing: Option<Arc<Outgoing>>,
    },
}

impl Slot {
    fn look(&self) -> Look {
        let state = match self {
            Self::ShutOff(_) => State::ShutOff,
            Self::MovedAway(_) => State::MovedAway,
            Self::Arriving(arrival) if arrival.has_stream() => State::Incoming,
            Self::Arriving(_) => State::Expected,
            Self::Live { outgoing: Some(job), .. } if job.is_switching() => State::Switching,
            Self::Live { guest, .. } if guest.execution().running => State::Running,
            Self::Live { .. } => State::Paused,
        };
        Look { state, migrating: matches!(self, Self::Live { outgoing: Some(_), .. }) }
    }

    fn memory(&self) -> u64 {
        match self {
            Self::ShutOff(_) | Self::MovedAway(_) => 0,
            Self::Arriving(arrival) => arrival.memory(),
            Self::Live { guest, .. } => guest.definition().memory,
        }
    }

    fn definition(&self) -> Option<Definition> {
        match self {
            Self::ShutOff(definition) | Self::MovedAway(definition) => Some(definition.clone()),
            Self::Arriving(arrival) => arrival.definition(),
            Self::Live { guest, .. } => Some(guest.definition()),
        }
    }

    fn is_job(&self, job: &Arc<Outgoing>) -> bool {
        matches!(self, Self::Live { outgoing: Some(own), .. } if Arc::ptr_eq(own, job))
    }

    fn is_arrival(&self, arrival: &Arc<Arrival>) -> bool {
        matches!(self, Self::Arriving(own) if Arc::ptr_eq(own, arrival))
    }
}

#[derive(Default)]
struct Table {
    slots: BTreeMap<Uuid, Slot>,
    refuse_migrations: u32,
}

/// One host and its VMs.
pub(crate) struct Host {
    memory_total: u64,
    processors: u32,
    table: Mutex<Table>,
    events: Events,
}

impl Host {
    /// A host without VMs.
    pub(crate) fn new(memory_total: u64, processors: u32) -> Self {
        let table = Mutex::new(Table::default());
        Self { memory_total, processors, table, events: control::events() }
    }

    /// Where its events go.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    fn tell(&self, event: &Event) {
        let event = serde_json::to_value(event).expect("an event is plain data");
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    fn changed(&self, vm: &Uuid) {
        self.tell(&Event::Changed { vm: vm.clone() });
    }

    /// Memory and processors.
    pub(crate) fn capacity(&self) -> Capacity {
        let memory_free = self.free(&locked(&self.table));
        Capacity { memory_total: self.memory_total, memory_free, processors: self.processors }
    }

    fn free(&self, table: &Table) -> u64 {
        let used: u64 = table.slots.values().map(Slot::memory).sum();
        self.memory_total - used
    }

    /// All VMs whose definition is known here.
    pub(crate) fn list(&self) -> Vec<Description> {
        let table = locked(&self.table);
        let describe = |slot: &Slot| {
            let Look { state, migrating } = slot.look();
            let last_downtime_ms = match slot {
                Slot::Live { guest, .. } => guest.execution().last_downtime_ms,
                _ => None,
            };
            let definition = slot.definition()?;
            Some(Description { definition, state, migrating, last_downtime_ms })
        };
        table.slots.values().filter_map(describe).collect()
    }

    /// What is here of one VM.
    pub(crate) fn look(&self, vm: &Uuid) -> Look {
        let absent = Look { state: State::Absent, migrating: false };
        locked(&self.table).slots.get(vm).map_or(absent, Slot::look)
    }

    /// The guests that may execute.
    pub(crate) fn live_guests(&self) -> Vec<Arc<Guest>> {
        let table = locked(&self.table);
        let live = |slot: &Slot| match slot {
            Slot::Live { guest, .. } => Some(Arc::clone(guest)),
            _ => None,
        };
        table.slots.values().filter_map(live).collect()
    }

    /// Creates a VM and runs it, unless it shall be paused. Takes time in proportion to its memory.
    pub(crate) fn create(&self, definition: Definition, paused: bool) -> Result<(), Refusal> {
        validate(&definition)?;
        self.admits(&locked(&self.table), &definition)?;
        let vm = definition.uuid.clone();
        let guest = Guest::boot(definition.clone())
            .map_err(|reason| Refusal::refused(format!("the guest cannot boot: {reason}")))?;
        let mut table = locked(&self.table);
        // Asked again: filling the memory took a while.
        self.admits(&table, &definition)?;
        if !paused {
            guest.resume();
        }
        table.slots.insert(vm.clone(), Slot::Live { guest: Arc::new(guest), outgoing: None });
        self.changed(&vm);
        Ok(())
    }

    fn admits(&self, table: &Table, definition: &Definition) -> Result<(), Refusal> {
        let vm = &definition.uuid;
        if table.slots.contains_key(vm) {
            return Err(Refusal::refused(format!("VM {vm} already exists on this host")));
        }
        unique_name(table, definition)?;
        self.has_room(table, definition)
    }

    fn has_room(&self, table: &Table, definition: &Definition) -> Result<(), Refusal> {
        let (need, free) = (definition.memory, self.free(table));
        if need > free {
            let name = &definition.name;
            let reason = format!("VM {name:?} needs {need} bytes of memory and {free} are free");
            return Err(Refusal::refused(reason));
        }
        Ok(())
    }

    /// Defines a shut-off VM, in place of an older definition.
    pub(crate) fn define(&self, definition: Definition) -> Result<(), Refusal> {
        validate(&definition)?;
        let mut table = locked(&self.table);
        let vm = definition.uuid.clone();
        if !matches!(table.slots.get(&vm), None | Some(Slot::ShutOff(_) | Slot::MovedAway(_))) {
            return Err(Refusal::refused(format!("VM {vm} is live on this host")));
        }
        unique_name(&table, &definition)?;
        table.slots.insert(vm.clone(), Slot::ShutOff(definition));
        self.changed(&vm);
        Ok(())
    }

    /// The definition of a shut-off VM.
    pub(crate) fn definition(&self, vm: &Uuid) -> Result<Definition, Refusal> {
        match locked(&self.table).slots.get(vm) {
            Some(Slot::ShutOff(definition) | Slot::MovedAway(definition)) => Ok(definition.clone()),
            Some(_) => Err(Refusal::refused(format!("VM {vm} is not shut off"))),
            None => Err(no_such(vm)),
        }
    }

    /// Destroys and undefines whatever is here of a VM.
    pub(crate) fn destroy(&self, vm: &Uuid) {
        let mut table = locked(&self.table);
        match table.slots.remove(vm) {
            None => return,
            Some(Slot::ShutOff(_) | Slot::MovedAway(_)) => {}
            Some(Slot::Arriving(arrival)) => arrival.cancel(),
            Some(Slot::Live { guest, outgoing }) => {
                guest.execution().running = false;
                if let Some(job) = outgoing {
                    job.abort("the VM was destroyed");
                }
            }
        }
        self.changed(vm);
    }

    /// Removes a shut-off VM.
    pub(crate) fn forget(&self, vm: &Uuid) -> Result<(), Refusal> {
        let mut table = locked(&self.table);
        match table.slots.get(vm) {
            None => return Ok(()),
            Some(Slot::ShutOff(_) | Slot::MovedAway(_)) => table.slots.remove(vm),
            Some(_) => {
                return Err(Refusal::refused(format!("VM {vm} is not shut off on this host")));
            }
        };
        self.changed(vm);
        Ok(())
    }

    /// The guest of a live VM.
    pub(crate) fn guest(&self, vm: &Uuid) -> Result<Arc<Guest>, Refusal> {
        live(&locked(&self.table), vm).map(|(guest, _)| Arc::clone(guest))
    }

    /// The migration that takes a VM away, if one does.
    pub(crate) fn outgoing(&self, vm: &Uuid) -> Result<Option<Arc<Outgoing>>, Refusal> {
        live(&locked(&self.table), vm).map(|(_, outgoing)| outgoing.cloned())
    }

    /// Pauses a guest; within a migration this is its switchover, made early.
    pub(crate) fn pause(&self, vm: &Uuid) -> Result<(), Refusal> {
        let table = locked(&self.table);
        let (guest, outgoing) = live(&table, vm)?;
        match outgoing {
            Some(job) => self.stop_for_switchover(job),
            None => guest.execution().running = false,
        }
        self.changed(vm);
        Ok(())
    }

    /// Runs a guest.
    pub(crate) fn resume(&self, vm: &Uuid) -> Result<(), Refusal> {
        let table = locked(&self.table);
        if matches!(table.slots.get(vm), Some(Slot::Arriving(_))) {
            return Err(Refusal::refused(format!("VM {vm} has not arrived completely")));
        }
        let (guest, outgoing) = live(&table, vm)?;
        if outgoing.is_some_and(|job| job.is_switching()) {
            let reason = format!("VM {vm} is paused for a migration that is not decided yet");
            return Err(Refusal::refused(reason));
        }
        guest.resume();
        self.changed(vm);
        Ok(())
    }

    /// Fault injection: refuses the next migrations.
    pub(crate) fn refuse_migrations(&self, next: u32) {
        locked(&self.table).refuse_migrations = next;
    }

    /// Source: enters a migration that `start` makes.
    pub(crate) fn begin(
        &self,
        vm: &Uuid,
        start: impl FnOnce(&Arc<Guest>) -> Result<Arc<Outgoing>, Refusal>,
    ) -> Result<Arc<Outgoing>, Refusal> {
        let mut table = locked(&self.table);
        if let Some(left) = table.refuse_migrations.checked_sub(1) {
            table.refuse_migrations = left;
            return Err(Refusal::refused("told to refuse migrations (fault injection)"));
        }
        match table.slots.get_mut(vm) {
            Some(Slot::Live { outgoing: Some(_), .. }) => {
                Err(Refusal::refused(format!("a migration of VM {vm} is under way")))
            }
            Some(Slot::Live { guest, outgoing }) => {
                let job = start(guest)?;
                *outgoing = Some(Arc::clone(&job));
                Ok(job)
            }
            Some(_) => Err(Refusal::refused(format!("VM {vm} is not live on this host"))),
            None => Err(no_such(vm)),
        }
    }

    /// Source: stops the guest for the last pass. Without effect if the VM is gone.
    pub(crate) fn switch(&self, job: &Arc<Outgoing>) {
        let table = locked(&self.table);
        if table.slots.get(job.vm()).is_some_and(|slot| slot.is_job(job)) {
            self.stop_for_switchover(job);
        }
    }

    fn stop_for_switchover(&self, job: &Outgoing) {
        if job.stop_guest(monotonic_ns()) {
            self.tell(&Event::GuestPaused { vm: job.vm().clone() });
        }
    }

    /// Source: the destination has the VM; what stays is the definition.
    pub(crate) fn source_gone(&self, job: &Arc<Outgoing>) {
        let vm = job.vm();
        let mut table = locked(&self.table);
        if let Some(slot) = table.slots.get_mut(vm).filter(|slot| slot.is_job(job)) {
            *slot = Slot::MovedAway(job.guest().definition());
            self.tell(&Event::SourceGone { vm: vm.clone() });
            self.changed(vm);
        }
        self.tell(&Event::JobEnded { vm: vm.clone(), error: None });
    }

    /// Source: the migration failed; the guest runs on if it ran before.
    pub(crate) fn source_stays(&self, job: &Arc<Outgoing>, reason: String) {
        let vm = job.vm();
        let mut table = locked(&self.table);
        if let Some(slot) = table.slots.get_mut(vm).filter(|slot| slot.is_job(job)) {
            if let Slot::Live { outgoing, .. } = slot {
                *outgoing = None;
            }
            if job.restore_guest() {
                self.tell(&Event::GuestResumed { vm: vm.clone() });
            }
            self.changed(vm);
        }
        self.tell(&Event::JobEnded { vm: vm.clone(), error: Some(reason) });
    }

    /// Destination: clears the way for an arrival: an older one that nothing has come for yet is
    /// cancelled. Answers what is left of the VM here.
    pub(crate) fn clear_way(&self, vm: &Uuid) -> Result<Option<Definition>, Refusal> {
        let mut table = locked(&self.table);
        match table.slots.get(vm) {
            None => Ok(None),
            Some(Slot::ShutOff(definition) | Slot::MovedAway(definition)) => {
                Ok(Some(definition.clone()))
            }
            Some(Slot::Live { .. }) => {
                Err(Refusal::refused(format!("VM {vm} is live on this host")))
            }
            Some(Slot::Arriving(arrival)) if arrival.has_stream() => {
                Err(Refusal::refused(format!("VM {vm} is already arriving on this host")))
            }
            Some(Slot::Arriving(arrival)) => {
                let arrival = Arc::clone(arrival);
                arrival.cancel();
                put_back(&mut table, vm, &arrival);
                Ok(arrival.remains().cloned())
            }
        }
    }

    /// Destination: enters an arrival, after [`clear_way`](Self::clear_way).
    pub(crate) fn expect(&self, vm: &Uuid, arrival: &Arc<Arrival>) -> Result<(), Refusal> {
        let mut table = locked(&self.table);
        if !matches!(table.slots.get(vm), None | Some(Slot::ShutOff(_) | Slot::MovedAway(_))) {
            return Err(Refusal::refused(format!("VM {vm} has just come to this host")));
        }
        table.slots.insert(vm.clone(), Slot::Arriving(Arc::clone(arrival)));
        Ok(())
    }

    /// Destination: runs `then` under the lock if an arrival is still wanted.
    pub(crate) fn if_wanted(&self, vm: &Uuid, arrival: &Arc<Arrival>, then: impl FnOnce()) {
        let table = locked(&self.table);
        if table.slots.get(vm).is_some_and(|slot| slot.is_arrival(arrival)) {
            then();
        }
    }

    /// Destination: takes memory for an arrival, as its stream demands.
    pub(crate) fn reserve(
        &self,
        arrival: &Arc<Arrival>,
        definition: &Definition,
    ) -> Result<(), Refusal> {
        validate(definition)?;
        let table = locked(&self.table);
        let vm = &definition.uuid;
        if !table.slots.get(vm).is_some_and(|slot| slot.is_arrival(arrival)) {
            return Err(Refusal::refused(format!("this arrival of VM {vm} is not expected")));
        }
        unique_name(&table, definition)?;
        self.has_room(&table, definition)?;
        arrival.set_definition(definition.clone());
        self.changed(vm);
        Ok(())
    }

    /// Destination: an arrival is complete. False if it is no longer wanted.
    pub(crate) fn arrived(&self, vm: &Uuid, arrival: &Arc<Arrival>, guest: Guest) -> bool {
        let mut table = locked(&self.table);
        let Some(slot) = table.slots.get_mut(vm).filter(|slot| slot.is_arrival(arrival)) else {
            return false;
        };
        *slot = Slot::Live { guest: Arc::new(guest), outgoing: None };
        self.changed(vm);
        self.tell(&Event::Arrived { vm: vm.clone() });
        true
    }

    /// Destination: an arrival came to nothing.
    pub(crate) fn give_up(&self, vm: &Uuid, arrival: &Arc<Arrival>) {
        let mut table = locked(&self.table);
        if table.slots.get(vm).is_some_and(|slot| slot.is_arrival(arrival)) {
            put_back(&mut table, vm, arrival);
            self.changed(vm);
        }
    }

    /// Destination: cancels an arrival that is not complete.
    pub(crate) fn cancel_arrival(&self, vm: &Uuid) -> Result<(), Refusal> {
        let arrival = match locked(&self.table).slots.get(vm) {
            Some(Slot::Arriving(arrival)) => Arc::clone(arrival),
            Some(Slot::Live { .. }) => {
                return Err(Refusal::refused(format!("VM {vm} has arrived completely")));
            }
            Some(Slot::ShutOff(_) | Slot::MovedAway(_)) | None => return Ok(()),
        };
        arrival.cancel();
        self.give_up(vm, &arrival);
        Ok(())
    }
}

/// Restores what an arrival found here.
fn put_back(table: &mut Table, vm: &Uuid, arrival: &Arrival) {
    match arrival.remains() {
        Some(definition) => table.slots.insert(vm.clone(), Slot::ShutOff(definition.clone())),
        None => table.slots.remove(vm),
    };
}

fn live<'a>(
    table: &'a Table,
    vm: &Uuid,
) -> Result<(&'a Arc<Guest>, Option<&'a Arc<Outgoing>>), Refusal> {
    match table.slots.get(vm) {
        Some(Slot::Live { guest, outgoing }) => Ok((guest, outgoing.as_ref())),
        Some(_) => Err(Refusal::refused(format!("VM {vm} is not live on this host"))),
        None => Err(no_such(vm)),
    }
}

fn no_such(vm: &Uuid) -> Refusal {
    Refusal::not_found(format!("there is no VM {vm} on this host"))
}

fn unique_name(table: &Table, definition: &Definition) -> Result<(), Refusal> {
    let Definition { uuid, name, .. } = definition;
    let taken = table
        .slots
        .iter()
        .any(|(vm, slot)| vm != uuid && slot.definition().is_some_and(|other| other.name == *name));
    if taken {
        return Err(Refusal::refused(format!("another VM of this host is called {name:?}")));
    }
    Ok(())
}

pub(super) fn validate(definition: &Definition) -> Result<(), Refusal> {
    let name = &definition.name;
    let memory = definition.memory;
    if memory == 0 || !memory.is_multiple_of(PAGE as u64) {
        let reason = format!("VM {name:?}: memory {memory} is not a positive multiple of {PAGE}");
        return Err(Refusal::refused(reason));
    }
    if u32::from(definition.zero_percent) + u32::from(definition.compressible_percent) > 100 {
        let reason = format!("VM {name:?}: zero and compressible pages exceed 100 percent");
        return Err(Refusal::refused(reason));
    }
    if serde_json::to_vec(definition).map_or(0, |text| text.len()) > MAX_DEFINITION {
        let reason = format!("VM {name:?}: its definition exceeds {MAX_DEFINITION} bytes");
        return Err(Refusal::refused(reason));
    }
    Ok(())
}

/// A message as JSON.
pub(crate) fn to_json(message: &impl serde::Serialize) -> Value {
    serde_json::to_value(message).expect("a message is plain data")
}
