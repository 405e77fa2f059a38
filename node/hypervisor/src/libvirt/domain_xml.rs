//! What lifeboat reads from a domain's XML: its policy, what forbids moving it, and its disks.
//!
//! The policy stands in the domain's metadata, so that it travels with the VM:
//!
//! ```xml
//! <metadata>
//!   <lifeboat:policy xmlns:lifeboat="urn:lifeboat:domain:1" priority="90" group="web"
//!                    max-downtime-ms="300" max-downtime-escalated-ms="5000"
//!                    auto-converge="yes" post-copy="no" stop-and-copy="no"/>
//! </metadata>
//! ```

use quick_xml::{
    NsReader, XmlVersion,
    events::{BytesStart, Event},
    name::{Namespace, ResolveResult},
};

use crate::{Policy, VmId};

const NAMESPACE: Namespace = Namespace(b"urn:lifeboat:domain:1");

/// What a domain's XML says that lifeboat needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// The UUID, if it is said.
    pub(super) id: Option<VmId>,
    /// The policy, or what is wrong with the one that stands there; `None` if none does.
    pub(super) policy: Option<Result<Policy, String>>,
    /// Why it cannot be migrated at all.
    pub(super) obstacles: Vec<String>,
    /// The disks that it keeps, without removable media and those that VMs share.
    pub(super) disks: Vec<Disk>,
    /// What its host keeps in files beside its disks while it is shut off.
    pub(super) kept_beside: Vec<&'static str>,
}

/// One disk of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Disk {
    /// Its name in the guest, e.g. `vda`.
    pub(super) target: String,
    /// What it is on, as libvirt names it: a file, a device, a volume; `None` on a network.
    pub(super) source: Option<String>,
    /// Whether the guest may write to it.
    pub(super) written: bool,
}

/// Reads a domain's XML as libvirt gives it.
///
/// # Errors
///
/// If it is not well-formed.
pub(super) fn describe(xml: &str) -> Result<Description, String> {
    let mut reader = NsReader::from_str(xml);
    let mut description = Description::default();
    let mut path: Vec<String> = Vec::new();
    let mut disk = DiskElement::default();
    loop {
        match reader.read_resolved_event().map_err(|error| error.to_string())? {
            (_, Event::Eof) => return Ok(description),
            (space, Event::Start(element)) => {
                let ours = space == ResolveResult::Bound(NAMESPACE);
                path.push(local_name(&element));
                visit(&path, ours, &element, &mut disk, &mut description);
            }
            (space, Event::Empty(element)) => {
                let ours = space == ResolveResult::Bound(NAMESPACE);
                path.push(local_name(&element));
                visit(&path, ours, &element, &mut disk, &mut description);
                path.pop();
            }
            (_, Event::End(_)) => {
                if is(&path, &["domain", "devices", "disk"]) {
                    description.disks.extend(std::mem::take(&mut disk).kept());
                }
                path.pop();
            }
            (_, Event::Text(text)) if is(&path, &["domain", "uuid"]) => {
                description.id = String::from_utf8_lossy(&text).trim().parse().ok();
            }
            _ => {}
        }
    }
}

/// What is known so far of the disk that is being read.
#[derive(Default)]
struct DiskElement {
    is_disk: bool,
    on_network: bool,
    shared: bool,
    read_only: bool,
    target: Option<String>,
    source: Option<String>,
}

impl DiskElement {
    fn kept(self) -> Option<Disk> {
        let target = self.target.filter(|_| self.is_disk && !self.shared)?;
        let source = self.source.filter(|_| !self.on_network);
        Some(Disk { target, source, written: !self.read_only })
    }
}

