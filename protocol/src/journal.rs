//! What must survive a crash of the daemon: intent, before action.
//!
//! A keyed store. Replaying it in any order leads to the same state, since every key has one value.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use crate::{
    evacuation::Record,
    ids::{EvacuationId, LinkId, MoveId, NodeId, VmId},
    vm::{Outcome, Vm},
    wire,
};

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// What can be remembered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// An evacuation.
    Evacuation(EvacuationId),
    /// A move out of here.
    Departure(MoveId),
    /// A move into here.
    Arrival(MoveId),
    /// How a move out of here ended.
    Outcome(EvacuationId, VmId),
    /// What is left here of a VM that runs elsewhere, until the hypervisor has forgotten it.
    Remains(MoveId),
    /// A move whose destination a person has declared dead.
    Stranded(MoveId),
    /// A VM that ran when its move out of here began, ended meanwhile, and has not run since.
    Ended(VmId),
}

/// Its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Of [`Key::Evacuation`].
    Evacuation(Record),
    /// Of [`Key::Departure`].
    Departure(DepartureRecord),
    /// Of [`Key::Arrival`].
    Arrival(ArrivalRecord),
    /// Of [`Key::Outcome`].
    Outcome(Outcome),
    /// Of [`Key::Remains`].
    Remains,
    /// Of [`Key::Stranded`].
    Stranded(StrandedRecord),
    /// Of [`Key::Ended`].
    Ended,
}

/// A move out of here that may have begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DepartureRecord {
    /// Where it goes.
    pub to: NodeId,
    /// Over which link.
    pub link: LinkId,
    /// For which evacuation.
    pub evacuation: EvacuationId,
    /// The VM.
    pub vm: Vm,
    /// What is decided.
    pub decided: Decided,
    /// Start, in milliseconds after the start of the evacuation.
    pub start_ms: u64,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// Third hosts that say that they run the VM.
    pub claimed_by: Vec<NodeId>,
}

/// A move whose destination a person has declared dead, so that its commit is kept back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrandedRecord {
    /// The move, as it was.
    pub departure: DepartureRecord,
    /// Whether the destination has said since that it has nothing of the VM.
    pub gone_there: bool,
}

/// What a source has decided about a move. Never changes once it is not `Open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Decided {
    /// Nothing yet: the hypervisor knows.
    Open,
    /// The source destroys its paused copy, since the destination has the true one.
    Destroying,
    /// Nothing of the VM can run here any more.
    Gone,
    /// The VM stays here.
    Kept,
}

/// A move into here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalRecord {
    /// For which evacuation.
    pub evacuation: EvacuationId,
    /// The VM.
    pub vm: Vm,
    /// Whether the source has said that its copy is gone.
    pub committed: bool,
    /// The definition, for a shut-off VM.
    pub definition: Option<String>,
    /// Once it runs here, or rests here as it should.
    pub settled: Option<Stood>,
}

/// How long the guest of a VM that has arrived stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// In milliseconds; `None` if that is not known, or it did not run.
    pub downtime_ms: Option<u64>,
}

/// The change that stores `value` under `key`, or removes it.
pub fn change(key: &Key, value: Option<&Value>) -> Change {
    Change { key: wire::encode(key), value: value.map(wire::encode) }
}

/// Reads one stored pair.
///
/// # Errors
/// [`wire::DecodeError`] if either is not what it should be.
pub fn read(key: &[u8], value: &[u8]) -> Result<(Key, Value), wire::DecodeError> {
    Ok((wire::decode(key)?, wire::decode(value)?))
}
