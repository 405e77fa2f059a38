//! Worlds of a given size, for measuring what size costs.

use std::fmt::Write as _;

use lifeboat_units::{ByteSize, Rate};

use super::scenario::{self, Scenario, ScenarioError};

/// How large a world is. Half of its hosts stand at the site that is evacuated, and have all VMs,
/// equally many each.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Hosts, at least 2.
    pub hosts: usize,
    /// VMs.
    pub vms: usize,
    /// Memory of each VM.
    pub memory: ByteSize,
    /// What the one link carries.
    pub capacity: Rate,
    /// What each host's interface carries, each way.
    pub nic: Rate,
    /// Time at which the evacuation is asked for, seconds.
    pub at_s: u64,
}

impl Shape {
    /// The scenario file of this world: nothing goes wrong in it, one message in a hundred is lost,
    /// clocks are up to 100 millionths off.
    pub fn text(&self) -> String {
        let Self { hosts, vms, memory, capacity, nic, at_s } = *self;
        let mut text = format!(
            "about = \"{hosts} hosts, {vms} VMs\"\nlimit = \"24h\"\n\n[network]\n\
             loss_permille = 10\njitter = \"1ms\"\n\n"
        );
        let sources = hosts.div_ceil(2);
        let room = ByteSize((vms as u64 / sources as u64 + 4) * memory.0 * 2);
        for number in 0..hosts {
            let (site, number) =
                if number < sources { ("here", number) } else { ("there", number - sources) };
            let drift = (number as i64 * 37) % 201 - 100;
            let _ = write!(
                text,
                "[[host]]\nname = \"{site}{number}\"\nsite = \"{site}\"\nmemory = \"{room}\"\n\
                 nic = \"{nic}\"\nclock_ppm = {drift}\n\n"
            );
        }
        let first = Rate::from_bytes_per_sec(capacity.bytes_per_sec() / 2);
        let _ = write!(
            text,
            "[[link]]\nfrom = \"here\"\nto = [\"there\"]\ncapacity = \"{capacity}\"\n\
             initial = \"{first}\"\nwindow = \"16MiB\"\n\n"
        );
        for number in 0..vms {
            let _ = write!(
                text,
                "[[vm]]\nname = \"vm{number}\"\nhost = \"here{}\"\nmemory = \"{memory}\"\n\
                 dirty_rate = \"1MB/s\"\nworking_set = \"16MiB\"\n\n",
                number % sources
            );
        }
        let _ = write!(
            text,
            "[[evacuation]]\nfrom = [\"here\"]\nto = [\"there\"]\ninitiator = \"here0\"\n\
             at = \"{at_s}s\"\n"
        );
        text
    }

    /// The scenario.
    ///
    /// # Errors
    /// What is wrong with the shape.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        scenario::parse(&self.text())
    }
}
