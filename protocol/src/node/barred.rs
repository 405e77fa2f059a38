//! Why hosts take no VM: in words that name what bars them and what ends that, and once for all hosts of
//! which the same is to be said.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::Node;
use crate::{ids::NodeId, message::HostReport};

/// Most hosts that are named where the same is said of several.
const NAMED: usize = 4;

/// What each host has against a VM.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Vec<(String, Vec<String>)>);

impl Refusals {
    pub(crate) fn add(&mut self, host: &str, why: String) {
        match self.0.iter_mut().find(|(known, _)| *known == why) {
            Some((_, hosts)) => hosts.push(host.into()),
            None => self.0.push((why, alloc::vec![host.into()])),
        }
    }

    pub(crate) fn into_reasons(self) -> Vec<String> {
        let reason = |(why, hosts): (String, Vec<String>)| match hosts.as_slice() {
            [host] => format!("{host}: {why}"),
            hosts if hosts.len() <= NAMED => format!("each of {}: {why}", hosts.join(", ")),
            hosts => {
                let more = hosts.len() - NAMED;
                format!("each of {} and {more} more: {why}", hosts[..NAMED].join(", "))
            }
        };
        self.0.into_iter().map(reason).collect()
    }
}

impl Node {
    /// Why a host takes no arrivals, and what ends that, as far as this node knows.
    pub(crate) fn why_no_arrivals(&self, node: NodeId, host: &HostReport) -> String {
        match self.why_emptied(node) {
            Some(why) => format!("it takes no arrivals: {why}"),
            None if !host.hypervisor_up => {
                "it takes no arrivals now: its hypervisor does not answer".into()
            }
            None => "it takes no arrivals now".into(),
        }
    }

    /// The evacuations that empty a host, or keep it empty, if any does, and what ends that.
    fn why_emptied(&self, node: NodeId) -> Option<String> {
        let site = self.directory.site_of(node)?;
        let all = self.evacuations.covering(node, site).map(|known| known.record.id.to_string());
        let all: Vec<String> = all.collect();
        Some(match all.as_slice() {
            [] => return None,
            [id] => {
                format!("evacuation {id} empties it, done or not, until `lifeboat cancel {id}`")
            }
            all => {
                let cancels = all.iter().map(|id| format!("`lifeboat cancel {id}`"));
                let cancels = cancels.collect::<Vec<_>>().join(" and ");
                format!("{} evacuations empty it, done or not, until {cancels}", all.len())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_hosts_have_against_a_vm_is_said_once() {
        let mut all = Refusals::default();
        all.add("b0", "it is full".into());
        for number in 1..8 {
            all.add(&format!("b{number}"), "it is not heard".into());
        }
        let expect = ["b0: it is full", "each of b1, b2, b3, b4 and 3 more: it is not heard"];
        assert_eq!(all.into_reasons(), expect);
    }
}