fn visit(
    path: &[String],
    ours: bool,
    element: &BytesStart<'_>,
    disk: &mut DiskElement,
    description: &mut Description,
) {
    if ours && is(path, &["domain", "metadata", "policy"]) {
        description.policy = Some(policy(element));
    } else if is(path, &["domain", "devices", "hostdev"]) {
        let kind = attribute(element, "type").unwrap_or_else(|| "unknown".into());
        description.obstacles.push(format!("a host device is passed through ({kind})"));
    } else if is(path, &["domain", "devices", "interface"]) {
        if attribute(element, "type").as_deref() == Some("hostdev") {
            description.obstacles.push("a host network device is passed through".into());
        }
    } else if is(path, &["domain", "devices", "disk"]) {
        let device = attribute(element, "device");
        *disk = DiskElement {
            is_disk: device.is_none_or(|device| matches!(device.as_str(), "disk" | "lun")),
            on_network: attribute(element, "type").as_deref() == Some("network"),
            ..DiskElement::default()
        };
    } else if is(path, &["domain", "devices", "disk", "source"]) {
        disk.source = source(element);
    } else if is(path, &["domain", "devices", "disk", "target"]) {
        disk.target = attribute(element, "dev");
    } else if is(path, &["domain", "devices", "disk", "readonly"]) {
        disk.read_only = true;
    } else if is(path, &["domain", "devices", "disk", "shareable"]) {
        disk.shared = true;
    } else if is(path, &["domain", "os", "nvram"]) {
        if attribute(element, "type").as_deref() != Some("network") {
            description.kept_beside.push("its firmware's variables");
        }
    } else if is(path, &["domain", "devices", "tpm", "backend"])
        && attribute(element, "type").as_deref() == Some("emulator")
    {
        description.kept_beside.push("its TPM's state");
    }
}

/// What a disk is on: libvirt names it in another attribute for each kind of disk.
fn source(element: &BytesStart<'_>) -> Option<String> {
    let named = ["file", "dev", "dir", "volume"];
    named.iter().find_map(|name| attribute(element, name)).or_else(|| attribute(element, "type"))
}

fn policy(element: &BytesStart<'_>) -> Result<Policy, String> {
    let mut policy = Policy::default();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        if name.starts_with("xmlns") {
            continue;
        }
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        let wrong = |expected: &str| format!("{name}={value:?}: expected {expected}");
        let number = || value.parse().map_err(|_| wrong("a number of milliseconds"));
        let flag = || match value.as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(wrong("yes or no")),
        };
        match name.as_str() {
            "priority" => {
                policy.priority = value
                    .parse()
                    .ok()
                    .filter(|priority| *priority <= 100)
                    .ok_or_else(|| wrong("a number from 0 to 100"))?;
            }
            "group" => policy.group = Some(value),
            "max-downtime-ms" => policy.max_downtime_ms = number()?,
            "max-downtime-escalated-ms" => policy.max_downtime_escalated_ms = number()?,
            "auto-converge" => policy.auto_converge = flag()?,
            "post-copy" => policy.post_copy = flag()?,
            "stop-and-copy" => policy.stop_and_copy = flag()?,
            _ => return Err(format!("{name}: no such attribute")),
        }
    }
    Ok(policy)
}

fn is(path: &[String], expected: &[&str]) -> bool {
    path.iter().eq(expected)
}

