//! The file that `lifeboat init` writes: every knob with its default and what it is for.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{HypervisorKind, InitOptions, LinkConfig, NodeConfig};

/// A complete configuration for the host `name`, whose own entry is `own`.
pub fn template(name: &str, key_file: &Path, own: &NodeConfig, options: &InitOptions) -> String {
    let hypervisor = match &options.hypervisor {
        HypervisorKind::Libvirt { uri } => format!("kind = \"libvirt\"\nuri = {}", quoted(uri)),
        HypervisorKind::Embedded { socket } => {
            format!("kind = \"embedded\"\nsocket = {}", quoted_path(socket))
        }
    };
    let nodes: String = std::iter::once(own).chain(&options.others).map(node_entry).collect();
    let links: String = match options.links.is_empty() {
        true => LINK_EXAMPLE.to_owned(),
        false => options.links.iter().map(link_entry).collect(),
    };
    format!(
        r#"# lifeboat, one file per host. Everything below [[node]] is the same on all of them.
# Values have units: 200Mbit/s, 25MB/s, 1.5GiB, 500ms, 5%. A bare number is refused.

# This host; one of the [[node]] names below.
name = {name}
# Its secret key, mode 0600. Never copy it to another host.
key_file = {key_file}
# What must survive a restart.
state_dir = {state_dir}
# Sockets of the command line, the carrier and the moves under way.
run_dir = {run_dir}
# The one port between hosts; open it in the firewall for the other hosts.
listen = "{listen}"
# Members of this group may use the command line, beside root.
# control_group = "lifeboat"

[log]
# error, warn, info, debug, trace. The environment variable LIFEBOAT_LOG overrides it.
level = "info"
# terminal, journald
target = "terminal"

[hypervisor]
# libvirt, or embedded: an emulated one to try things out.
{hypervisor}
# Move disks too; not needed where both sites see the same storage. libvirt then needs an active
# storage pool at the destination for each directory that holds images.
copy_storage = false
# Let hypervisors talk to each other without the carrier. A fallback: shares are then kept only
# roughly, and an outage costs the move.
direct = false

[host]
# How long this host can still run once power fails, such as "20m".
runtime = "unknown"
# Speed of its network card; without it the kernel is asked.
# nic = "1Gbit/s"
# Network interfaces whose traffic counts; without it all physical ones.
# interfaces = ["eth0"]
# Memory that is never given to arriving machines.
memory_reserve = "1GiB"

[timing]
# lan: fast networks, few hosts. wan: sites apart. slow: long or lossy links, or over 50 hosts.
preset = "wan"
# Each can be set alone. dead_after is at least three heartbeats, lease more than two;
# dead_after and lease together stay below 10s.
# heartbeat = "500ms"
# dead_after = "3s"
# lease = "4s"

# Every node of every site, this one included. `lifeboat init` prints a host's entry.
{nodes}{links}"#,
        name = quoted(name),
        key_file = quoted_path(key_file),
        state_dir = quoted_path(&options.state_dir),
        run_dir = quoted_path(&options.run_dir),
        listen = options.listen,
    )
}

const LINK_EXAMPLE: &str = "\
# The path from one site to others, where something is known about it.
# [[link]]
# from = \"a\"
# to = [\"b\"]
# Never use more than this; without it, what is measured.
# ceiling = \"400Mbit/s\"
# What stays free for other traffic.
# reserve = \"5%\"
# What to assume before anything was measured.
# initial = \"50Mbit/s\"
";

/// A node as an entry of the file, ready to paste on the other hosts.
pub(super) fn node_entry(node: &NodeConfig) -> String {
    let address = match node.addresses.as_slice() {
        [one] => format!("\"{one}\""),
        many => list(many.iter().map(SocketAddr::to_string)),
    };
    format!(
        "[[node]]\nname = {}\nsite = {}\npeer = \"{}\"\naddress = {address}\n\n",
        quoted(&node.name),
        quoted(&node.site),
        node.peer,
    )
}

fn link_entry(link: &LinkConfig) -> String {
    let mut entry = format!(
        "[[link]]\nfrom = {}\nto = {}\n",
        quoted(&link.from),
        list(link.to.iter().cloned())
    );
    if let Some(ceiling) = link.ceiling {
        let _ = writeln!(entry, "ceiling = \"{}\"", ceiling.exact());
    }
    let _ = writeln!(entry, "reserve = \"{}\"", link.reserve);
    if let Some(initial) = link.initial {
        let _ = writeln!(entry, "initial = \"{}\"", initial.exact());
    }
    entry.push('\n');
    entry
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// As TOML writes text, whatever is in it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
