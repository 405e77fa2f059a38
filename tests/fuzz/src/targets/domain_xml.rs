//! A domain's XML, as libvirt gives it and as an operator wrote its policy.

use super::Target;

/// An XML text.
pub(super) const TARGET: Target =
    Target { name: "domain_xml", run, seeds, longest: 2048, share_permille: 41 };

fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        lifeboat_hypervisor::fuzz::domain_xml(text);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "<domain type='qemu'><name>web</name><uuid>a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0</uuid>
         <metadata><l:policy xmlns:l='urn:lifeboat:domain:1' priority='90' group='web'
         max-downtime-ms='300' max-downtime-escalated-ms='5000' auto-converge='yes' post-copy='no'
         stop-and-copy='true'/></metadata></domain>",
        "<?xml version='1.0'?><!DOCTYPE domain><domain><devices><!-- --><disk type='file'
         device='disk'><target dev='vda'/></disk><disk><target dev='vdb'/><readonly/></disk><disk>
         <shareable/></disk><hostdev mode='subsystem' type='pci'><source/></hostdev>
         <interface type='hostdev'/></devices><![CDATA[x]]>&amp;&#65;</domain>",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
