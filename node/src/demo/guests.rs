//! The VMs of the demo.
//!
//! Four kinds take turns, so that sizes, ranks and habits are mixed on every host. What they write
//! is a share of the link, so that a demo on a thin link shows the same as one on a thick one. All
//! memory is random, which nothing can compress: bytes sent are bytes needed, and what was measured
//! can be held against physics.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_sim_net::live::hypervisor::{Uuid, protocol::Definition};
use serde_json::json;

use super::options::DemoOptions;
use crate::{daemon::measure::alone_ms, units::ByteSize};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// What one host's three processes take beside the memory of its VMs, and more than enough.
const HOST_OVERHEAD: u64 = 96 * MIB;

/// What the guests of one kind have in common.
struct Kind {
    name: &'static str,
    /// Priority class, 100 first.
    priority: u8,
    memory: u64,
    working_set: u64,
    /// Thousandths of the link that it dirties.
    dirty_permille: u64,
}

const KINDS: [Kind; 4] = [
    Kind { name: "web", priority: 60, memory: 48 * MIB, working_set: 4 * MIB, dirty_permille: 4 },
    Kind { name: "db", priority: 80, memory: 176 * MIB, working_set: 32 * MIB, dirty_permille: 30 },
    Kind { name: "app", priority: 60, memory: 96 * MIB, working_set: 16 * MIB, dirty_permille: 15 },
    Kind { name: "job", priority: 40, memory: 64 * MIB, working_set: 8 * MIB, dirty_permille: 50 },
];

/// The VMs, each with the host that it runs on at first.
pub(super) fn guests(options: &DemoOptions) -> Vec<(String, Definition)> {
    let mut random = Random(options.seed);
    let hosts = usize::from(options.hosts);
    let count = usize::from(options.vms);
    (0..count)
        .map(|index| {
            let kind = &KINDS[index % KINDS.len()];
            let round = index / KINDS.len();
            let host = format!("a{}", (index + round) % hosts + 1);
            let memory = random.around(kind.memory, 10) / PAGE * PAGE;
            let dirty = options.wan.bytes_per_sec() * kind.dirty_permille / 1000;
            let definition = Definition {
                uuid: random.uuid(),
                name: format!("{}-{}", kind.name, round + 1),
                memory,
                vcpus: 1,
                seed: random.next(),
                zero_percent: 0,
                compressible_percent: 0,
                dirty_rate: random.around(dirty, 40),
                working_set: Some(kind.working_set),
                policy: json!({ "priority": kind.priority }),
            };
            (host, definition)
        })
        .collect()
}

/// Memory of all of them.
pub(super) fn memory(guests: &[(String, Definition)]) -> u64 {
    guests.iter().map(|(_, guest)| guest.memory).sum()
}

/// Memory that every host offers: enough for all VMs although one host of its site is gone.
pub(super) fn host_memory(options: &DemoOptions, guests: &[(String, Definition)]) -> u64 {
    let largest = guests.iter().map(|(_, guest)| guest.memory).max().unwrap_or(0);
    memory(guests) * 2 / u64::from(options.hosts) + largest
}

/// No evacuation of them over the link is faster than this; what the summary measures against.
pub(super) fn bound(options: &DemoOptions, guests: &[(String, Definition)]) -> Duration {
    let capacity = options.wan.bytes_per_sec();
    let alone = |guest: &Definition| alone_ms(guest.memory, capacity, guest.dirty_rate);
    Duration::from_millis(guests.iter().map(|(_, guest)| alone(guest)).sum())
}

/// Checks that the machine has the memory: each VM may be there twice while it moves.
///
/// # Errors
/// A sentence with the figures.
pub(super) fn fit(
    options: &DemoOptions,
    guests: &[(String, Definition)],
    available: u64,
) -> anyhow::Result<()> {
    let needed = memory(guests) * 2 + u64::from(options.hosts) * 2 * HOST_OVERHEAD;
    ensure!(
        needed <= available,
        "{} VMs on {} hosts need up to {} of memory, and this machine has {} left; \
         try fewer --vms or --hosts",
        options.vms,
        options.hosts * 2,
        ByteSize(needed),
        ByteSize(available),
    );
    Ok(())
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A value at most so many per cent off.
    fn around(&mut self, value: u64, percent: u64) -> u64 {
        value * (100 - percent + self.next() % (2 * percent + 1)) / 100
    }

    fn uuid(&mut self) -> Uuid {
        let digits = format!("{:016x}{:016x}", self.next(), self.next());
        digits.parse().expect("32 hexadecimal digits are a UUID")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::samples::options;

    #[test]
    fn the_default_is_a_gibibyte_and_a_half_on_all_hosts() {
        let guests = guests(&options());
        let total = memory(&guests);
        assert!((1400 * MIB..1700 * MIB).contains(&total), "{}", ByteSize(total));
        let names: BTreeSet<&str> = guests.iter().map(|(_, guest)| guest.name.as_str()).collect();
        let ids: BTreeSet<&Uuid> = guests.iter().map(|(_, guest)| &guest.uuid).collect();
        let hosts: BTreeSet<&str> = guests.iter().map(|(host, _)| host.as_str()).collect();
        assert_eq!((names.len(), ids.len(), hosts.len()), (16, 16, 4));
        assert!(guests.iter().all(|(_, guest)| guest.memory.is_multiple_of(PAGE)));
    }

    #[test]
    fn a_seed_gives_the_same_guests() {
        let other = DemoOptions { seed: 2, ..options() };
        assert_eq!(guests(&options()), guests(&options()));
        assert_ne!(guests(&options()), guests(&other));
    }

    #[test]
    fn the_bound_is_that_of_physics() {
        let guests = guests(&options());
        let bound = bound(&options(), &guests).as_secs_f64();
        let bytes_only = memory(&guests) as f64 / 50_000_000.0;
        assert!((bytes_only..bytes_only * 1.1).contains(&bound), "{bound} {bytes_only}");
    }

    #[test]
    fn more_memory_than_there_is_is_refused() {
        let guests = guests(&options());
        assert!(fit(&options(), &guests, 64 << 30).is_ok());
        let refused = fit(&options(), &guests, 1 << 30).unwrap_err().to_string();
        assert!(refused.contains("this machine has 1 GiB left"), "{refused}");
    }

    #[test]
    fn one_host_less_still_holds_all() {
        for hosts in 2..=20 {
            let options = DemoOptions { hosts, ..options() };
            let guests = guests(&options);
            let others = host_memory(&options, &guests) * u64::from(hosts - 1);
            assert!(others >= memory(&guests), "{hosts}");
        }
    }
}
