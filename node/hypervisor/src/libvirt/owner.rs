//! The user that QEMU runs as, as libvirt tells it: who must be able to make sockets at the
//! destination.

use quick_xml::{Reader, events::Event};

/// A user and group of this host, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Reads the host's capabilities: the label that QEMU processes get from libvirt's model of plain
/// file permissions. `None` if that model is off; QEMU then runs as libvirtd's own user.
///
/// # Errors
///
/// If they are not well-formed, or the label is not a user and a group by number.
pub(super) fn owner(capabilities: &str) -> Result<Option<Owner>, String> {
    let mut reader = Reader::from_str(capabilities);
    let (mut element, mut model) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Eof => return Ok(None),
            Event::Start(start) => element = start.local_name().as_ref().to_vec(),
            Event::End(end) => {
                element.clear();
                if end.local_name().as_ref() == b"secmodel" {
                    model.clear();
                }
            }
            Event::Text(text) if element == b"model" => {
                model = String::from_utf8_lossy(&text).into_owned();
            }
            Event::Text(text) if element == b"baselabel" && model == "dac" => {
                let label = String::from_utf8_lossy(&text).into_owned();
                let owner = parse(&label);
                return owner.map(Some).ok_or(format!("QEMU's user and group are {label:?}"));
            }
            _ => {}
        }
    }
}

/// `+64055:+994`.
fn parse(label: &str) -> Option<Owner> {
    let (user, group) = label.split_once(':')?;
    let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse().ok();
    Some(Owner { user: number(user)?, group: number(group)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_plain_file_permissions_counts() {
        let host = |models: &str| {
            owner(&format!(
                "<capabilities><host><cpu><model>EPYC</model></cpu>{models}</host><guest/>\
                 </capabilities>"
            ))
        };
        let apparmor = "<secmodel><model>apparmor</model><doi>0</doi></secmodel>";
        let dac = |label: &str| {
            format!(
                "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>{label}</baselabel>\
                 <baselabel type='qemu'>{label}</baselabel></secmodel>"
            )
        };
        let expected = Ok(Some(Owner { user: 64055, group: 994 }));
        assert_eq!(host(&format!("{apparmor}{}", dac("+64055:+994"))), expected);
        assert_eq!(host(apparmor), Ok(None));
        assert!(host(&dac("libvirt-qemu")).is_err());
        assert!(owner("<capabilities></host>").is_err());
    }
}
