//! What an embedded hypervisor can be asked, and what it answers.
//!
//! Every type is its own JSON; see [`control`](crate::live::control) for the framing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Uuid;

/// What makes a VM the VM that it is; travels with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name, unique on its host.
    pub name: String,
    /// Memory in bytes: a multiple of 4096, at least 4096.
    pub memory: u64,
    /// Virtual processors; 1 unless said.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// Decides what its memory holds at the start.
    #[serde(default)]
    pub seed: u64,
    /// Percentage of pages that start as zeros; 25 unless said.
    #[serde(default = "quarter")]
    pub zero_percent: u8,
    /// Percentage of pages that start as something compressible; 25 unless said. The remaining
    /// pages are random.
    #[serde(default = "quarter")]
    pub compressible_percent: u8,
    /// Bytes of memory that the guest dirties per second; 0 unless said.
    #[serde(default)]
    pub dirty_rate: u64,
    /// Bytes of memory, from address 0, that the guest rewrites in turn; all of it unless said.
    #[serde(default)]
    pub working_set: Option<u64>,
    /// What the layers above keep with a VM; not interpreted here.
    #[serde(default)]
    pub policy: Value,
}

fn one() -> u32 {
    1
}

fn quarter() -> u8 {
    25
}

/// A request. In JSON, `do` names the variant: `{"do": "look", "vm": "..."}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Memory and processors; answers [`Capacity`].
    Capacity,
    /// All VMs; answers an array of [`Description`]s.
    List,
    /// What this host has of one VM; answers [`Look`].
    Look {
        /// Which VM; it need not exist.
        vm: Uuid,
    },
    /// Creates a VM with a fresh boot and runs it.
    Create {
        /// What to create.
        definition: Definition,
        /// Leave it paused.
        #[serde(default)]
        paused: bool,
    },
    /// Defines a shut-off VM.
    Define {
        /// What to define.
        definition: Definition,
    },
    /// The definition of a shut-off VM; answers [`Definition`].
    Definition {
        /// Which VM.
        vm: Uuid,
    },
    /// Destroys and undefines whatever this host has of a VM, or expects of it.
    Destroy {
        /// Which VM; it need not exist.
        vm: Uuid,
    },
    /// Removes a shut-off VM; refused if anything live of it is here.
    Forget {
        /// Which VM; it need not exist.
        vm: Uuid,
    },
    /// Pauses a guest.
    Pause {
        /// Which VM.
        vm: Uuid,
    },
    /// Runs a paused guest, an arrival too.
    Resume {
        /// Which VM.
        vm: Uuid,
    },
    /// Destination: waits on a socket for one migration stream of the VM.
    ExpectArrival {
        /// Which VM.
        vm: Uuid,
        /// Where to listen; unlinked once a stream has come or the arrival is cancelled.
        path: PathBuf,
    },
    /// Destination: gives up an arrival that is expected or under way; a complete one stays.
    CancelArrival {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: starts to send a VM into a socket; returns once it is accepted.
    Migrate {
        /// Which VM.
        vm: Uuid,
        /// A listening UNIX socket.
        path: PathBuf,
        /// Longest pause at the switchover, in milliseconds.
        max_downtime_ms: u64,
        /// The guest may be slowed down.
        #[serde(default)]
        auto_converge: bool,
    },
    /// Source: switches to post-copy. Always refused.
    PostCopy {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: how far a migration has come; answers [`Progress`] or null.
    Progress {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: allows another pause at the switchover.
    SetMaxDowntime {
        /// Which VM.
        vm: Uuid,
        /// In milliseconds.
        milliseconds: u64,
    },
    /// Source: gives a migration up; the guest runs on if it ran before.
    Abort {
        /// Which VM.
        vm: Uuid,
    },
    /// Changes the rate at which a guest dirties its memory.
    SetDirtyRate {
        /// Which VM.
        vm: Uuid,
        /// In bytes per second.
        bytes_per_second: u64,
    },
    /// What a guest could tell of itself; answers [`Inspection`].
    Inspect {
        /// Which VM.
        vm: Uuid,
        /// Compute the digest of its memory (the guest stands still meanwhile).
        #[serde(default)]
        digest: bool,
        /// Check every page against what the guest must have written (it stands still meanwhile).
        #[serde(default)]
        verify: bool,
    },
    /// Fault injection: refuses the next migrations.
    RefuseMigrations {
        /// How many.
        next: u32,
    },
    /// Fault injection: answers no request and tells no event for a while.
    Hang {
        /// For how long, in milliseconds.
        milliseconds: u64,
    },
}

/// What a host has of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing.
    Absent,
    /// Nothing yet; it listens for an arrival.
    Expected,
    /// Bytes are arriving.
    Incoming,
    /// A guest that runs.
    Running,
    /// A complete guest that is paused.
    Paused,
    /// Source: paused for a migration that is not decided yet.
    Switching,
    /// Source: a definition without a guest, whose migration completed.
    MovedAway,
    /// A definition without a guest.
    ShutOff,
}

/// Answer to [`Request::Look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What is here.
    pub state: State,
    /// A migration of it leaves this host.
    pub migrating: bool,
}

