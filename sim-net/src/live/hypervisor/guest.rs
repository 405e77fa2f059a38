//! What executes in a VM: a writer that dirties memory and leaves evidence of every write.
//!
//! Write number n (from 1) goes to page (n - 1) mod W of a working set of W pages, and stamps n
//! into it. So the right content of every page follows from the seed and the number of writes
//! alone, and [`Guest::wrong_pages`] finds any page that is stale, lost or torn.
//!
//! Invariants:
//! - *Paused means paused*: nothing is written and no tick counted unless it runs, and whoever
//!   has paused it under the lock sees no later write.
//! - *A life never goes back*: ticks and writes only grow, and travel with the boot identifier.

use std::{
    io::{self, Read},
    sync::{Mutex, MutexGuard, TryLockError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    memory::{Memory, PAGE},
    protocol::Definition,
};
use crate::{
    live::{clock::monotonic_ns, locked},
    random::{SplitMix, mix},
};

/// Longest stretch that one tick makes up for, when ticks come late.
const LONGEST_STRETCH: Duration = Duration::from_millis(50);

/// The record that proves that a guest never rebooted and lost nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Made at random at the creation.
    pub(crate) boot_id: String,
    /// Ticks in which it executed.
    pub(crate) ticks: u64,
    /// Pages that it has written.
    pub(crate) writes: u64,
}

impl Life {
    /// A fresh boot.
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let boot_id = format!("{:032x}", u128::from_be_bytes(bytes));
        Ok(Self { boot_id, ticks: 0, writes: 0 })
    }
}

/// The part of a guest that changes while it executes.
#[derive(Debug)]
pub(crate) struct Execution {
    /// Whether it executes.
    pub(crate) running: bool,
    /// Its record.
    pub(crate) life: Life,
    /// Bytes that it dirties per second.
    pub(crate) dirty_rate: u64,
    /// Percentage of its time that it is kept from executing.
    pub(crate) throttle_percent: u8,
    /// When the source paused it, while it waits here as an arrival.
    pub(crate) paused_at_ns: Option<u64>,
    /// Pause of its last switchover in milliseconds.
    pub(crate) last_downtime_ms: Option<f64>,
    last_tick: Instant,
    /// Bytes to dirty that do not make a whole page yet.
    carry: u64,
}

/// A VM's memory and what executes in it.
pub(crate) struct Guest {
    definition: Definition,
    /// Its memory.
    pub(crate) memory: Memory,
    execution: Mutex<Execution>,
    working_set_pages: usize,
    salt: u64,
}

impl Guest {
    /// A freshly booted guest, paused, its memory filled as the definition says.
    pub(crate) fn boot(definition: Definition) -> io::Result<Self> {
        let mut memory = Memory::new(definition.memory);
        for slab in 0..memory.slabs() {
            let first = slab * super::memory::SLAB_PAGES;
            for (index, page) in memory.slab_mut(slab).chunks_exact_mut(PAGE).enumerate() {
                fill(&definition, first + index, page);
            }
        }
        Ok(Self::arrived(definition, memory, Life::new()?, None))
    }

    /// A paused guest with a memory and a life of its own already.
    pub(crate) fn arrived(
        definition: Definition,
        memory: Memory,
        life: Life,
        paused_at_ns: Option<u64>,
    ) -> Self {
        let all = memory.pages();
        let wanted = definition.working_set.map_or(all, |bytes| {
            usize::try_from(bytes.div_ceil(PAGE as u64)).unwrap_or(usize::MAX)
        });
        let execution = Execution {
            running: false,
            dirty_rate: definition.dirty_rate,
            throttle_percent: 0,
            paused_at_ns,
            last_downtime_ms: None,
            last_tick: Instant::now(),
            carry: 0,
            life,
        };
        Self {
            working_set_pages: wanted.clamp(1, all),
            salt: xxh3_64(execution.life.boot_id.as_bytes()),
            execution: Mutex::new(execution),
            definition,
            memory,
        }
    }

