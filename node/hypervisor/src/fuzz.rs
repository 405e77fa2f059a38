//! What hypervisor drivers decode, for the fuzzer.
//!
//! Compiled only with the cargo feature `fuzz`.

use crate::{Vm, domain_xml, embedded};

/// Reads a domain's XML as the libvirt driver does.
///
/// # Panics
/// If a policy is out of its bounds.
pub fn domain_xml(xml: &str) {
    let Ok(description) = domain_xml::describe(xml) else { return };
    if let Some(id) = description.id {
        assert_eq!(id.to_string().parse(), Ok(id), "an id is read as it is written");
    }
    if let Some(Ok(policy)) = description.policy {
        assert!(policy.priority <= 100, "{policy:?}");
    }
    let disks = description.disks.iter();
    let disks = disks.map(|disk| disk.target.len() + disk.source.as_ref().map_or(0, String::len));
    let named = disks.chain(description.obstacles.iter().map(String::len));
    assert!(named.sum::<usize>() <= 64 + 64 * xml.len());
}

/// Reads an embedded hypervisor's description of a VM.
pub fn described(json: &[u8]) -> Option<Vm> {
    embedded::vm(serde_json::from_slice(json).ok()?)
}
