//! What this host has left: memory, processor time, and what flows through its network cards.
//!
//! Reads only; costs some hundred microseconds a sample. Rates are means since the sample before,
//! so the first sample has none.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sysinfo::{Networks, System};

use crate::units::{ByteSize, Rate};

/// Where the kernel shows its network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// One sample of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// All the memory of the host.
    pub memory_total: ByteSize,
    /// What programs could still take, caches that can be given back included.
    pub memory_available: ByteSize,
    /// Processor time in use over all cores, 0 to 100.
    pub cpu_percent: u8,
    /// Logical processors.
    pub cpus: u16,
    /// Arriving at the chosen interfaces; zero in the first sample.
    pub received: Rate,
    /// Leaving the chosen interfaces; zero in the first sample.
    pub sent: Rate,
    /// Speed of the fastest chosen interface, where the kernel knows it.
    pub link_speed: Option<Rate>,
}

/// Takes samples of this host.
#[derive(Debug)]
pub struct HostFigures {
    system: System,
    networks: Networks,
    interfaces: Choice,
    sampled_at: Option<Instant>,
}

#[derive(Debug)]
enum Choice {
    Named(Vec<String>),
    /// Those that are backed by a device: no loopback, bridges, or the guests' own taps.
    Physical(PathBuf),
}

impl Choice {
    fn holds(&self, interface: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == interface),
            Self::Physical(root) => root.join(interface).join("device").exists(),
        }
    }
}

impl HostFigures {
    /// Watches the named interfaces, or all physical ones if none is named.
    pub fn new(interfaces: Vec<String>) -> Self {
        let interfaces = match interfaces.is_empty() {
            true => Choice::Physical(PathBuf::from(INTERFACES)),
            false => Choice::Named(interfaces),
        };
        let networks = Networks::new_with_refreshed_list();
        Self { system: System::new(), networks, interfaces, sampled_at: None }
    }

    /// Looks at the host now. Call at most a few times a second: processor load is a mean since
    /// the call before.
    pub fn sample(&mut self) -> Figures {
        self.system.refresh_memory();
        self.system.refresh_cpu_usage();
        self.networks.refresh(true);
        let now = Instant::now();
        let elapsed = self.sampled_at.replace(now).map(|before| now - before);

        let chosen = || self.networks.iter().filter(|(name, _)| self.interfaces.holds(name));
        let rate = |bytes: u64| {
            let nanos = elapsed.map_or(0, |elapsed| elapsed.as_nanos());
            let per_sec = (u128::from(bytes) * 1_000_000_000).checked_div(nanos).unwrap_or(0);
            Rate::from_bytes_per_sec(u64::try_from(per_sec).unwrap_or(u64::MAX))
        };
        Figures {
            memory_total: ByteSize(self.system.total_memory()),
            memory_available: ByteSize(self.system.available_memory()),
            cpu_percent: self.system.global_cpu_usage().round().clamp(0.0, 100.0) as u8,
            cpus: u16::try_from(self.system.cpus().len()).unwrap_or(u16::MAX),
            received: rate(chosen().map(|(_, data)| data.received()).sum()),
            sent: rate(chosen().map(|(_, data)| data.transmitted()).sum()),
            link_speed: chosen()
                .filter_map(|(name, _)| link_speed(&Path::new(INTERFACES).join(name)))
                .max(),
        }
    }
}

/// The kernel writes Mbit/s, and -1 or an error where there is no link or nothing to know.
fn link_speed(interface: &Path) -> Option<Rate> {
    let text = fs::read_to_string(interface.join("speed")).ok()?;
    let mbits: u32 = text.trim().parse().ok()?;
    // Virtual cards report "unknown" as -1 in an unsigned word.
    (mbits > 0 && mbits != u32::MAX).then(|| Rate::from_bits_per_sec(u64::from(mbits) * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_memory_and_processors() {
        let mut figures = HostFigures::new(vec![]);
        let first = figures.sample();
        assert!(first.memory_total > ByteSize(0));
        assert!(first.memory_available <= first.memory_total);
        assert!(first.cpus > 0);
        assert_eq!((first.received, first.sent), (Rate::default(), Rate::default()));
        assert!(figures.sample().cpu_percent <= 100);
    }

    #[test]
    fn an_interface_that_does_not_exist_carries_nothing() {
        let mut figures = HostFigures::new(vec!["nosuch0".to_owned()]);
        figures.sample();
        let second = figures.sample();
        assert_eq!((second.received, second.sent), (Rate::default(), Rate::default()));
        assert_eq!(second.link_speed, None);
    }

    #[test]
    fn only_interfaces_with_a_device_are_physical() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("eth0/device")).unwrap();
        fs::create_dir_all(dir.path().join("lo")).unwrap();
        let choice = Choice::Physical(dir.path().to_owned());
        assert!(choice.holds("eth0"));
        assert!(!choice.holds("lo"));
    }

    #[test]
    fn a_speed_is_taken_only_where_the_kernel_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let check = |text: &str, expect: Option<u64>| {
            fs::write(dir.path().join("speed"), text).unwrap();
            assert_eq!(link_speed(dir.path()), expect.map(Rate::from_bits_per_sec), "{text}");
        };
        check("10000\n", Some(10_000_000_000));
        check("-1\n", None);
        check("0\n", None);
        check("4294967295\n", None);
        check("", None);
    }
}
