//! Parts of a scenario with every value at its default: the same as a file that leaves them out.

use lifeboat_units::{ByteSize, Rate};

use super::{
    Evacuation, Host, Hypervisor, Link, Network, Scenario, Vm, VmState, five_seconds, initial,
    limit, memory, nic, nothing, one, priority, reserve, rtt, streams, window,
};

impl Default for Scenario {
    fn default() -> Self {
        Self {
            about: String::new(),
            seed: one(),
            limit: limit(),
            calm: None,
            mesh: None,
            network: Network::default(),
            hypervisor: Hypervisor::default(),
            hosts: Vec::new(),
            links: Vec::new(),
            inventory: None,
            vms: Vec::new(),
            evacuations: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Host {
    /// A host of this name.
    pub(crate) fn named(name: &str, site: &str) -> Self {
        Self {
            name: name.to_owned(),
            site: site.to_owned(),
            memory: memory(),
            nic: nic(),
            power: None,
            power_known: true,
            clock_ppm: 0,
            start: lifeboat_units::Span::default(),
            lease: None,
        }
    }
}

impl Link {
    /// A link from one site to another.
    pub(crate) fn between(from: &str, to: &str, capacity: Rate) -> Self {
        Self {
            from: from.to_owned(),
            to: vec![to.to_owned()],
            capacity,
            rtt: rtt(),
            window: window(),
            stream_ceiling: None,
            loss_ppm: 0,
            saturates: false,
            streams: streams(),
            production: nothing(),
            ceiling: None,
            initial: initial(),
            reserve_permille: reserve(),
            changes: Vec::new(),
        }
    }
}

impl Vm {
    /// A running VM that rewrites nothing.
    pub(crate) fn sized(name: &str, host: &str, memory: ByteSize) -> Self {
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            memory,
            dirty_rate: nothing(),
            working_set: None,
            priority: priority(),
            group: None,
            disk: ByteSize(0),
            state: VmState::Running,
            stop_and_copy: false,
        }
    }
}

impl Evacuation {
    /// From one site to another, asked for on a host after five seconds.
    pub(crate) fn of(from: &str, to: &str, initiator: &str) -> Self {
        Self {
            from: vec![from.to_owned()],
            to: vec![to.to_owned()],
            at: five_seconds(),
            initiator: initiator.to_owned(),
            deadline: None,
            cancel: None,
            abort: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::scenario::parse;

    #[test]
    fn they_are_those_of_a_file() {
        let text = "[[host]]\nname = \"a\"\nsite = \"x\"\n\n[[host]]\nname = \"b\"\nsite = \"y\"\n\n\
             [[link]]\nfrom = \"x\"\nto = [\"y\"]\ncapacity = \"1MB/s\"\n\n\
             [[vm]]\nname = \"v\"\nhost = \"a\"\nmemory = \"1MiB\"\n\n\
             [[evacuation]]\nfrom = [\"x\"]\nto = [\"y\"]\ninitiator = \"a\"\n";
        let built = Scenario {
            hosts: vec![Host::named("a", "x"), Host::named("b", "y")],
            links: vec![Link::between("x", "y", Rate::from_bytes_per_sec(1_000_000))],
            vms: vec![Vm::sized("v", "a", ByteSize(1 << 20))],
            evacuations: vec![Evacuation::of("x", "y", "a")],
            ..Scenario::default()
        };
        assert_eq!(parse(text).unwrap(), built);
    }
}
