//! What is played: the link and the guests.

use crate::{GUESTS, guests::Guest};

/// Of the link, as the lab is told.
pub(super) const RATE: &str = "200mbit";
/// The same, as the hosts' configuration says it.
pub(super) const CEILING: &str = "200Mbit/s";
/// The same, for the bounds.
pub(super) const CAPACITY_BYTES_PER_SEC: u64 = 25_000_000;

/// Smallest first. In all as much as the scenarios' guests have.
const MEMORY_MIB: [u64; GUESTS.len()] = [96, 112, 128, 128, 144, 160];

/// A link and the guests that are to cross it.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) rtt: &'static str,
    dirty_mb_per_sec: u64,
}

/// In the order in which they are played.
pub(super) const ALL: [Setting; 3] = [
    Setting { name: "20ms", rtt: "20ms", dirty_mb_per_sec: 1 },
    Setting { name: "80ms", rtt: "80ms", dirty_mb_per_sec: 1 },
    // Together they rewrite twice what the link carries.
    Setting { name: "rewriting", rtt: "20ms", dirty_mb_per_sec: 8 },
];

impl Setting {
    /// Smallest first.
    pub(super) fn guests(&self) -> Vec<Guest> {
        let dirty_mb_per_sec = self.dirty_mb_per_sec;
        let guest = |(name, memory_mib)| Guest { name, memory_mib, dirty_mb_per_sec };
        GUESTS.into_iter().zip(MEMORY_MIB).map(guest).collect()
    }

    /// In words, for the tables.
    pub(super) fn description(&self) -> String {
        let memory: u64 = MEMORY_MIB.iter().sum();
        format!(
            "{}: {RATE}, RTT {}, {} guests with {memory} MiB in all, each rewriting {} MB/s",
            self.name,
            self.rtt,
            GUESTS.len(),
            self.dirty_mb_per_sec,
        )
    }
}
