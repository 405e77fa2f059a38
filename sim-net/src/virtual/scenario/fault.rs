//! What can go wrong in a simulated world.

use lifeboat_units::Span;
use serde::{Deserialize, Serialize};

/// Something that goes wrong at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: Span,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// The kinds of faults, told apart by the key `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The daemon is killed; hypervisor, carrier and journal live on.
    Crash {
        /// Whose.
        host: String,
    },
    /// The daemon is started (again). Nothing if it runs.
    Start {
        /// Whose.
        host: String,
    },
    /// The host loses power with everything on it, for good.
    PowerOff {
        /// Which.
        host: String,
    },
    /// The daemon stands still and goes on afterwards.
    Freeze {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// The daemon is slow: everything reaches it later.
    Slow {
        /// Whose.
        host: String,
        /// By how much.
        by: Span,
        /// How long.
        lasting: Span,
    },
    /// Nothing passes from these hosts to those; the other way round neither, unless `one_way`.
    Cut {
        /// From these hosts or sites.
        from: Vec<String>,
        /// To these hosts or sites.
        to: Vec<String>,
        /// Whether the other direction stays whole.
        #[serde(default)]
        one_way: bool,
    },
    /// Every cut is over.
    Heal,
    /// The carrier is killed, and started again by its daemon.
    KillCarrier {
        /// Whose.
        host: String,
    },
    /// The hypervisor's daemon is killed and comes back: its jobs end, its guests run on.
    HypervisorDown {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// The hypervisor's daemon answers nothing for a while; its jobs go on.
    HypervisorHangs {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// The hypervisor refuses to start or to take migrations.
    HypervisorRefuses {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// What the hypervisor reports is lost on the way to the daemon.
    LoseReports {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// The journal's disk is full: nothing becomes durable.
    DiskFull {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// The journal is gone: the next start begins with an empty one.
    LoseJournal {
        /// Whose.
        host: String,
    },
    /// Writes are acknowledged and lost if the daemon's host crashes before they are synced: the
    /// disk lies. The newest `writes` are undone when the daemon is next killed.
    LyingDisk {
        /// Whose.
        host: String,
        /// How many.
        writes: u32,
    },
    /// Old messages of this host arrive again, at those to whom they were sent.
    Replay {
        /// Whose.
        host: String,
        /// How many of those kept.
        count: u32,
    },
    /// Messages of this host arrive damaged.
    Garble {
        /// Whose.
        host: String,
        /// How long.
        lasting: Span,
    },
    /// A message of this host arrives that is longer than any may be.
    Oversized {
        /// Whose.
        host: String,
    },
}

impl FaultKind {
    /// Its name, as it stands in a file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Start { .. } => "start",
            Self::PowerOff { .. } => "power_off",
            Self::Freeze { .. } => "freeze",
            Self::Slow { .. } => "slow",
            Self::Cut { one_way: false, .. } => "cut",
            Self::Cut { one_way: true, .. } => "one_way_cut",
            Self::Heal => "heal",
            Self::KillCarrier { .. } => "kill_carrier",
            Self::HypervisorDown { .. } => "hypervisor_down",
            Self::HypervisorHangs { .. } => "hypervisor_hangs",
            Self::HypervisorRefuses { .. } => "hypervisor_refuses",
            Self::LoseReports { .. } => "lose_reports",
            Self::DiskFull { .. } => "disk_full",
            Self::LoseJournal { .. } => "lose_journal",
            Self::LyingDisk { .. } => "lying_disk",
            Self::Replay { .. } => "replay",
            Self::Garble { .. } => "garble",
            Self::Oversized { .. } => "oversized",
        }
    }

    /// The hosts or sites that it names.
    pub fn names(&self) -> Vec<&String> {
        match self {
            Self::Heal => Vec::new(),
            Self::Cut { from, to, .. } => from.iter().chain(to).collect(),
            Self::Crash { host }
            | Self::Start { host }
            | Self::PowerOff { host }
            | Self::Freeze { host, .. }
            | Self::Slow { host, .. }
            | Self::KillCarrier { host }
            | Self::HypervisorDown { host, .. }
            | Self::HypervisorHangs { host, .. }
            | Self::HypervisorRefuses { host, .. }
            | Self::LoseReports { host, .. }
            | Self::DiskFull { host, .. }
            | Self::LoseJournal { host }
            | Self::LyingDisk { host, .. }
            | Self::Replay { host, .. }
            | Self::Garble { host, .. }
            | Self::Oversized { host } => vec![host],
        }
    }

    /// How long it lasts by itself.
    pub fn lasting(&self) -> Option<Span> {
        match self {
            Self::Freeze { lasting, .. }
            | Self::Slow { lasting, .. }
            | Self::HypervisorDown { lasting, .. }
            | Self::HypervisorHangs { lasting, .. }
            | Self::HypervisorRefuses { lasting, .. }
            | Self::LoseReports { lasting, .. }
            | Self::DiskFull { lasting, .. }
            | Self::Garble { lasting, .. } => Some(*lasting),
            _ => None,
        }
    }
}