/// One VM in the answer to [`Request::List`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Which VM, and what it is.
    pub definition: Definition,
    /// What is here.
    pub state: State,
    /// A migration of it leaves this host.
    pub migrating: bool,
    /// As of [`Inspection::last_downtime_ms`].
    pub last_downtime_ms: Option<f64>,
}

/// Answer to [`Request::Capacity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory that VMs may use in all, in bytes.
    pub memory_total: u64,
    /// Of that, memory not taken by VMs, arriving ones included, in bytes.
    pub memory_free: u64,
    /// Processors.
    pub processors: u32,
}

/// Answer to [`Request::Progress`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of memory that must still be sent as of now.
    pub remaining: u64,
    /// Bytes put into the stream so far, repeats included.
    pub sent: u64,
    /// Bytes of memory in all.
    pub total: u64,
    /// Bytes per second that became dirty; known from the second pass on.
    pub dirty_rate: Option<u64>,
    /// Bytes per second that the stream took, over at least 100 ms, once known.
    pub bandwidth: Option<u64>,
    /// Number of the present pass over memory, from 1.
    pub pass: u32,
    /// Percentage of its time that the guest is kept from executing.
    pub throttle_percent: u8,
    /// Pause of the guest in milliseconds: so far if it is paused, else expected.
    pub downtime_ms: Option<u64>,
}

/// Answer to [`Request::Inspect`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Made at random when the VM was created; a migration keeps it, a reboot would not.
    pub boot_id: String,
    /// Ticks of 10 ms, about, in which the guest executed since then; never goes back.
    pub ticks: u64,
    /// Pages that the guest has written since then; never goes back.
    pub writes: u64,
    /// Real pause of the last switchover in milliseconds, from the pause at the source to the
    /// resumption here. Both ends read the machine's monotonic clock, so it holds only between
    /// hosts that are processes of one machine.
    pub last_downtime_ms: Option<f64>,
    /// Digest of the whole memory in hexadecimal, if asked for: XXH3-128 over the XXH3-128 of
    /// each 256 KiB.
    pub digest: Option<String>,
    /// Pages that do not hold what the guest wrote last, if asked for; none is right.
    pub wrong_pages: Option<u64>,
}

/// What it reports without being asked. In JSON, `event` names the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A VM appeared, disappeared or changed.
    Changed {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: the guest is now paused for the switchover.
    GuestPaused {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: the guest runs again; the migration did not complete.
    GuestResumed {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: the destination has the VM; nothing of it can run here any more.
    SourceGone {
        /// Which VM.
        vm: Uuid,
    },
    /// Destination: the copy is complete, verified, and waits to be resumed.
    Arrived {
        /// Which VM.
        vm: Uuid,
    },
    /// Source: the migration is over.
    JobEnded {
        /// Which VM.
        vm: Uuid,
        /// Why it failed, if it did.
        error: Option<String>,
    },
}
