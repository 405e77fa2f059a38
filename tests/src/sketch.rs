//! What a test wants to stand where.

use lifeboat_sim_net::live::hypervisor::protocol::Definition;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// Sites `a` (the failing one) and `b`, their hosts `a1`, `a2`, ... and `b1`, ..., and VMs dealt out
/// to the hosts of `a` in turn.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// Hosts of site `a`.
    pub sources: usize,
    /// Hosts of site `b`.
    pub destinations: usize,
    /// Memory of each VM in MiB; the first goes to `a1`, the next to `a2`, and so on.
    pub vms: Vec<u64>,
    /// Bytes per second that each guest dirties.
    pub dirty_rate: u64,
    /// The longest pause that their policy allows, in milliseconds, if it says any.
    pub max_downtime: Option<u64>,
    /// Memory for VMs on each host, in MiB.
    pub memory: u64,
    /// What the WAN carries in each direction, in Mbit/s.
    pub capacity: u64,
    /// Its round-trip time in milliseconds.
    pub round_trip: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            sources: 2,
            destinations: 2,
            vms: vec![24; 6],
            dirty_rate: 256 << 10,
            max_downtime: None,
            memory: 1024,
            capacity: 200,
            round_trip: 20.0,
        }
    }
}

impl Sketch {
    /// Hosts with their sites.
    pub fn hosts(&self) -> Vec<(String, String)> {
        let site = |site: &str, count| {
            let site = site.to_owned();
            (1..=count).map(move |number| (format!("{site}{number}"), site.clone()))
        };
        site("a", self.sources).chain(site("b", self.destinations)).collect()
    }

    /// VMs with the hosts that they run on at first.
    pub fn definitions(&self) -> Vec<(String, Definition)> {
        let one = |(index, memory): (usize, &u64)| {
            let mut made = definition(index, *memory, self.dirty_rate);
            if let Some(longest) = self.max_downtime {
                made.policy = json!({ "max_downtime_ms": longest });
            }
            (format!("a{}", index % self.sources + 1), made)
        };
        self.vms.iter().enumerate().map(one).collect()
    }
}

/// A VM whose memory is half random, a quarter zeros, a quarter compressible.
pub(crate) fn definition(index: usize, memory_mib: u64, dirty_rate: u64) -> Definition {
    let number = u64::try_from(index).expect("few VMs") + 1;
    let uuid = format!("5afe0000-0000-4000-8000-{number:012x}");
    Definition {
        uuid: uuid.parse().expect("well-formed"),
        name: format!("vm-{number}"),
        memory: memory_mib * MIB,
        vcpus: 1,
        seed: number,
        zero_percent: 25,
        compressible_percent: 25,
        dirty_rate,
        working_set: Some(MIB.min(memory_mib * MIB)),
        policy: Value::Null,
    }
}
