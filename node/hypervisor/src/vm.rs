//! What lifeboat needs to know of one VM, whichever hypervisor runs it.

use std::{fmt, str::FromStr};

/// A VM's UUID.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct VmId(pub [u8; 16]);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmId({self})")
    }
}

impl From<VmId> for String {
    fn from(id: VmId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for VmId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for VmId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let mut id = [0; 16];
        if digits.len() != 32 {
            return Err(format!("{text:?} is not a UUID: expected 32 hexadecimal digits"));
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| format!("{text:?} is not a UUID"))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| format!("{text:?} is not a UUID"))?;
        }
        Ok(Self(id))
    }
}

/// Whether the guest is executing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It runs.
    Running,
    /// It is paused and keeps its memory.
    Paused,
    /// Only its definition exists.
    ShutOff,
}

/// What a host really has of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copy {
    /// Nothing.
    Absent,
    /// A running guest.
    Running,
    /// A complete guest that is paused: by its operator, or as an arrival that waits.
    Paused,
    /// Destination: bytes are still arriving. Nothing of use is here yet.
    Incoming,
    /// Source: paused by the hypervisor for the switchover of a migration.
    Switching,
    /// Source: a definition without a guest, shut off because its migration completed. Only this
    /// tells a source that its copy was given away; drivers that cannot tell say [`Copy::ShutOff`].
    MovedAway,
    /// A definition without a guest.
    ShutOff,
}

/// What may be done to a VM that does not converge, and how it ranks.
///
/// Kept in the domain's own metadata, so that it travels with the VM.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Priority class, 0 (last) to 100 (first); 50 unless said.
    pub priority: u8,
    /// VMs of one group belong together.
    pub group: Option<String>,
    /// Longest planned pause at the switchover, in milliseconds; 300 unless said.
    pub max_downtime_ms: u64,
    /// Longest pause that escalation may go to, in milliseconds; 5000 unless said.
    pub max_downtime_escalated_ms: u64,
    /// The guest may be slowed down.
    pub auto_converge: bool,
    /// The guest may be switched to post-copy. Without effect: no driver can do it.
    pub post_copy: bool,
    /// The guest may be paused and copied.
    pub stop_and_copy: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            priority: 50,
            group: None,
            max_downtime_ms: 300,
            max_downtime_escalated_ms: 5000,
            auto_converge: true,
            post_copy: false,
            stop_and_copy: false,
        }
    }
}

/// One VM as its hypervisor describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Vm {
    /// Its UUID.
    pub id: VmId,
    /// Its name, unique on its host.
    pub name: String,
    /// Whether it executes.
    pub state: RunState,
    /// Memory in bytes.
    pub memory: u64,
    /// Virtual processors.
    pub processors: u32,
    /// Bytes of disks that are not on shared storage (they travel only with `copy_storage`).
    pub local_disk: u64,
    /// Bytes per second that the guest dirties, if the hypervisor can tell before a migration.
    pub dirty_rate: Option<u64>,
    /// Bytes of memory that the guest keeps rewriting, if known.
    pub working_set: Option<u64>,
    /// Rank and limits.
    pub policy: Policy,
    /// Why it cannot be migrated at all, e.g. a passed-through device; empty if it can.
    pub obstacles: Vec<String>,
}

/// Memory and processors of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostCapacity {
    /// Memory that VMs may use in all, in bytes.
    pub memory_total: u64,
    /// Of that, memory not taken by VMs, arriving ones included, in bytes.
    pub memory_free: u64,
    /// Processors.
    pub processors: u32,
}