    /// Its definition as of now.
    pub(crate) fn definition(&self) -> Definition {
        let dirty_rate = self.execution().dirty_rate;
        Definition { dirty_rate, ..self.definition.clone() }
    }

    /// Stops its time for as long as the result is held.
    pub(crate) fn execution(&self) -> MutexGuard<'_, Execution> {
        locked(&self.execution)
    }

    /// Lets it execute. An arrival's downtime ends here.
    pub(crate) fn resume(&self) {
        let mut execution = self.execution();
        if execution.running {
            return;
        }
        if let Some(paused_at) = execution.paused_at_ns.take() {
            let pause = monotonic_ns().saturating_sub(paused_at);
            execution.last_downtime_ms = Some(pause as f64 / 1e6);
        }
        execution.last_tick = Instant::now();
        execution.throttle_percent = 0;
        execution.running = true;
    }

    /// One tick: what it would have done since the last one. Skipped while its time is stopped.
    pub(crate) fn tick(&self) {
        let mut execution = match self.execution.try_lock() {
            Ok(execution) => execution,
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(_)) => panic!("a thread panicked while it held a guest"),
        };
        if !execution.running {
            return;
        }
        let now = Instant::now();
        let stretch = now.duration_since(execution.last_tick).min(LONGEST_STRETCH);
        execution.last_tick = now;
        execution.life.ticks += 1;
        let executing = u128::from(100 - execution.throttle_percent) * stretch.as_nanos() / 100;
        let bytes = u128::from(execution.dirty_rate) * executing / 1_000_000_000;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(execution.carry);
        execution.carry = bytes % PAGE as u64;
        self.write(&mut execution.life, bytes / PAGE as u64);
    }

    fn write(&self, life: &mut Life, pages: u64) {
        let span = self.working_set_pages as u64;
        let mut left = pages;
        while left > 0 {
            let at = life.writes % span;
            let run = left.min(span - at);
            let first_write = life.writes + 1;
            let range = at as usize..(at + run) as usize;
            self.memory.write(range, |page, bytes| {
                stamp(bytes, self.salt, page, first_write + (page as u64 - at));
            });
            life.writes += run;
            left -= run;
        }
    }

    /// Number of the last write to a page; `None` if it was never written.
    fn last_write(&self, writes: u64, page: usize) -> Option<u64> {
        let span = self.working_set_pages as u64;
        let first = page as u64 + 1;
        (first <= span && first <= writes).then(|| first + (writes - first) / span * span)
    }

    /// Number of pages that do not hold what the guest wrote last. Its time stops meanwhile.
    pub(crate) fn wrong_pages(&self) -> u64 {
        let execution = self.execution();
        let mut expected = [0; PAGE];
        let mut wrong = 0;
        self.memory.for_each_page(|page, bytes| {
            fill(&self.definition, page, &mut expected);
            if let Some(write) = self.last_write(execution.life.writes, page) {
                stamp(&mut expected, self.salt, page, write);
            }
            wrong += u64::from(bytes != expected);
        });
        wrong
    }
}

/// What a page holds at the boot.
fn fill(definition: &Definition, page: usize, bytes: &mut [u8]) {
    let mut random = SplitMix::new(definition.seed, page as u64);
    let kind = random.next() % 100;
    let zero = u64::from(definition.zero_percent);
    let compressible = zero + u64::from(definition.compressible_percent);
    if kind < zero {
        bytes.fill(0);
    } else if kind < compressible {
        // Like text: a few short words that come again, differently in each page.
        let words = [random.next(), random.next(), mix(definition.seed), 0x2020_6f74_2065_6874];
        for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&words[(index ^ (index >> 3)) % words.len()].to_le_bytes());
        }
    } else {
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random.next().to_le_bytes());
        }
    }
}

/// What a write leaves in a page: its number at the front, and a word that depends on the boot,
/// the page and the number at the back.
fn stamp(bytes: &mut [u8], salt: u64, page: usize, write: u64) {
    bytes[..8].copy_from_slice(&write.to_le_bytes());
    bytes[PAGE - 8..].copy_from_slice(&mix(salt ^ mix(page as u64) ^ write).to_le_bytes());
}
