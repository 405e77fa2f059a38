//! The seed's workload: 8 hosts to 8 hosts, 30 nearly idle VMs, 32 GiB, one path of 118 MB/s.

use std::time::Duration;

use lifeboat_units::{ByteSize, Rate, Span};

use crate::r#virtual::{
    calibration::published_link,
    rivals::Order,
    scenario::{Evacuation, Host, Link, Scenario, Vm},
};

/// What each of the 8 source hosts holds, MiB.
const MEMORY: [&[u64]; 8] = [
    &[512, 512, 1024, 2048],
    &[512, 512, 512, 512, 1024, 1024],
    &[512, 512, 512, 512, 512, 512, 512, 512],
    &[1024, 1024, 1024, 1024],
    &[1024, 1024, 2048],
    &[1024, 3072],
    &[2048, 2048],
    &[4096],
];

/// On the link as calibrated to the published goodput: one stream for each VM, and many streams
/// saturate below the line.
pub(crate) fn as_published(rtt_ms: u64) -> Scenario {
    scenario(published_link(rtt_ms))
}

/// On a link where each stream reaches 2.1 MB a round trip, and enough of them the line. What the
/// nodes first believe, and the reserve, are the defaults.
pub(crate) fn on_streams(rtt_ms: u64) -> Scenario {
    scenario(Link {
        window: ByteSize(2_100_000),
        stream_ceiling: None,
        saturates: false,
        streams: 16,
        reserve_permille: 50,
        ..published_link(rtt_ms)
    })
}

fn scenario(link: Link) -> Scenario {
    let host = |site: &str, number: usize| Host {
        memory: ByteSize(16 << 30),
        nic: Rate::from_bits_per_sec(1_000_000_000),
        ..Host::named(&format!("{site}{number}"), site)
    };
    let sites = ["here", "there"];
    let hosts = sites.iter().flat_map(|site| (1..=8).map(move |number| host(site, number)));
    let each = MEMORY.iter().zip(1..);
    let vms = each.flat_map(|(vms, host)| vms.iter().map(move |mib| (format!("here{host}"), *mib)));
    let vms = vms
        .zip(1..)
        .map(|((host, mib), number)| Vm::sized(&format!("vm{number}"), &host, ByteSize(mib << 20)));
    Scenario {
        limit: Span(Duration::from_secs(7200)),
        hosts: hosts.collect(),
        links: vec![link],
        vms: vms.collect(),
        evacuations: vec![Evacuation::of("here", "there", "here1")],
        ..Scenario::default()
    }
}

/// The same with the order forced upon the protocol, by a priority of its own for each VM.
pub(crate) fn in_order(mut scenario: Scenario, order: Order) -> Scenario {
    let mut turn: Vec<usize> = (0..scenario.vms.len()).collect();
    let size = |index: &usize| scenario.vms[*index].memory.0;
    match order {
        Order::AsListed => {}
        Order::LargestFirst => turn.sort_by_key(|index| u64::MAX - size(index)),
        Order::SmallestFirst => turn.sort_by_key(size),
        Order::Random => {
            let lot = |index: &usize| crate::random::mix(scenario.seed ^ (*index as u64 + 1) << 32);
            turn.sort_by_key(lot);
        }
    }
    for (index, priority) in turn.into_iter().zip((0..=100).rev()) {
        scenario.vms[index].priority = priority;
    }
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::scenario::read;

    #[test]
    fn it_is_the_scenario_in_the_folder() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/kang-30.toml");
        let written = read(path.as_ref()).unwrap();
        let built = on_streams(20);
        assert_eq!(built.vms, written.vms);
        assert_eq!(built.hosts, written.hosts);
        assert_eq!(built.links, written.links);
        assert_eq!(built.evacuations, written.evacuations);
    }

    #[test]
    fn an_order_is_one_of_priorities() {
        let scenario = in_order(on_streams(20), Order::LargestFirst);
        let first = scenario.vms.iter().max_by_key(|vm| vm.priority).unwrap();
        let last = scenario.vms.iter().min_by_key(|vm| vm.priority).unwrap();
        assert_eq!((first.memory.0 >> 20, last.memory.0 >> 20), (4096, 512));
    }
}