fn local_name(element: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(element.local_name().as_ref()).into_owned()
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok().flatten()?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    Some(value.map_or_else(|_| String::from_utf8_lossy(&attribute.value).into(), Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(inside: &str) -> Description {
        describe(&format!("<domain type='qemu'><name>web</name>{inside}</domain>")).unwrap()
    }

    fn policy_of(attributes: &str) -> Option<Result<Policy, String>> {
        described(&format!(
            "<metadata><l:policy xmlns:l='urn:lifeboat:domain:1' {attributes}/></metadata>"
        ))
        .policy
    }

    #[test]
    fn the_uuid_is_read() {
        let id = VmId([0x1c; 16]);
        assert_eq!(described(&format!("<uuid>{id}</uuid>")).id, Some(id));
        assert_eq!(described("<devices><uuid>x</uuid></devices>").id, None);
        assert_eq!(described("<uuid>x</uuid>").id, None);
    }

    #[test]
    fn a_policy_is_read_with_defaults_for_what_it_leaves_out() {
        assert_eq!(policy_of(""), Some(Ok(Policy::default())));
        assert_eq!(
            policy_of("priority='90' group='web' max-downtime-ms='250' post-copy='yes'"),
            Some(Ok(Policy {
                priority: 90,
                group: Some("web".into()),
                max_downtime_ms: 250,
                post_copy: true,
                ..Policy::default()
            }))
        );
        assert_eq!(
            policy_of("max-downtime-escalated-ms='9000' auto-converge='no' stop-and-copy='true'"),
            Some(Ok(Policy {
                max_downtime_escalated_ms: 9000,
                auto_converge: false,
                stop_and_copy: true,
                ..Policy::default()
            }))
        );
    }

    #[test]
    fn a_bad_policy_names_its_attribute() {
        for (attributes, expect) in [
            ("priority='101'", "priority=\"101\": expected a number from 0 to 100"),
            ("priority='high'", "priority=\"high\": expected a number from 0 to 100"),
            ("max-downtime-ms='-1'", "max-downtime-ms=\"-1\": expected a number of milliseconds"),
            ("post-copy='maybe'", "post-copy=\"maybe\": expected yes or no"),
            ("downtime='3'", "downtime: no such attribute"),
        ] {
            assert_eq!(policy_of(attributes), Some(Err(expect.into())), "{attributes}");
        }
    }

    #[test]
    fn a_policy_of_another_namespace_or_place_is_not_ours() {
        for inside in [
            "",
            "<metadata><policy priority='1'/></metadata>",
            "<metadata><l:policy xmlns:l='urn:other' priority='1'/></metadata>",
            "<devices><l:policy xmlns:l='urn:lifeboat:domain:1' priority='1'/></devices>",
        ] {
            assert_eq!(described(inside).policy, None, "{inside}");
        }
    }

    #[test]
    fn passed_through_devices_are_obstacles() {
        let description = described(
            "<devices><hostdev mode='subsystem' type='pci'><source/></hostdev>
             <interface type='hostdev'/><interface type='bridge'/></devices>",
        );
        assert_eq!(
            description.obstacles,
            ["a host device is passed through (pci)", "a host network device is passed through"]
        );
    }

    #[test]
    fn disks_that_a_vm_keeps_for_itself_are_listed() {
        let description = described(
            "<devices>
             <disk type='file' device='disk'><target dev='vda'/></disk>
             <disk type='file'><target dev='vdb'/></disk>
             <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
             <disk type='file' device='disk'><target dev='vdc'/><readonly/></disk>
             <disk type='block' device='disk'><target dev='vdd'/><shareable/></disk>
             </devices>",
        );
        let named = |written: bool| {
            let disks = description.disks.iter().filter(|disk| disk.written == written);
            disks.map(|disk| disk.target.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((named(true), named(false)), (vec!["vda", "vdb"], vec!["vdc"]));
    }

    #[test]
    fn what_a_disk_is_on_is_named() {
        let description = described(
            "<devices>
             <disk type='file'><source file='/images/a&amp;b.img'><x/></source><target dev='vda'/></disk>
             <disk type='block' device='lun'><source dev='/dev/vg/b'/><target dev='sda'/></disk>
             <disk type='volume'><source pool='p' volume='c'/><target dev='vdc'/></disk>
             <disk type='nvme'><source type='pci' namespace='1'/><target dev='vdd'/></disk>
             <disk type='network'><source protocol='rbd' name='p/e'/><target dev='vde'/></disk>
             </devices>",
        );
        let sources: Vec<_> = description.disks.iter().map(|disk| disk.source.as_deref()).collect();
        let expect = [Some("/images/a&b.img"), Some("/dev/vg/b"), Some("c"), Some("pci"), None];
        assert_eq!(sources, expect);
    }

    #[test]
    fn what_a_host_keeps_beside_the_disks_is_named() {
        let description = described(
            "<os><nvram template='/t.fd'>/nvram/web_VARS.fd</nvram></os>
             <devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>",
        );
        assert_eq!(description.kept_beside, ["its firmware's variables", "its TPM's state"]);
    }

    #[test]
    fn broken_xml_is_an_error() {
        assert!(describe("<domain><name></domain>").is_err());
    }
}
